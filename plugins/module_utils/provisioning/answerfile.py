# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answer files: what the installers of XCP-ng and XenServer read, and what is wrong with one.

The installers take what they know and ignore the rest, so that a misspelt element installs something else. Here everything
that the installer of a version would not read, or would read as something else than it says, is a mistake.
Source: answerfile.py of xenserver/host-installer (XenServer 8) and xcp-ng/host-installer (10.10.19.xcpng for 8.3, 8.2.1).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import NamedTuple
from xml.parsers import expat

VERSIONS = ("xcp-ng-8.2", "xcp-ng-8.3", "xenserver-8")
STAGES = ("installation-start", "packages-installed", "filesystem-populated", "installation-complete")
HASH = re.compile(r"\$(1|5|6|2[aby]|y)\$[./$A-Za-z0-9=,]{10,}")

Check = Callable[[str], str]  # of a text: why it is wrong, "" if it is not


class Mistake(NamedTuple):
    line: int
    text: str


class Node:
    """An element. `line` is where it begins."""

    def __init__(self, name: str, attributes: dict[str, str] | None = None, text: str = "", line: int = 0) -> None:
        self.name = name
        self.attributes = attributes or {}
        self.text = text
        self.line = line
        self.children: list[Node] = []

    def add(self, element: str, content: object = "", **attributes: object) -> Node:
        """A child; attributes that are None are left out, and _ stands for - in their names."""
        given = {key.replace("_", "-"): str(value) for key, value in attributes.items() if value is not None}
        child = Node(element, given, str(content))
        self.children.append(child)
        return child


class Element(NamedTuple):
    """What an element may have. `text` None means none."""

    text: Check | None = None
    attributes: dict[str, Check] = {}
    needed: tuple[str, ...] = ()  # attributes
    children: dict[str, Element] = {}
    many: bool = False
    required: bool = False


# ---- checks of texts

def any_text(text: str) -> str:
    return "" if text else "it is empty"


def one_of(*words: str) -> Check:
    return lambda text: "" if text in words else f"'{text}' is none of {', '.join(words)}"


def whole(first: int, last: int) -> Check:
    return lambda text: "" if text.isdigit() and first <= int(text) <= last else f"'{text}' is no number from {first} to {last}"


def like(pattern: str, what: str) -> Check:
    return lambda text: "" if re.fullmatch(pattern, text) else f"'{text}' is no {what}"


def address(version: int) -> Check:
    def check(text: str) -> str:
        try:
            return "" if ipaddress.ip_address(text).version == version else f"'{text}' is no IPv{version} address"
        except ValueError:
            return f"'{text}' is no IPv{version} address"

    return check


def netmask(text: str) -> str:
    try:
        return "" if "." in text and ipaddress.IPv4Network(f"0.0.0.0/{text}").prefixlen else f"'{text}' is no netmask"
    except ValueError:
        return f"'{text}' is no netmask; write it as 255.255.255.0"


def interface6(text: str) -> str:
    try:
        return "" if "/" in text and ipaddress.IPv6Interface(text) else f"'{text}' has no prefix; write it as fd00::5/64"
    except ValueError:
        return f"'{text}' is no IPv6 address with a prefix"


boolean = one_of("true", "false", "yes", "no", "1", "0")
mac = like(r"(?i)[0-9a-f]{2}(:[0-9a-f]{2}){5}", "MAC address")
disk = like(r"(/dev/)?[A-Za-z0-9][\w./:+@-]*|iscsi:\S+", "disk")
host_name = like(r"(?i)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*", "host name")
server = like(r"(?i)[a-z0-9]([a-z0-9.:-]*[a-z0-9])?", "server")
location = like(r"(https?|ftp|file|nfs)://\S+|[^\s:/]+:/\S*", "address: write http://..., nfs://server/path or server:/path")
zone = like(r"[A-Za-z_]+(/[A-Za-z0-9_+-]+)*", "time zone; write it as Europe/Berlin")


