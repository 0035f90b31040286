# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""md arrays as sysfs and mdadm show them, and what must be true before data are overwritten. Python 3.6 syntax."""

import os
import re
import time
from contextlib import suppress
from typing import Any, Callable, Dict, List, Optional, Tuple

from ansible_collections.nobloat.xen.plugins.module_utils.node.block import Blocks
from ansible_collections.nobloat.xen.plugins.module_utils.node.held import Held
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import (
    CommandError,
    NodeError,
    Result,
    names,
    read,
    run,
)
from ansible_collections.nobloat.xen.plugins.module_utils.node.superblock import displaced, put, restoring

# Kernels that lose the superblock of metadata 1.0 when the size of a member changes: from the first version, to before the
# second. Cured by commit 55df1ce0d4e0 "md: fix update super 1.0 on rdev size change" in 5.16-rc5, 5.15.8 and 5.10.85; the
# branches in between ended without it.
LOSES_SUPERBLOCK = (((5, 9, 0), (5, 10, 85)), ((5, 11, 0), (5, 15, 8)))
CURED_CANDIDATE = 5  # of 5.16
# How much of both ends of a device is looked at before it is called blank: labels, superblocks and bitmaps lie there.
ENDS = 1024 * 1024
# Sizes closer than this are the same to md, which rounds, and keeps room for superblock and bitmap.
SLACK_KIB = 1024
# Seconds in which a resync that is due begins.
BEGINS = 10
BITMAP_TRIES = 3  # a second apart


class Half(object):
    """The superblock of a member."""

    def __init__(self, text: str) -> None:
        """`text` is what `mdadm --examine` says."""
        fields = {}  # type: Dict[str, str]
        for line in text.splitlines():
            key, colon, value = line.partition(" : ")
            if colon:
                fields.setdefault(key.strip(), value.strip())

        def number(key: str) -> int:
            return int((fields.get(key) or "0").split()[0])

        self.uuid = fields.get("Array UUID", "")
        self.name = fields.get("Name", "").split()[0].rpartition(":")[2] if fields.get("Name") else ""
        self.level = fields.get("Raid Level", "")
        self.metadata = fields.get("Version", "")
        self.raid_devices = int(fields.get("Raid Devices", 0))
        self.events = int(fields.get("Events", 0))
        role = re.match(r"Active device (\d+)", fields.get("Device Role", ""))
        self.role = int(role.group(1)) if role else None  # type: Optional[int]
        self.members = fields.get("Array State", "").split(" ")[0]
        self.state = fields.get("State", "")
        self.updated = fields.get("Update Time", "")
        self.size = number("Array Size") * 1024  # bytes of data; they begin where the half begins with metadata 1.0
        self.place = number("Super Offset") * 512  # of the superblock itself
        # Being copied to when it was last heard of, or with blocks that it lacks: MD_FEATURE_RECOVERY_OFFSET, _RECOVERY_BITMAP,
        # _BAD_BLOCKS (md_p.h). Such a half has the place and the event count of a complete one.
        self.incomplete = self.role is None or bool(int(fields.get("Feature Map", "0"), 16) & 0x8a)

    def view(self) -> Dict[str, Any]:
        """What is told of it."""
        return {"uuid": self.uuid, "name": self.name, "events": self.events, "role": self.role, "members": self.members,
                "raid_devices": self.raid_devices, "state": self.state, "incomplete": self.incomplete, "updated": moment(self.updated)}

    def misses(self, other: "Half") -> bool:
        """Whether this half was written to after it had lost the other one."""
        return other.role is not None and self.members[other.role:other.role + 1] == "."


def moment(text: str) -> Optional[int]:
    """A time as mdadm writes it, in the node's time zone, as seconds since 1970."""
    try:
        return int(time.mktime(time.strptime(text, "%a %b %d %H:%M:%S %Y")))
    except (ValueError, OverflowError):
        return None


def version_of(release: str, version: str, signature: str = "") -> Tuple[int, ...]:
    """The version of the kernel proper, as a tuple; of a candidate, with its number as a fourth part.

    Debian and Ubuntu name their kernels after the first of a branch, and tell the real version elsewhere: in `uname -v`, in
    /proc/version_signature.
    """
    texts = [match.group(1) for match in (re.search(r"Debian (\d+\.\d+\.\d+)", version),
                                          re.search(r"Ubuntu \S+ (\d+\.\d+\.\d+)", signature)) if match]
    match = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?(?:\S*-rc(\d+))?", (texts or [release])[0])
    return tuple(int(part or 0) for part in match.groups()[:3 + bool(match.group(4))]) if match else ()


