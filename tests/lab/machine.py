# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One UML machine: its folder, its process, its way in.

The folder has root.cow and disk<N>.img (what survives a power cut), console.log, process (the record, see process.py) and
status.json: cables that are out, disks that fail, the node that a guest runs on. Of a guest also legs and cidata, where it has
them: see blkback.py.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from . import process
from .description import GATEWAY, NODE_NICS, SAN_OPERATOR, Description, Machine
from .errors import LabError
from .image import Image
from .network import CONSOLE_NIC, INNER_NIC, Network, tap

HERE = Path(__file__).resolve().parent
SSH = (
    "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o ConnectTimeout=10"
    " -o ServerAliveInterval=2 -o ServerAliveCountMax=5"
).split()


@dataclass
class Status:
    """What is to be so, also after the next start."""

    cables: dict[str, str] = field(default_factory=dict)  # NIC -> cut or pulled
    failed: list[int] = field(default_factory=list)  # disks
    host: str = ""  # of a guest: the node that it runs on, while it does
    domain: str = ""  # of a guest: what the node has of it in /run/lab/domains: UUID ID MEMORY NAME

    def out(self, *kinds: str) -> set[int]:
        """NICs whose cable is out in one of these ways."""
        return {int(nic) for nic, kind in self.cables.items() if kind in kinds}