def _interface() -> Element:
    return Element(
        attributes={"name": like(r"eth\d+|[a-z][\w.-]*", "NIC"), "hwaddr": mac, "proto": one_of("static", "dhcp", "none"),
                    "protov6": one_of("static", "dhcp", "autoconf", "none"), "vlan": whole(1, 4094)},
        needed=("proto",), required=True,
        children={"ip": Element(address(4)), "ipaddr": Element(address(4)), "subnet-mask": Element(netmask),
                  "subnet": Element(netmask), "gateway": Element(address(4)), "ipv6": Element(interface6),
                  "gatewayv6": Element(address(6))})


def schema(version: str, operation: str) -> dict[str, Element]:
    """The elements that the installer of a version reads in an answer file for an operation: fresh, reinstall or upgrade."""
    xenserver = version == "xenserver-8"
    check: dict[str, Check] = {} if xenserver else {"repo-gpgcheck": boolean, "gpgcheck": boolean}
    media = Element(str, dict(type=one_of("local", "url", "nfs"), **(check if version == "xcp-ng-8.3" else {})), ("type",), many=True)
    script = Element(location, {"type": one_of("url", "nfs"), "stage": one_of(*STAGES)}, ("type", "stage"), many=True)
    known = {
        "source": media._replace(required=True), "driver-source": media, "script": script,
        "bootloader": Element(one_of("", "grub2"), {"location": one_of("mbr", "partition"), "write-boot-entry": boolean}),
        "ui-confirmation-prompt": Element(one_of("true")),
    }
    if operation == "upgrade":
        known["existing-installation"] = Element(
            disk, {"fs-type": one_of("ext3", "ext4")} if xenserver else {}, required=True)
    else:
        known.update({
            "primary-disk": Element(
                _disks, required=True,
                attributes=dict(
                    {"guest-storage": boolean, "gueststorage": boolean, "sr-at-end": boolean,
                     "preserve-first-partition": one_of("true", "yes", "false", "no", "if-utility")},
                    **({"swraid": boolean, "fs-type": one_of("ext3", "ext4")} if xenserver else {}))),
            "guest-disk": Element(disk, many=True), "admin-interface": _interface(),
            "root-password": Element(any_text, {"type": one_of("hash")}, ("type",)),
            "name-server": Element(_either(address(4), address(6)), many=True),
            "nameserver": Element(_either(address(4), address(6)), many=True),
            "hostname": Element(host_name), "timezone": Element(zone), "ntp-server": Element(server, many=True),
            "ntp-servers": Element(server, many=True), "keymap": Element(like(r"[\w.-]+", "keymap")),
            "service": Element(None, {"name": any_text, "state": one_of("enabled", "disabled")}, ("name", "state"), many=True),
        })
        if version != "xcp-ng-8.2":
            known["ntp"] = Element(None, {"source": one_of("dhcp", "default", "manual", "none")}, ("source",))
    if xenserver:
        driver = Element(any_text, {"name": any_text}, ("name",), many=True)
        known.update({"ssh-mode": Element(one_of("on", "off", "auto")),
                      "selected-multiversion-drivers": Element(None, children={"driver": driver})})
    else:
        known.update({
            "network-backend": Element(one_of("bridge", "openvswitch", "vswitch")),
            "fcoe-interface": Element(None, {"name": any_text, "hwaddr": mac}, many=True),
        })
        if operation != "upgrade":
            known["raid"] = Element(None, {"device": disk}, ("device",), {"disk": Element(disk, many=True)}, many=True)
    return known


def root_attributes(version: str) -> dict[str, Check]:
    known = {"mode": one_of("fresh", "reinstall", "upgrade"), "sr-type": one_of("lvm", "ext"), "srtype": one_of("lvm", "ext")}
    if version == "xcp-ng-8.2":
        known["netinstall-gpg-check"] = boolean
    elif version == "xcp-ng-8.3":
        known.update({"repo-gpgcheck": boolean, "gpgcheck": boolean})
    return known


def _either(*checks: Check) -> Check:
    return lambda text: "" if any(not check(text) for check in checks) else checks[0](text)


def _disks(text: str) -> str:
    """One disk, or, for XenServer's swraid, two with a comma between."""
    return next((why for why in map(disk, text.split(",")) if why), "")


# ---- reading and writing

