# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answer files from options of module answerfile."""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Callable
from typing import Any

from .answerfile import judged, lines
from .disks import PLACES, generator
from .document import Node, rendered
from .table import SWRAID, X82
from .values import device, netmask

# What an upgrade reads; all else stays as it is on the host.
UPGRADE = ("version", "content", "mode", "disk", "sources", "driver_sources", "scripts", "previous")


def compose(options: dict[str, Any], hashed: str | None) -> str:
    """XML of an answer file. `hashed` is the root password's hash."""
    if options["mode"] == "upgrade":
        root = Node("upgrade", {"mode": "upgrade"})
        root.add("existing-installation", options["disk"]["names"][0])
        _media(root, options)
    else:
        root = Node("installation", {"mode": options["mode"], "sr-type": options["sr_type"]})
        _disks(root, options)
        _media(root, options)
        _settings(root, options, hashed)
    for script in options["scripts"] or []:
        root.add("script", script["url"], stage=script["stage"], type=script["type"])
    return rendered(root)


def _disks(root: Node, options: dict[str, Any]) -> None:
    disk = options["disk"]
    names = list(PLACES[: 2 if disk["raid"] else 1]) if disk["rule"] else list(disk["names"] or [])
    more = {"guest_storage": str(disk["guest_storage"]).lower(), "preserve_first_partition": disk["preserve_first_partition"]}
    if disk["raid"] and options["version"] in SWRAID:
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


def _media(root: Node, options: dict[str, Any]) -> None:
    for kind, name in (("sources", "source"), ("driver_sources", "driver-source")):
        for each in options[kind] or []:
            root.add(name, each["address"] or "", type=each["type"])


def _settings(root: Node, options: dict[str, Any], hashed: str | None) -> None:
    _interface(root, options["interface"])
    if hashed:
        root.add("root-password", hashed, type="hash")
    for name in options["dns"] or []:
        root.add("name-server", name)
    for option in ("hostname", "timezone", "keymap"):
        if options[option]:
            root.add(option, options[option])
    if options["ntp_servers"] and options["version"] != X82:
        root.add("ntp", source="manual")
    for name in options["ntp_servers"] or []:
        root.add("ntp-server", name)
    for name, state in sorted((options["services"] or {}).items()):
        root.add("service", name=name, state=state)


def _interface(root: Node, options: dict[str, Any]) -> None:
    node = root.add("admin-interface", name=options["name"], hwaddr=options["mac"], proto=options["ip_mode"],
                    protov6=options["ipv6_mode"], vlan=options["vlan"])
    if options["ip"]:
        _bare, _slash, length = options["ip"].partition("/")
        try:
            if not length.isdigit() and netmask(length):  # Python takes nothing for /32, and 0.0.0.255 for /24
                raise ValueError
            interface = ipaddress.IPv4Interface(options["ip"])
        except ValueError:
            raise ValueError(f"interface.ip: '{options['ip']}' is not an IPv4 address with its prefix; write for example "
                             "10.0.0.5/24.") from None
        node.add("ipaddr", interface.ip)
        node.add("subnet", interface.netmask)
    for option, name in (("gateway", "gateway"), ("ipv6", "ipv6"), ("ipv6_gateway", "gatewayv6")):
        if options[option] is not None:
            node.add(name, options[option])


def refuse(text: str, version: str, warn: Callable[[str], object]) -> None:
    """Raise ValueError with all mistakes of an answer file, each with its line. Else tell what may not be what is wanted."""
    verdict = judged(text, version)
    if verdict.mistakes:
        raise ValueError(f"The installer of {version} would not read this as it is meant: {'; '.join(lines(verdict.mistakes))}.")
    for warning in lines(verdict.warnings):
        warn(f"Answer file, {warning}.")


def finished(options: dict[str, Any], password: str | None, warn: Callable[[str], object] = str) -> str:
    """The answer file, or the script that makes it. Raises ValueError with what is wrong."""
    text = options["content"]
    if text is not None:
        refuse(text, options["version"], warn)
        return str(text)
    _asked(options)
    text = compose(options, password)
    # A rule's disks are only known later: any that are not used stand for them now.
    guests = options["guest_disks"] or []
    others = (name for number in itertools.count() if (name := f"nvme{number}n1") not in map(device, guests))
    told = text
    for place in PLACES:
        told = told.replace(place, next(others))
    refuse(told, options["version"], warn)
    return generator(text, options["disk"]["rule"], guests) if options["disk"]["rule"] else text


def _asked(options: dict[str, Any]) -> None:
    upgrade = options["mode"] == "upgrade"
    missing = [name for name in ("disk", "sources", *(() if upgrade else ("interface", "sr_type"))) if not options[name]]
    if missing:
        raise ValueError(f"An answer file needs {', '.join(missing)}, or content with a whole one.")
    disk = options["disk"]
    if upgrade:
        kept = sorted(name for name, value in options.items() if value not in (None, [], {}) and name not in UPGRADE)
        if kept:
            raise ValueError("An upgrade keeps the host's settings; the installer would not read "
                             f"{', '.join(kept)}. Leave them out.")
        more = disk["rule"] or disk["raid"] or not disk["guest_storage"] or disk["preserve_first_partition"]
        if more or len(disk["names"] or []) != 1:
            raise ValueError("disk: an upgrade needs disk.names with the one disk that holds the installation, and nothing "
                             "else (of a RAID1, the array's name).")
        return
    if bool(disk["names"]) == bool(disk["rule"]):
        raise ValueError("disk: name the disks, or give a rule that chooses them.")
    arrays = [name for name in options["guest_disks"] or [] if device(name).startswith("md")]
    if disk["rule"] and arrays:
        raise ValueError(f"guest_disks: the rule could choose a disk that {arrays[0]} is made of. Name the disks in disk.names.")
    if disk["names"] and len(disk["names"]) != (2 if disk["raid"] else 1):
        raise ValueError(f"disk.names: {'two disks for raid' if disk['raid'] else 'one disk without raid'}.")