class Box:
    """A machine of the description, in its folder."""

    def __init__(self, machine: Machine, folder: Path, network: Network, image: Image) -> None:
        self.machine = machine
        self.folder = folder
        self.network = network
        self.image = image
        self.record = folder / "process"

    @property
    def status(self) -> Status:
        """As last saved."""
        try:
            return Status(**json.loads((self.folder / "status.json").read_text(encoding="utf-8")))
        except FileNotFoundError:
            return Status()

    def save(self, status: Status) -> None:
        """Write it, whole or not at all."""
        draft = self.folder / "status.new"
        draft.write_text(json.dumps(asdict(status)), encoding="utf-8")
        draft.rename(self.folder / "status.json")

    def running(self) -> bool:
        """Whether it has power."""
        return bool(process.running(self.record))

    # -- power

    def start(self, lab: Description, *, pulled: set[int], host: Machine | None = None) -> None:
        """Give it power; `host` is the node that a guest runs on, `pulled` are NICs without carrier. Returns at once."""
        for number, size in enumerate(self.machine.disks, 1):
            path = self.folder / f"disk{number}.img"
            if not path.exists():
                with open(path, "wb") as file:
                    file.truncate(size)
        base = self.folder / "base.ext4"
        if not base.is_symlink():
            base.symlink_to(self.image.path)
        shutil.rmtree(self.folder / "uml", ignore_errors=True)  # of a killed kernel, whose ids are all in use again
        # Each system call of a process in there is a switch between processes out here: dear, and twice so between processors.
        processors = sorted(os.sched_getaffinity(0))
        pinned = ["taskset", "--cpu-list", str(processors[self.machine.number % len(processors)])]
        supervisor = [sys.executable, "-I", "-S", str(HERE / "supervisor.py"), str(self.record)]
        command = self.network.inside(*pinned, "unshare", "--pid", "--fork", "--", *supervisor, *self._kernel(lab, pulled, host))
        with open(self.folder / "console.log", "ab") as log:
            launcher = subprocess.Popen(
                command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, "TMPDIR": "/dev/shm"},  # the machine's memory is an unlinked file there
            )  # fmt: skip
        deadline = time.monotonic() + 20
        while not self.running():
            if launcher.poll() is not None or time.monotonic() > deadline:
                raise LabError(f"{self.machine.name} does not start:\n{self.last_words()}")
            time.sleep(0.005)

    def cut_power(self) -> None:
        """SIGKILL, without waiting for the end."""
        process.send(self.record, signal.SIGKILL)

    def wait_off(self, timeout: float = 10.0) -> bool:
        """Wait for the end; False if it does not come in time (seconds)."""
        return process.wait_gone(self.record, timeout)

    def last_words(self) -> str:
        """The end of its console's log."""
        try:
            lines = (self.folder / "console.log").read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return ""
        return "\n".join(lines[-15:])

    def _kernel(self, lab: Description, pulled: set[int], host: Machine | None) -> list[str]:
        """The command line, of at most 2048 characters: hence paths relative to the folder."""
        machine, status = self.machine, self.status
        words = [
            str(self.image.kernel), f"mem={machine.memory >> 20}M", "uml_dir=uml", f"umid=m{machine.number}", "root=/dev/ubda",
            "rw", "quiet", "selinux=0", "con=null", "con0=null,fd:1", "ubd0=root.cow,base.ext4",
            f"systemd.machine_id={hashlib.md5(machine.name.encode(), usedforsecurity=False).hexdigest()}",
            "systemd.show_status=0",
        ]  # fmt: skip
        words += [f"ubd{n}=disk{n}.img" for n in range(1, len(machine.disks) + 1)]
        given = {name: disk for name, disk in (("cidata", "ubd9r"), ("legs", "ubd10r")) if (self.folder / name).exists()}
        words += [f"{disk}={name}" for name, disk in given.items()]
        for nic in (*NODE_NICS, INNER_NIC, CONSOLE_NIC):
            words.append(
                f"vec{nic}:transport=tap,ifname={tap(machine, nic)},depth=128,gro=1,mtu=9000,mac={_inner_mac(machine, nic)}"
            )
        told: dict[str, object] = {
            "name": machine.name, "role": machine.role, "mac": machine.mac(0)[:-3], "address": f"{machine.address}/24",
            "console": f"{machine.console}/24", "inner": f"{machine.inner}/24", "disks": len(machine.disks),
            "nic": "guests0" if machine.role == "node" else "host0", "initiator": machine.initiator,
            "failed": ",".join(map(str, status.failed)), "pulled": ",".join(map(str, sorted(pulled))),
            **dict.fromkeys(given, 1),
        }  # fmt: skip
        if machine.role == "guest":
            san = lab.san
            told |= {"san": san.guests, "mtu": san.mtu, "vlan": san.vlan or ""}
            told |= {f"san{n}": f"{address}/24" for n, address in enumerate(machine.san_addresses)}
            if san.topology == "switches" and san.guests == "bond":
                told["arp"] = SAN_OPERATOR
            if host is not None:
                told |= {"initiator": host.initiator, "local": ",".join(lab.local_addresses(host)), "gateway": GATEWAY}
        return words + [f"lab.{key}={value}" for key, value in told.items() if value != ""]

    # -- the way in

    def ssh(self, *command: str) -> list[str]:
        """Command line of an out-of-band ssh; to be run in the folder, where the socket of the shared connection is."""
        shared = "-o ControlMaster=auto -o ControlPath=ssh -o ControlPersist=60".split()
        target = f"root@{self.machine.console}"
        return self.network.inside("ssh", "-i", str(self.image.key), *SSH, *shared, target, *command)

    def run(
        self, command: str, *, check: bool = True, timeout: float | None = 60.0, text: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command in the machine, out of band. LabError if it fails (unless check=False) or takes too long."""
        if not self.running():
            raise LabError(f"{self.machine.name} has no power")
        try:
            done = subprocess.run(
                self.ssh(command), cwd=self.folder, capture_output=True, text=True, timeout=timeout, check=False,
                input="" if text is None else text,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise LabError(f"{self.machine.name}: no end in {timeout:g} s: {command}") from None
        if check and done.returncode:
            said = (done.stderr or done.stdout).strip()
            raise LabError(f"{self.machine.name}: {command}: code {done.returncode}: {said}")
        return done


def _inner_mac(machine: Machine, nic: int) -> str:
    """Of vec<nic>: the wire between machine and lab has another address than the machine's NIC."""
    return f"02:67:00:00:{machine.number:02x}:{nic:02x}"
