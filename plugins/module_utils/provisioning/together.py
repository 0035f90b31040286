# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What in an answer file is wrong, or worth a warning, only with regard to something else in it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from . import values as v
from .document import Node
from .table import SWRAID, X82, X83, XS9

# util.py, fetchFile: 8.2 opens the address as it is, with the password in it; the one after XenServer 8 uses what it has not imported.
NO_LOGIN = (X82, XS9)


class Found(NamedTuple):
    node: Node
    text: str
    warning: bool = False


def together(root: Node, version: str, operation: str) -> Iterator[Found]:
    yield from _locations(root, version)
    yield from _fcoe(root)
    if operation == "upgrade":
        yield from _upgraded(root)
    if operation != "fresh":
        return
    if not {"sr-type", "srtype"} & set(root.attributes):
        yield Found(root, "sr-type= is missing; its default is not the same in all versions: lvm or ext")
    yield from _disks(root, version)
    for node in root.all("admin-interface"):
        yield from _addresses(node)
    yield from _names(root)
    yield from _time(root, version)


def _locations(root: Node, version: str) -> Iterator[Found]:
    scripts = ("script", "post-install-script", "install-failed-script")
    for node in root.all("source", "driver-source", *scripts):
        script, kind = node.name in scripts, node.attributes.get("type", "url")
        kind = kind.lower() if script else kind
        if kind == "local" and not script:
            why = "local media have no address; it would not be read" if node.text else ""
        else:
            why = v.locations(kind, script=script, login=version not in NO_LOGIN)(node.text) if kind in ("url", "nfs") else ""
        if why:
            yield Found(node, f"<{node.name}>: {why}")


def _upgraded(root: Node) -> Iterator[Found]:
    existing = [v.device(node.text) for node in root.all("existing-installation")]
    for node in root.all("primary-disk"):
        if existing and v.device(node.text) != existing[0]:
            yield Found(node, f"<primary-disk>: {node.text} would be upgraded in place of <existing-installation>; leave it out")


def _fcoe(root: Node) -> Iterator[Found]:
    for node in root.all("fcoe-interface"):
        if len({"name", "hwaddr"} & set(node.attributes)) != 1:
            yield Found(node, "<fcoe-interface> needs name= or hwaddr=, and only one of them counts")


def _disks(root: Node, version: str) -> Iterator[Found]:
    """Each disk is used once, and an array by something."""
    used: dict[str, str] = {}

    def use(node: Node, name: str, what: str) -> Iterator[Found]:
        name = v.device(name)
        if name in used:
            yield Found(node, f"<{node.name}>: {name} is {used[name]} already")
        used[name] = what

    arrays = {}
    for raid in root.all("raid") if version not in SWRAID else []:
        name = v.device(raid.attributes.get("device", ""))
        if name in arrays:
            yield Found(raid, f"<raid>: {name} is there twice")
        arrays[name] = raid
        yield Found(raid, f"<raid>: if the machine has an array {name} already, the installer makes none, and installs to that one",
                    warning=True)
        if len(raid.all("disk")) < 2:
            yield Found(raid, "<raid> needs two different disks, or more")
        for disk in raid.all("disk"):
            yield from use(disk, disk.text, f"in array {name}")
    for node in root.all("primary-disk"):
        names, swraid = node.text.split(","), version in SWRAID and node.attributes.get("swraid", "").lower() in v.TRUE
        if swraid and (len(names) != 2 or names.count("missing") > 1):
            yield Found(node, "<primary-disk>: swraid= needs exactly two disks, of which one may be 'missing'")
        if not swraid and len(names) > 1:
            yield Found(node, f"<primary-disk>: only one disk{' without swraid=' if version in SWRAID else '; <raid> makes one of two'}")
        if swraid and "missing" in names:
            yield Found(node, "<primary-disk>: the RAID1 has one disk until another one is added", warning=True)
        for name in names:
            if not (swraid and name == "missing"):
                yield from use(node, name, "the disk that is installed to")
    for node in root.all("guest-disk"):
        yield from use(node, node.text, "used")
    for name, raid in arrays.items():
        if name not in used:
            yield Found(raid, f"<raid>: nothing is installed to {name}; name it in <primary-disk>")
    if version == X83:
        yield from _early(root, arrays)
    for node in root.all("primary-disk"):
        if v.device(node.text) in arrays and node.attributes.get("preserve-first-partition") in v.TRUE:
            yield Found(node, "<primary-disk>: the installer wipes the disks of which it makes an array, with their first partitions; "
                              "leave out preserve-first-partition=")
    zapped = root.all("zap-utility-partitions")
    if zapped and any("preserve-first-partition" in node.attributes for node in root.all("primary-disk")):
        yield Found(zapped[0], "<zap-utility-partitions> overrides preserve-first-partition=; write only the latter")


def _early(root: Node, arrays: Iterable[str]) -> Iterator[Found]:
    """XCP-ng 8.3 looks for the block size of the local SR's disks when it reads the file, which is before it makes arrays."""
    primary = [node for node in root.all("primary-disk")
               if (node.attributes.get("guest-storage") or node.attributes.get("gueststorage") or "true").lower() in v.TRUE]
    for node in primary + root.all("guest-disk"):
        if v.device(node.text) in arrays:
            yield Found(node, f"<{node.name}>: the installer of {X83} wants {v.device(node.text)} for the local SR before it has made "
                              'the array, and stops; write guest-storage="false", and make the local SR later')


