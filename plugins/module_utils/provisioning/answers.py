# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answer files from options of module answerfile."""

from __future__ import annotations

import ipaddress
import itertools
import re
from collections.abc import Callable
from typing import Any

from .answerfile import Mistake, judged, lines
from .disks import ARRAY, PLACES, generator, guarded
from .document import Node, rendered
from .table import SWRAID, X82
from .values import device, netmask

# What an upgrade reads; all else stays as it is on the host.
UPGRADE = ("version", "content", "mode", "disk", "sources", "driver_sources", "scripts", "previous")
# What options make: element, or element@attribute, for messages.
OPTIONS = {
    "installation@mode": "mode", "installation@sr-type": "sr_type", "existing-installation": "disk.names",
    "primary-disk": "disk.names", "primary-disk@guest-storage": "disk.guest_storage", "primary-disk@swraid": "disk.raid",
    "primary-disk@preserve-first-partition": "disk.preserve_first_partition", "raid": "disk.raid", "disk": "disk.names",
    "guest-disk": "guest_disks", "source": "sources", "source@type": "sources.type",
    "driver-source": "driver_sources", "driver-source@type": "driver_sources.type",
    "script": "scripts", "script@type": "scripts.type", "script@stage": "scripts.stage",
    "admin-interface": "interface", "admin-interface@name": "interface.name", "admin-interface@hwaddr": "interface.mac",
    "admin-interface@proto": "interface.ip_mode", "admin-interface@protov6": "interface.ipv6_mode",
    "admin-interface@vlan": "interface.vlan", "ipaddr": "interface.ip", "subnet": "interface.ip", "gateway": "interface.gateway",
    "ipv6": "interface.ipv6", "gatewayv6": "interface.ipv6_gateway", "root-password": "root_password", "name-server": "dns",
    "ntp": "ntp_servers", "ntp-server": "ntp_servers", "service": "services", "service@name": "services",
    "service@state": "services", "hostname": "hostname", "timezone": "timezone", "keymap": "keymap",
}


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
        raid = root.add("raid", device=ARRAY)
        for name in names:
            raid.add("disk", name)
        root.add("primary-disk", ARRAY, **more)
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


def named(mistake: Mistake) -> str:
    """A mistake by the names of the options that its elements and attributes are made of."""
    text = re.sub(r"([\w-]+)= of <([\w-]+)>", lambda found: OPTIONS.get(f"{found[2]}@{found[1]}", found[0]), mistake.text)
    text = re.sub(r"<([\w-]+)>", lambda found: OPTIONS.get(found[1], found[0]), text)
    return re.sub(r"([a-z][\w-]*)=(?:\"([\w-]+)\"|(?=[ ;]|$))", lambda found: OPTIONS.get(f"{mistake.element}@{found[1]}", found[1])
                  + (f": {found[2]}" if found[2] else ""), text)


def refuse(text: str, version: str, warn: Callable[[str], object], *, made: bool = True) -> None:
    """Raise ValueError with all mistakes of an answer file. Else tell what may not be what is wanted.

    Those in a file that is given come with their lines, those in one that is made of options with the options' names.
    """
    verdict = judged(text, version)
    if made:  # that an array may be there already is looked at where the installer runs
        verdict = verdict._replace(warnings=[each for each in verdict.warnings if each.element != "raid"])
    mistakes, warnings = ([named(each) for each in found] if made else list(lines(found)) for found in verdict)
    if mistakes:
        raise ValueError(f"The installer of {version} would not read this as it is meant: {'; '.join(dict.fromkeys(mistakes))}.")
    for warning in dict.fromkeys(warnings):
        warn(f"{'' if made else 'Answer file, '}{warning}.")


def finished(options: dict[str, Any], password: str | None, warn: Callable[[str], object] = str) -> str:
    """The answer file, or the script that makes it. Raises ValueError with what is wrong."""
    text = options["content"]
    if text is not None:
        more = sorted(name for name, value in options.items()
                      if value not in (None, [], {}) and name not in ("version", "content", "previous", "mode"))
        if more or options["mode"] == "upgrade":
            raise ValueError(f"content is a whole answer file, beside which {', '.join(more or ['mode'])} would not count. Leave one out.")
        refuse(text, options["version"], warn, made=False)
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
    disk, stops = options["disk"], options["version"] in SWRAID
    if disk["rule"]:
        return generator(text, disk["rule"], guests, arrays=("stopped" if stops else "taken") if disk["raid"] else "none")
    return guarded(text, disk["names"]) if disk["raid"] and not stops else text


def _asked(options: dict[str, Any]) -> None:
    upgrade = options["mode"] == "upgrade"
    missing = [name for name in ("disk", "sources", *(() if upgrade else ("interface", "sr_type"))) if not options[name]]
    if missing:
        raise ValueError(f"An answer file needs {', '.join(missing)}, or content with a whole one.")
    for name in ("hostname", "timezone", "keymap"):
        if options[name] == "":
            raise ValueError(f"{name} is empty. Leave it out, or write one.")
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
    _asked_addresses(options["interface"])


def _asked_addresses(interface: dict[str, Any]) -> None:
    """Each address goes with its mode, and a static one needs all of them."""
    if (interface["name"] is None) == (interface["mac"] is None):
        raise ValueError("interface: write its name or its mac, one of them.")
    for mode, parts in (("ip_mode", ("ip", "gateway")), ("ipv6_mode", ("ipv6", "ipv6_gateway"))):
        given = [part for part in parts if interface[part] is not None]
        if interface[mode] == "static" and (len(given) < len(parts) or not interface[parts[0]]):
            raise ValueError(f"interface: {mode} static needs {parts[0]} and {parts[1]}; an empty text stands for no gateway.")
        if interface[mode] != "static" and given:
            raise ValueError(f"interface.{given[0]} goes with {mode} static, and {mode} is {interface[mode] or 'not given'}.")
