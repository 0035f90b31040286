# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a mirrored guest may be started: a pure function of what nodes and pools say.

It fails closed. Whoever does not answer may be running the guest, and whatever is not known is a reason against the start.
A human can declare nodes dead, which is believed unless something shows that they live; and with `force`, decide which data
are lost. Nobody can force the guest to run twice.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Facts = Mapping[str, Any]
# States of legs whose data cannot be looked at, and of those that the guest may see when it starts.
LOST = ("unreachable", "unreadable")
USABLE = ("current", "blank", "incomplete")
# States of a lease that keep others away for a while, in words.
CLAIMS = {"starting": "starting it", "restoring": "restoring a disk of it"}


@dataclass
class Case:
    """All that is known. Nodes are called by their inventory names, hosts as XAPI calls them.

    `legs`: leg records of the guest (disk, name, node, path), two or more for each disk. `nodes`: {node: what module guest_lease
    returned (evidence, lease), or None if it did not answer}; all that could run the guest. `hosts`: {node: its name in XAPI}.
    `pools`: {pool: {vms, hosts}, or None}; a vm has uuid, name, power_state (as XAPI writes it), host, operations. `pool` is
    the guest's own. `alive`: who is said to be dead and shows a sign of life, {name: which}; `deaf`: pools that are not silent
    but could not be asked, {pool: why}; `errors`: nodes that were heard and could not say it, {node: why}. `generation`: of the
    lease that `owner` should have by now, 0 before it was taken. `overwrite`: the data are going to be replaced as a whole, so
    they are no reason against it.
    """

    name: str
    legs: Sequence[Facts]
    nodes: Mapping[str, Facts | None]
    pool: str
    pools: Mapping[str, Facts | None]
    uuid: str = ""
    hosts: Mapping[str, str] = field(default_factory=dict)
    host: str = ""
    fenced: Sequence[str] = ()
    assume_dead: Sequence[str] = ()
    alive: Mapping[str, str] = field(default_factory=dict)
    deaf: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)
    owner: str = ""
    generation: int = 0
    lease_time: int = 120
    start_from: str = ""
    force: bool = False
    overwrite: bool = False

    @property
    def dead(self) -> set[str]:
        return {*self.fenced, *self.assume_dead}

    def dead_hosts(self, pool: str) -> set[str]:
        """What XAPI calls the dead of a pool. A name is one of the guest's own pool; hosts of others are said as POOL/HOST."""
        found = {name[len(pool) + 1:] for name in self.dead if name.startswith(f"{pool}/")}
        if pool == self.pool:
            found |= {self.hosts.get(name, name) if name in self.nodes else name for name in self.dead}
        return found

    @property
    def tags(self) -> dict[str, set[str]]:
        """Uuids of guests that the legs are tagged with, and which legs."""
        found: dict[str, set[str]] = {}
        for known in filter(None, self.nodes.values()):
            for leg in known["evidence"]["legs"]:
                found.setdefault(leg.get("uuid", ""), set()).add(leg["name"])
        return {uuid: legs for uuid, legs in found.items() if uuid}

    def namesake(self, uuid: str) -> bool:
        """Whether that is for certain another guest, whatever its name: legs are tagged with the uuid of this one."""
        return bool(self.uuid) and uuid != self.uuid and self.uuid in self.tags

    def lease(self, node: str) -> Facts:
        """The lease on a node, with all of its notes; {} where there is none, or the node does not answer."""
        found = (self.nodes.get(node) or {}).get("lease") or {}
        return {"assumed_dead": [], "without": {}, **found} if found else {}

    def evidence(self, node: str) -> Facts | None:
        known = self.nodes.get(node)
        return known["evidence"] if known else None


@dataclass
class Verdict:
    """`reasons` against the start, in sentences; without one, it may start. `overridden`: those that `force` has set aside.

    `reset`: the pool believes that the guest runs on a host that is dead, and has to be told. `legs`: each leg with its state:
    current, older, apart, incomplete, blank, restoring, unreadable or unreachable. `leave_out`: paths of the legs that the guest must not
    see when it starts, and `without` their nodes. `start_from`: nodes all of whose legs are current, or all nodes if all legs are
    blank; `complete`: those of them that are proven to be, without force; `sole`: one that has all that the guest will see.
    `generation`: of the lease to take; `seen`: the one that each node has now.
    """

    reasons: list[str] = field(default_factory=list)
    overridden: list[str] = field(default_factory=list)
    reset: bool = False
    legs: list[dict[str, Any]] = field(default_factory=list)
    leave_out: list[str] = field(default_factory=list)
    without: list[str] = field(default_factory=list)
    start_from: list[str] = field(default_factory=list)
    complete: list[str] = field(default_factory=list)
    sole: list[str] = field(default_factory=list)
    seen: dict[str, int] = field(default_factory=dict)
    generation: int = 1


