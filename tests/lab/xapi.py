# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bridge between XAPI and the lab's machines: `python -m lab.xapi ID`, started by `up`.

It runs xapisim with a host for each node, and watches its VMs. One with `other_config: lab_guest=MACHINE` is that UML
machine: started on a host, the machine gets power there; shut down by force, it loses power; shut down cleanly, it is asked
to, and the call ends when it is off (xapisim waits as long as xenstore_data has xapisim_ignore_shutdown). What happens to
the machines of a node that dies is not its work but that of `kill`, which must not wait for anything.

A host that is rebooted or shut down through XAPI takes its node along: when XAPI has emptied it and it answers no more, the node
shuts down, too, and for a reboot gets power again. The host boots with it.

A VM that the pool calls Halted because somebody said so (power_state_reset, when its host does not answer) is not touched:
it may well run there. If it is started elsewhere then, that is an incident: no machine can run twice.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import time
import xmlrpc.client
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from xapisim.launcher import control, launch

from . import blkback, process
from .blkback import Leg
from .calls import Calls
from .errors import LabError
from .lab import Lab
from .machine import HERE

GUEST = "lab_guest"
WAITS = "xapisim_ignore_shutdown"
# Seconds until a host goes down; and it comes back when its node does.
DURATIONS = {"host.reboot:delay": 1.0, "host.reboot:boot": 1e9}
DOWN = 900  # seconds that its guests may take to leave


