# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the installers read an answer file: an independent reading of their rules, which uses nothing of the collection.

What the parsers take as something else than it says comes out here as they take it: a text in CDATA is empty, a boolean other
than yes and true is false, an unknown protocol is none, and what they do not look for is not there.
"""

from __future__ import annotations

import shlex
import xml.dom.minidom
from typing import Any
from urllib.parse import urlsplit
from xml.dom.minidom import Element

X82, X83, XS8, XS9 = "xcp-ng-8.2", "xcp-ng-8.3", "xenserver-8", "xenserver-9"
STAGES_RUN = {"installation-start", "filesystem-populated", "installation-complete"}


class Stops(Exception):
    """The installer would stop before it has written anything."""


def printed(made: str) -> str:
    """The answer file that is made, or the one that the script prints which is made in its place."""
    if not made.startswith("#!"):
        return made
    text: str = shlex.split(made.partition("\nprintf '%s' ")[2])[0]
    return text


def inside(element: Element, *names: str) -> list[Element]:
    return [node for name in names for node in element.getElementsByTagName(name)]


def one(element: Element, *names: str) -> Element:
    found = inside(element, *names)
    if not found:
        raise Stops(f"no {names[0]}")
    return found[0]


def text(element: Element) -> str:
    return "".join(child.data for child in element.childNodes if child.nodeType == child.TEXT_NODE).strip()


def attribute(element: Element, *names: str, default: str | None = "") -> str:
    """Without a default, it has to be there; an empty one is not there."""
    for name in names:
        if element.getAttribute(name):
            return str(element.getAttribute(name))
    if default is None:
        raise Stops(f"no {names[0]}=")
    return default


def flag(element: Element, *names: str, default: bool) -> bool:
    given = attribute(element, *names).lower()
    return given in ("yes", "true") if given else default


def among(value: str, *allowed: str) -> str:
    if value not in allowed:
        raise Stops(f"{value} is none of {allowed}")
    return value


def path(name: str) -> str:
    if name.startswith("iscsi:"):
        raise Stops("the function that reads iscsi: is gone")
    return name if name.startswith("/dev/") else f"/dev/{name}"


def read(content: str, version: str) -> dict[str, Any]:
    """What the installer of a version would do."""
    root = xml.dom.minidom.parseString(content.encode()).documentElement
    among(root.tagName, "installation", "upgrade", "restore")
    seen: dict[str, Any] = {
        "scripts": _scripts(root, version),
        "drivers": [_medium(node) for node in inside(root, "driver-source")],
        "asks": any(text(node) for node in inside(root, "ui-confirmation-prompt")[:1]),
    }
    if version == XS9:
        seen["variants"] = [(node.getAttribute("name"), node.firstChild.nodeValue if node.firstChild else "")
                            for chosen in inside(root, "selected-multiversion-drivers")[:1] for node in inside(chosen, "driver")]
    else:
        seen["fcoe"] = [attribute(node, "name", "hwaddr", default=None) for node in inside(root, "fcoe-interface")]
    if root.tagName == "restore":
        backups = inside(root, "backup-disk")
        return {**seen, "mode": "restore", "backup": path(text(backups[0])) if len(backups) == 1 else None}
    seen["mode"] = among(attribute(root, "mode", default="fresh"), "fresh", "reinstall", "upgrade")
    seen["sources"] = [_medium(node, version) for node in inside(root, "source")] or [one(root, "source")]
    if version == X82:
        seen["gpg"] = flag(root, "netinstall-gpg-check", default=True)
    elif version == X83:
        seen["gpg"] = (flag(root, "repo-gpgcheck", default=True), flag(root, "gpgcheck", default=True))
    for node in inside(root, "bootloader")[:1]:
        among(text(node), "", "grub2")
        seen["boot"] = (among(attribute(node, "location", default="mbr"), "mbr", "partition"), flag(node, "write-boot-entry", default=True))
    if version != XS9:
        backend = [text(node) for node in inside(root, "network-backend")[:1]]
        seen["backend"] = {"bridge": "bridge"}.get(backend[0] if backend else "", "openvswitch")
    if seen["mode"] == "upgrade":
        seen["upgraded"] = path(text(one(root, "existing-installation")))
        if version != XS9 and len(inside(root, "primary-disk")) == 1:
            seen["upgraded"] = path(text(one(root, "primary-disk")))
        return seen
    return {**seen, **_disks(root, version), **_interface(root), **_settings(root, version)}


def _scripts(root: Element, version: str) -> list[tuple[str, str]]:
    """Those that are ever run, with their stage."""
    def address(node: Element, kind: str) -> str:
        given = text(node)
        return f"nfs://{given}" if kind == "nfs" and not given.startswith("nfs://") else given

    found = [(attribute(node, "stage", default=None).lower(), address(node, attribute(node, "type", default=None).lower()))
             for node in inside(root, "script")]
    for old, stage in (("post-install-script", "filesystem-populated"), ("install-failed-script", "installation-complete")):
        nodes = inside(root, old)
        if len(nodes) == 1:
            found.append((stage, address(nodes[0], attribute(nodes[0], "type").lower())))
    run = STAGES_RUN | ({"packages-installed"} if version == XS9 else set())
    if root.tagName == "restore":
        run = {"installation-start", "installation-complete"}
    for stage, url in found:
        if stage in run and version in (X82, XS9) and url.startswith("http") and "@" in urlsplit(url).netloc:
            raise Stops(f"{url}: it cannot log in")
        if stage in run and not url.startswith(("http:", "https:", "ftp:", "file:")):
            parts = url.split(":")
            if len(parts) != 3 or parts[0] != "nfs" or not parts[1].startswith("//") or not parts[2].startswith("/"):
                raise Stops(f"{url} cannot be fetched")
    return [(stage, url) for stage, url in found if stage in run]


def _medium(node: Element, version: str = "") -> tuple[str, ...]:
    kind, address = among(attribute(node, "type", default=None), "local", "url", "nfs"), text(node)
    if kind == "local":
        address = ""
    if kind == "url" and address.startswith("nfs://"):
        kind, address = "nfs", address[6:]
    if kind == "url" and not address.startswith(("http://", "https://", "ftp://", "file://")):
        raise Stops(f"{address} cannot be fetched")
    if kind == "nfs" and (":/" not in address or address.startswith("nfs:")):
        raise Stops(f"{address} cannot be mounted")
    checks = tuple(name for name in ("repo-gpgcheck", "gpgcheck") if version == X83 and not flag(node, name, default=True))
    return (kind, address, *checks)


def _disks(root: Element, version: str) -> dict[str, Any]:
    primary = one(root, "primary-disk")
    keep = among(attribute(primary, "preserve-first-partition", default="if-utility"), "true", "yes", "false", "no", "if-utility")
    names, mirrored, arrays = [text(primary)], False, {}
    if version in (XS8, XS9):
        mirrored = flag(primary, "swraid", default=False)
        if mirrored:
            names = text(primary).split(",")
            if len(names) != 2 or names.count("missing") > 1:
                raise Stops("swraid")
            names.remove("missing") if "missing" in names else None
    else:
        arrays = {path(attribute(node, "device", default=None)): [path(text(disk)) for disk in inside(node, "disk")]
                  for node in inside(root, "raid")}
        if version == X82 and inside(root, "zap-utility-partitions"):
            keep = "false"
    disks = [path(name) for name in names]
    local = set(disks if flag(primary, "guest-storage", "gueststorage", default=True) else [])
    local |= {path(text(node)) for node in inside(root, "guest-disk")}
    if version == X83 and local & set(arrays):
        raise Stops("the array's block size is asked for before it is made")
    known = ("lvm", "ext", {X83: "largeblock"}.get(version, "xfs")) if version != X82 else ("lvm", "ext")
    return {
        "primary": disks, "swraid": mirrored, "arrays": arrays, "local": local, "keep": {"yes": "true", "no": "false"}.get(keep, keep),
        "sr": among(attribute(root, "sr-type", "srtype", default="ext" if version == X83 else "lvm"), *known),
        "partitions": [found for chosen in inside(root, "initial-partitions")[:1] for node in inside(chosen, "partition")
                       if (found := _partition(node))] if version == X82 else [],
        "at_end": flag(primary, "sr-at-end", default=True),
        **({"file_system": among(attribute(primary, "fs-type", default="ext4"), "ext3", "ext4")} if version == XS9 else {}),
    }


def _partition(node: Element) -> tuple[int, ...] | None:
    """What is no number is left out without a word. A leading zero stands for an octal number: this installer's Python is 2."""
    try:
        given = [attribute(node, name, default=None) for name in ("number", "size", "id")]
        return tuple(int(text, 8 if len(text) > 1 and text[0] == "0" and text.isdigit() else 0) for text in given)
    except (Stops, ValueError):
        return None