def judge(case: Case) -> Verdict:
    """The decision."""
    verdict = Verdict()
    _names(case, verdict)
    for node in sorted(case.nodes):
        _node(case, node, verdict)
    for pool in sorted(case.pools):
        _pool(case, pool, verdict)
    _leases(case, verdict)
    known = Verdict()
    for disk in sorted({leg["disk"] for leg in case.legs}):
        _disk(case, disk, known)
    _sum_up(known)
    verdict.legs = known.legs
    if not case.overwrite:
        verdict.reasons += known.reasons
        for what in ("overridden", "leave_out", "without", "start_from", "complete", "sole"):
            setattr(verdict, what, getattr(known, what))
    return verdict


def _names(case: Case, verdict: Verdict) -> None:
    hosts = {pool: {host["name"] for host in known["hosts"]} if known else set() for pool, known in case.pools.items()}
    own, others = {*case.nodes, *hosts.get(case.pool, ())}, set(case.pools) - {case.pool}
    for name in sorted(case.dead):
        if name in own & others:
            verdict.reasons.append(f"{name} is declared dead, and is the name of a pool and of a host of pool {case.pool}: say "
                                   f"{case.pool}/{name} for the host.")
        elif name not in {*own, *case.pools, *(f"{pool}/{host}" for pool, found in hosts.items() for host in found)}:
            elsewhere = sorted(f"{pool}/{name}" for pool in others if name in hosts[pool])
            verdict.reasons.append(f"{name} is declared dead, but there is no node, host or pool of that name"
                                   + (f" here: say {' or '.join(elsewhere)}." if elsewhere else "."))
    if case.host and case.evidence(case.host) is None and case.host not in case.errors:
        verdict.reasons.append(f"{case.host}, where the guest shall start, does not answer.")
    for node in sorted({leg["node"] for leg in case.legs} - set(case.nodes)):
        verdict.reasons.append(f"{node} has a leg of the guest and was not asked.")
    for name in sorted(set(case.alive) & case.dead - set(case.nodes)):
        verdict.reasons.append(f"{name} is declared dead, but {case.alive[name]}.")
    if not case.legs:
        verdict.reasons.append("It has no legs: nothing is known of its data.")


# ---- does it run?


def _node(case: Case, node: str, verdict: Verdict) -> None:
    evidence, tell = case.evidence(node), verdict.reasons.append
    if evidence is None:
        if node not in case.dead and node in case.errors:
            tell(f"{node} cannot say whether the guest runs there: {case.errors[node]}")
        elif node not in case.dead:
            tell(f"{node} does not answer, so the guest may be running there. Bring it back, or make sure that it is off (fence it) "
                 f"and declare it dead (assume_dead: [{node}]).")
        elif node in case.alive:
            tell(f"{node} is declared dead, but {case.alive[node]}.")
        return
    if node in case.dead:
        tell(f"{node} is declared dead, but it has answered: it is alive.")
    for domain in evidence["domains"]:
        if not case.namesake(domain["uuid"]):
            tell(f"It runs on {node}: domain {domain['id']}, {domain['name']}, {domain['uuid']}.")
    if not evidence["domains_known"]:
        tell(f"{node} cannot say which domains run on it: {evidence.get('domains_error', 'no reason given')}.")
    if evidence.get("restores"):
        tell(f"{node} restores a disk of it at this moment. Wait until that is done.")
    known = {other["evidence"].get("initiator") for other in case.nodes.values() if other}
    for leg in evidence["legs"]:
        for user in leg["users"]:
            tell(f"Its leg {leg['name']} is used on {node} by {user}.")
        if leg["writes"]:
            tell(f"Somebody writes to its leg {leg['name']} on {node} at this moment.")
        for session in leg["sessions"]:
            if session["state"] == "LOGGED_IN" and session["initiator"] not in known:
                tell(f"{session['initiator']} ({session['address'] or 'address unknown'}) is logged in to its leg {leg['name']} on "
                     f"{node} and answers, but is none of the nodes that have answered: it is alive, or has died within the last "
                     "ten seconds.")
    for path in evidence["imports"]:
        for user in path["users"]:
            tell(f"Its leg {path['path']} is used on {node} by {user}.")


