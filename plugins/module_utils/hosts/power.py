# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rebooting hosts, shutting them down and powering them on; and how XAPI can power one on."""
from __future__ import annotations

from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet, ignore
from ansible_collections.nobloat.xen.plugins.module_utils.hosts.evacuation import live_hosts, resident
from ansible_collections.nobloat.xen.plugins.module_utils.hosts.legs import refuse_last
from ansible_collections.nobloat.xen.plugins.module_utils.hosts.wait import can_log_in_again, passing, until
from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.vm.read import Record, Records, pick, select
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import XapiError, XapiUnreachable
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.records import record, records
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.refusal import refuse
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.session import Session
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.silence import signs_of_life, why_not_off

# Option -> mode of XAPI, and key of the option -> key of power_on_config (power-on.py; "none" is the empty mode).
MODES = {"none": "", "wake-on-lan": "wake-on-lan", "ipmi": "IPMI"}
CONFIG = {"address": "power_on_ip", "username": "power_on_user"}
PASSWORD = "power_on_password_secret"


def power_on_view(host: Record) -> Record:
    """How XAPI powers the host on, in the terms of the option; the password is not shown."""
    mode = host["power_on_mode"]
    named = next((name for name, value in MODES.items() if value == mode), mode)
    return {"mode": named, **{key: host["power_on_config"][theirs] for key, theirs in CONFIG.items() if theirs in host["power_on_config"]}}


def boot_time(host: Record) -> float:
    """When the host booted, as it told; seconds since the epoch, 0 where it never did."""
    return float(host["other_config"].get("boot_time") or 0)


