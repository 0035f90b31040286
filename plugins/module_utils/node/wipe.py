# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker that zeroes spare volumes, one on each node, in the background. Python 3.6 syntax.

It runs as a service, from copies of these files on the node, so that it goes on when Ansible is gone, and after a boot. How far it
is stands in the tag of the volume, once the zeros are on the disk.
"""

import errno
import fcntl
import inspect
import json
import os
import struct
import sys
import time
from types import ModuleType
from typing import Callable, Dict, Optional, Sequence

from ansible_collections.nobloat.xen.plugins.module_utils.mirror.names import WANTED, zeroed
from ansible_collections.nobloat.xen.plugins.module_utils.node import block as block_source
from ansible_collections.nobloat.xen.plugins.module_utils.node import held as held_source
from ansible_collections.nobloat.xen.plugins.module_utils.node import lio as lio_source
from ansible_collections.nobloat.xen.plugins.module_utils.node import run as run_source
from ansible_collections.nobloat.xen.plugins.module_utils.node import spares as spares_source
from ansible_collections.nobloat.xen.plugins.module_utils.node.block import Blocks
from ansible_collections.nobloat.xen.plugins.module_utils.node.held import Held, exporter, flock, lock_path
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import NodeError, Result, run
from ansible_collections.nobloat.xen.plugins.module_utils.node.spares import Spare, Spares

BLKZEROOUT = 0x127F  # linux/fs.h; it writes zeros where the disk has no command for it, and never only discards
CHUNK = 32 << 20
# Seconds between two notes of how far it is.
INTERVAL = 5.0
LOCK = "wipe"
PROBLEMS = "run/nobloat-wipe.json"
FOLDER = "usr/local/lib/nobloat/wipe"
UNIT = "etc/systemd/system/nobloat-wipe.service"
ENABLED = "etc/systemd/system/multi-user.target.wants/nobloat-wipe.service"
# StartLimitInterval has this name and place in CentOS 7's systemd, and newer ones take it, too.
UNIT_TEXT = """\
# Written by nobloat.xen.leg.
[Unit]
Description=Zeroes the disks that removed legs have left, and room for new ones
After=local-fs.target

[Service]
Environment=PYTHONPATH=/{folder} PYTHONDONTWRITEBYTECODE=1
ExecStart={python} -m {module}
Nice=19
IOSchedulingClass=best-effort
IOSchedulingPriority=7
Restart=on-failure
RestartSec=30
StartLimitInterval=0