def _pool(case: Case, pool: str, verdict: Verdict) -> None:
    known, tell = case.pools[pool], verdict.reasons.append
    if known is None:
        if pool in case.deaf:
            tell(f"Pool {pool} cannot be asked, and is not off, so the guest may be running there: {case.deaf[pool]}.")
        elif pool not in case.dead:
            tell(f"Pool {pool} does not answer, so the guest may be running there. Bring it back, or if you know that all of its hosts "
                 f"are off, declare it dead (assume_dead: [{pool}]).")
        return
    if pool in case.dead:
        tell(f"Pool {pool} is declared dead, but it has answered.")
    for vm in known["vms"]:
        _vm(case, pool, vm, verdict)
    if pool != case.pool:
        return
    if len(known["vms"]) > 1 and not case.uuid:
        tell(f"Pool {pool} has {len(known['vms'])} guests of this name: {', '.join(sorted(vm['uuid'] for vm in known['vms']))}.")
    for uuid, legs in sorted(case.tags.items()):
        if uuid != case.uuid:
            tell(f"Its legs {', '.join(sorted(legs))} belong to another guest, by their tag nobloat.uuid={uuid}. If that one is gone "
                 "for good, remove the tag (lvchange --deltag).")
    if case.uuid in case.tags and not case.overwrite and case.uuid not in [vm["uuid"] for vm in known["vms"]]:
        tell(f"Its legs belong to the guest {case.uuid}, which pool {pool} does not have. If it is gone for good, remove their tag "
             f"nobloat.uuid={case.uuid} (lvchange --deltag).")
    asked = {case.hosts.get(node, node) for node in case.nodes}
    for host in known["hosts"]:
        if host["name"] not in asked | case.dead_hosts(pool):
            tell(f"Host {host['name']} of pool {pool} is none of the nodes that were asked, so the guest may be running there.")


def _vm(case: Case, pool: str, vm: Facts, verdict: Verdict) -> None:
    if case.namesake(vm["uuid"]):
        return
    own = pool == case.pool and vm["uuid"] == (case.uuid or vm["uuid"])
    title = "it" if own else f"another guest of this name or uuid ({vm['uuid']})"
    tell = verdict.reasons.append
    if vm["power_state"] not in ("Halted", "Suspended") and vm["host"] and vm["host"] in case.dead_hosts(pool):
        # Whether that host is dead is looked at with the nodes; the pool does not know about it yet.
        verdict.reset = verdict.reset or own
        return
    for operation in sorted(vm["operations"]):
        tell(f"Pool {pool} has an operation with {title} under way: {operation}.")
    if vm["power_state"] == "Halted":
        return
    if vm["power_state"] == "Suspended":
        tell(f"Pool {pool} says that {title} is suspended. Resume it or shut it down: its memory belongs to the data as they were.")
        return
    tell(f"Pool {pool} says that {title} is {vm['power_state'].lower()} on {vm['host'] or 'an unknown host'}.")


def _leases(case: Case, verdict: Verdict) -> None:
    """Who else is at work. Before the lease is taken nobody may have a fresh one; afterwards each node has to have ours."""
    homes = {leg["node"] for leg in case.legs}
    for node, known in sorted(case.nodes.items()):
        if not known or node not in homes:
            continue
        lease = known["lease"]
        has_leg = bool(known["evidence"]["legs"])
        if has_leg:
            verdict.seen[node] = lease.get("generation", 0)
        mine = lease and lease["owner"] == case.owner
        if case.generation:
            if has_leg and not (mine and lease["generation"] == case.generation):
                verdict.reasons.append(f"The lease on {node} has got lost to {lease['owner']}." if lease
                                       else f"There is no lease on {node} any more.")
        elif lease and not mine and lease["state"] in CLAIMS and lease["age"] < case.lease_time:
            verdict.reasons.append(f"{lease['owner']} has been {CLAIMS[lease['state']]} for {lease['age']} seconds (lease on {node}). "
                                   f"Wait for {case.lease_time - lease['age']} seconds if that was interrupted.")
    verdict.generation = case.generation or max([0, *verdict.seen.values()]) + 1


# ---- from which data?


