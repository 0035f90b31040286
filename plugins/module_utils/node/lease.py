# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lease of a guest: a tag of its first leg on each node, written by compare and swap. Python 3.6 syntax.

The generation grows with each start. The time is in seconds since 1970 by the node's clock. The states: `starting` and
`restoring` keep others away for a while, `started` and `released` do not. A process that restores a disk has a lock as well: others
are kept away for as long as it lives, and for a while after it was killed.

`synced` says in which life of the node (the beginning of its boot id)
its legs were last known to be complete; one that has booted since then may have missed writes. No clock can spoil that. While
the guest starts nobody knows which legs it takes, so the mark is held back until it is known, or the start was given up. `boot`
is the life of the node in which the lease was taken: who wants to start the guest elsewhere since then has had to ask this node.
`without` says which halves the guest went on without, and since which generation, on all nodes that could be told: on that of the
half itself first of all. It stays until the guest has been seen to have that half again, or has been started from it; when a start
is given up, what that start has noted goes. `recovering` says that a guest of that dead node was to be started; until it runs.
lease_tag.py has how it is written.
"""

import time
from functools import partial
from typing import Any, Callable, Dict, List, Optional

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.names import GUEST, LEASE, UUID
from ansible_collections.nobloat.xen.plugins.module_utils.node.evidence import Witness, restore_lock
from ansible_collections.nobloat.xen.plugins.module_utils.node.held import flock, lock_path, locked
from ansible_collections.nobloat.xen.plugins.module_utils.node.lease_tag import CLAIMS, blank, parse, text
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import NodeError

PATIENCE = 30.0
LEASE_TIME = 120  # seconds for which a claim that is not renewed is respected
# Options that a state needs.
NEEDS = {"starting": ("owner", "seen", "generation"), "restoring": ("owner", "seen", "generation"), "started": ("owner", "generation"),
         "released": ("owner", "generation"), "stale": ("without",), "owned": ("uuid",)}
# XenServer's dom0 has this at 1, so that nothing but its storage manager writes.
WRITABLE = ("--config", "global/metadata_read_only=0")


class Leases:
    """The lease of one guest on this node."""

    def __init__(self, witness: Witness, now: Callable[[], float] = time.time) -> None:
        self.witness = witness
        self.now = now
        self.volume = ""
        self.tags: List[str] = []
        self.current: Dict[str, Any] = {}
        self._lock: Any = None
        self._restore: Any = None

    def read(self) -> None:
        """Look which leg carries the lease; it is the first one where none does yet."""
        volumes = self.witness.volumes()
        found = [(parse(tag), leg) for leg in volumes for tag in leg["tags"] if tag.startswith(LEASE)]
        self.current, leg = max(found, key=lambda pair: pair[0]["generation"]) if found else ({}, volumes[0] if volumes else {})
        self.volume = f"{leg['vg']}/{leg['name']}" if leg else ""
        self.tags = [tag for tag in leg["tags"] if tag.startswith(LEASE)] if leg else []

    def view(self, lease: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
        """A lease (the current one) with its age; {} if there is none."""
        lease = self.current if lease is None else lease
        # A clock that has gone back makes it young, never old.
        return dict(lease, age=max(0, int(self.now()) - lease["time"])) if lease else {}

    def lock(self) -> None:
        """Nobody else on this node reads and writes the guest's lease until this process ends."""
        self._lock = flock(lock_path(self.witness.root, f"lease-{self.witness.name}"),
                           f"Another process on this node has held the lease of {self.witness.name} for {PATIENCE:g} seconds.", PATIENCE)

    def restore(self, owner: str) -> None:
        """Hold the guest for a restore of one of its disks, until this process ends. Raises NodeError if it is somebody else's."""
        self._restore = flock(restore_lock(self.witness.root, self.witness.name), f"Another restore of a disk of {self.witness.name} is at "
                              "work on this node. Wait until it is done.", PATIENCE)
        self.renew(owner)

    def renew(self, owner: str) -> None:
        """Give the lease of a restore the present time. A node without a leg of the guest has none."""
        self.lock()
        try:
            self.read()
            mine = bool(self.current) and (self.current["owner"], self.current["state"]) == (owner, "restoring")
            if owner and self.volume and not mine:
                raise NodeError(f"{self.told()}. It is not that of {owner}, who wants to restore a disk. Start the restore again.")
            if not mine and self.current and self.current["state"] in CLAIMS and self.view()["age"] < LEASE_TIME:
                raise NodeError(f"{self.told()}. Wait until that is done.")
            if mine:
                self.write(dict(self.current, time=int(self.now())))
        finally:
            self._lock.close()

    def plan(self, params: Dict[str, Any], check_mode: bool = False) -> ChangeSet:
        """What module guest_lease does. Raises NodeError where another has the lease."""
        state = params["state"]
        lacking = [option for option in NEEDS.get(state, ()) if params[option] is None]
        if lacking:
            raise NodeError(f"state is {state}, which needs {' and '.join(lacking)} as well.")
        if state != "observed" and not check_mode:
            self.lock()
        self.read()
        plan = ChangeSet(f"lease of {self.witness.name}", self.view())
        if state == "observed":
            return plan
        if not self.volume:
            raise NodeError(f"No leg of {self.witness.name} is on this node, so it cannot have a lease.")
        wanted = self.current if state == "owned" else self.wanted(params)
        if wanted != self.current:
            plan.after = dict(wanted, age=0)
            plan.step(f"write the lease of {self.witness.name}", partial(self.write, wanted))
        nobodys = [f"{leg['vg']}/{leg['name']}" for leg in self.witness.volumes()
                   if GUEST + self.witness.name in leg["tags"] and not leg["uuid"]] if self.witness.uuid else []
        if nobodys:
            plan.step(f"note that {', '.join(nobodys)} belong to {self.witness.uuid}",
                      partial(self.witness.run, "lvchange", "--quiet", *WRITABLE, "--addtag", UUID + self.witness.uuid, *nobodys))
        return plan

    def wanted(self, params: Dict[str, Any]) -> Dict[str, Any]:
        """The lease that has to be written, or the current one where nothing has to."""
        state, current = params["state"], self.current
        if state in CLAIMS:
            return self._taken(params)
        if state in ("synced", "stale"):
            return self._marked(params, state == "synced")
        mine = bool(current) and (current["owner"], current["generation"]) == (params["owner"], params["generation"])
        if state == "released":
            # Not the lease that is gone already, nor one of somebody else.
            if not mine or current["state"] not in CLAIMS:
                return current
            return dict(current, state="released", time=int(self.now()), synced=current["held"], held="", without={
                node: since for node, since in current["without"].items() if since != current["generation"]})
        if not mine:
            raise NodeError(f"{self.told()}. It is not the lease of {params['owner']} any more: the guest took longer to start "
                            "than the lease lasts, and somebody else went on.")
        if current["state"] == "restoring":
            raise NodeError(f"{self.told()}. The guest is not to be started with it.")
        if current["state"] != "started":
            left = params["without"]
            current = dict(current, state="started", time=int(self.now()), held="", recovering="", without={
                node: since for node, since in current["without"].items() if left is None or node in left})
        return dict(current, synced=self.witness.boot()) if params["synced"] else current

    def _taken(self, params: Dict[str, Any]) -> Dict[str, Any]:
        current, now, state = self.current, int(self.now()), params["state"]
        if locked(restore_lock(self.witness.root, self.witness.name)):
            raise NodeError(f"A restore of a disk of {self.witness.name} is at work on this node. Wait until it is done.")
        mine = bool(current) and (current["owner"], current["generation"]) == (params["owner"], params["generation"])
        if not mine and (current.get("generation", 0) != params["seen"]):
            raise NodeError(f"{self.told()}. It was another when it was looked at: somebody else starts the guest at this moment.")
        if not mine and current and current["state"] in CLAIMS and self.view()["age"] < params["lease_time"]:
            raise NodeError(f"{self.told()}. Wait until it is {'started' if current['state'] == 'starting' else 'restored'}, or for "
                            f"{params['lease_time'] - self.view()['age']} seconds if that was interrupted.")
        if params["generation"] <= current.get("generation", 0) and not mine:
            raise NodeError(f"generation has to grow: it is {current['generation']} already.")
        if mine and current["state"] != state:
            raise NodeError(f"{self.told()}. Take a new one.")
        boot = self.witness.boot()
        return {"generation": params["generation"], "time": now, "state": state, "owner": params["owner"],
                "boot": boot, "synced": "",
                "held": boot if params["synced"] else current.get("held") or current.get("synced", ""),
                "host": params["host"] or "", "assumed_dead": sorted(params["assume_dead"] or []),
                "without": dict(dict.fromkeys(params["without"] or [], params["generation"]), **current.get("without", {})),
                "recovering": params["recovering"] or current.get("recovering", "")}

    def _marked(self, params: Dict[str, Any], complete: bool) -> Dict[str, Any]:
        """Note that the guest has all of its legs (from the latest start on, `generation`), or that it goes on without some."""
        current = dict(self.current) or blank(params["owner"] or "nobody", int(self.now()))
        if not complete:
            since = dict.fromkeys(params["without"] or [], current["generation"])
            return dict(current, synced="", held="", without=dict(since, **current["without"]))
        generation, boot = max(current["generation"], params["generation"] or 0), self.witness.boot()
        return dict(current, generation=generation, synced=boot, boot=boot, without={}, recovering="")

    def told(self) -> str:
        """The current lease in words."""
        lease = self.view()
        if not lease:
            return f"There is no lease of {self.witness.name}"
        return (f"{lease['owner']} has had the lease of {self.witness.name} for {lease['age']} seconds "
                f"({lease['state']}, generation {lease['generation']})")

    def write(self, lease: Dict[str, Any]) -> None:
        """In one change of LVM's metadata: there is never no lease, and never two."""
        self.witness.run("lvchange", "--quiet", *WRITABLE, *(word for tag in self.tags for word in ("--deltag", tag)),
                         "--addtag", text(lease), self.volume)
