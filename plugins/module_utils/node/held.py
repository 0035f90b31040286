# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who writes to a block device holds it: nobody else has it, and nobody gets it before we end. Python 3.6 syntax."""

import contextlib
import errno
import fcntl
import mmap
import os
import re
import stat
import time
from typing import Any, Callable, List, Optional

from ansible_collections.nobloat.xen.plugins.module_utils.node.block import Blocks
from ansible_collections.nobloat.xen.plugins.module_utils.node.lio import Lio
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import NodeError, read

CHUNK = 4 << 20  # bytes; what is read or written at once, at most
# Seconds between the two looks that tell who uses a device for longer than a moment, as udev does.
BETWEEN = 0.7
# Ours alone, as /run/lock is not.
RUN = "run/nobloat"


def lock_path(root: str, name: str) -> str:
    """The file of a lock, in a folder where nobody else makes anything: who could, might make it a link to another file."""
    return os.path.join(root, RUN, re.sub(r"[^A-Za-z0-9_.+-]", "_", name) + ".lock")


def flock(path: str, busy: str, patience: Optional[float] = 0) -> Any:
    """A lock that ends with us, however we end. The caller keeps what is returned. Raises NodeError(`busy`) if somebody else has it
    for longer than `patience` seconds (None: it is waited for)."""
    own_folder(os.path.dirname(path))
    try:
        stream = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "r+")
    except OSError as error:
        raise NodeError(f"The lock {path} cannot be opened: {error.strerror}. Look who made it, and remove it.") from error
    if patience is None:
        fcntl.flock(stream, fcntl.LOCK_EX)
        return stream
    end = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return stream
        except BlockingIOError:
            if time.monotonic() >= end:
                stream.close()
                raise NodeError(busy) from None
        time.sleep(0.1)


def own_folder(path: str) -> None:
    """Have a folder that is ours alone. Raises NodeError where something else has its name."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise NodeError(f"{path} is no folder of root's own. Look who made it, and remove it.")
    if stat.S_IMODE(found.st_mode) != 0o700:
        os.chmod(path, 0o700)


def locked(path: str) -> bool:
    """Whether a process has such a lock at this moment."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)) as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def exporter(blocks: Blocks, path: str) -> str:
    """The name of the backstore by which this node exports a device; "" if it does not."""
    number = blocks.number(path)
    for backstore in Lio(blocks.root).backstores():
        exported = read(backstore, "udev_path")
        if exported and (exported == path or blocks.number(exported) == number != ""):
            return os.path.basename(backstore)
    return ""


class Direct:
    """A block device, read without the kernel's cache: what another machine wrote is seen. For `with`."""

    flags = os.O_RDONLY | os.O_DIRECT

    def __init__(self, path: str) -> None:
        self.path = path
        self.descriptor = self.open()
        self.buffer = mmap.mmap(-1, CHUNK)  # direct transfers want memory that is aligned

    def open(self) -> int:
        return os.open(self.path, self.flags)

    def __enter__(self) -> "Direct":
        return self

    def __exit__(self, *_error: Any) -> None:
        self.close()

    def close(self) -> None:
        os.close(self.descriptor)
        self.buffer.close()

    def read(self, offset: int, size: int) -> bytes:
        """Up to a CHUNK; offset and size in whole sectors."""
        os.lseek(self.descriptor, offset, os.SEEK_SET)
        with memoryview(self.buffer) as whole, whole[:size] as part:
            if os.readv(self.descriptor, [part]) != size:
                raise NodeError(f"{self.path} ends before {offset + size}.")
            return bytes(part)


class Held(Direct):
    """A block device that we hold, to write to it past the kernel's cache. What is written is there. Raises NodeError if anybody uses it.

    O_EXCL keeps away whoever claims a device, as arrays, mounts and volumes do, and fails where one has. The drivers of guests' disks
    claim nothing, so users are looked for as well, after it is open. Our own export claims the device that it exports: then no other
    claim is possible, and who writes through it is on another node, which has to be asked.
    """

    flags = os.O_RDWR | os.O_DIRECT | os.O_SYNC

    def __init__(self, path: str, blocks: Blocks, pause: Callable[[float], None] = time.sleep) -> None:
        self.blocks = blocks
        self.pause = pause
        super().__init__(path)
        try:
            self.check()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Held":
        return self

    def open(self) -> int:
        try:
            return os.open(self.path, self.flags | os.O_EXCL)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
        if not exporter(self.blocks, self.path):
            users = ", ".join(self.blocks.users(self.path)) or "the kernel, which does not say for what"
            raise NodeError(f"{self.path} is used by {users}. Nothing was written to it; end that first.")
        return os.open(self.path, self.flags)

    def check(self) -> None:
        """Look once more for others. Takes a second if there seem to be any."""
        users = self.users()
        if users:
            self.pause(BETWEEN)
            users = sorted(set(users) & set(self.users()))
        if users:
            raise NodeError(f"{self.path} is used by {', '.join(users)}. Nothing was written to it; end that first.")

    def users(self) -> List[str]:
        """Who has it besides us."""
        own = str(os.getpid())
        opened = {number: [pid for pid in pids if pid != own] for number, pids in self.blocks.opened().items()}
        return self.blocks.users(self.path, opened)

    def write(self, offset: int, block: bytes) -> None:
        """Up to a CHUNK; offset and size in whole sectors."""
        os.lseek(self.descriptor, offset, os.SEEK_SET)
        with memoryview(self.buffer) as whole, whole[:len(block)] as part:
            part[:] = block
            if os.writev(self.descriptor, [part]) != len(block):
                raise NodeError(f"{self.path} ends before {offset + len(block)}.")