def _addresses(node: Node) -> Iterator[Found]:
    given = {"name", "hwaddr"} & set(node.attributes)
    if not given:
        yield Found(node, "<admin-interface> needs name= or hwaddr=")
    if len(given) == 2:
        yield Found(node, "<admin-interface> has name= and hwaddr=; only one of them would count")
    four = [node.all("ipaddr", "ip"), node.all("subnet", "subnet-mask"), node.all("gateway")]
    six = [node.all("ipv6"), node.all("gatewayv6")]
    proto, proto6 = node.attributes.get("proto"), node.attributes.get("protov6", "none")
    for key, mode, parts, names in (("proto", proto, four, "<ipaddr>, <subnet> and <gateway>"),
                                    ("protov6", proto6, six, "<ipv6> and <gatewayv6>")):
        if mode == "static":
            if not all(len(part) == 1 for part in parts):
                yield Found(node, f'<admin-interface> with {key}="static" needs {names}, each once; the gateway may be empty')
        elif any(parts):
            first, *_others = (each for part in parts for each in part)
            yield Found(first, f'<{first.name}> goes with {key}="static" only')
    if proto == "none" and proto6 == "none":
        yield Found(node, "<admin-interface> needs IPv4 or IPv6")
    if all(len(part) == 1 for part in four):
        own, mask, gateway = (part[0] for part in four)
        if not v.address(4)(own.text) and not v.netmask(mask.text):
            yield from _gateway(own, ipaddress.ip_interface(f"{own.text}/{mask.text}"), gateway)
    if all(len(part) == 1 for part in six) and not v.interface6(six[0][0].text):
        yield from _gateway(six[0][0], ipaddress.ip_interface(six[0][0].text), six[1][0])


def _gateway(own: Node, interface: ipaddress.IPv4Interface | ipaddress.IPv6Interface, node: Node) -> Iterator[Found]:
    network = interface.network
    ends = {network.network_address}
    if interface.version == 4:
        ends.add(network.broadcast_address)
    hosts = network.max_prefixlen - network.prefixlen > 1  # without network's and broadcast address there are only hosts
    if hosts and interface.ip in ends:
        yield Found(own, f"<{own.name}>: {interface.ip} is not the address of a host in {network}")
    if not node.text or v.address(interface.version)(node.text):
        return
    gateway = ipaddress.ip_address(node.text)
    if gateway.version == 6 and gateway.is_link_local:
        return
    if gateway == interface.ip:
        yield Found(node, f"<{node.name}>: {gateway} is the host itself")
    elif gateway not in network:
        yield Found(node, f"<{node.name}>: {gateway} is not in {network}")
    elif hosts and gateway in ends:
        yield Found(node, f"<{node.name}>: {gateway} is not the address of a host in {network}")


def _names(root: Node) -> Iterator[Found]:
    seen = set()
    for node in root.all("service"):
        name = node.attributes.get("name")
        if name in seen:
            yield Found(node, f"service {name} is there twice")
        seen.add(name)
    contrary = {"on": "disabled", "off": "enabled"}
    for node in root.all("ssh-mode"):
        sshd = [each for each in root.all("service") if each.attributes.get("name") == "sshd"]
        if sshd and sshd[0].attributes.get("state") == contrary.get(node.text.lower()):
            state = contrary[node.text.lower()]
            yield Found(node, f"<ssh-mode>: {node.text} overrides that service sshd is {state}; write only one of them")
    servers = root.all("name-server", "nameserver")
    if len(servers) > 3:
        yield Found(servers[3], f"<{servers[3].name}>: hosts ask the first three name servers only", warning=True)
    own = {part.text.partition("/")[0] for node in root.all("admin-interface") for part in node.all("ipaddr", "ip", "ipv6")}
    for node in (*servers, *root.all("ntp-server", "ntp-servers")):
        if node.text in own:
            yield Found(node, f"<{node.name}>: {node.text} is the host itself")
    if servers and all(node.attributes.get("proto") != "static" for node in root.all("admin-interface")):
        yield Found(servers[0], f"<{servers[0].name}> counts with a static IPv4 address only; else those of DHCP do", warning=True)


def _time(root: Node, version: str) -> Iterator[Found]:
    servers, ntp = root.all("ntp-server", "ntp-servers"), root.all("ntp")
    source = ntp[0].attributes.get("source") if ntp and version != X82 else None
    if servers and source not in (None, "manual"):
        yield Found(servers[0], f'<{servers[0].name}> goes with <ntp source="manual"/> only')
    if source == "manual" and not servers:
        yield Found(ntp[0], '<ntp source="manual"/> needs an <ntp-server>')
    if source == "dhcp" and all(node.attributes.get("proto") != "dhcp" for node in root.all("admin-interface")):
        yield Found(ntp[0], '<ntp source="dhcp"/> without an address of DHCP: there will be no time servers', warning=True)
