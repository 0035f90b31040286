# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answer files from options of module answerfile, and scripts that choose the disks where the installer runs."""

from __future__ import annotations

import ipaddress
import shlex
from typing import Any

from .answerfile import Node, mistakes, rendered

# What stands for the disks until the script knows them.
PLACES = ("@disk1@", "@disk2@")


def compose(options: dict[str, Any], hashed: str | None) -> str:
    """XML of an answer file. `hashed` is the root password's hash."""
    version, disk = options["version"], options["disk"]
    root = Node("installation", {"mode": options["mode"], "sr-type": options["sr_type"]})
    names = list(PLACES[: 2 if disk["raid"] else 1]) if disk["rule"] else list(disk["names"] or [])
    storage = str(disk["guest_storage"]).lower()
    more = {"guest_storage": storage, "preserve_first_partition": disk["preserve_first_partition"]}
    if disk["raid"] and version == "xenserver-8":
        root.add("primary-disk", ",".join(names), swraid="true", **more)
    elif disk["raid"]:
        raid = root.add("raid", device="md127")
        for name in names:
            raid.add("disk", name)
        root.add("primary-disk", "md127", **more)
    else:
        root.add("primary-disk", ",".join(names), **more)
    for name in options["guest_disks"] or []:
        root.add("guest-disk", name)
    for kind in ("sources", "driver_sources"):
        for each in options[kind] or []:
            root.add("driver-source" if kind == "driver_sources" else "source", each["address"] or "", type=each["type"])
    _interface(root, options["interface"])
    if hashed:
        root.add("root-password", hashed, type="hash")
    for name in options["nameservers"] or []:
        root.add("name-server", name)
    for option in ("hostname", "timezone", "keymap"):
        if options[option]:
            root.add(option, options[option])
    if options["ntp_servers"] and version != "xcp-ng-8.2":
        root.add("ntp", source="manual")
    for name in options["ntp_servers"] or []:
        root.add("ntp-server", name)
    for name, state in sorted((options["services"] or {}).items()):
        root.add("service", name=name, state=state)
    for script in options["scripts"] or []:
        root.add("script", script["url"], stage=script["stage"], type=script["type"])
    return rendered(root)


def _interface(root: Node, options: dict[str, Any]) -> None:
    node = root.add("admin-interface", name=options["name"], hwaddr=options["mac"], proto=options["proto"],
                    protov6=options["proto6"], vlan=options["vlan"])
    if options["address"]:
        try:
            interface = ipaddress.IPv4Interface(options["address"])
        except ValueError:
            raise ValueError(f"interface.address: '{options['address']}' is no IPv4 address with its prefix; write it as "
                             "10.0.0.5/24.") from None
        node.add("ipaddr", interface.ip)
        node.add("subnet", interface.netmask)
    for option, name in (("gateway", "gateway"), ("address6", "ipv6"), ("gateway6", "gatewayv6")):
        if options[option]:
            node.add(name, options[option])


def refuse(text: str, version: str) -> None:
    """Raise ValueError with all mistakes of an answer file, each with its line."""
    found = mistakes(text, version)
    if found:
        raise ValueError(f"The installer of {version} would not read this as it is meant: "
                         + "; ".join(f"line {each.line}: {each.text}" for each in found) + ".")


def generator(text: str, rule: dict[str, Any]) -> str:
    """A script for the installer's `answerfile_generator`: chooses disks by the rule, and prints the answer file with them.

    Removable and USB disks are never chosen; where fewer disks fit than are needed, it says so and fails, and the
    installer stops before it has written anything.
    """
    wanted = sum(place in text for place in PLACES)
    transport = "/nvme/" if rule["transport"] == "nvme" else "/ata" if rule["transport"] == "sata" else "/"
    return f"""#!/bin/sh
# Disks are chosen where the installer runs: the {rule['choose']} ones.
set -eu
found=$(for path in /sys/block/*; do
    name=${{path##*/}}
    case $name in loop*|ram*|dm-*|md*|sr*|fd*|zram*) continue ;; esac
    [ "$(cat "$path/removable")" = 0 ] || continue
    device=$(readlink -f "$path")
    case $device in */usb*) continue ;; esac
    case $device in *{transport}*) ;; *) continue ;; esac
    bytes=$(($(cat "$path/size") * 512))
    [ "$bytes" -ge {rule['min_size'] or 1} ] || continue
    echo "$bytes $name"
done | sort {'-k1,1nr' if rule['choose'] == 'largest' else '-k1,1n'} -k2 | head -n {wanted} | cut -d ' ' -f 2)
# shellcheck disable=SC2086
set -- $found
if [ $# -lt {wanted} ]; then
    echo "of {wanted} disks that the answer file needs, only $# are here: $*" >&2
    exit 1
fi
printf '%s' {shlex.quote(text)} | sed -e "s|{PLACES[0]}|$1|" -e "s|{PLACES[1]}|${{2-}}|"
"""


def finished(options: dict[str, Any], password: str | None) -> str:
    """The answer file, or the script that makes it. Raises ValueError with what is wrong."""
    text = options["content"]
    if text is None:
        _asked(options)
        text = compose(options, password)
        # A rule's disks are only known later: any stand for them now.
        sample = text.replace(PLACES[0], "sda").replace(PLACES[1], "sdb")
        refuse(sample, options["version"])
    else:
        refuse(text, options["version"])
        return str(text)
    return generator(text, options["disk"]["rule"]) if options["disk"]["rule"] else text


def _asked(options: dict[str, Any]) -> None:
    missing = [name for name in ("disk", "sources", "interface", "sr_type") if not options[name]]
    if missing:
        raise ValueError(f"An answer file needs {', '.join(missing)}, or content with a whole one.")
    disk = options["disk"]
    if bool(disk["names"]) == bool(disk["rule"]):
        raise ValueError("disk: name the disks, or give a rule that chooses them.")
    if disk["names"] and len(disk["names"]) != (2 if disk["raid"] else 1):
        raise ValueError(f"disk.names: {'two disks for raid' if disk['raid'] else 'one disk without raid'}.")
