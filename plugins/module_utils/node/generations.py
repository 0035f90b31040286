# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The generations of a leg's backup on a backup volume. Python 3.6 syntax.

<volume>/<leg>/<generation>/   one complete backup; the generation is its time in UTC, as 20261121T074500Z
    manifest.json              what it is, see `Store.complete`
    SHA256SUMS                 of files, as sha256sum writes and checks them; of an image, one line for each CHUNK, in order
    files/  or  disk.img
<volume>/<leg>/.partial.<node> a backup that is being made, or was killed
<volume>/<leg>/.old.<generation> one that is being removed
"""

import ctypes
import datetime
import hashlib
import json
import os
import re
import shutil
import stat
from typing import Any, Callable, Dict, Iterator, List, Optional

from ansible_collections.nobloat.xen.plugins.module_utils.node.exports import write_file
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import NodeError, names, read

MANIFEST, SUMS, FILES, IMAGE, PROGRESS = "manifest.json", "SHA256SUMS", "files", "disk.img", "progress.json"
GENERATION = re.compile(r"\d{8}T\d{6}Z")
FORMAT = "%Y%m%dT%H%M%SZ"
CHUNK = 4 << 20  # bytes
ESCAPES = {b"\\": b"\\\\", b"\n": b"\\n", b"\r": b"\\r"}

libc = ctypes.CDLL(None, use_errno=True)


def flush(path: str) -> None:
    """Have the file system that a path is on write what it holds (syncfs). Raises OSError where it cannot."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if libc.syncfs(descriptor):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), path)
    finally:
        os.close(descriptor)


def next_name(existing: List[str], now: float) -> str:
    """The name of a generation made at `now` (seconds since 1970). It sorts after all others even if the clock went back."""
    moment = datetime.datetime.fromtimestamp(int(now), datetime.timezone.utc)
    if existing and moment.strftime(FORMAT) <= max(existing):
        moment = datetime.datetime.strptime(max(existing), FORMAT) + datetime.timedelta(seconds=1)
    return moment.strftime(FORMAT)


def age(generation: str, now: float) -> float:
    """Seconds since a generation was made."""
    made = datetime.datetime.strptime(generation, FORMAT).replace(tzinfo=datetime.timezone.utc)
    return now - made.timestamp()


def sum_line(digest: str, path: str) -> bytes:
    """A line as `sha256sum` writes it; names with a line break or a backslash begin with a backslash and are escaped."""
    name = os.fsencode(path)
    escaped = b"".join(ESCAPES.get(name[at:at + 1], name[at:at + 1]) for at in range(len(name)))
    return (b"\\" if escaped != name else b"") + digest.encode() + b"  " + escaped + b"\n"


def sums(text: bytes) -> Dict[str, str]:
    """What `sum_line` wrote: {path: digest}."""
    found = {}
    for line in text.splitlines():
        escaped = line.startswith(b"\\")
        digest, _blank, name = (line[1:] if escaped else line).partition(b"  ")
        if escaped:
            name = re.sub(rb"\\(.)", lambda match: {b"n": b"\n", b"r": b"\r"}.get(match.group(1), match.group(1)), name)
        found[os.fsdecode(name)] = digest.decode()
    return found


def digest(path: str, count: Optional[Callable[[int], None]] = None, folder: Optional[int] = None) -> str:
    """SHA-256 of a file as the disk has it: what the kernel keeps of it in memory is given up first (what is dirty stays).
    `path` is no link; it is relative to `folder`, an open descriptor, if there is one."""
    total = hashlib.sha256()
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        while True:
            block = os.read(descriptor, CHUNK)
            if not block:
                return total.hexdigest()
            total.update(block)
            if count:
                count(len(block))
    finally:
        os.close(descriptor)


def regular(top: str) -> Iterator[str]:
    """The regular files below a folder, relative to it, in an order that stays the same."""
    def stop(error: OSError) -> None:
        raise error

    for folder, folders, files in os.walk(top, onerror=stop):
        folders.sort()
        for name in sorted(files):
            path = os.path.join(folder, name)
            if stat.S_ISREG(os.lstat(path).st_mode):
                yield os.path.relpath(path, top)


def digests(top: str, count: Optional[Callable[[int], None]] = None) -> Dict[str, str]:
    """The SHA-256 of all regular files below a folder; what has several names is read once."""
    found = {}  # type: Dict[str, str]
    linked = {}  # type: Dict[Any, str]
    for name in regular(top):
        path = os.path.join(top, name)
        status = os.lstat(path)
        key = (status.st_dev, status.st_ino)
        found[name] = linked.get(key) or digest(path, count)
        if status.st_nlink > 1:
            linked[key] = found[name]
    return found