def _interface(root: Element) -> dict[str, Any]:
    node = one(root, "admin-interface")
    name = attribute(node, "name")
    card = name or attribute(node, "hwaddr").lower()
    if not card:
        raise Stops("neither name nor hwaddr")
    four: tuple[str, ...] = ("none",)
    proto = attribute(node, "proto", default=None)
    if proto == "static":
        parts = [text(one(node, *names)) for names in (("ip", "ipaddr"), ("subnet-mask", "subnet"), ("gateway",))]
        if not parts[0] or not parts[1]:
            raise Stops("no address")
        four = ("static", *parts)
    elif proto == "dhcp":
        four = ("dhcp",)
    six: tuple[str, ...] = ("none",)
    proto6 = attribute(node, "protov6")
    if proto6 == "static":
        six = ("static", text(one(node, "ipv6")), text(one(node, "gatewayv6")))
    elif proto6 in ("dhcp", "autoconf"):
        six = (proto6,)
    if four == six == ("none",):
        raise Stops("no address at all")
    vlan = attribute(node, "vlan")
    if vlan and not (vlan.isdigit() and 1 <= int(vlan) < 4095):
        raise Stops("vlan")
    return {"card": card, "ipv4": four, "ipv6": six, "vlan": int(vlan) if vlan else None}