def parse(text: str) -> Node:
    """The root element. Raises ValueError with the line for what is no XML."""
    parser = expat.ParserCreate()
    top = Node("")
    stack = [top]

    def start(name: str, attributes: dict[str, str]) -> None:
        node = Node(name, dict(attributes), line=parser.CurrentLineNumber)
        stack[-1].children.append(node)
        stack.append(node)

    def end(_name: str) -> None:
        stack[-1].text = stack[-1].text.strip()
        stack.pop()

    def data(more: str) -> None:
        stack[-1].text += more

    def refuse(*_args: object) -> None:
        raise ValueError(f"line {parser.CurrentLineNumber}: a document type; an answer file has none")

    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, data
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(text.encode("utf-8"), True)
    except expat.ExpatError as error:
        raise ValueError(f"line {error.lineno}: no XML: {expat.errors.messages[error.code]}") from None
    return top.children[0]


def rendered(root: Node) -> str:
    """XML text of an element with its children."""
    lines = ['<?xml version="1.0"?>']

    def write(node: Node, depth: int) -> None:
        words = "".join(f' {key}="{_escaped(value)}"' for key, value in node.attributes.items())
        head = f"{'  ' * depth}<{node.name}{words}"
        if node.children:
            lines.append(f"{head}>")
            for child in node.children:
                write(child, depth + 1)
            lines.append(f"{'  ' * depth}</{node.name}>")
        else:
            lines.append(f"{head}>{_escaped(node.text)}</{node.name}>" if node.text else f"{head}/>")

    write(root, 0)
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    for sign, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(sign, entity)
    return text


# ---- what is wrong

def mistakes(text: str, version: str) -> list[Mistake]:
    """All that is wrong with an answer file for the installer of a version, by line."""
    try:
        root = parse(text)
    except ValueError as error:
        line, _colon, why = str(error).partition(": ")
        return [Mistake(int(line.split()[1]), why)]
    if root.name != "installation":
        return [Mistake(root.line, f"<{root.name}> is not <installation>, the only root element that installs")]
    operation = root.attributes.get("mode", "fresh")
    found = _attributes(root, root_attributes(version), ())
    found += _content(root, schema(version, operation), version)
    if operation != "upgrade":
        found += _together(root, version)
    return sorted(found)


def _attributes(node: Node, known: dict[str, Check], needed: tuple[str, ...]) -> list[Mistake]:
    found = [Mistake(node.line, f"<{node.name}> needs {name}=") for name in needed if name not in node.attributes]
    for name, value in node.attributes.items():
        if name not in known:
            found.append(Mistake(node.line, f"<{node.name}> has no {name}= that the installer reads{_hint(name, known)}"))
        elif known[name](value):
            found.append(Mistake(node.line, f"{name}= of <{node.name}>: {known[name](value)}"))
    return found


def _content(node: Node, known: dict[str, Element], version: str) -> list[Mistake]:
    found = [Mistake(node.line, f"<{node.name}> needs <{name}>") for name, element in known.items()
             if element.required and not children(node, name)]
    seen = set()
    for child in node.children:
        element = known.get(child.name)
        if element is None:
            found.append(Mistake(child.line, f"<{child.name}> is nothing that the installer of {version} reads"
                                             f"{_hint(child.name, known)}"))
            continue
        if child.name in seen and not element.many:
            found.append(Mistake(child.line, f"<{child.name}> is there twice; only the first one would count"))
        seen.add(child.name)
        found += _attributes(child, element.attributes, element.needed)
        why = element.text(child.text) if element.text else "it has a text, which is not read" if child.text else ""
        if element.text is str:  # an address, or none for local media
            local = child.attributes.get("type") == "local"
            why = "local media have no address" if local and child.text else "" if local else location(child.text)
        if why:
            found.append(Mistake(child.line, f"<{child.name}>: {why}"))
        found += _content(child, element.children, version)
    return found


def children(node: Node, *names: str) -> list[Node]:
    return [child for child in node.children if child.name in names]


def _hint(name: str, known: object) -> str:
    import difflib

    close = difflib.get_close_matches(name, list(known), 1)  # type: ignore[call-overload]
    return f"; {close[0]}?" if close else ""