def loses_superblock(version: Tuple[int, ...]) -> bool:
    """Whether a kernel loses superblocks of metadata 1.0 when members change their size."""
    if version[:3] == (5, 16, 0) and len(version) == 4:
        return version[3] < CURED_CANDIDATE
    return any(first <= version < cured for first, cured in LOSES_SUPERBLOCK)


class Arrays:
    """The md arrays of this machine. `root` is another folder than / in tests, and `command` runs nothing there."""

    def __init__(self, root: str = "/", command: Callable[..., Result] = run) -> None:
        self.root = root
        self.run = command
        self.blocks = Blocks(root)
        self.block = os.path.join(root, "sys/class/block")

    # ---- look

    def all(self) -> List[str]:
        """The kernel's names of all arrays: md0, md127 ... Without those that were stopped, and are "clear" until they are forgotten."""
        return [name for name in names(self.block)
                if os.path.isdir(os.path.join(self.block, name, "md")) and self.get(name, "array_state") != "clear"]

    def find(self, name: str, members: List[str]) -> str:
        """The array of a name (its own, that of its device file, or the kernel's) or with one of the members; "" if none."""
        kernel = [self.blocks.name(path) for path in members]
        for array in self.all():
            if array == name or set(self.members(array)) & set(filter(None, kernel)):
                return array
        for array in self.all():
            details = self.details(array)
            if name in (details.get("MD_NAME", "").rpartition(":")[2], details.get("MD_DEVNAME")):
                return array
        return ""

    def details(self, array: str) -> Dict[str, str]:
        out = self.run("mdadm", "--detail", "--export", f"/dev/{array}", codes=range(256)).out
        return dict(line.partition("=")[::2] for line in out.splitlines() if "=" in line)

    def get(self, array: str, attribute: str) -> str:
        return read(self.block, array, "md", attribute)

    def members(self, array: str) -> List[str]:
        """The kernel's names of the members, lost ones included."""
        return [entry[len("dev-"):] for entry in names(self.block, array, "md") if entry.startswith("dev-")]

    def flags(self, array: str, member: str) -> List[str]:
        """in_sync, write_mostly, failfast, faulty, spare, want_replacement, replacement ..."""
        return [flag for flag in self.get(array, f"dev-{member}/state").split(",") if flag]

    def half(self, path: str) -> Optional[Half]:
        """The superblock of a device, None if it has none."""
        found = self.run("mdadm", "--examine", path, codes=(0, 1))
        half = Half(found.out) if found.code == 0 else None
        return half if half and half.uuid else None

    def displaced(self, path: str) -> Optional[Half]:
        """The superblock of a half that has grown before the kernel could move it; None if there is none."""
        try:
            found = displaced(path, self.blocks.size(path)) if self.dirt(path) else None
        except OSError:
            return None
        return Half(found.examined()) if found else None

    def replaced(self, path: str) -> None:
        """Put such a superblock to where it belongs now."""
        size = self.blocks.size(path)
        found = displaced(path, size)
        if found:
            with Held(path, self.blocks) as device:
                put(device, size, found)

    def path(self, array: str) -> str:
        """The path of the array by name, where udev made it, else by the kernel's name."""
        links = os.path.join(self.root, "dev/md")
        for name in names(links):
            if not name.isdigit() and os.path.basename(os.path.realpath(os.path.join(links, name))) == array:
                return f"/dev/md/{name}"
        return f"/dev/{array}"

    def guest_name(self, member: str) -> str:
        """The path of a member: that which tells its place among the guest's disks (/dev/xvdb), if it is not the kernel's own."""
        folder = os.path.join(self.root, "dev")
        return next((f"/dev/{name}" for name in names(folder) if name.startswith("xvd") and name != member
                     and os.path.basename(os.path.realpath(os.path.join(folder, name))) == member), f"/dev/{member}")

    def progress(self, array: str) -> Optional[float]:
        """How much of a resync is done, in percent; None without one."""
        done, _slash, total = self.get(array, "sync_completed").partition("/")
        if self.get(array, "sync_action") in ("", "idle", "frozen") or not total.strip():
            return None
        return round(100.0 * int(done) / int(total), 1)

    def view(self, array: str, paths: Optional[Dict[str, str]] = None) -> Dict[str, Any]:
        """An array in plain types. `paths` are those that members are to be called by, by the kernel's name."""
        members = []
        for member in self.members(array):
            flags = self.flags(array, member)
            slot = self.get(array, f"dev-{member}/slot")
            state = "faulty" if "faulty" in flags else "active" if "in_sync" in flags else \
                "rebuilding" if slot not in ("none", "") else "spare"
            members.append({
                "device": (paths or {}).get(member) or self.guest_name(member), "state": state, "write_mostly": "write_mostly" in flags,
                "failfast": "failfast" in flags, "slot": int(slot) if slot.isdigit() else None,
                "size": int(read(self.block, member, "size") or 0) * 512,
                "errors": int(self.get(array, f"dev-{member}/errors") or 0),
                "bad_blocks": sum(int(line.split()[1]) * 512 for line in self.get(array, f"dev-{member}/bad_blocks").splitlines()),
            })
        details = self.details(array)
        degraded = int(self.get(array, "degraded") or 0)
        action = self.get(array, "sync_action")
        return {
            "name": details.get("MD_NAME", "").rpartition(":")[2] or array, "device": self.path(array),
            "uuid": details.get("MD_UUID", ""), "level": self.get(array, "level"),
            "metadata": self.get(array, "metadata_version"), "raid_devices": int(self.get(array, "raid_disks") or 0),
            "size": int(read(self.block, array, "size") or 0) * 512, "state": self.get(array, "array_state"),
            "degraded": degraded, "sync_action": action,
            "healthy": not degraded and action in ("idle", "") and not any(member["bad_blocks"] for member in members),
            "progress": self.progress(array), "bitmap": self.get(array, "bitmap/location") not in ("", "none"),
            "growth_guard": self.guard() if self.get(array, "metadata_version") == "1.0" else "",
            "mismatches": int(self.get(array, "mismatch_cnt") or 0),
            "members": sorted(members, key=lambda member: member["device"]),
        }

    def dirt(self, path: str) -> str:
        """Why a device is not blank, in words; "" if it is."""
        for line in self.run("wipefs", "--parsable", "--no-act", path).out.splitlines():
            if line and not line.startswith("#"):
                return f"it has a signature: {line.rpartition(',')[2]}"
        size = self.blocks.size(path)
        if restoring(path, size):
            return "a restore of a backup to it has not ended"
        with open(path, "rb") as stream:
            for offset in (0, max(0, size - ENDS)):
                stream.seek(offset)
                if stream.read(ENDS).strip(b"\0"):
                    return f"it has data in its {'last' if offset else 'first'} mebibyte"
        return ""

    def guard(self) -> str:
        """Why members must not change their size under this kernel, "" if they may."""
        uname = os.uname()
        version = version_of(uname.release, uname.version, read(self.root, "proc/version_signature"))
        if not loses_superblock(version):
            return ""
        return (f"Kernel {'.'.join(map(str, version))} loses the superblock of the halves when their size changes, and with it the "
                "mirror. Update it to 5.10.85, 5.15.8, 5.16 or newer, or use force: true if your distribution has put the cure "
                "(commit 55df1ce0d4e0) into it.")

    # ---- apply

    def set_flag(self, array: str, member: str, flag: str) -> None:
        """Write a state word of a member: writemostly, -writemostly, failfast, -failfast."""
        with open(os.path.join(self.block, array, "md", f"dev-{member}", "state"), "w") as stream:
            stream.write(flag)

    def take_all_space(self, array: str) -> None:
        """Have every member use all of its device; the superblock moves to the new end. There must be no bitmap."""
        for member in self.members(array):
            with open(os.path.join(self.block, array, "md", f"dev-{member}", "size"), "w") as stream:
                stream.write("0")

    def make_bitmap(self, array: str, *words: str) -> None:
        """Give an array an internal bitmap; `words` are for mdadm. Tries for a while. Raises NodeError with what the kernel says."""
        for left in reversed(range(BITMAP_TRIES)):
            try:
                self.run("mdadm", "--grow", f"/dev/{array}", "--bitmap=internal", *words)
                return
            except CommandError as error:
                # The kernel keeps the place of a bitmap that it could not load, and refuses all others (location_store in md-bitmap.c).
                with suppress(OSError), open(os.path.join(self.block, array, "md/bitmap/location"), "w") as stream:
                    stream.write("none")
                if not left:
                    said = [line.partition("] ")[2] for line in self.run("dmesg").out.splitlines() if array in line]
                    raise NodeError(f"{error} (kernel: {'; '.join(said[-3:])})") from None
            time.sleep(1)

    def wait(self, array: str, timeout: float) -> None:
        """Wait until nothing is resynchronised. Raises NodeError."""
        end = time.monotonic() + timeout
        begin = time.monotonic() + BEGINS
        while True:
            action, progress = self.get(array, "sync_action"), self.progress(array)
            due = self.get(array, "resync_start") not in ("", "none") and time.monotonic() < min(begin, end)
            if action in ("idle", "") and not due:
                return
            if time.monotonic() > end:
                raise NodeError(f"The {action} of {self.path(array)} was at {progress or 0:g} % after {timeout:g} seconds. It goes on; "
                                "run the task again to wait for it, or set wait_timeout.")
            time.sleep(0.5)