def _settings(root: Element, version: str) -> dict[str, Any]:
    def last(name: str, default: str | None) -> str | None:
        found = inside(root, name)
        return text(found[0]) if found else default

    password: tuple[str, str] = ("hash", "!!")
    for node in inside(root, "root-password")[:1]:
        password = (among(attribute(node, "type", default="plaintext"), "plaintext", "hash"), text(node))
    servers = [text(node) for node in inside(root, "ntp-server", "ntp-servers")]
    method = "manual" if servers else "dhcp" if attribute(one(root, "admin-interface"), "proto") == "dhcp" else "default"
    if version == X82:
        method = "manual" if servers else "default"
    elif inside(root, "ntp"):
        if len(inside(root, "ntp")) > 1:
            raise Stops("ntp")
        method = among(attribute(one(root, "ntp"), "source", default=None), "dhcp", "default", "manual", "none")
        if method == "none":
            raise Stops("no local time")
        if servers and method != "manual":
            raise Stops("ntp-server")
    services: dict[str, str] = {}
    for node in inside(root, "service"):
        name = attribute(node, "name", default=None)
        if name in services:
            raise Stops("service")
        services[name] = among(attribute(node, "state", default=None), "enabled", "disabled")
    ssh = (last("ssh-mode", "") or "").lower() if version == XS9 else ""
    return {
        "password": password, "dns": [text(node) for node in inside(root, "name-server", "nameserver")],
        "hostname": last("hostname", None), "timezone": last("timezone", "Etc/UTC"), "keymap": last("keymap", None) or "us",
        "time": (method, servers), "services": services, "ssh": ssh if ssh in ("on", "off", "auto") else None,
    }