def scenario(lab: Lab) -> dict[str, Any]:
    """Of xapisim: a pool with the nodes as its hosts, and what the description adds, also further pools."""
    what = lab.description
    wanted = what.xapi or {}
    paths = os.pathsep.join([str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    devices = ["env", f"PYTHONPATH={paths}", f"LAB_STATE={lab.folder.parent}", sys.executable, "-m", "lab", "--id", lab.name, "devices"]
    hosts = [
        {"name": node.name, "nics": [{"device": f"eth{nic}", "mac": node.mac(nic)} for nic in range(4)]}
        for node in what.nodes
    ]
    pool = {"name": wanted["pool"], "hosts": hosts, "srs": [], "backends": {"udev": {"command": devices}}, "durations": DURATIONS,
            **wanted["scenario"]}
    return {"pools": [pool, *wanted["pools"]]}


class Bridge:
    """Follows the VMs of the pool."""

    def __init__(self, lab: Lab, info: dict[str, Any]) -> None:
        self.lab = lab
        self.xapi = Calls(info)
        self.guests = {machine.name for machine in lab.description.guests}
        machines = lab.description.nodes + lab.description.guests
        self.workers = {machine.name: ThreadPoolExecutor(1) for machine in machines}  # one thing at a time for each
        self.seen: dict[str, tuple[str, int]] = {}  # VM -> power state, domain
        self.names: dict[str, str] = {}  # VM -> its machine
        self.vbds: dict[str, str] = {}  # VBD -> its VM
        self.legs: dict[str, dict[str, Leg]] = {}  # machine -> what it has been given, by device
        self.stopping: set[str] = set()
        self.going: set[str] = set()  # nodes that go down

    # -- events

    def introduce(self) -> None:
        """Tell XAPI the initiator names of the nodes."""
        names = {node.name: node.initiator for node in self.lab.description.nodes}
        for ref, name in self.xapi.hosts.items():
            self.xapi.call("host.set_iscsi_iqn", ref, names[name])

    def follow(self) -> None:
        """For ever."""
        token = ""
        while True:
            try:
                batch = self.xapi.call("event.from", ["vm", "vbd", "vdi", "host"], token, 30.0)
            except (OSError, xmlrpc.client.Error, LabError):
                self.xapi.log_in()
                token = ""
                continue
            token = batch["token"]
            changed: set[str] = set()  # VMs whose disks are to be looked at
            for event in batch["events"]:
                kind, ref, record = event["class"].lower(), event["ref"], event.get("snapshot") or {}
                if kind == "vbd":
                    changed.add(self.vbds.setdefault(ref, record.get("VM", "")))
                elif kind == "host":
                    self.leaving(record)
                elif kind == "vdi":
                    changed.update(self.vbds.get(vbd, "") for vbd in record.get("VBDs", ()))
                elif event["operation"] != "del":
                    self.changed(ref, record)
            for vm in changed & self.names.keys():
                self.do(self.names[vm], self.adapt, vm, self.names[vm])

    def changed(self, ref: str, vm: dict[str, Any]) -> None:
        """Look at a VM's record as it is now."""
        guest = vm["other_config"].get(GUEST)
        if not guest or vm["is_a_template"] or vm["is_a_snapshot"]:
            return
        before, domain = self.seen.get(ref, ("Halted", -1)), int(vm["domid"])
        self.seen[ref] = (vm["power_state"], domain)
        if guest not in self.guests:
            if before[0] != vm["power_state"]:
                self.incident(f"{vm['name_label']}: there is no guest machine {guest}")
            return
        self.names[ref] = guest
        wished = {"clean_shutdown", "clean_reboot", "shutdown"} & set(vm["current_operations"].values())
        if wished and guest not in self.stopping:
            self.stopping.add(guest)
            self.do(guest, self.stop, ref, guest)
        if vm["power_state"] == "Running" and (before[0] != "Running" or before[1] != domain):
            self.do(guest, self.start, ref, guest, self.xapi.hosts[vm["resident_on"]], vm)
        elif vm["power_state"] == "Halted" and before[0] != "Halted":
            self.do(guest, self.kill, guest)

    def leaving(self, host: dict[str, Any]) -> None:
        """Look at a host's record as it is now."""
        node, wished = host.get("name_label", ""), {"reboot", "shutdown"} & set(host.get("current_operations", {}).values())
        if wished and node in self.workers and node not in self.going:
            self.going.add(node)
            self.do(node, self.cycle, node, "reboot" in wished)

    def do(self, guest: str, work: Any, *args: Any) -> None:
        """In order, and without making the others wait."""

        def safely() -> None:
            try:
                work(*args)
            except Exception as error:  # noqa: BLE001 - whatever it is, the next thing must be done
                self.incident(f"{guest}: {work.__name__}: {error}")

        self.workers[guest].submit(safely)

    def incident(self, text: str) -> None:
        """Keep it for the tests."""
        with open(self.lab.folder / "incidents", "a", encoding="utf-8") as file:
            file.write(" ".join(text.split()) + "\n")

    # -- what is done

    def start(self, ref: str, guest: str, node: str, vm: dict[str, Any]) -> None:
        """The VM runs on a node: so does the machine."""
        box = self.lab.box(guest)
        status, where = box.status, box.status.host
        if box.running() and where != node and not self.xapi.answers(where):
            self.incident(f"{guest} was started on {node} while it runs on {where}")
            return
        status.domain = f"{vm['uuid']} {vm['domid']} {box.machine.memory >> 20} {vm['name_label']}"
        box.save(status)
        if box.running() and where != node:
            self.lab.move(guest, node)
            return
        if box.running():  # rebooted by force
            self.lab.kill([guest])
        self.stopping.discard(guest)
        self.give(ref, guest, node)
        try:
            self.lab.start([guest], on=node)
            there = blkback.attached(box)
        except LabError:
            if self.off(guest):
                return
            raise
        for device in self.legs[guest].keys() - there:
            self.incident(f"{guest}: {device}: no login to {self.legs[guest].pop(device).path}")
        self.xapi.apart("VM.remove_from_xenstore_data", ref, WAITS)
        self.xapi.apart("VM.add_to_xenstore_data", ref, WAITS, "true")
        control(self.xapi.info, "guest_ip", pool=self.xapi.pool["name"], vm=vm["uuid"], ip=box.machine.address)

    def give(self, ref: str, guest: str, node: str) -> None:
        """Its legs and its config drive, for the boot. What cannot be had is an incident, and the rest is given."""
        legs, drive = blkback.disks(self.xapi, ref)
        logins, content = [], b""
        self.legs[guest] = {}
        for device, leg in sorted(legs.items()):
            try:
                logins.append(blkback.login(self.lab, leg, node))
                self.legs[guest][device] = leg
            except LabError as error:
                self.incident(f"{guest}: {error}")
        if drive:
            try:
                content = self.xapi.download(drive)
            except LabError as error:
                self.incident(f"{guest}: its config drive: {error}")
        blkback.hand_over(self.lab.box(guest), self.lab.box(node), logins, content)

    def adapt(self, ref: str, guest: str) -> None:
        """Disks that were plugged, unplugged or have grown while it runs."""
        box, has = self.lab.box(guest), self.legs.get(guest, {})
        if not box.running() or self.xapi.apart("VM.get_power_state", ref) != "Running":
            return
        wanted = blkback.disks(self.xapi, ref)[0]
        try:
            for device in has.keys() - wanted.keys():
                del has[device]
                blkback.unplug(box, device)
            for device, leg in sorted(wanted.items()):
                if device not in has:
                    blkback.plug(box, blkback.login(self.lab, leg, box.status.host))
                elif leg.size != has[device].size:
                    blkback.grow(box, device)
                has[device] = leg
        except LabError:
            if not self.off(guest):
                raise

    def off(self, guest: str) -> bool:
        """Whether its power has been cut meanwhile, which explains what went wrong. Who cuts it holds the lock until that is known."""
        with self.lab.locked():
            return not self.lab.box(guest).status.host

    def stop(self, ref: str, guest: str) -> None:
        """It is asked to shut down; when it is off, the call may go on."""
        self.lab.stop([guest])
        self.xapi.apart("VM.remove_from_xenstore_data", ref, WAITS)

    def cycle(self, node: str, returns: bool) -> None:
        """The host goes down, and the node with it."""
        deadline = time.monotonic() + DOWN
        while self.xapi.answers(node):
            if time.monotonic() > deadline:
                raise LabError(f"it does not go down within {DOWN} seconds")
            time.sleep(0.1)
        for guest in self.guests:  # those that have left are somewhere else by now
            self.workers[guest].submit(lambda: None).result()
        self.lab.stop([node])
        self.going.discard(node)
        if returns:
            self.lab.start([node], booted=True)

    def kill(self, guest: str) -> None:
        """Its VM is Halted; the machine is, too, unless that is only what the pool believes."""
        box = self.lab.box(guest)
        self.stopping.discard(guest)
        if box.running() and self.xapi.answers(box.status.host):
            self.lab.kill([guest])


def main() -> None:
    """Serve until SIGTERM."""
    lab = Lab(sys.argv[1])
    process.record_self(lab.folder / "xapi.process")
    signal.signal(signal.SIGTERM, lambda *_unused: sys.exit(0))
    tempfile.tempdir = os.environ["TMPDIR"] = str(lab.folder / "tmp")
    Path(tempfile.tempdir).mkdir()
    wanted = lab.description.xapi or {}
    with launch(scenario(lab), tls=wanted["tls"]) as info:
        if "ca" in info:
            info["ca"] = str(shutil.copy(info["ca"], lab.folder / "ca.pem"))
        bridge = Bridge(lab, info)
        bridge.introduce()
        draft = lab.folder / "xapi.new"
        draft.write_text(json.dumps(info), encoding="utf-8")
        draft.rename(lab.folder / "xapi.json")
        bridge.follow()


if __name__ == "__main__":
    code = 0
    try:
        main()
    except (RuntimeError, LabError) as error:
        print(error, file=sys.stderr, flush=True)
        code = 1
    except SystemExit:
        pass
    os._exit(code)  # without waiting for the workers