def _disk(case: Case, disk: str, verdict: Verdict) -> None:
    legs = [{"disk": disk, "name": leg["name"], "node": leg["node"], "path": leg["path"], **_leg(case, leg)}
            for leg in case.legs if leg["disk"] == disk]
    verdict.legs += legs
    restoring = [leg["path"] for leg in legs if leg["state"] == "restoring"]
    if restoring:
        verdict.reasons.append(f"A restore of disk {disk} has not ended: {' and '.join(restoring)} may be half written. Run it again "
                               "(playbook nobloat.xen.restore), also with another generation.")
        return
    halves = [leg for leg in legs if leg["state"] == "current"]
    if len({leg["half"]["uuid"] for leg in halves}) > 1:
        verdict.reasons.append(f"The legs of disk {disk} belong to different arrays: "
                               + ", ".join(f"{leg['path']} to {leg['half']['uuid']}" for leg in halves) + ".")
        return
    _compare(halves)
    _remember(case, halves)
    _choose(case, disk, halves, verdict)
    current = [leg for leg in legs if leg["state"] == "current"]
    lost = [leg for leg in legs if leg["state"] in LOST]
    halves_wanted = max([leg["half"]["raid_devices"] for leg in legs if leg["half"]] or [0])
    if len(legs) < halves_wanted:
        lost.append({"path": f"another of its {halves_wanted} halves", "node": "its node", "why": "not known"})
    if not current:
        if not any(leg["state"] == "apart" for leg in legs) and (lost or not all(leg["state"] == "blank" for leg in legs)):
            verdict.reasons.append(f"Disk {disk} has no half to start from: "
                                   + ", ".join(f"{leg['path']} is {leg['why'] or leg['state']}" for leg in legs) + ".")
        return
    doubts = {leg["path"]: _doubt(case, leg, {other["node"] for other in lost}) for leg in current} if lost else {}
    for leg in current:
        doubt = doubts.get(leg["path"])
        if doubt and all(doubts.values()):
            _weigh(case, verdict, f"{doubt}, and {lost[0]['path']}, which may have newer data, is {lost[0]['why']}. "
                                  f"Bring {lost[0]['node']} back, or use force: true to go on with data that may be old.")


def _leg(case: Case, leg: Facts) -> dict[str, Any]:
    """State of a leg as far as it can be seen alone, `why` in words, and its half."""
    evidence = case.evidence(leg["node"])
    if evidence is None:
        return {"state": "unreachable", "why": f"on {leg['node']}, which does not answer", "half": None}
    found = next((known for known in evidence["legs"] if known["name"] == leg["name"]), None)
    if found is None:
        return {"state": "unreadable", "why": f"not there: {leg['node']} has no such volume", "half": None}
    if found["unreadable"]:
        return {"state": "unreadable", "why": f"not to be read: {found['unreadable']}", "half": None}
    if found.get("restoring"):
        return {"state": "restoring", "why": "half restored from a backup", "half": None}
    if not found["half"]:
        return {"state": "blank", "why": "blank", "half": None}
    if found["half"]["incomplete"]:
        return {"state": "incomplete", "why": "incomplete: it was still being copied to, or lacks blocks", "half": found["half"]}
    return {"state": "current", "why": "", "half": found["half"]}


def misses(half: Facts, other: Facts) -> bool:
    """Whether a half was written to after it had lost the other one."""
    role = other["role"]
    return role is not None and half["members"][role:role + 1] == "."


def _compare(halves: list[dict[str, Any]]) -> None:
    """Find the older ones among halves of one array, and those that went their own way."""
    for leg in halves:
        for other in halves:
            if other is leg:
                continue
            mine, its = leg["half"], other["half"]
            # Counts that differ by one are the same: the power went while superblocks were written.
            newer, older = mine["events"] > its["events"] + 1, its["events"] > mine["events"] + 1
            if (misses(mine, its) and (misses(its, mine) or older)) or (misses(its, mine) and newer):
                leg.update(state="apart", why=f"gone its own way (event counts {mine['events']} and {its['events']})")
            elif leg["state"] == "current" and (misses(its, mine) or older):
                leg.update(state="older", why=f"older than {other['path']} (event counts {mine['events']} and {its['events']})")


def _remember(case: Case, halves: list[dict[str, Any]]) -> None:
    """Where halves differ, and the lease of one tells that the guest was started from it without the others: that was decided."""
    for leg in halves:
        others = [other for other in halves if other is not leg]
        if leg["state"] == "current" or not all(_started_without(case, leg["node"], other["node"]) for other in others):
            continue
        if leg["state"] == "apart" and all(misses(leg["half"], other["half"]) for other in others):
            leg.update(state="current", why="")
            for other in others:
                other.update(state="older", why=f"left out since {leg['path']} was chosen")
        else:
            for each in halves:
                each.update(state="apart", why=f"not what the lease on {leg['node']} tells: that the guest was started from {leg['path']}")