[Install]
WantedBy=multi-user.target
"""
MODULE = "ansible_collections.nobloat.xen.plugins.module_utils.node.wipe"


def zero(descriptor: int, start: int, size: int) -> None:
    """Have the kernel zero a part of a block device."""
    fcntl.ioctl(descriptor, BLKZEROOUT, struct.pack("=QQ", start, size))


def problems(root: str = "/") -> Dict[str, str]:
    """What keeps the worker from zeroing which device."""
    try:
        with open(os.path.join(root, PROBLEMS), encoding="utf-8") as stream:
            return dict(json.load(stream))
    except (OSError, ValueError):
        return {}


class Worker:
    """Zeroes all spare volumes of this node that are not clean."""

    def __init__(self, spares: Optional[Spares] = None, blocks: Optional[Blocks] = None, root: str = "/",
                 zero: Callable[[int, int, int], None] = zero, clock: Callable[[], float] = time.monotonic) -> None:
        self.spares = spares or Spares()
        self.blocks = blocks or Blocks(root)
        self.root = root
        self.zero = zero
        self.clock = clock
        self.problems = {}  # type: Dict[str, str]

    def work(self) -> int:
        """Until there is nothing left; returns how many could not be zeroed."""
        with flock(lock_path(self.root, LOCK), "", None):  # whoever has it ends, or is replaced by us
            while True:
                todo = [spare for spare in self.spares.all() if not spare.clean and spare.device not in self.problems]
                if not todo:
                    break
                # What somebody waits for comes first, then what is done soonest.
                spare = min(todo, key=lambda spare: (WANTED not in spare.tags, spare.size - spare.zeroed))
                try:
                    self.wipe(spare)
                except (NodeError, OSError) as error:
                    if getattr(error, "errno", None) == errno.ENOENT and not self.blocks.name(spare.device):
                        error = NodeError(f"{spare.device} is not active. Activate it (lvchange -ay).")
                    self.problems[spare.device] = str(error)
                    self.tell()
            self.tell()
        return len(self.problems)

    def wipe(self, spare: Spare) -> None:
        """Zero the rest of a spare volume. Raises NodeError if anybody has it, before anything is written."""
        name = exporter(self.blocks, spare.device)
        if name:
            raise NodeError(f"{spare.device} is exported as {name}. Nothing was written to it; remove the export first.")
        with Held(spare.device, self.blocks) as device:
            spare = self.spares.note(spare, spare.zeroed)  # none of its old tags stay
            done, noted = spare.zeroed, self.clock()
            while done < spare.size:
                part = min(CHUNK, spare.size - done)
                self.zero(device.descriptor, done, part)
                done += part
                if done < spare.size and self.clock() - noted > INTERVAL:
                    os.fsync(device.descriptor)
                    spare, noted = self.spares.note(spare, done), self.clock()
            os.fsync(device.descriptor)
        # It is closed, so whoever sees that it is clean can have it.
        self.spares.note(spare, done)

    def tell(self) -> None:
        path = os.path.join(self.root, PROBLEMS)
        with open(f"{path}.new", "w", encoding="utf-8") as stream:
            json.dump(self.problems, stream)
        os.replace(f"{path}.new", path)


# ---- the service


def files() -> Dict[str, str]:
    """What the worker is on a node: {path: text}."""
    names_source = sys.modules[zeroed.__module__]
    sources = [names_source, run_source, lio_source, block_source, held_source, spares_source, sys.modules[__name__]]
    found = {f"{FOLDER}/{_path(source)}": inspect.getsource(source) for source in sources}
    # With it, Python looks nowhere else for this package, as where Ansible is installed.
    found[f"{FOLDER}/ansible_collections/__init__.py"] = "# Written by nobloat.xen.leg.\n"
    return dict(found, **{UNIT: UNIT_TEXT.format(folder=FOLDER, python=sys.executable, module=MODULE)})


def _path(source: ModuleType) -> str:
    return f"{source.__name__.replace('.', '/')}.py"


def start(root: str, write: Callable[[str, str, int], None], command: Callable[..., Result] = run, again: bool = True) -> None:
    """Have the worker look what there is to do; `again`: also if it is at work. Where no systemd runs it is done here and now."""
    stale = [path for path, text in files().items() if _read(root, path) != text]
    for path in stale:
        write(os.path.join(root, path), files()[path], 0o644)
    if not os.path.islink(os.path.join(root, ENABLED)):
        os.makedirs(os.path.dirname(os.path.join(root, ENABLED)), exist_ok=True)
        os.symlink(f"/{UNIT}", os.path.join(root, ENABLED))
        stale.append(ENABLED)
    if not os.path.isdir(os.path.join(root, "run/systemd/system")):
        Worker(Spares(command), root=root).work()
        return
    if stale:
        command("systemctl", "daemon-reload")
    if os.path.exists(os.path.join(root, PROBLEMS)):  # it finds those again that are still there
        os.unlink(os.path.join(root, PROBLEMS))
    command("systemctl", "--no-block", "restart" if again else "start", os.path.basename(UNIT))


def _read(root: str, path: str) -> str:
    try:
        with open(os.path.join(root, path), encoding="utf-8") as stream:
            return stream.read()
    except OSError:
        return ""


def main(_arguments: Sequence[str] = ()) -> int:
    return 1 if Worker().work() else 0


if __name__ == "__main__":
    raise SystemExit(main())
