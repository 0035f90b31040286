# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts with legs of mirrored guests: what must not be taken away with them.

XAPI knows which legs lie where, as VDIs whose location is a path of a leg. Whether the other half of a mirror has all data, only nodes
and guests know: that comes by the option `mirrors`, and without it a host with legs stays.
"""
from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.mirror import halves
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.names import NO_LEGS, SR_HOST, from_path, path
from ansible_collections.nobloat.xen.plugins.module_utils.module import Refused, XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.vm.read import Record, Records, select

MIRRORS_SPEC: dict[str, dict[str, Any]] = {"mirrors": {"type": "dict"}}
FRESH = 600  # seconds for which what was seen of mirrors is believed
LOOK = ("Look at the mirrors with role nobloat.xen.mirror_facts, tasks_from status, right before this task, and give it "
        "mirrors: \"{{ mirror_facts_status }}\"; playbook nobloat.xen.rolling_update does so")


class Legs:
    """The legs that a host has or may have. `mirrors`: what was seen of mirrors, the result of filter mirror_status."""

    def __init__(self, host: Record, hosts: Iterable[Record], srs: Records, vdis: Records, mirrors: Mapping[str, Any] | None) -> None:
        self.host, self.hosts, self.mirrors = host, list(hosts), mirrors
        notes: dict[str, str] = {}
        self.by_node: dict[str, list[str]] = {}  # what XAPI knows
        self.used = {vdi["location"] for vdi in vdis.values() if vdi["VBDs"]}
        for vdi in vdis.values():
            node, leg = from_path(vdi["location"]) or ("", "")
            if node and not leg.startswith(NO_LEGS):
                self.by_node.setdefault(node, []).append(leg)
                notes[node] = srs[vdi["SR"]]["other_config"].get(SR_HOST, node)
        seen = {each["name"]: each["host"] for each in mirrors["nodes"]} if mirrors else {}
        owners = {node: self._owner(name) for node, name in {**notes, **seen}.items()}
        self.nodes = sorted(node for node, owner in owners.items() if owner == host["ref"])
        self.unknown = sorted(node for node in self.by_node if not owners[node])

    def _owner(self, name: str) -> str:
        """The host that is called so, "" if that is not one."""
        found = [host["ref"] for host in self.hosts if name in (host["name_label"], host["uuid"])]
        return found[0] if len(found) == 1 else ""

    def names(self, nodes: Iterable[str]) -> list[str]:
        """Of the legs on nodes, by XAPI and by what was seen."""
        return sorted({leg for node in nodes for leg in [*self.by_node.get(node, ()), *self._seen(node)]})

    def _seen(self, node: str) -> list[str]:
        return halves.legs_on(self.mirrors, node) if self.mirrors else []

    def last(self) -> list[str]:
        """The disks of which the host may hold the last half that has all data, each with why."""
        if not self.mirrors:
            return []
        answering = {node["name"] for node in self.mirrors["nodes"] if node["reachable"]}
        reasons = [f"{disk['guest']}, disk {disk['disk']}: {disk['why']}"
                   for node in self.nodes for disk in halves.last_on(self.mirrors["disks"], node)]
        for node in self.nodes:
            reasons += [f"{leg}: XAPI knows it, but {node} did not tell of it" for leg in sorted(set(self.by_node.get(node, ())))
                        if leg not in self._seen(node) and (node not in answering or path(node, leg) in self.used)]
        return reasons


def check_mirrors(mirrors: Any, now: float) -> None:
    """Raise ValueError where the option is not the result of a look of right now."""
    try:
        age = now - float(mirrors["time"])
        _unused = [(node["name"], node["host"], node["reachable"]) for node in mirrors["nodes"]]
        _unused = [(disk["pool"], disk["guest"], disk["disk"], leg["node"], leg["name"], leg["doubt"])
                   for disk in mirrors["disks"] for leg in disk["legs"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"mirrors has to be the result of filter nobloat.xen.mirror_status. {LOOK}.") from error
    if not -FRESH <= age <= FRESH:
        raise ValueError(f"What mirrors says was not seen within the last {FRESH // 60} minutes. {LOOK}.")


def read_legs(module: XapiModule, host: Record, hosts: Records) -> Legs:
    """What the pool knows, and the task says, of legs. One call for a pool without SRs of block devices."""
    mirrors = module.params["mirrors"]
    if mirrors is not None:
        check_mirrors(mirrors, time.time())
    srs = select(module.xapi, "SR", type=["udev"])
    return Legs(host, hosts.values(), srs, select(module.xapi, "VDI", SR=srs), mirrors)


def refuse_last(module: XapiModule, host: Record, hosts: Records) -> None:
    """Raise Refused where the host may hold the last half of a mirror that has all data."""
    legs, name = read_legs(module, host, hosts), host["name_label"]
    if legs.unknown:
        raise Refused(f"It is not known which host {', '.join(legs.unknown)} is, which has legs of mirrored guests, so it may be {name}. "
                      f"Run nobloat.xen.site, which notes it with the SR of the legs; or: {LOOK[:1].lower()}{LOOK[1:]}.",
                      legs=legs.names(legs.unknown))
    held = legs.names(legs.nodes)
    if held and module.params["mirrors"] is None:
        raise Refused(f"Host {name} has legs of mirrored guests ({_few(held)}), and XAPI does not know whether their other halves have all "
                      f"data. {LOOK}.", legs=held)
    reasons = legs.last()
    if reasons:
        raise Refused(
            f"Host {name} may hold the last half with all data of {len(reasons)} mirrored disks, so it has to stay up.\n"
            + "\n".join(reasons) + "\nBring the other halves back first (ansible-playbook nobloat.xen.node_return -e node=NODE); playbook "
            "nobloat.xen.mirror_status shows how they are.", legs=held, mirrors=reasons)


def refuse_any(module: XapiModule, host: Record, hosts: Records) -> None:
    """Raise Refused where the host has any leg, or may have."""
    legs = read_legs(module, host, hosts)
    nodes = [*legs.nodes, *legs.unknown]
    held = legs.names(nodes)
    if held:
        raise Refused(
            f"Host {host['name_label']} {'may have' if legs.unknown else 'has'} legs of mirrored guests ({_few(held)}), which would be "
            f"lost with it. Move them to other nodes first: ansible-playbook nobloat.xen.node_retire -e node={nodes[0]}", legs=held)


def _few(names: list[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
