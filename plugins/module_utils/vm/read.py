# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading guests and what belongs to them: one call a class, however many guests."""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import Ambiguous, NotFound
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.records import NULL, column, quote, records
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.session import Session

Record = dict[str, Any]
Records = dict[str, Record]

# From this many terms on, a class is read whole instead: the expression would cost the coordinator more than the records.
MAX_TERMS = 200

GUEST, TEMPLATE, SNAPSHOT, CONTROL_DOMAIN = "guest", "template", "snapshot", "control domain"


def select(
    session: Session, cls: str, *, refs: Iterable[str] = (), names: Iterable[str] = (), labels: Iterable[str] = (),
    **links: Iterable[str],
) -> Records:
    """Records of a class with one of `refs`, with one of `names` (name or uuid), one of `labels` (name only), or whose field
    has one of the given values.

    One call; none where nothing is asked for.
    """
    names = set(names)
    wanted = {"ref": {ref for ref in refs if ref != NULL}, "name_label": names | set(labels), "uuid": names}
    wanted |= {key: set(value) for key, value in links.items()}
    terms = [(key, value) for key, values in wanted.items() for value in sorted(values)]
    if not terms:
        return {}
    if len(terms) > MAX_TERMS or any(quote(value) is None for _key, value in terms):
        found = records(session, cls)
        return {ref: item for ref, item in found.items() if any(item.get(key) in values for key, values in wanted.items())}
    literals = (f"{column(cls, '_ref' if key == 'ref' else key)}={quote(value)}" for key, value in terms)
    return records(session, cls, " or ".join(f"({literal})" for literal in literals))


def kind(vm: Mapping[str, Any]) -> str:
    """What a record of class VM is. A snapshot is a template too in XAPI, so that comes second."""
    if vm["is_control_domain"]:
        return CONTROL_DOMAIN
    if vm["is_a_snapshot"]:
        return SNAPSHOT
    return TEMPLATE if vm["is_a_template"] else GUEST


def seek(found: Records, cls: str, name: str, *, among: Iterable[str] | None = None) -> Record | None:
    """The record that a name or uuid means, None where there is none; uuid wins. `among`: kinds of VM that may answer.

    `cls` is what it is called in Ambiguous, which lists the candidates.
    """
    fitting = [item for item in found.values()
               if name in (item["uuid"], item["name_label"]) and (among is None or kind(item) in among)]
    fitting = [item for item in fitting if item["uuid"] == name] or fitting
    if len(fitting) > 1:
        raise Ambiguous(cls, name, sorted(fitting, key=lambda item: str(item["uuid"])))
    return fitting[0] if fitting else None


def pick(found: Records, cls: str, name: str, *, among: Iterable[str] | None = None) -> Record:
    """Like `seek`, but NotFound where there is none."""
    item = seek(found, cls, name, among=among)
    if item is None:
        others = sorted({kind(other) for other in found.values() if among and name in (other["uuid"], other["name_label"])})
        raise NotFound(cls, name, f"'{name}' is a {others[0]}." if others else "")
    return item


@dataclass
class World:
    """Guests and all that their views mention, each class by reference."""

    vms: Records = field(default_factory=dict)
    vbds: Records = field(default_factory=dict)
    vifs: Records = field(default_factory=dict)
    vdis: Records = field(default_factory=dict)
    srs: Records = field(default_factory=dict)
    networks: Records = field(default_factory=dict)
    hosts: Records = field(default_factory=dict)
    guest_metrics: Records = field(default_factory=dict)
    pbds: Records = field(default_factory=dict)
    pool: Record | None = None
    room: Records | None = None  # hosts with their free memory, once somebody has asked for it

    def __post_init__(self) -> None:
        self._devices: dict[str, dict[str, list[Record]]] = {}

    def devices(self, cls: str, vm: str) -> list[Record]:
        """The VBDs or VIFs of a VM, by device number."""
        if cls not in self._devices:
            by_vm = defaultdict(list)
            for record in (self.vbds if cls == "VBD" else self.vifs).values():
                by_vm[record["VM"]].append(record)
            self._devices[cls] = by_vm
        return sorted(self._devices[cls].get(vm, []), key=device_number)

    def name(self, cls: str, ref: str) -> str | None:
        """The name of an SR, network or host; None where there is none (any more)."""
        table = {"SR": self.srs, "network": self.networks, "host": self.hosts}[cls]
        return table[ref]["name_label"] if ref in table else None


def device_number(device: Mapping[str, Any]) -> int:
    """The position of a VBD or VIF; -1 where XAPI holds something that is none. `xvdb`, `hdb` and `sdb` are 1."""
    text = str(device.get("userdevice", device.get("device", "")))
    if text.isdigit():
        return int(text)
    if len(text) == len("xvda") - (text[:2] in ("hd", "sd")) and text[:-1] in ("xvd", "hd", "sd") and text[-1].islower():
        return ord(text[-1]) - ord("a")
    return -1


@dataclass
class Mentioned:
    """Names and uuids in the user's options, to be read along with the guests."""

    srs: set[str] = field(default_factory=set)
    networks: set[str] = field(default_factory=set)
    vdis: set[str] = field(default_factory=set)
    hosts: set[str] = field(default_factory=set)
    marks: set[str] = field(default_factory=set)  # names that VDIs have while they are made
    pool: bool = False
    pbds: bool = False


def read_world(
    session: Session, vms: Records, mentioned: Mentioned | None = None, *, whole: bool = False, running: bool = False
) -> World:
    """Read what belongs to `vms` and what the options mention: at most nine calls.

    `whole`: `vms` are most of the pool's, so read their classes whole. `running`: hosts that they run on, guest metrics.
    """
    mentioned = mentioned or Mentioned()
    world = World(vms=vms)
    if whole:
        world.vbds, world.vifs = records(session, "VBD"), records(session, "VIF")
    else:
        world.vbds = select(session, "VBD", VM=vms)
        world.vifs = select(session, "VIF", VM=vms)
    disks = {vbd["VDI"] for vbd in world.vbds.values()}
    world.vdis = records(session, "VDI") if whole else select(session, "VDI", refs=disks, names=mentioned.vdis, labels=mentioned.marks)
    hosts = {vm["affinity"] for vm in vms.values()}
    if running:
        hosts |= {vm["resident_on"] for vm in vms.values()}
        metrics = {vm["guest_metrics"] for vm in vms.values()}
        world.guest_metrics = records(session, "VM_guest_metrics") if whole else select(session, "VM_guest_metrics", refs=metrics)
    if mentioned.pool:
        world.pool = next(iter(records(session, "pool").values()))
    srs = {vdi["SR"] for vdi in world.vdis.values()}
    if world.pool:
        srs.add(world.pool["default_SR"])
    world.srs = select(session, "SR", refs=srs, names=mentioned.srs)
    if mentioned.pbds:
        world.pbds = select(session, "PBD", SR=world.srs)
    networks = {vif["network"] for vif in world.vifs.values()}
    world.networks = select(session, "network", refs=networks, names=mentioned.networks)
    world.hosts = select(session, "host", refs=hosts, names=mentioned.hosts)
    return world
