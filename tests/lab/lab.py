# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab: what can be done to it, and to its machines."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable
from pathlib import Path

from . import host, image, process
from .description import GATEWAY, NODE_NICS, Description
from .errors import LabError
from .machine import HERE, Box
from .records import Records, state_folder

BOOT = 300.0  # seconds that a machine may take, when it has little of a processor; five are usual

# In a guest: its iSCSI disks wait for their sessions, longer than usual; until all of them can be read.
PATIENT = """for file in /sys/class/iscsi_session/*/recovery_tmo; do
    [ -e "$file" ] || continue
    echo "$file $(cat "$file")"
    echo 120 >"$file" || true
done"""
READ_ALL = """for disk in /sys/class/iscsi_session/*/device/target*/*/block/*; do
    [ ! -e "$disk" ] || dd if="/dev/${disk##*/}" of=/dev/null bs=4096 count=1 iflag=direct 2>/dev/null || true
done"""


class Lab(Records):
    """The lab of an id."""

    # -- all of it

    def up(self, wanted: Description, *, owned: bool = False) -> None:
        """Begin anew: what is left of this id goes first. Nodes boot; guests only where there is no XAPI that starts them.

        An owned lab is the caller's: `reap` removes it once this process has ended.
        """
        host.provide()
        picture = image.ensure()
        with self.locked():
            self._remove()
            self.save(wanted, picture, owned=owned)
        try:
            self.network.up(wanted)
            if wanted.xapi is not None:
                self._start_xapi()
            self.start([m.name for m in (wanted.nodes if wanted.xapi is not None else wanted.machines)])
        except BaseException:
            with self.locked():
                self._remove()
            raise

    def down(self) -> None:
        """End and remove everything, also what a killed `up` has left."""
        with self.locked():
            self._remove()

    def _remove(self) -> None:
        if self.folder.exists():
            process.end(self.folder / "xapi.process", 10)
            records = [path for path in self.folder.glob("*/process") if path.parent.is_dir()]
            for record in records:
                process.send(record, signal.SIGKILL)
            for record in records:
                process.kill(record)
        deadline = time.monotonic() + 10
        while self.network.exists() and (left := self.network.processes()):  # not yet recorded; ssh; ProxyCommands
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > deadline:
                raise LabError(f"processes {left} in {self.namespace} do not end")
            time.sleep(0.02)
        self.network.down()
        if self.folder.exists():
            shutil.rmtree(self.folder)
        self.folder.with_suffix(".lock").unlink(missing_ok=True)

    # -- power

    def start(self, names: Iterable[str], *, on: str = "", booted: bool = False) -> None:
        """Give machines power and wait until they can be logged in to. `on`: the node that guests start on.

        `booted`: XAPI starts when a node has its disks, as it does after an orderly reboot: its first scan comes half a minute later.
        """
        boxes = [self.box(name) for name in names]
        with self.locked():
            begun = [box for box in boxes if not box.running()]
            nodes = {box.machine.name for box in begun if box.machine.role == "node"}
            for box in begun:
                self._power_on(box, on, ready=not nodes)
        self.wait(boxes)
        for name in nodes:
            self._domains(name)
            if booted:
                self.box(name).run("systemctl start open-iscsi.service; udevadm settle", check=False, timeout=BOOT)
            self._tell_xapi("restore_host", name)

    def _power_on(self, box: Box, on: str, *, ready: bool) -> None:
        self._hang_up(box)
        status, where = box.status, None
        if box.machine.role == "guest":
            where = self.description.machine(on or box.machine.host)
            if where.role != "node" or not self._box(where).running():
                raise LabError(f"{box.machine.name} cannot start: {where.name} is no node that runs")
            status.host = where.name
            box.save(status)
            self.network.host(box.machine, where)
            if ready:
                self._domains(where.name)
        cables = self._cables(box)
        self.network.connect(box.machine, cables)
        box.start(self.description, pulled={n for n, kind in cables.items() if kind == "pulled"}, host=where)

    def _hang_up(self, box: Box) -> None:
        """End what is still connected to the machine's last life: its peer will never answer."""
        for pid in self.network.processes():
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
                folder = Path(f"/proc/{pid}/cwd").resolve()
            except (FileNotFoundError, ProcessLookupError):
                continue
            proxy = "connect.py" in command and box.machine.address in command.split("\0")
            if proxy or (folder == box.folder and command.startswith("ssh")):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def wait(self, boxes: Iterable[Box], timeout: float = BOOT) -> None:
        """Until ssh answers in and out of band (seconds at most). LabError with its last words if one dies meanwhile."""
        boxes, deadline = list(boxes), time.monotonic() + timeout
        connect = [sys.executable, "-I", "-S", str(HERE / "connect.py"), "--wait", str(timeout)]
        while True:
            hosts = self._ssh_addresses(boxes)
            with subprocess.Popen(self.network.inside(*connect, *hosts), stdout=subprocess.PIPE, text=True) as probe:
                while probe.poll() is None and hosts == self._ssh_addresses(boxes):
                    for box in boxes:
                        if not box.running():
                            probe.kill()
                            raise LabError(f"{box.machine.name} has died:\n{box.last_words()}")
                    time.sleep(0.05)
                if probe.poll() == 0:
                    return
                probe.kill()
            if time.monotonic() > deadline:
                raise LabError(f"no ssh after {timeout:g} s at one of {', '.join(hosts)}")

    def _ssh_addresses(self, boxes: list[Box]) -> list[str]:
        """Where ssh is to answer: in band only while the cable is plugged."""
        hosts = [box.machine.console for box in boxes]
        return hosts + [box.machine.address for box in boxes if 0 not in self._cables(box)]

    def kill(self, names: Iterable[str]) -> None:
        """A power cut, at once, for all of them together, and for the guests that run on the nodes among them."""
        with self.locked():
            boxes = self._with_guests([self.box(name) for name in names])
            for box in boxes:
                box.cut_power()
            self._off(boxes)
        for box in boxes:
            if box.machine.role == "node":
                self._tell_xapi("crash_host", box.machine.name)

    def stop(self, names: Iterable[str], timeout: float = 60.0) -> None:
        """Shut down in order, guests before their nodes; what does not go down in time (seconds) loses power."""
        boxes = [box for box in self._with_guests([self.box(name) for name in names]) if box.running()]
        for role in ("guest", "node"):
            some = [box for box in boxes if box.machine.role == role]
            for box in some:
                with contextlib.suppress(LabError):
                    box.run("systemctl --no-block start poweroff.target", check=False, timeout=10)
            for box in some:
                if not box.wait_off(timeout):
                    box.cut_power()
            with self.locked():
                self._off(some)
            for box in some:
                if role == "node":
                    self._tell_xapi("crash_host", box.machine.name)

    def _with_guests(self, boxes: list[Box]) -> list[Box]:
        names = {box.machine.name for box in boxes}
        guests = [self._box(m) for m in self.description.guests if m.name not in names]
        return boxes + [guest for guest in guests if guest.running() and guest.status.host in names]

    def _off(self, boxes: list[Box]) -> None:
        for box in boxes:
            if not box.wait_off():
                raise LabError(f"{box.machine.name} does not end")
            if box.machine.role == "guest":
                status = box.status
                left, status.host = status.host, ""
                box.save(status)
                self.network.host(box.machine, None)
                self._domains(left)

    def _domains(self, name: str) -> None:
        """Tell a node, for its xl, the guests that run on it: a line for each, UUID ID MEMORY(MiB) NAME."""
        if not name or not self.box(name).running():
            return
        lines = []
        for guest in self.description.guests:
            status = self._box(guest).status
            plain = f"{uuid.uuid5(uuid.NAMESPACE_DNS, guest.name)} {guest.number} {guest.memory >> 20} {guest.name}"
            lines += [(status.domain or plain) + "\n"] if status.host == name else []
        with contextlib.suppress(LabError):  # it is just dying
            self.box(name).run("cat >/run/lab/domains", text="".join(lines), timeout=20)

    def move(self, guest: str, node: str) -> None:
        """A guest that runs is on another node from now on (after a live migration).

        Its iSCSI sessions break, as their ways are others now, where a guest's disks would only wait for the new host. So they wait.
        """
        box = self.box(guest)
        with self.locked():
            target = self.description.machine(node)
            patience = box.run(PATIENT).stdout
            status = box.status
            left, status.host = status.host, node
            box.save(status)
            self._domains(left)
            self._domains(node)
            self.network.host(box.machine, target)
            self.network.connect(box.machine, self._cables(box))
            lines = [f"route flush via {GATEWAY}", "neigh flush dev host0"]  # each node has this address there
            lines += [f"route add {a} via {GATEWAY} dev host0" for a in self.description.local_addresses(target)]
            box.run("ip -batch -", text="\n".join(lines) + "\n")
        box.run(READ_ALL, timeout=180)
        box.run("while read -r file seconds; do echo $seconds >$file || true; done", text=patience)

    # -- cables and disks

    def link(self, name: str, nics: Iterable[int], how: str) -> None:
        """Cables of NICs 0 to 3: pull (carrier goes), cut (silently), plug. A node's are those of its guests, too."""
        kind = {"pull": "pulled", "cut": "cut", "plug": ""}.get(how)
        nics = list(nics)
        if kind is None or not set(nics) <= set(NODE_NICS):
            raise LabError("link: pull, cut or plug NICs 0 to 3")
        with self.locked():
            box = self.box(name)
            status = box.status
            for nic in nics:
                status.cables.pop(str(nic), None)
                if kind:
                    status.cables[str(nic)] = kind
            box.save(status)
            for each in self._with_guests([box]):
                if kind:  # carrier first: there is no moment in which a cable that is pulled looks like one that is cut
                    self._carriers(each, nics)
                self.network.connect(each.machine, self._cables(each))
                if not kind:
                    self._carriers(each, nics)

    def _carriers(self, box: Box, nics: Iterable[int]) -> None:
        cables = self._cables(box)
        lines = [f"link set plug{nic} {'down' if cables.get(nic) == 'pulled' else 'up'}" for nic in nics]
        if box.running():
            box.run("cables ip -batch -", text="\n".join(lines) + "\n")

    def isolate(self, node: str) -> None:
        """A partition: the node and its guests run on, and reach nobody."""
        self.link(node, NODE_NICS, "cut")
        self._tell_xapi("isolate_host", node)

    def rejoin(self, node: str) -> None:
        """The end of a partition."""
        self.link(node, NODE_NICS, "plug")
        self._tell_xapi("restore_host", node)

    def _cables(self, box: Box) -> dict[int, str]:
        """What is out: NIC -> cut or pulled."""
        status = box.status
        cables = {int(nic): kind for nic, kind in status.cables.items()}
        if box.machine.role == "guest" and status.host:
            cables |= {int(nic): kind for nic, kind in self.box(status.host).status.cables.items()}
        return cables

    def disk(self, name: str, number: int, how: str) -> None:
        """fail: all input and output of disk<number> ends in errors, until repair: the old content is back."""
        if how not in ("fail", "repair"):
            raise LabError("disk: fail or repair")
        with self.locked():
            box = self.box(name)
            if not 1 <= number <= len(box.machine.disks):
                raise LabError(f"{name} has no disk {number}, it has {len(box.machine.disks)}")
            status = box.status
            status.failed = sorted({*status.failed, number} if how == "fail" else {*status.failed} - {number})
            box.save(status)
            if box.running():
                box.run(f"/usr/lib/lab/disk {number} {how}")

    # -- xapi

    def _start_xapi(self) -> None:
        paths = [str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        with open(self.folder / "xapi.log", "ab") as log:
            bridge = subprocess.Popen(
                [sys.executable, "-m", "lab.xapi", self.name], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "LAB_STATE": str(self.folder.parent)},
            )  # fmt: skip
        deadline = time.monotonic() + 60
        while self.xapi is None:
            if bridge.poll() is not None or time.monotonic() > deadline:
                said = (self.folder / "xapi.log").read_text(encoding="utf-8", errors="replace").strip()
                raise LabError(f"xapisim does not start: {said or 'no answer'}")
            time.sleep(0.02)

    def _tell_xapi(self, do: str, node: str) -> None:
        if self.xapi is not None:
            from xapisim.launcher import control

            control(self.xapi, do, pool=self.xapi["pools"][0]["name"], host=node)


def labs() -> list[Lab]:
    """All that have records."""
    folder = state_folder()
    return [Lab(path.name) for path in sorted(folder.iterdir()) if path.is_dir()] if folder.is_dir() else []


def reap() -> None:
    """Remove the labs whose owner has ended without doing so."""
    for lab in labs():
        owner = lab.folder / "owner"
        if owner.exists() and not process.running(owner):
            lab.down()