def _started_without(case: Case, node: str, other: str) -> bool:
    """Whether the latest start that any lease knows of was one from the half on `node`, without that on `other`."""
    mine, its = case.lease(node), case.lease(other)
    newest = max(case.lease(each).get("generation", 0) for each in case.nodes)
    return bool(mine and mine["state"] == "started" and mine["generation"] == newest and other in mine["without"]
                and node not in mine["without"] and (other in its.get("without", ()) or its.get("generation", 0) < newest))


def _choose(case: Case, disk: str, halves: list[dict[str, Any]], verdict: Verdict) -> None:
    """Where the halves differ: the newer one, or with force the one of the node that was named."""
    named = [leg for leg in halves if leg["node"] == case.start_from]
    apart = [leg for leg in halves if leg["state"] == "apart"]
    if apart:
        told = " and ".join(f"{leg['path']} ({leg['half']['events']} events)" for leg in apart)
        reason = (f"The halves of disk {disk} both went on without the other: {told}. The data of one of them will be lost. "
                  "Look at both, then name the node of the right one in start_from, with force: true.")
        if named:
            _weigh(case, verdict, reason)
        else:
            verdict.reasons.append(reason)
    elif named and named[0]["state"] == "older":
        _weigh(case, verdict, f"{named[0]['path']} is {named[0]['why']}; a start from it loses what was written since. Start from the "
                              "newer one, or use force: true.")
    else:
        return
    if named and case.force:
        for leg in halves:
            leg["state"] = "current" if leg is named[0] else "apart"


def _doubt(case: Case, leg: Facts, lost: set[str]) -> str:
    """Why a half may be older than one on the `lost` nodes, which cannot be looked at; "" if it cannot be."""
    lease, boot = case.lease(leg["node"]), (case.evidence(leg["node"]) or {}).get("boot")
    for node in sorted(case.nodes):
        # What another node noted before this half was complete again is over. What its own node says stands until it is.
        other = case.lease(node)
        if leg["node"] in other.get("without", ()) and (node == leg["node"] or other["generation"] >= lease.get("generation", 0)):
            return f"{leg['path']} was left out: the guest went on without it (generation {other['without'][leg['node']]}, lease on {node})"
    if lease.get("generation", 0) < max(case.lease(node).get("generation", 0) for node in case.nodes):
        return f"{leg['path']} has missed a start of the guest"
    # By its own word it was the last one. So may others be by theirs, unless this node would have been asked before they were started.
    if leg["half"]["members"].count("A") == 1 and boot and lease.get("boot") == boot:
        return ""
    # The mark is held back while the guest starts. It counts if that start is ours, or was one without the lost half.
    ours = lease and (lease["owner"] == case.owner or lost <= {*lease["assumed_dead"], *lease["without"]})
    complete = lease.get("synced") or (lease.get("held") if ours else "")
    if not complete:
        return f"{leg['path']} was never seen complete"
    if complete != boot:
        return f"{leg['node']} has booted since {leg['path']} was last seen complete, so it may have missed writes"
    return ""


def _weigh(case: Case, verdict: Verdict, reason: str) -> None:
    (verdict.overridden if case.force else verdict.reasons).append(reason)


def _sum_up(verdict: Verdict) -> None:
    verdict.leave_out = sorted(leg["path"] for leg in verdict.legs if leg["state"] not in USABLE)
    verdict.without = sorted({leg["node"] for leg in verdict.legs if leg["state"] not in USABLE})
    states: dict[str, set[str]] = {}
    for leg in verdict.legs:
        states.setdefault(leg["node"], set()).add(leg["state"])
        leg["events"] = leg["half"]["events"] if leg["half"] else None
        leg["updated"] = leg["half"]["updated"] if leg["half"] else None
        del leg["half"]
    fresh = all(leg["state"] == "blank" for leg in verdict.legs)
    verdict.start_from = sorted(node for node, found in states.items() if found == {"current"} or (fresh and found))
    verdict.complete = [] if verdict.overridden else verdict.start_from
    verdict.sole = [node for node in verdict.start_from if set(states) - {node} == set(verdict.without)]