def _together(root: Node, version: str) -> list[Mistake]:
    """What is wrong only with regard to something else."""
    found: list[Mistake] = []
    if not {"sr-type", "srtype"} & set(root.attributes):
        found.append(Mistake(root.line, "sr-type= is missing; its default is not the same in all versions: lvm or ext"))
    for node in children(root, "admin-interface"):
        found += _addressed(node)
    for node in children(root, "root-password"):
        if node.attributes.get("type") == "hash" and not HASH.fullmatch(node.text):
            found.append(Mistake(node.line, "<root-password>: its text is no hash of crypt(3)"))
    for node in children(root, "primary-disk"):
        pair = node.text.split(",")
        raid = node.attributes.get("swraid", "false") in ("true", "yes", "1")
        if raid and (len(pair) != 2 or pair[0] == pair[1]):
            found.append(Mistake(node.line, "<primary-disk>: swraid= needs exactly two disks, of which one may be 'missing'"))
        if not raid and len(pair) > 1:
            found.append(Mistake(node.line, "<primary-disk>: only one disk" + (" without swraid=" if version == "xenserver-8" else "")))
    for node in children(root, "raid"):
        disks = [child.text for child in children(node, "disk")]
        if len(disks) != 2 or disks[0] == disks[1]:
            found.append(Mistake(node.line, "<raid> needs two different disks"))
    for node in children(root, "fcoe-interface"):
        if not node.attributes:
            found.append(Mistake(node.line, "<fcoe-interface> needs name= or hwaddr="))
    servers, ntp = children(root, "ntp-server", "ntp-servers"), children(root, "ntp")
    source = ntp[0].attributes.get("source") if ntp else None
    if servers and ntp and source != "manual":
        found.append(Mistake(servers[0].line, f"<{servers[0].name}> goes with <ntp source=\"manual\"/> only"))
    if source == "manual" and not servers:
        found.append(Mistake(ntp[0].line, "<ntp source=\"manual\"/> needs an <ntp-server>"))
    names = [node.attributes.get("name") for node in children(root, "service")]
    found += [Mistake(node.line, f"service {node.attributes.get('name')} is there twice")
              for index, node in enumerate(children(root, "service")) if node.attributes.get("name") in names[:index]]
    return found


def _addressed(node: Node) -> list[Mistake]:
    found: list[Mistake] = []
    given = set(node.attributes)
    if not given & {"name", "hwaddr"}:
        found.append(Mistake(node.line, "<admin-interface> needs name= or hwaddr="))
    if {"name", "hwaddr"} <= given:
        found.append(Mistake(node.line, "<admin-interface> has name= and hwaddr=; only one of them would count"))
    four = [children(node, "ip", "ipaddr"), children(node, "subnet-mask", "subnet"), children(node, "gateway")]
    six = [children(node, "ipv6"), children(node, "gatewayv6")]
    for key, parts, names in (("proto", four, "<ipaddr>, <subnet> and <gateway>"), ("protov6", six, "<ipv6> and <gatewayv6>")):
        if node.attributes.get(key) == "static":
            if not all(len(part) == 1 for part in parts):
                found.append(Mistake(node.line, f"<admin-interface> with {key}=\"static\" needs {names}, each once"))
        elif any(parts):
            found.append(Mistake(next(part for part in parts if part)[0].line, f"an address goes with {key}=\"static\" only"))
    if node.attributes.get("proto") == "none" and node.attributes.get("protov6", "none") == "none":
        found.append(Mistake(node.line, "<admin-interface> needs IPv4 or IPv6"))
    if all(len(part) == 1 for part in four):
        ip, mask, gateway = (part[0].text for part in four)
        if not address(4)(ip) and not netmask(mask) and not address(4)(gateway):
            network = ipaddress.IPv4Interface(f"{ip}/{mask}").network
            if ipaddress.IPv4Address(gateway) not in network:
                found.append(Mistake(four[2][0].line, f"gateway {gateway} is not in {network}"))
            elif gateway == ip:
                found.append(Mistake(four[2][0].line, "the gateway is the host itself"))
            if ipaddress.IPv4Address(ip) in (network.network_address, network.broadcast_address):
                found.append(Mistake(four[0][0].line, f"{ip} is no address of a host in {network}"))
    return found