def whole(manifest: Any, generation: str) -> bool:
    """Whether this is what `Store.complete` writes."""
    return (isinstance(manifest, dict) and manifest.get("generation") == generation and manifest.get("method") in ("files", "blocks")
            and isinstance(manifest.get("size"), int) and isinstance(manifest.get("digests"), dict)
            and isinstance(manifest["digests"].get("sha256"), str))


class Store:
    """The generations of one leg. `node` is the name of the node that works on them now."""

    def __init__(self, volume: str, leg: str, node: str) -> None:
        if "/" in leg or leg.startswith("."):
            raise NodeError(f"'{leg}' is no name of a leg.")
        self.volume = volume
        self.folder = os.path.join(volume, leg)
        self.partial = os.path.join(self.folder, f".partial.{node}")

    def path(self, generation: str, *parts: str) -> str:
        return os.path.join(self.folder, generation, *parts)

    def generations(self) -> List[Dict[str, Any]]:
        """The manifests of all that are complete, oldest first. Nobody is told that what is damaged is a backup."""
        return [manifest for manifest in self._found().values() if manifest]

    def damaged(self) -> List[str]:
        """The generations whose manifest is not one."""
        return [name for name, manifest in self._found().items() if not manifest]

    def _found(self) -> Dict[str, Dict[str, Any]]:
        """The manifests by generation, oldest first; empty if it is damaged."""
        found = {}
        for name in names(self.folder):
            if GENERATION.fullmatch(name):
                try:
                    said = json.loads(read(self.path(name, MANIFEST)))
                except (OSError, ValueError, RecursionError):
                    said = {}
                found[name] = said if whole(said, name) else {}
        return found

    def find(self, generation: Optional[str]) -> Dict[str, Any]:
        """The manifest of a generation, by default the newest. Raises NodeError."""
        known = self.generations()
        found = [each for each in known if generation in (None, each["generation"])]
        if not found:
            damaged = self.damaged()
            raise NodeError(f"There is no complete generation {generation or ''} in {self.folder}. There is: ".replace("  ", " ")
                            + (", ".join(each["generation"] for each in known) or "nothing") + "."
                            + (f" Damaged ({MANIFEST}): {', '.join(damaged)}." if damaged else ""))
        return found[-1]

    def progress(self) -> List[Dict[str, Any]]:
        """What is being made, or was when it was killed: {node, phase, percent, time}."""
        found = []
        for name in names(self.folder):
            if name.startswith(".partial."):
                try:
                    said = json.loads(read(self.folder, name, PROGRESS))
                except ValueError:
                    said = {}
                found.append(dict(said, node=name[len(".partial."):]))
        return found

    def leftovers(self) -> List[str]:
        """What a killed backup of this node has left, and what was being removed."""
        return [os.path.join(self.folder, name) for name in names(self.folder)
                if name == os.path.basename(self.partial) or name.startswith(".old.")]

    def remove(self, path: str) -> None:
        if os.path.lexists(path):
            shutil.rmtree(path)

    def complete(self, manifest: Dict[str, Any], lines: Iterator[bytes]) -> None:
        """Make the partial backup a generation: all of it is on the disk before it gets its name."""
        total = hashlib.sha256()
        with open(os.path.join(self.partial, SUMS), "wb") as stream:
            for line in lines:
                total.update(line)
                stream.write(line)
        flush(self.volume)
        if digest(os.path.join(self.partial, SUMS)) != total.hexdigest():
            raise NodeError(f"{self.partial}/{SUMS} is not what was written. Look at the disk of the backup volume.")
        manifest.update({"digests": {"file": SUMS, "algorithm": "sha256", "sha256": total.hexdigest()}, "state": "complete"})
        if os.path.exists(os.path.join(self.partial, PROGRESS)):
            os.unlink(os.path.join(self.partial, PROGRESS))
        write_file(os.path.join(self.partial, MANIFEST), json.dumps(manifest, indent=2, sort_keys=True) + "\n", 0o600)
        flush(self.volume)
        os.rename(self.partial, self.path(manifest["generation"]))
        flush(self.volume)

    def excess(self, keep: int, coming: int = 0) -> List[str]:
        """The generations that are too many once `coming` more are there, oldest first."""
        known = [each["generation"] for each in self.generations()]
        return known[:max(0, len(known) + coming - keep)]

    def prune(self, keep: int) -> None:
        for generation in self.excess(keep):
            old = os.path.join(self.folder, f".old.{generation}")
            os.rename(self.path(generation), old)
            self.remove(old)

    def check(self, manifest: Dict[str, Any]) -> bytes:
        """The digests of a generation, as they are in its file. Raises NodeError if the file is not the one that was written."""
        path = self.path(manifest["generation"], SUMS)
        with open(path, "rb") as stream:
            text = stream.read()
        if hashlib.sha256(text).hexdigest() != manifest["digests"]["sha256"]:
            raise NodeError(f"{path} is damaged. Take another generation.")
        return text
