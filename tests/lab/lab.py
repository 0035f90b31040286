# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab: machines, network, records, and what can be done to them.

Records lie in .work/lab-state/ID (or $LAB_STATE/ID): lab.json is written before the first thing that outlives this process,
so that `down` finds everything also after an `up` that was killed. Whatever changes a lab holds its lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from . import description, host, image, process
from .description import Description
from .errors import LabError
from .machine import HERE, Box
from .network import Network

ROOT = HERE.parent.parent
BOOT = 120.0  # seconds that a machine may take; three are usual


def state_folder() -> Path:
    """Where all labs have their records."""
    return Path(os.environ.get("LAB_STATE") or ROOT / ".work/lab-state").resolve()


class Lab:
    """The lab of an id. It need not exist: `exists` says."""

    def __init__(self, name: str = "lab") -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,20}", name):
            raise LabError(f"{name!r} is no id of a lab: small letters, digits, dashes, at most 21")
        self.name = name
        self.folder = state_folder() / name
        self.namespace = f"lab-{name}-{zlib.crc32(str(self.folder).encode()):08x}"
        self.network = Network(self.namespace)

    @property
    def exists(self) -> bool:
        """Whether there is a record of it."""
        return (self.folder / "lab.json").exists()

    @property
    def _record(self) -> dict[str, Any]:
        try:
            return json.loads((self.folder / "lab.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise LabError(f"no lab {self.name!r} is up; `python -m lab up` makes one") from None

    @property
    def description(self) -> Description:
        """What it consists of. LabError if it does not exist."""
        return description.restored(self._record["description"])

    @property
    def image(self) -> image.Image:
        """What its machines boot from."""
        record = self._record["image"]
        return image.Image(Path(record["path"]), Path(record["key"]))

    def box(self, name: str) -> Box:
        """A machine by name."""
        return self._box(self.description.machine(name))

    def _box(self, machine: description.Machine) -> Box:
        return Box(machine, self.folder / machine.name, self.network, self.image)

    @property
    def boxes(self) -> list[Box]:
        """All machines."""
        return [self._box(machine) for machine in self.description.machines]

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else changes the lab meanwhile."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        path = self.folder.with_suffix(".lock")
        while True:
            with open(path, "w", encoding="ascii") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                if _same(path, file.fileno()):  # else `down` has removed it meanwhile
                    yield
                    return

    # -- all of it

    def up(self, wanted: Description, *, owned: bool = False) -> None:
        """Begin anew: what is left of this id goes first. Nodes boot; guests only where there is no XAPI that starts them.

        An owned lab is the caller's: `reap` removes it once this process has ended.
        """
        host.provide()
        picture = image.ensure()
        with self.locked():
            self._remove()
            self.folder.mkdir(parents=True)
            if owned:
                process.record_self(self.folder / "owner")
            record = {"description": wanted.saved(), "image": {"path": str(picture.path), "key": str(picture.key)}}
            (self.folder / "lab.new").write_text(json.dumps(record, indent=1), encoding="utf-8")
            (self.folder / "lab.new").rename(self.folder / "lab.json")
            for machine in wanted.machines:
                (self.folder / machine.name).mkdir()
            self.network.up(wanted)
        try:
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

    def start(self, names: Iterable[str], *, on: str = "") -> None:
        """Give machines power and wait until they can be logged in to. `on`: the node that guests start on."""
        boxes = [self.box(name) for name in names]
        with self.locked():
            begun = [box for box in boxes if not box.running()]
            for box in begun:
                self._power_on(box, on)
        self.wait(boxes)
        for box in begun:
            if box.machine.role == "node":
                self._tell_xapi("restore_host", box.machine.name)

    def _power_on(self, box: Box, on: str) -> None:
        self._hang_up(box)
        status, where = box.status, None
        if box.machine.role == "guest":
            where = self.description.machine(on or box.machine.host)
            if where.role != "node" or not self._box(where).running():
                raise LabError(f"{box.machine.name} cannot start: {where.name} is no node that runs")
            status.host = where.name
            box.save(status)
            self.network.host(box.machine, where)
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
                status.host = ""
                box.save(status)
                self.network.host(box.machine, None)

    def move(self, guest: str, node: str) -> None:
        """A guest that runs is on another node from now on (after a live migration)."""
        with self.locked():
            box, target = self.box(guest), self.description.machine(node)
            status = box.status
            status.host = node
            box.save(status)
            self.network.host(box.machine, target)
            self.network.connect(box.machine, self._cables(box))
            lines = [f"route flush via {description.GATEWAY}"]
            lines += [
                f"route add {a} via {description.GATEWAY} dev host0" for a in self.description.local_addresses(target)
            ]
            box.run("ip -batch -", text="\n".join(lines) + "\n")

    # -- cables and disks

    def link(self, name: str, nics: Iterable[int], how: str) -> None:
        """Cables of NICs 0 to 3: pull (carrier goes), cut (silently), plug. A node's are those of its guests, too."""
        kind = {"pull": "pulled", "cut": "cut", "plug": ""}.get(how)
        nics = list(nics)
        if kind is None or not set(nics) <= set(description.NODE_NICS):
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
        self.link(node, description.NODE_NICS, "cut")
        self._tell_xapi("isolate_host", node)

    def rejoin(self, node: str) -> None:
        """The end of a partition."""
        self.link(node, description.NODE_NICS, "plug")
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

    @property
    def xapi(self) -> dict[str, Any] | None:
        """xapisim's ready line; None in a lab without."""
        try:
            return json.loads((self.folder / "xapi.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None

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

            control(self.xapi, do, host=node)

    @property
    def incidents(self) -> list[str]:
        """What the bridge to XAPI could not do: a guest started twice, for example."""
        try:
            return (self.folder / "incidents").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []


def _same(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


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
