# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes of the management interface that have a way back.

XAPI has nothing that undoes a change by itself when nobody comes back, and a host that has lost its management network can
be told nothing. So nothing is taken away before its replacement was seen to work:

* To another interface: it gets its address, and has to answer there to a new connection, before the management moves. The
  old interface keeps its address, and is the way back. When the move itself is what breaks the connection, the coordinator
  is moved back through the old address, and another host through the coordinator.
* A new address for the management interface itself: the management first moves to another interface of the host that has an
  address and answers there (the stepping stone), then the address changes and has to answer, then the management returns.
* What has no such way is refused, unless `allow_lockout` says that somebody can get at the console.

That the hosts still find each other cannot be asked for beforehand; it follows from both having an address in the same
subnet on the same network, so that is demanded as well.
"""
from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.network.addresses import same_subnet
from ansible_collections.nobloat.xen.plugins.module_utils.network.pifs import Picture, is_member
from ansible_collections.nobloat.xen.plugins.module_utils.network.reach import (
    PAUSE,
    check_host,
    reachable,
    try_address,
)
from ansible_collections.nobloat.xen.plugins.module_utils.network.vlans import Record, describe
from ansible_collections.nobloat.xen.plugins.module_utils.xapi import records
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import (
    XapiError,
    XapiUnreachable,
)
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.saved import move_session


@dataclass
class Mover:
    """Moves the management of one host; `certificate` is the one by which the host is known."""

    module: XapiModule
    picture: Picture
    host: str
    coordinator: str
    certificate: str | None = None
    bridges: dict[str, str] = field(default_factory=dict)  # of networks, as far as they were asked for

    @property
    def name(self) -> str:
        return self.picture.name(self.host)

    @property
    def leads(self) -> bool:
        """Whether this host is the coordinator."""
        return self.host == self.coordinator

    @property
    def seconds(self) -> float:
        return float(self.module.params["verify_timeout"])

    def stone(self, pif: Record) -> Record | None:
        """Another interface of the host that could carry its management for the time being, and answers."""
        for other in self.picture.on(self.host):
            usable = other["currently_attached"] and other["IP"] and not is_member(other) and other["ref"] != pif["ref"]
            if usable and self.neighbours(other) is None and reachable(self.module.xapi, other["IP"], self.certificate):
                return other
        return None

    def neighbours(self, pif: Record) -> str | None:
        """Why the hosts of the pool would not find each other when this PIF carries the management; None if they will."""
        others = [self.coordinator] if not self.leads else [host for host in self.picture.hosts if host != self.host]
        for host in others:
            there = [each for each in self.picture.on(host) if each["network"] == pif["network"] and each["currently_attached"]]
            if not any(each["IP"] and same_subnet(pif, each) for each in there):
                return f"{self.picture.name(host)} has no address in the subnet of {pif['IP']} on the same network"
        return None

    def cure(self, pif: Record) -> str:
        """What to type at the console of a host that cannot be reached any more."""
        if pif["network"] not in self.bridges:
            self.bridges[pif["network"]] = self.module.xapi.call("network.get_bridge", pif["network"])
        interface = self.bridges[pif["network"]]
        if self.leads:
            return f"at its console: xe host-management-reconfigure pif-uuid={pif['uuid']}"
        return f"at its console: xe host-emergency-management-reconfigure interface={interface}"

    # -- steps

    def step_try(self, changes: ChangeSet, pif: Record, *, leaves: str = "") -> None:
        """Plan that the host has to answer at the address of a PIF, before the management moves there."""
        changes.step(f"reach {self.name} at the address of {describe(pif)}", lambda: self._try(pif), leaves=leaves)

    def _try(self, pif: Record) -> None:
        deadline = time.monotonic() + self.seconds
        now = self._now(pif)
        while not now["IP"] and time.monotonic() < deadline:
            time.sleep(PAUSE)
            now = self._now(pif)
        if not now["IP"]:
            raise ValueError(f"{describe(pif)} of {self.name} has got no address. Does a DHCP server answer there?")
        reason = None if self.module.params["allow_lockout"] else self.neighbours(now)
        if reason:
            raise ValueError(f"The management of {self.name} cannot move to {describe(pif)}: {reason}.")
        try:
            try_address(self.module.xapi, now["IP"], self.certificate, self.seconds)
        except XapiError as error:
            raise ValueError(
                f"{self.name} does not answer at {now['IP']}, its address on {describe(pif)}, so its management stays where it "
                f"was ({error}). Check VLAN, switch port, subnet and gateway."
            ) from error

    def _now(self, pif: Record) -> Record:
        return records.record(self.module.xapi, "PIF", pif["ref"])

    def step_move(self, changes: ChangeSet, old: Record, new: Record) -> None:
        """Plan the move of the management from `old`, which keeps its address, to `new`, and the proof that it works."""
        text = f"move the management of {self.name} from {describe(old)} to {describe(new)}"
        way_back = f"the management of {self.name} is on {describe(new)}; move it back {self.cure(old)}"

        def back() -> None:
            self._reconfigure(old)
            self.verify(old)

        changes.step(text, lambda: self._reconfigure(new), undo=back, leaves=way_back)
        changes.step(f"reach {self.name} after the move", lambda: self.verify(new))

    def _reconfigure(self, pif: Record) -> None:
        call = self.module.xapi.call
        # As xapi itself does for a slave (message_forwarding.ml, tolerate_connection_loss): what counts is what is there then.
        self.tolerant(lambda: call("host.management_reconfigure", pif["ref"]))
        if self.leads and len(self.picture.hosts) > 1:
            self.tolerant(lambda: call("pool.recover_slaves"))

    @staticmethod
    def tolerant(call: Callable[[], object]) -> None:
        """Make a call whose answer may get lost with the connection."""
        try:
            call()
        except XapiUnreachable as error:
            if not error.sent:
                raise

    def verify(self, pif: Record) -> None:
        """The host answers at its management address, to us and to its coordinator."""
        xapi = self.module.xapi
        now = self._now(pif)
        if not now["management"]:
            raise ValueError(f"The management of {self.name} is not on {describe(pif)}, although XAPI was told so.")
        try:
            check_host(xapi, self.host, now["IP"], self.certificate, self.seconds)
        except XapiError as error:
            raise ValueError(
                f"{self.name} does not answer at {now['IP']} any more, now that its management is on {describe(pif)} ({error})."
            ) from error

    def step_follow(self, changes: ChangeSet, pif: Record) -> None:
        """Plan to talk to the coordinator at the address of a PIF from now on."""
        if self.leads:
            changes.step(f"connect to {describe(pif)}", lambda: self.follow(pif), undo=self.stay())

    def follow(self, pif: Record) -> None:
        self.go_to(self._now(pif)["IP"])

    def stay(self) -> Callable[[], None]:
        """How to get back to the address that is in use while planning."""
        address = self.module.xapi.peer()
        return lambda: self.go_to(address)

    def go_to(self, address: str) -> None:
        self.module.xapi.go_to(address)
        path = self.module.params["session"]
        if path:
            with suppress(OSError, ValueError):
                move_session(path, self.module.xapi)
