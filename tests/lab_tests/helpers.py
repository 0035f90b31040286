# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the lab share."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from integration.targets.host_playbooks.files.broken_off import kill as kill_with_workers
from lab import description
from lab.calls import Calls
from lab.errors import LabError
from lab.inventory import write
from lab.lab import Lab
from lab.machine import Box


def named(name: str) -> Lab:
    """The lab of this id, after $LAB_ID, if there is one: so that two runs do not meet."""
    return Lab("-".join([*filter(None, [os.environ.get("LAB_ID")]), name])[:21].rstrip("-"))


@contextmanager
def booted(name: str, **content: Any) -> Iterator[Lab]:
    """A lab for the length of a with block; `reap` removes it if we are killed."""
    lab = named(name)
    lab.up(description.parse(content), owned=True)
    try:
        yield lab
    finally:
        lab.down()


@dataclass
class Played:
    """What a playbook run gave. recap: host -> {"ok": 3, "changed": 0, "unreachable": 0, "failed": 0, ...}."""

    rc: int
    stdout: str
    stderr: str
    recap: dict[str, dict[str, int]]

    @property
    def changed(self) -> int:
        """Changed tasks of all hosts together."""
        return sum(counts["changed"] for counts in self.recap.values())

    def ok(self) -> Played:
        """Itself; an assertion fails if the run did."""
        assert self.rc == 0, self.stdout + self.stderr
        return self


def play(
    lab: Lab,
    playbook: str | Path,
    *,
    extra_vars: dict[str, Any] | None = None,
    check: bool = False,
    inventories: Sequence[str | Path] = (),
    options: Sequence[str] = (),
    timeout: float = 600.0,
) -> Played:
    """Run ansible-playbook of this Python's environment on a lab.

    `playbook`: a file, the name of a playbook of a collection (nobloat.xen.site), or the text of one. `inventories` come before
    the lab's own, whose variables win over theirs.
    """
    with tempfile.TemporaryDirectory() as folder:
        if "\n" in str(playbook):
            Path(folder, "playbook.yml").write_text(str(playbook), encoding="utf-8")
            playbook = Path(folder, "playbook.yml")
        command = playbook_command(lab, playbook, [*options, *["--check"] * check], extra_vars, inventories)
        with subprocess.Popen(command, env=playbook_environment(), text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:  # fmt: skip
            try:
                stdout, stderr = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                kill_with_workers(process)
                raise
    return Played(process.returncode, stdout, stderr, _recap(stdout))


def playbook_command(
    lab: Lab, playbook: str | Path, options: Sequence[str] = (), extra_vars: dict[str, Any] | None = None,
    inventories: Sequence[str | Path] = (),
) -> list[str]:  # fmt: skip
    """What `play` runs."""
    command = [str(Path(sys.executable).with_name("ansible-playbook")), str(playbook), *options]
    for each in [*inventories, write(lab)]:
        command += ["-i", str(each)]
    return command + (["-e", json.dumps(extra_vars)] if extra_vars else [])


def playbook_environment() -> dict[str, str]:
    """And its variables."""
    return {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"}


def _recap(stdout: str) -> dict[str, dict[str, int]]:
    lines = stdout.rpartition("\nPLAY RECAP")[2].splitlines()[1:]
    return {
        line.partition(" : ")[0].strip(): {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", line)}
        for line in lines
        if " : " in line
    }


class Xapi:
    """A session on the pool of the nodes: xapi("VM.get_record", ref)."""

    def __init__(self, lab: Lab) -> None:
        assert lab.xapi
        self.calls = Calls(lab.xapi, 60)
        self.hosts: dict[str, str] = {name: ref for ref, name in self.calls.hosts.items()}

    def __call__(self, method: str, *args: Any) -> Any:
        return self.calls.call(method, *args)


def until(condition: Callable[[], Any], timeout: float, what: str) -> Any:
    """The first true answer; an assertion fails after timeout seconds, or more where processes wait for processors."""
    timeout *= max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    deadline = time.monotonic() + timeout
    while True:
        try:
            if found := condition():
                return found
        except LabError:
            pass
        assert time.monotonic() < deadline, f"after {timeout:g} s still not: {what}"
        time.sleep(0.1)


def bond(lab: Lab, name: str, options: str) -> None:
    """bond0 of the SAN NICs with the machine's SAN address, made anew."""
    machine = lab.box(name).machine
    lab.box(name).run(
        "ip link delete bond0 2>/dev/null; modprobe bonding; set -e; ip link set eth2 down; ip link set eth3 down;"
        f"ip link add bond0 type bond {options}; ip link set eth2 master bond0; ip link set eth3 master bond0;"
        f"ip addr add {machine.san_addresses[0]}/24 dev bond0; ip link set bond0 up"
    )


def export(device: str, iqn: str, address: str, initiators: Sequence[str]) -> str:
    """Commands for a node: a block device as LUN 0 of a target, for these initiators."""
    name = iqn.rpartition(":")[2]
    core, group = f"core/iblock_0/{name}", f"iscsi/{iqn}/tpgt_1"
    lines = [
        "set -e; modprobe -a target_core_mod target_core_iblock iscsi_target_mod; cd /sys/kernel/config/target",
        f"mkdir -p {core} iscsi; echo udev_path={device} >{core}/control; echo 1 >{core}/enable",
        f"mkdir -p {group}/lun/lun_0 {group}/np/{address}:3260; ln -s $PWD/{core} {group}/lun/lun_0/it",
        f"echo 0 >{group}/attrib/authentication",
    ]
    for each in initiators:
        lines.append(f"mkdir -p {group}/acls/{each}/lun_0; ln -s $PWD/{group}/lun/lun_0 {group}/acls/{each}/lun_0/it")
    return "\n".join([*lines, f"echo 1 >{group}/enable"])


@contextmanager
def paused(box: Box, image: str, guest: str, restore: Callable[[], Played]) -> Iterator[Future[Played]]:
    """A restore of a disk that compares its backup, an image on a machine, with its digests for as long as the with block."""
    lock = f"/run/nobloat/restore-{guest}.lock"
    box.run(f"mv {image} {image}.real && mkfifo {image}")
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(restore)
        try:
            until(lambda: run.done() or box.run(f"test -e {lock} && ! flock -n -s {lock} true", check=False).returncode == 0, 120,
                  "the restore has the disk")
            assert not run.done(), run.result().stdout
            yield run
        finally:
            # What is opened from now on is the image; what has been opened gets it, too.
            box.run(f"mv {image} {image}.pipe; mv {image}.real {image}; timeout 60 cp {image} {image}.pipe; rm {image}.pipe", timeout=120)
