# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bridge between XAPI and the lab's machines: `python -m lab.xapi ID`, started by `up`.

It runs xapisim with a host for each node, and watches its VMs. One with `other_config: lab_guest=MACHINE` is that UML
machine: started on a host, the machine gets power there; shut down by force, it loses power; shut down cleanly, it is asked
to, and the call ends when it is off (xapisim waits as long as xenstore_data has xapisim_ignore_shutdown). What happens to
the machines of a node that dies is not its work but that of `kill`, which must not wait for anything.

A VM that the pool calls Halted because somebody said so (power_state_reset, when its host does not answer) is not touched:
it may well run there. If it is started elsewhere then, that is an incident: no machine can run twice.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
import sys
import tempfile
import time
import xmlrpc.client
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from xapisim.launcher import control, launch

from . import process
from .errors import LabError
from .lab import Lab

GUEST = "lab_guest"
WAITS = "xapisim_ignore_shutdown"


def scenario(lab: Lab) -> dict[str, Any]:
    """Of xapisim: a pool with the nodes as its hosts, and what the description adds, also further pools."""
    what = lab.description
    wanted = what.xapi or {}
    hosts = [
        {"name": node.name, "nics": [{"device": f"eth{nic}", "mac": node.mac(nic)} for nic in range(4)]}
        for node in what.nodes
    ]
    return {"pools": [{"name": wanted["pool"], "hosts": hosts, "srs": [], **wanted["scenario"]}, *wanted["pools"]]}


class Bridge:
    """Follows the VMs of the pool."""

    def __init__(self, lab: Lab, info: dict[str, Any]) -> None:
        self.lab = lab
        self.info = info
        self.pool = info["pools"][0]
        self.guests = {machine.name for machine in lab.description.guests}
        self.workers = {name: ThreadPoolExecutor(1) for name in self.guests}  # one thing at a time for each
        self.seen: dict[str, tuple[str, int]] = {}  # VM -> power state, domain
        self.stopping: set[str] = set()
        self.hosts: dict[str, str] = {}

    # -- calls

    def log_in(self) -> None:
        """To the coordinator, whoever that is now; until one is found."""
        while True:
            for host in self.pool["hosts"]:
                try:
                    self.url, self.server = host["url"], self._server(host["url"])
                    self.session = self._result(self.server.session.login_with_password("root", self.pool["password"]))
                    records = self.call("host.get_all_records")
                except (OSError, xmlrpc.client.Error, LabError):
                    continue  # dead, or a slave
                self.hosts = {ref: record["name_label"] for ref, record in records.items()}
                return
            time.sleep(0.3)

    def call(self, method: str, *args: Any) -> Any:
        """LabError with XAPI's code when it is refused."""
        return self._result(getattr(self.server, method)(self.session, *args))

    def call_apart(self, method: str, *args: Any) -> Any:
        """The same on a connection of its own, for the workers."""
        return self._result(getattr(self._server(self.url), method)(self.session, *args))

    def _server(self, url: str) -> Any:
        context = ssl.create_default_context(cafile=self.info["ca"]) if "ca" in self.info else None
        return xmlrpc.client.ServerProxy(url, context=context, allow_none=True)

    @staticmethod
    def _result(reply: Any) -> Any:
        if reply["Status"] != "Success":
            raise LabError(": ".join(reply["ErrorDescription"]))
        return reply["Value"]

    def answers(self, host: str) -> bool:
        """Whether a host of the pool can be reached."""
        url = urlsplit(next(each["url"] for each in self.pool["hosts"] if each["name"] == host))
        try:
            socket.create_connection((url.hostname or "", url.port or 0), 1).close()
        except OSError:
            return False
        return True

    # -- events

    def introduce(self) -> None:
        """Tell XAPI the initiator names of the nodes."""
        names = {node.name: node.initiator for node in self.lab.description.nodes}
        for ref, name in self.hosts.items():
            self.call("host.set_iscsi_iqn", ref, names[name])

    def follow(self) -> None:
        """For ever."""
        token = ""
        while True:
            try:
                batch = self.call("event.from", ["vm"], token, 30.0)
            except (OSError, xmlrpc.client.Error, LabError):
                self.log_in()
                token = ""
                continue
            token = batch["token"]
            for event in batch["events"]:
                if event["operation"] != "del":
                    self.changed(event["ref"], event["snapshot"])

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
        wished = {"clean_shutdown", "clean_reboot", "shutdown"} & set(vm["current_operations"].values())
        if wished and guest not in self.stopping:
            self.stopping.add(guest)
            self.do(guest, self.stop, ref, guest)
        if vm["power_state"] == "Running" and (before[0] != "Running" or before[1] != domain):
            self.do(guest, self.start, ref, guest, self.hosts[vm["resident_on"]], vm["uuid"])
        elif vm["power_state"] == "Halted" and before[0] != "Halted":
            self.do(guest, self.kill, guest)

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

    def start(self, ref: str, guest: str, node: str, uuid: str) -> None:
        """The VM runs on a node: so does the machine."""
        box = self.lab.box(guest)
        where = box.status.host
        if box.running() and where != node:
            if not self.answers(where):
                self.incident(f"{guest} was started on {node} while it runs on {where}")
            else:
                self.lab.move(guest, node)
            return
        if box.running():  # rebooted by force
            self.lab.kill([guest])
        self.stopping.discard(guest)
        try:
            self.lab.start([guest], on=node)
        except LabError:
            if box.status.host:
                raise
            return  # its power was cut meanwhile
        self.call_apart("VM.remove_from_xenstore_data", ref, WAITS)
        self.call_apart("VM.add_to_xenstore_data", ref, WAITS, "true")
        control(self.info, "guest_ip", pool=self.pool["name"], vm=uuid, ip=box.machine.address)

    def stop(self, ref: str, guest: str) -> None:
        """It is asked to shut down; when it is off, the call may go on."""
        self.lab.stop([guest])
        self.call_apart("VM.remove_from_xenstore_data", ref, WAITS)

    def kill(self, guest: str) -> None:
        """Its VM is Halted; the machine is, too, unless that is only what the pool believes."""
        box = self.lab.box(guest)
        self.stopping.discard(guest)
        if box.running() and self.answers(box.status.host):
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
        bridge.log_in()
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
