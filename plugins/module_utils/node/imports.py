# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Imports: what module iscsi_import plans. Python 3.6 syntax."""

import os
from functools import partial
from typing import Any, Callable, Dict, List

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.node.block import capacity
from ansible_collections.nobloat.xen.plugins.module_utils.node.exports import chap, initiator_name, iqn, merged, portal
from ansible_collections.nobloat.xen.plugins.module_utils.node.iscsi import Initiator, answers
from ansible_collections.nobloat.xen.plugins.module_utils.node.multipath import Multipath
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import NodeError

# Time-outs: option, setting of the record, default in seconds.
TIMEOUTS = {
    "replacement_timeout": ("node.session.timeo.replacement_timeout", 5),
    "noop_interval": ("node.conn[0].timeo.noop_out_interval", 2),
    "noop_timeout": ("node.conn[0].timeo.noop_out_timeout", 2),
}
# A login is tried for about 8 times 5 seconds, which gives a node that boots at the same time its chance. Tasks that the
# target does not answer any more are not waited for longer than the session itself.
FIXED = {
    "node.conn[0].timeo.login_timeout": "5", "node.session.initial_login_retry_max": "8",
    "node.session.err_timeo.abort_timeout": "3", "node.session.err_timeo.lu_reset_timeout": "3",
    "node.session.err_timeo.tgt_reset_timeout": "3",
}
SECRETS = {"username": "node.session.auth.username", "password": "node.session.auth.password",
           "mutual_username": "node.session.auth.username_in", "mutual_password": "node.session.auth.password_in"}
# What logs in at boot: its name depends on the distribution.
# All that this module sets in a record.
SET_HERE = (*FIXED, *(key for key, _default in TIMEOUTS.values()), "node.startup", "node.conn[0].startup",
            "node.session.auth.authmethod", *SECRETS.values())
BOOT_UNITS = ("iscsi.service", "open-iscsi.service")
CONNECT_TIMEOUT = 5