class HostPower:
    """A host, its pool, and the steps to the wanted power state."""

    def __init__(self, module: XapiModule) -> None:
        self.module, self.session, self.params = module, module.xapi, module.params
        self.hosts: Records = records(self.session, "host")
        self.host = pick(self.hosts, "host", self.params["name"])
        self.ref: str = self.host["ref"]
        self.name: str = self.host["name_label"]
        self.live = bool(live_hosts(self.session, {self.ref: self.host}))
        self.changes = ChangeSet(f"power of host {self.name}", before={
            "name": self.name, "uuid": self.host["uuid"], "power_state": "running" if self.live else "halted",
            "enabled": self.host["enabled"], "power_on": power_on_view(self.host),
        })

    def plan(self) -> ChangeSet:
        state = self.params["state"]
        if self.params["power_on"]:
            self._plan_mode(self.params["power_on"])
        if state == "running" and not self.live:
            self._plan_on()
        elif state == "restarted" or (state == "halted" and self.live):
            self._plan_down(state)
        elif state == "halted" and self._sign():
            raise ValueError(f"The pool has lost {self.name}, but it is not off: {self._sign()}. Bring it back into the pool, or shut it "
                             "down on its console.")
        return self.changes

    def _sign(self) -> str:
        """What shows that the host is not off, whatever its pool believes; "" if it is silent."""
        return signs_of_life(self.session.url, self.host["address"]) if self.host["address"] else ""

    # -- how it is powered on

    def _plan_mode(self, wanted: Record) -> None:
        mode = MODES[wanted["mode"]]
        if mode == "IPMI" and not (wanted["address"] and wanted["username"] and wanted["password"]):
            raise ValueError("power_on with mode=ipmi needs address, username and password of the host's BMC.")
        config = {theirs: wanted[key] for key, theirs in CONFIG.items() if wanted[key] is not None}
        live = dict(self.host["power_on_config"])
        password = self._password(live.pop(PASSWORD, ""))
        same = (self.host["power_on_mode"], live) == (mode, config) and password == wanted["password"]
        if same:
            return
        self.changes.after["power_on"] = {"mode": wanted["mode"], **{key: wanted[key] for key in CONFIG if wanted[key] is not None}}
        self.changes.step(f"set how {self.name} is powered on", lambda: self._set_mode(mode, config, wanted["password"]),
                          undo=lambda: self._set_mode(self.host["power_on_mode"], live, password))

    def _password(self, uuid: str) -> str | None:
        found = select(self.session, "secret", uuid=[uuid]) if uuid else {}
        return next((str(secret["value"]) for secret in found.values()), None)

    def _set_mode(self, mode: str, config: dict[str, str], password: str | None) -> None:
        call = self.session.call
        if password is not None:
            # XAPI destroys the secret along with the configuration that names it.
            secret = call("secret.create", {"value": password, "other_config": {}})
            config = {**config, PASSWORD: call("secret.get_uuid", secret)}
        try:
            call("host.set_power_on_mode", self.ref, mode, config)
        except XapiError:
            if password is not None:
                call("secret.destroy", secret)
            raise

    # -- on

    def _plan_on(self) -> None:
        if self.changes.after["power_on"]["mode"] == "none":
            raise ValueError(f"XAPI does not know how to power {self.name} on. Say so with power_on, or switch it on by hand.")
        self.changes.after.update(power_state="running", enabled=self.params["wait_enabled"] or self.host["enabled"])
        before = boot_time(self.host)

        def on() -> None:
            self.module.run("host.power_on", self.ref, last=True)
            self._await_return(before)

        self.changes.step(f"power {self.name} on", on)

    def _await_return(self, before: float) -> None:
        """Until it has booted anew, is alive, and has enabled itself; a host that is merely not down yet does not count."""
        if not self.params["wait"]:
            return

        def back(session: Session) -> bool:
            host = record(session, "host", self.ref)
            return (boot_time(host) > before and (host["enabled"] or not self.params["wait_enabled"])
                    and bool(live_hosts(session, {self.ref: host})))

        until(self.module, f"host {self.name} is back" + (" and enabled" if self.params["wait_enabled"] else ""), back)

    # -- off and on again

    def _plan_down(self, state: str) -> None:
        self._check_down(state)
        after = self.changes.after
        if state == "restarted":
            self.changes.before["restarted"], after["restarted"] = False, True
            after["enabled"] = self.params["wait_enabled"]
        else:
            after.update(power_state="halted", enabled=False)
        if self.host["enabled"]:
            self.changes.step(
                f"disable {self.name}", lambda: ignore(self.session.call("host.disable", self.ref)),
                undo=lambda: self.session.call("host.enable", self.ref))
        if state == "restarted":
            self.changes.step(f"reboot {self.name}", self._reboot)
        else:
            self.changes.step(f"shut {self.name} down", self._shutdown)

    def _check_down(self, state: str) -> None:
        if not self.live:
            raise ValueError(f"{self.name} is not alive, so it cannot be rebooted. With state=running it is powered on.")
        refuse(self.host, "reboot" if state == "restarted" else "shutdown", f"Host {self.name}", now=False)
        refuse_last(self.module, self.host, self.hosts)
        guests = resident(self.host, select(self.session, "VM", refs=self.host["resident_VMs"]))
        if guests and not self.params["force"]:
            named = ", ".join(vm["name_label"] for vm in guests)
            raise ValueError(f"Guests are on {self.name}: {named}. Move them away with nobloat.xen.host_maintenance, or let XAPI "
                             "move or stop them with force=true.")
        if self._is_coordinator():
            if state == "halted" and len(self.hosts) > 1:
                raise ValueError(f"{self.name} is the coordinator: without it the pool cannot be managed. Make another host the "
                                 "coordinator first (module nobloat.xen.pool, coordinator).")
            can_log_in_again(self.module, f"{self.name} is the coordinator, so its pool does not answer meanwhile")

    def _is_coordinator(self) -> bool:
        return any(pool["master"] == self.ref for pool in records(self.session, "pool").values())

    def _go(self, method: str) -> None:
        """XAPI answers before it acts; when it acts, the coordinator may take the answer with it."""
        try:
            self.module.run(method, self.ref, last=True)
        except XapiError as error:
            if not passing(error):
                raise

    def _reboot(self) -> None:
        self._go("host.reboot")
        self._await_return(boot_time(self.host))

    def _shutdown(self) -> None:
        alone = len(self.hosts) == 1
        if alone:
            self.session.retry_for = 0  # that nobody answers is what is waited for
        self._go("host.shutdown")
        if not self.params["wait"]:
            return
        if alone:
            until(self.module, f"host {self.name} answers no more", lambda _session: self._silent())
        else:
            until(self.module, f"host {self.name} is down",
                  lambda session: not live_hosts(session, {self.ref: self.host}) and not self._sign())

    def _silent(self) -> bool:
        """A host that is shutting down may break connections, or let them wait, for a while: it is off when it takes none."""
        try:
            self.session.call("host.get_uuid", self.ref)
        except XapiUnreachable as error:
            return not why_not_off(error, self.session.url)
        return False


POWER_ON_SPEC: dict[str, Any] = {
    "mode": {"type": "str", "choices": list(MODES), "required": True},
    "address": {"type": "str"},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
}
