# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# pylint: disable=ansible-bad-function  # what stands below the modules knows none of them
"""LVM snapshots of legs, and what has to end with the process that works on them. Python 3.6 syntax."""

import json
import os
import re
import signal
import subprocess
import tempfile
import time
from typing import Any, Callable, Dict, Optional, Sequence

from ansible_collections.nobloat.xen.plugins.module_utils.node.generations import libc
from ansible_collections.nobloat.xen.plugins.module_utils.node.held import flock, lock_path
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import (
    SEARCH_PATH,
    CommandError,
    NodeError,
    Result,
    run,
)
from ansible_collections.nobloat.xen.plugins.module_utils.node.spares import Spares

PREFIX = "backup-"  # names of volumes that begin so are no legs
FIELDS = "vg_name,lv_name,lv_uuid,lv_size,vg_free,vg_extent_size,origin,pool_lv,segtype"
PR_SET_PDEATHSIG = 1
LOST = "Overflow", "Invalid", "Merge", "Fail", "Error"  # what the kernel says instead of numbers


def die_with_parent() -> None:
    """For the child between fork and exec: it is killed when this process ends, however that ends."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def end_orderly() -> None:
    """Have the usual signals end us as an error does, so that what was begun is taken back."""
    def stop(number: int, _frame: Any) -> None:
        raise NodeError(f"It was ended by signal {number}.")

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, stop)


def lock(root: str, what: str) -> Any:
    """A lock that ends with us. Raises NodeError if somebody else has it. The caller keeps what is returned."""
    return flock(lock_path(root, f"backup-{what}"), f"Another backup or restore of {what} is at work on this node. Wait until it is done.")


def supervised(argv: Sequence[str], watch: Callable[[str], None], codes: Sequence[int] = (0,), interval: float = 1,
               keep: Sequence[int] = ()) -> str:
    """Run a command for as long as it takes; `watch` gets the end of what it says, each `interval` seconds, and may raise.
    It has the open descriptors `keep`, too.

    Returns what it said. Raises CommandError.
    """
    environment = dict(os.environ, LC_ALL="C", LANG="C", PATH=SEARCH_PATH)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment,
                                       preexec_fn=die_with_parent, pass_fds=keep)
        except FileNotFoundError:
            raise NodeError(f"There is no command {argv[0]} on this machine; install it first.") from None
        try:
            while process.poll() is None:
                time.sleep(min(interval, 0.2))
                watch(tail(out, 400))
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        if process.returncode not in codes:
            raise CommandError(argv[:1], process.returncode, tail(err, 2000) or tail(out, 400))
        return tail(out, 1 << 30)


def tail(stream: Any, count: int) -> str:
    """The last bytes of a file that somebody else writes."""
    end = os.fstat(stream.fileno()).st_size
    return os.pread(stream.fileno(), min(count, end), max(0, end - count)).decode("utf-8", "replace")


class Volumes:
    """The logical volumes of this node. `command` runs nothing in tests."""

    def __init__(self, command: Callable[..., Result] = run) -> None:
        self.run = command
        self.spares = Spares(command)

    def find(self, vg: str, name: str) -> Optional[Dict[str, Any]]:
        """{vg, name, uuid, size, free (of the group), extent, origin, thin}, sizes in bytes; None if there is no such volume."""
        out = self.run("lvs", "--reportformat", "json", "--units", "b", "--nosuffix", "-o", FIELDS).out
        for row in json.loads(out)["report"][0]["lv"]:
            if (row["vg_name"], row["lv_name"]) == (vg, name):
                return {"vg": vg, "name": name, "uuid": row["lv_uuid"], "size": int(row["lv_size"]), "free": int(row["vg_free"]),
                        "extent": int(row["vg_extent_size"]), "origin": row["origin"], "thin": row["segtype"] == "thin"}
        return None


class Snapshot:
    """The snapshot of a leg. It has one name, so that what a killed run has left is found by the next."""

    def __init__(self, volumes: Volumes, leg: Dict[str, Any]) -> None:
        self.volumes = volumes
        self.run = volumes.run
        self.leg = leg
        self.name = f"{PREFIX}{leg['name']}"
        self.device = f"/dev/{leg['vg']}/{self.name}"

    def uuid(self) -> str:
        """Which one is there, "" if none is. Raises NodeError if the name is that of something else."""
        found = self.volumes.find(self.leg["vg"], self.name)
        if found and found["origin"] != self.leg["name"]:
            raise NodeError(f"{self.device} is no snapshot of {self.leg['name']}. Rename it: backups need the name.")
        return str(found["uuid"]) if found else ""

    def exists(self) -> bool:
        return bool(self.uuid())

    def size(self, wanted: str) -> int:
        """The bytes that it gets for what it has to keep: `wanted` is bytes, or a percentage of the leg. Raises NodeError."""
        match = re.fullmatch(r"(\d+)%", wanted)
        if not match and not wanted.isdigit():
            raise NodeError(f"'{wanted}' is no size of a snapshot; write a percentage of the leg, as 20%, or a number of bytes.")
        size = self.leg["size"] * int(match.group(1)) // 100 if match else int(wanted)
        return max(1, -(-size // self.leg["extent"])) * self.leg["extent"]

    def check(self, wanted: str) -> None:
        free = self.leg["free"]
        if not self.leg["thin"] and self.size(wanted) > free:
            free += self.volumes.spares.room(self.leg["vg"])
        if not self.leg["thin"] and self.size(wanted) > free:
            raise NodeError(f"The snapshot needs {self.size(wanted)} bytes, and volume group {self.leg['vg']} has only "
                            f"{free} left. Make room, or take a smaller snapshot_size.")

    def make(self, wanted: str) -> None:
        origin = f"{self.leg['vg']}/{self.leg['name']}"
        if self.leg["thin"]:
            self.run("lvcreate", "-y", "-s", "-kn", "-n", self.name, origin)
        else:
            if self.size(wanted) > self.leg["free"]:
                spares = self.volumes.spares
                spares.locked(lambda: spares.release(self.leg["vg"], self.size(wanted) - self.leg["free"]))
            self.run("lvcreate", "-y", "-s", "-n", self.name, "-L", f"{self.size(wanted)}b", origin)

    def used(self) -> float:
        """How full it is, in percent. Raises NodeError if it took in more than it could hold."""
        words = self.run("dmsetup", "status", self.device).out.split()
        if len(words) < 4 or words[3] in LOST:
            raise NodeError(
                f"The guest wrote more than the snapshot {self.name} could keep: it is lost, and the leg is as it was. Take a larger "
                "snapshot_size, or a quieter time.")
        match = re.match(r"(\d+)/(\d+)$", words[3]) if words[2] == "snapshot" else None
        return round(100.0 * int(match.group(1)) / int(match.group(2)), 1) if match else 0.0

    def remove(self) -> None:
        """Remove it; who looks at a new device (udev) is waited for."""
        end = time.monotonic() + 10
        while self.exists():
            try:
                self.run("lvremove", "-f", f"{self.leg['vg']}/{self.name}")
            except CommandError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.5)