class Imports:
    """The imports of a node. `reach` tells why a portal does not answer; `real_size` what a disk says of its size."""

    def __init__(self, root: str = "/", initiator: Any = None, reach: Callable[[str, float], str] = answers,
                 real_size: Callable[[str], int] = capacity) -> None:
        self.root = root
        self.initiator = initiator or Initiator(root)
        self.multipath = Multipath(root, self.initiator.run)
        self.reach = reach
        self.real_size = real_size
        self.boots = False

    def state(self, target: str) -> Dict[str, Any]:
        """What open-iscsi and the kernel know of an import: records ({(portal, iface): settings}) and sessions."""
        return {
            "records": {key: self.initiator.record(self.initiator.record_path(target, *key))
                        for key in self.initiator.records(target)},
            "sessions": self.initiator.sessions(target),
        }

    def view(self, target: str, state: Dict[str, Any], secret: str = "set") -> Dict[str, Any]:
        """An import in the terms of the module's options, without secrets; {} if there is neither record nor session."""
        records, sessions = state["records"], state["sessions"]
        if not records and not sessions:
            return {}
        settings = next(iter(records.values()), {})  # type: Dict[str, str]
        times = {name: int(settings.get(key) or 0) or None for name, (key, _default) in TIMEOUTS.items()}
        disks = [(session, disk) for session in sessions for disk in session["disks"]]
        path = self.initiator.path(*disks[0]) if disks else None
        found = self.multipath.map_of([disk["name"] for _session, disk in disks])
        initiators = {session["initiator"] for session in sessions}
        view = dict(times)  # type: Dict[str, Any]
        view.update({
            "iqn": target, "portals": sorted({key[0] for key in records} | {session["portal"] for session in sessions}),
            "initiator": sorted(initiators)[0] if initiators else None, "startup": settings.get("node.startup") or None,
            "chap_username": settings.get(SECRETS["username"], ""),
            "mutual_chap_username": settings.get(SECRETS["mutual_username"], ""),
            "chap_secret": secret if settings.get(SECRETS["password"]) else "",
            "multipath": bool(found), "device": f"/dev/mapper/{found}" if found else path,
            "size": disks[0][1]["size"] if disks else None, "identity": disks[0][1]["identity"] if disks else None,
            "stall": sum(value or 0 for value in times.values()) if records else None,
            "sessions": [{"portal": session["portal"], "state": session["state"], "initiator": session["initiator"],
                          "disks": [dict(disk, path=self.initiator.path(session, disk)) for disk in session["disks"]]}
                         for session in sessions],
        })
        return view

    def look(self, target: str) -> Dict[str, Any]:
        return self.view(target, self.state(target))

    def plan(self, params: Dict[str, Any], check_mode: bool = False) -> ChangeSet:
        """What module iscsi_import does. Raises NodeError for whatever can be known before the first step."""
        target = iqn(params["iqn"])
        state = self.state(target)
        plan = ChangeSet(f"import {target}", self.view(target, state))
        if params["state"] == "absent":
            return self._plan_absent(plan, target, state, params["force"])
        initiator = initiator_name(params["initiator"]) if params["initiator"] else self.initiator.name()
        if not initiator:
            raise NodeError("This node has no name as an initiator: set initiator, or write one to /etc/iscsi/initiatorname.iscsi.")
        iface = self.initiator.iface(initiator)
        if params["multipath"] is None:
            params = dict(params, multipath=plan.before.get("multipath", False))
        portals = self._portals(params, state)
        old = next(iter(state["records"].values()), {})  # type: Dict[str, str]
        secrets = chap(params, {key: old[name] for key, name in SECRETS.items() if old.get(name)})
        settings = self._settings(params, old, secrets)
        missing = self._missing(portals, initiator, state)
        if not params["force"]:
            self._refuse_logout(target, portals, state)
        broken = [] if missing else self._broken(state)
        for text in missing + broken:
            trouble = self.reach(text, CONNECT_TIMEOUT)
            if trouble and not check_mode:
                raise NodeError(f"The portal {text} cannot be reached: {trouble}. See that the node exports there, and that both "
                                "nodes have their addresses in the SAN.")
            if trouble:
                plan.warnings.append(f"The portal {text} cannot be reached: {trouble}.")
        if missing and not self.initiator.ready():
            plan.step("start iscsid", self.initiator.start)
        # Before their records change: to take that back means to log in by the old ones.
        anew = self._plan_anew(plan, target, portals, settings, state)
        self._plan_records(plan, target, portals, initiator, settings, state)
        for text in missing:
            plan.step(f"log in to {target} at {text}", partial(self.initiator.login, target, text, iface, initiator),
                      partial(self.initiator.logout_from, target, text, initiator))
        if missing:
            plan.step("wait for the disk", partial(self.initiator.wait_for_disks, target, len(portals), params["wait_timeout"]))
        if broken:  # the daemon logs in again by itself
            plan.step("wait until the disk is back", partial(self.initiator.wait_for_disks, target, 1, params["wait_timeout"]))
        self._plan_live(plan, target, portals, initiator, settings, state, anew)
        for (text, other), record in state["records"].items():
            if other != self.initiator.iface(initiator) or (params["purge"] and text not in portals):
                self._plan_forget(plan, target, text, other, record)
        if params["multipath"]:
            self._plan_multipath(plan, target, len(portals), state, int(settings[TIMEOUTS["replacement_timeout"][0]]))
        if settings["node.startup"] == "automatic":
            self._plan_boot(plan)
        if plan.steps:
            self._plan_view(plan, params, portals, initiator, settings, secrets, old)
        return plan

    # ---- parts of the plan

    def _portals(self, params: Dict[str, Any], state: Dict[str, Any]) -> List[str]:
        wanted = None if params["portals"] is None else [portal(text) for text in params["portals"]]
        live = sorted({key[0] for key in state["records"]} | {session["portal"] for session in state["sessions"]})
        if wanted is not None and not wanted:
            raise NodeError("portals is empty; to log out, use state: absent.")
        portals = merged(live, wanted, params["purge"])
        if not portals:
            raise NodeError("portals is needed to import a disk: the address that its node exports it on.")
        if len(portals) > 1 and not params["multipath"]:
            raise NodeError(f"With the portals {', '.join(portals)} the same disk would appear {len(portals)} times; set multipath: "
                            "true to have them as one, or purge: true to keep only those that you named.")
        return portals

    @staticmethod
    def _settings(params: Dict[str, Any], old: Dict[str, str], secrets: Dict[str, str]) -> Dict[str, str]:
        """The record that is wanted; an empty value is a setting that shall not be there."""
        settings = dict(FIXED)
        for name, (key, default) in TIMEOUTS.items():
            settings[key] = str(params[name] if params[name] is not None else old.get(key, default))
        startup = params["startup"] or (old.get("node.startup") if old else None) or "automatic"
        settings.update({"node.startup": startup, "node.conn[0].startup": startup})
        settings["node.session.auth.authmethod"] = "CHAP" if secrets else "None"
        settings.update({name: secrets.get(key, "") for key, name in SECRETS.items()})
        return settings

    @staticmethod
    def _missing(portals: List[str], initiator: str, state: Dict[str, Any]) -> List[str]:
        """The portals without a session of this initiator. Raises NodeError where another name has one."""
        for session in state["sessions"]:
            if session["initiator"] != initiator:
                raise NodeError(f"This node is logged in to {session['target']} as {session['initiator']} already. Log out first "
                                f"(state: absent), or leave initiator as it is.")
        there = {session["portal"] for session in state["sessions"]}
        return [text for text in portals if text not in there]

    @staticmethod
    def _broken(state: Dict[str, Any]) -> List[str]:
        """The portals of sessions, if none of them works."""
        working = any(session["state"] == "LOGGED_IN" for session in state["sessions"])
        return [] if working else [session["portal"] for session in state["sessions"]]

    def _plan_records(self, plan: ChangeSet, target: str, portals: List[str], initiator: str, settings: Dict[str, str],
                      state: Dict[str, Any]) -> None:
        iface = self.initiator.iface(initiator)
        if iface != "default" and not any(key[1] == iface for key in state["records"]):
            plan.step(f"be {initiator}", partial(self.initiator.make_iface, iface, initiator),
                      partial(self.initiator.remove_iface, iface))
        for text in portals:
            record = state["records"].get((text, iface))
            if record is None:
                plan.step(f"record {target} at {text}", partial(self.initiator.make_record, target, text, iface, settings),
                          partial(self.initiator.remove_record, target, text, iface))
                continue
            changes = {key: value for key, value in settings.items() if record.get(key, "") != value}
            if changes:
                before = {key: record.get(key, "") for key in changes}
                plan.step(f"change the record of {target} at {text}",
                          partial(self.initiator.write_record, target, text, iface, changes),
                          partial(self.initiator.write_record, target, text, iface, before))

    def _plan_forget(self, plan: ChangeSet, target: str, text: str, iface: str, record: Dict[str, str]) -> None:
        """Once nobody is logged in by it any more."""
        kept = {key: record[key] for key in SET_HERE if record.get(key)}
        plan.step(f"forget {target} at {text}", partial(self.initiator.remove_record, target, text, iface),
                  partial(self.initiator.make_record, target, text, iface, kept))

    def _plan_logout(self, plan: ChangeSet, target: str, session: Dict[str, Any]) -> None:
        initiator = session["initiator"]
        plan.step(f"log out of {target} at {session['portal']}", partial(self.initiator.logout, session["sid"]),
                  partial(self.initiator.login, target, session["portal"], self.initiator.iface(initiator), initiator))

    def _plan_anew(self, plan: ChangeSet, target: str, portals: List[str], settings: Dict[str, str], state: Dict[str, Any]) -> List[int]:
        """Log out of sessions whose settings only a login gives them, if nobody uses them. Returns their sids."""
        anew = []
        for session in state["sessions"]:
            if session["portal"] in portals and any(
                    session[name] != int(settings[TIMEOUTS[name][0]]) for name in ("noop_interval", "noop_timeout")):
                if self._users(session):
                    plan.warnings.append(f"The disk of {target} is in use: noop_interval and noop_timeout count from the next login.")
                else:
                    self._plan_logout(plan, target, session)
                    anew.append(session["sid"])
        return anew

    def _plan_live(self, plan: ChangeSet, target: str, portals: List[str], initiator: str, settings: Dict[str, str],
                   state: Dict[str, Any], anew: List[int]) -> None:
        """Sessions that are there: time-outs, growth, portals that are not wanted any more."""
        iface = self.initiator.iface(initiator)
        for session in state["sessions"]:
            if session["portal"] not in portals:
                self._plan_logout(plan, target, session)
                continue
            replacement = int(settings[TIMEOUTS["replacement_timeout"][0]])
            if session["sid"] in anew:
                plan.step(f"log in to {target} at {session['portal']}",
                          partial(self.initiator.login, target, session["portal"], iface, initiator),
                          partial(self.initiator.logout_from, target, session["portal"], initiator))
                plan.step("wait for the disk", partial(self.initiator.wait_for_disks, target, 1, 30))
            elif session["replacement_timeout"] != replacement:
                plan.step(f"set replacement_timeout of {target}",
                          partial(self.initiator.set_replacement_timeout, session["sid"], replacement),
                          partial(self.initiator.set_replacement_timeout, session["sid"], session["replacement_timeout"]))
            for disk in session["disks"]:
                size = self.real_size(f"/dev/{disk['name']}") if disk["state"] == "running" else 0
                if size and size != disk["size"]:
                    plan.after["size"] = size
                    plan.step(f"see the new size of {disk['name']}", partial(self.initiator.blocks.rescan, f"/dev/{disk['name']}"))

    def _users(self, session: Dict[str, Any]) -> List[str]:
        return [user for disk in session["disks"] for user in self.initiator.blocks.users(f"/dev/{disk['name']}")]

    def _plan_multipath(self, plan: ChangeSet, target: str, paths: int, state: Dict[str, Any], replacement: int) -> None:
        names = [disk["name"] for session in state["sessions"] for disk in session["disks"]]
        self.multipath.plan(plan, names, paths, replacement, lambda: [
            disk["name"] for session in self.initiator.sessions(target) for disk in session["disks"]])
        found = self.multipath.map_of(names)
        real = max([self.real_size(f"/dev/{name}") for name in names] or [0])
        if found and real and real != self.initiator.blocks.size(f"/dev/mapper/{found}"):
            plan.step(f"see the new size of {found}", partial(self.multipath.resize, found))

    def _plan_boot(self, plan: ChangeSet) -> None:
        if not os.path.isdir(os.path.join(self.root, "run/systemd/system")):
            return
        if self.boots:  # several imports need it once
            return
        states = {unit: self.initiator.run("systemctl", "is-enabled", unit, codes=range(256)).out.strip() for unit in BOOT_UNITS}
        self.boots = bool({"enabled", "alias", "static", "indirect"} & set(states.values()))
        if not self.boots:
            unit = next((unit for unit, text in states.items() if text == "disabled"), "")
            if unit:
                plan.step(f"enable {unit}", partial(self.initiator.run, "systemctl", "enable", unit))
            else:
                plan.warnings.append(f"Nothing here logs in at boot: neither {' nor '.join(BOOT_UNITS)} is there.")

    def _plan_view(self, plan: ChangeSet, params: Dict[str, Any], portals: List[str], initiator: str, settings: Dict[str, str],
                   secrets: Dict[str, str], old: Dict[str, str]) -> None:
        passwords = [SECRETS["password"], SECRETS["mutual_password"]]
        if plan.before.get("chap_secret") and any(old.get(key, "") != settings[key] for key in passwords):
            plan.before["chap_secret"] = "another"
        times = {name: int(settings[key]) for name, (key, _default) in TIMEOUTS.items()}
        plan.after = dict({"device": None, "size": None, "identity": None, "sessions": []}, **plan.after)
        plan.after.update(times)
        plan.after.update({
            "iqn": params["iqn"], "portals": portals, "initiator": initiator, "startup": settings["node.startup"],
            "chap_username": secrets.get("username", ""), "mutual_chap_username": secrets.get("mutual_username", ""),
            "chap_secret": "set" if secrets else "", "multipath": bool(params["multipath"]), "stall": sum(times.values()),
        })

    def _refuse_logout(self, target: str, portals: List[str], state: Dict[str, Any]) -> None:
        """Raise NodeError for a portal that is not wanted any more, but carries the work of somebody."""
        leaving = [session for session in state["sessions"] if session["portal"] not in portals]
        users = self._workers(leaving, [session for session in state["sessions"] if session["portal"] in portals])
        if users:
            raise NodeError(f"Cannot log out of {target} at {', '.join(session['portal'] for session in leaving)}: its disk is used by "
                            f"{', '.join(users)}. End that, or have it use another portal first (multipath); or use force: true, which "
                            "cuts the disk off.")

    def _workers(self, leaving: List[Dict[str, Any]], staying: List[Dict[str, Any]]) -> List[str]:
        """Who uses the disks of sessions that are to end. Of a multipath device, nobody does while it has another way."""
        found = self.multipath.map_of([disk["name"] for session in leaving for disk in session["disks"]])
        own = self.multipath.kernel_name(found) if found else ""
        users = [user for session in leaving for user in self._users(session)
                 if user != f"device {own}" and not user.endswith("(multipathd)")]
        works = [disk["name"] for session in staying if session["state"] == "LOGGED_IN"
                 for disk in session["disks"] if disk["state"] == "running"]
        if found and not set(works) & set(self.multipath.paths(found)):
            users += self.initiator.blocks.users(f"/dev/mapper/{found}")
        return sorted(set(users))

    def _plan_absent(self, plan: ChangeSet, target: str, state: Dict[str, Any], force: bool) -> ChangeSet:
        found = self.multipath.map_of([disk["name"] for session in state["sessions"] for disk in session["disks"]])
        users = self._workers(state["sessions"], [])
        if users and not force:
            raise NodeError(f"The disk of {target} is used by {', '.join(users)}. End that first, or use force: true, which cuts the "
                            "disk off.")
        plan.after = {}
        if found:
            plan.step(f"remove the multipath device {found}", partial(self.multipath.remove, found))
        for session in state["sessions"]:
            self._plan_logout(plan, target, session)
        for (text, iface), record in state["records"].items():
            self._plan_forget(plan, target, text, iface, record)
        return plan
