# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mirrors: what module md_mirror plans. Python 3.6 syntax."""

import re
import tempfile
import time
from contextlib import suppress
from functools import partial
from typing import Any, Dict, List, Tuple

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.node.md import SLACK_KIB, Arrays, Half
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import CommandError, NodeError, read
from ansible_collections.nobloat.xen.plugins.module_utils.node.superblock import room

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,31}")
BITS = 30000  # of a bitmap that has room in 4 KiB, the least that the kernel keeps for it
# mdadm's settings for new halves. With a list of bad blocks, the kernel would note where a write has failed, and keep the half:
# the mirror would look whole, and be lost with the other half.
NO_BAD_BLOCKS = "CREATE bbl=no\n"
RUNNING = ("clean", "active", "active-idle", "write-pending", "readonly", "read-auto")


def path_of(name: str) -> str:
    """The device of the array with this name. Raises NodeError for what is no name."""
    if not NAME.fullmatch(name):
        raise NodeError(f"'{name}' is no name for an array; use up to 32 letters, digits and _ . + -.")
    return f"/dev/{name}" if re.fullmatch(r"md\d+", name) else f"/dev/md/{name}"


class Mirror:
    """One mirror, as the options of a task want it."""

    def __init__(self, arrays: Arrays, params: Dict[str, Any]) -> None:
        self.arrays = arrays
        self.blocks = arrays.blocks
        self.params = params
        name = params["name"]
        self.target = path_of(name)
        self.devices = list(params["devices"] or [])
        self.present = [path for path in self.devices if self.blocks.name(path)]
        self.missing = [path for path in self.devices if path not in self.present]
        self.array = arrays.find(name, self.present)

    def names(self) -> Dict[str, str]:
        """The kernel's names of the devices that are there, with the paths that the user gave them."""
        return {self.blocks.name(path): path for path in self.present}

    def view(self) -> Dict[str, Any]:
        array = self.arrays.find(self.params["name"], self.present)
        return self.arrays.view(array, self.names()) if array else {}

    def plan(self) -> ChangeSet:
        """What module md_mirror does. Raises NodeError for whatever can be known before the first step."""
        plan = ChangeSet(f"mirror {self.params['name']}", self.view())
        self._check_devices()
        if self.array and self.arrays.get(self.array, "level") not in ("raid1", ""):
            raise NodeError(f"{plan.before['device']} is no mirror but {plan.before['level']}.")
        state = self.params["state"]
        if state == "absent":
            self._plan_absent(plan)
        elif state == "degraded":
            self._plan_degraded(plan)
        elif self.array and self.arrays.get(self.array, "array_state") in RUNNING:
            self._plan_running(plan)
        else:
            self._plan_start(plan)
        return plan

    def wait(self) -> None:
        """Wait for resyncs, where the task says so; halves that were copied away from are taken out then."""
        array = self.arrays.find(self.params["name"], self.present)
        if not array or not self.params["wait"] or self.params["state"] != "present":
            return
        self._complete(array)
        if self.params["purge"]:
            for member in self._extra(array):
                if "faulty" in self.arrays.flags(array, member):
                    self._manage(array, "--remove", f"/dev/{member}")

    def _complete(self, array: str) -> None:
        """Wait until all that is to be copied is copied."""
        end = time.monotonic() + self.params["wait_timeout"]
        self.arrays.wait(array, self.params["wait_timeout"])
        # md starts the next resync, if there is another, a moment later.
        while int(self.arrays.get(array, "degraded") or 0) and time.monotonic() < end and self._spares(array):
            time.sleep(0.5)
            self.arrays.wait(array, max(1, end - time.monotonic()))

    # ---- checks

    def _check_devices(self) -> None:
        """Every device once, none of them gone without consent."""
        seen = {}  # type: Dict[str, str]
        for path in self.present:
            for key in filter(None, (self.blocks.number(path), self.blocks.identity(path))):
                if key in seen:
                    raise NodeError(f"{seen[key]} and {path} are the same device: a mirror of it would protect from nothing.")
            for key in filter(None, (self.blocks.number(path), self.blocks.identity(path))):
                seen[key] = path
            state = read(self.blocks.folder(path), "device/state")
            if state not in ("", "running"):
                raise NodeError(f"{path} does not answer (it is {state}). Bring its node back, or log in to it again, first.")
        unknown = sorted(set(self.params["write_mostly"] or []) - set(self.devices))
        if unknown:
            raise NodeError(f"write_mostly names {', '.join(unknown)}, which is not among the devices.")
        if self.params["state"] == "present" and self.missing and not self.params["allow_degraded"]:
            raise NodeError(f"{', '.join(self.missing)} is not there. Bring it back, or use allow_degraded: true to go on without "
                            "it. Nobody can know then whether its data are newer.")
        if self.params["state"] == "present" and self.params["purge"] and len(self.devices) < 2:
            raise NodeError("A mirror has two halves at least: name both in devices. To take one out for a while, use state: degraded.")

    def _check_new(self, path: str, smallest: int) -> None:
        """A device that is going to be overwritten: not used, blank, large enough (bytes)."""
        users = self.blocks.users(path)
        if users:
            raise NodeError(f"{path} is used by {', '.join(users)}; it would be overwritten.")
        dirt = "" if self.params["allow_overwrite"] else self.arrays.dirt(path)
        if dirt:
            raise NodeError(f"{path} is not blank: {dirt}. Take another, or use allow_overwrite: true to lose what is on it.")
        if self.blocks.size(path) < smallest:
            raise NodeError(f"{path} is too small: it has {self.blocks.size(path)} bytes, the mirror needs {smallest}.")

    def _check_return(self, path: str, half: Half, halves: List[Tuple[str, Half]]) -> bool:
        """A half that comes back to newer ones. Returns whether it went its own way, and has to be overwritten as a whole.

        Two halves that both ran without the other have both taken writes that the other does not know. Bitmaps do not tell
        those of the half that is given up, so a quick resync would leave a mixture of both.
        """
        for newer_path, newer in halves:
            alone = half.misses(newer)
            if (alone or half.events > newer.events + 1) and not self.params["force"]:
                what = "went on without" if alone else "is newer than"
                raise NodeError(
                    f"{path} {what} {newer_path} (event counts {half.events} and {newer.events}): its data would be lost. Look at "
                    "both, decide which one is right, and use force: true to overwrite "
                    f"{path}.")
            if alone or half.events > newer.events + 1:
                return True
        return False

    # ---- a mirror that does not run

    def _plan_start(self, plan: ChangeSet) -> None:
        if self.array:
            plan.step(f"stop the incomplete /dev/{self.array}", partial(self.arrays.run, "mdadm", "--stop", f"/dev/{self.array}"))
        halves = [(path, half) for path, half in ((path, self.arrays.half(path)) for path in self.present) if half]
        if self.params["grow"]:
            halves += self._plan_displaced(plan, [path for path in self.present if path not in [known for known, _half in halves]])
        blank = [path for path in self.present if path not in [known for known, _half in halves]]
        if self.params["allow_overwrite"] and halves and not any(half.name == self.params["name"] for _path, half in halves):
            halves, blank = [], self.present
        if halves:
            self._plan_assemble(plan, halves, blank)
        else:
            self._plan_create(plan)

    def _plan_displaced(self, plan: ChangeSet, paths: List[str]) -> List[Tuple[str, Half]]:
        """Halves whose devices have grown, and that were stopped before their superblocks had moved."""
        found = []
        for path in paths:
            half = None if self.blocks.users(path) else self.arrays.displaced(path)
            if half and half.name == self.params["name"]:
                plan.step(f"put the superblock of {path} to its new end", partial(self.arrays.replaced, path))
                found.append((path, half))
        return found

    def _plan_create(self, plan: ChangeSet) -> None:
        if len(self.devices) < 2:
            raise NodeError(f"There is no mirror {self.params['name']}; to make it, name the devices of both halves in devices.")
        if self.missing:
            raise NodeError(f"{', '.join(self.missing)} is not there; a new mirror needs all its halves.")
        sizes = {path: self.blocks.size(path) for path in self.devices}
        if len(set(sizes.values())) > 1:
            raise NodeError("The halves differ in size, and the rest of the larger one would be lost: "
                            + ", ".join(f"{path} has {size} bytes" for path, size in sizes.items()) + ".")
        for path in self.devices:
            self._check_new(path, 0)
        command = ["mdadm", "--create", self.target, "--run", f"--name={self.params['name']}", "--homehost=any", "--metadata=1.0",
                   "--level=1", f"--raid-devices={len(self.devices)}", "--bitmap=internal"]
        if self.params["bitmap_chunk"]:
            command.append(f"--bitmap-chunk={self.params['bitmap_chunk']}")
        # mdadm gives what it says of a device to all that follow: the write-mostly ones come last.
        slow = [path for path in self.devices if path in (self.params["write_mostly"] or [])]
        failfast = self.params["failfast"] is not False
        command += ["--failfast"] if failfast else []
        command += [path for path in self.devices if path not in slow]
        command += ["--write-mostly", *slow] if slow else []
        for path in self.devices if self.params["allow_overwrite"] else ():
            plan.step(f"wipe {path}", partial(self._wipe, path), gone=f"what was on {path}")
        plan.step(f"create mirror {self.params['name']}", partial(self._create, command))
        plan.after = {
            "name": self.params["name"], "device": self.target, "level": "raid1", "metadata": "1.0", "raid_devices": len(self.devices),
            "degraded": 0, "members": [{"device": path, "state": "active", "write_mostly": path in slow, "failfast": failfast}
                                       for path in sorted(self.devices)],
        }

    def _create(self, command: List[str]) -> None:
        for path in self.devices:
            self._check_new(path, 0)  # once more: between the plan and this, somebody may have begun to use it
        try:
            with tempfile.NamedTemporaryFile("w", suffix=".conf") as config:
                config.write(NO_BAD_BLOCKS)
                config.flush()
                self.arrays.run(*command, f"--config={config.name}")
        except NodeError:
            # Some halves may have got their superblock already.
            for path in self.devices:
                if not self.blocks.users(path):
                    self.arrays.run("mdadm", "--zero-superblock", path, codes=range(256))
            raise

    def _plan_assemble(self, plan: ChangeSet, halves: List[Tuple[str, Half]], blank: List[str]) -> None:
        uuids = {half.uuid for _path, half in halves}
        if len(uuids) > 1:
            raise NodeError("The devices belong to different arrays: "
                            + ", ".join(f"{path} to {half.name or half.uuid}" for path, half in halves) + ".")
        if any(half.level != "raid1" for _path, half in halves):
            raise NodeError(f"{halves[0][0]} is no half of a mirror but of {halves[0][1].level}.")
        for path, _half in halves:
            users = [user for user in self.blocks.users(path) if user != f"device {self.array}"]
            if users:
                raise NodeError(f"{path} is used by {', '.join(users)}.")
        # The newest first. Counts that differ by one are the same: the power went while superblocks were written.
        halves = sorted(halves, key=lambda known: -known[1].events)
        newest_path, newest = halves[0]
        if newest.role is None:
            raise NodeError(f"{newest_path} was a spare: it has no data of the mirror. Name the device of a half.")
        current, stale = [newest_path], []  # type: List[str], List[Tuple[str, bool]]
        for path, half in halves[1:]:
            apart = self._check_return(path, half, [(newest_path, newest)])
            if apart or half.role is None or half.events + 1 < newest.events or newest.misses(half):
                stale.append((path, apart))
            else:
                current.append(path)
        unseen = newest.raid_devices - len(halves) - len(blank)
        if unseen > 0 and not self.missing and not self.params["allow_degraded"]:
            raise NodeError(f"{newest_path} is one of {newest.raid_devices} halves, and {unseen} of them is not in devices. Name it, or "
                            "use allow_degraded: true to go on without it. Nobody can know then whether its data are newer.")
        for path in blank:
            self._check_new(path, self.blocks.size(newest_path))
        plan.step(f"assemble {self.params['name']} from {', '.join(current)}", partial(self._assemble, current))
        plan.after = {
            "name": newest.name, "device": self.target, "uuid": newest.uuid, "level": "raid1", "metadata": newest.metadata,
            "raid_devices": newest.raid_devices, "degraded": newest.raid_devices - len(current),
            "members": [{"device": path, "state": "active"} for path in sorted(current)],
        }
        for path, apart in stale:
            self._plan_return(plan, path, apart)
        for path in blank:
            self._plan_add(plan, path)

    def _assemble(self, paths: List[str]) -> None:
        self.arrays.run("mdadm", "--assemble", self.target, "--run", "--update=no-bbl", *paths)
        array = self._now()
        if self.arrays.get(array, "array_state") == "read-auto":  # a resync would not begin before the first write
            self.arrays.run("mdadm", "--readwrite", f"/dev/{array}")

    # ---- a mirror that runs

    def _now(self) -> str:
        """The array as a device, once it runs."""
        return self.arrays.find(self.params["name"], self.present)

    def _manage(self, array: str, *words: str) -> None:
        self.arrays.run("mdadm", "--manage", f"/dev/{array}", *words)

    def _extra(self, array: str) -> List[str]:
        """Members that devices does not name."""
        return [member for member in self.arrays.members(array) if member not in self.names()]

    def _spares(self, array: str) -> List[str]:
        return [member for member in self.arrays.members(array)
                if not {"in_sync", "faulty"} & set(self.arrays.flags(array, member))]

    def _plan_running(self, plan: ChangeSet) -> None:
        array, names = self.array, self.names()
        members = self.arrays.members(array)
        flags = {member: self.arrays.flags(array, member) for member in members}
        faulty = [member for member in members if "faulty" in flags[member]]
        good = [member for member in members if member not in faulty]
        lost = [member for member in faulty if member not in names and not self.blocks.name(f"/dev/{member}")]
        if lost:
            plan.step("forget devices that are gone", partial(self._manage, array, "--remove", "detached"))
        halves = [(names.get(member, f"/dev/{member}"), half) for member in good if "in_sync" in flags[member]
                  # One that has grown under the array has its superblock where its end was.
                  for half in [self.arrays.half(f"/dev/{member}") or self.arrays.displaced(f"/dev/{member}")] if half]
        fresh = []
        for name, path in names.items():
            if name in good:
                continue
            half, displaced = self.arrays.half(path), None
            if not half and not [user for user in self.blocks.users(path) if user != f"device {array}"]:
                # It was away when its device grew, so the kernel could not move its superblock.
                half = displaced = self.arrays.displaced(path)
            if half and halves and half.uuid == halves[0][1].uuid:
                apart = self._check_return(path, half, halves)
                if name in faulty:
                    plan.step(f"remove the faulty {path}", partial(self._manage, array, "--remove", path))
                if displaced:  # once it is no member any more: as long as it is, the array has it
                    plan.step(f"put the superblock of {path} to its new end", partial(self.arrays.replaced, path))
                self._plan_return(plan, path, apart)
            else:
                if name in faulty:
                    raise NodeError(f"{path} is a faulty member without its superblock; replace the disk, or remove it (state: degraded).")
                smallest = int(self.arrays.get(array, "component_size") or 0) * 1024
                self._check_new(path, min([self.blocks.size(known) for known, _half in halves] or [smallest]))
                fresh.append(path)
        self._plan_members(plan, array, good, fresh, faulty)
        self._plan_flags(plan, array, {name: flags[name] for name in good if name in names})
        if self.params["grow"]:
            self._plan_growth(plan, array, good)

    def _plan_members(self, plan: ChangeSet, array: str, good: List[str], fresh: List[str], faulty: List[str]) -> None:
        """New halves in, and with purge, others out. A copy is made before the original goes."""
        names, purge = self.names(), self.params["purge"]
        slots = int(self.arrays.get(array, "raid_disks"))
        # Devices that were added and have no place: a run before this one was ended in between.
        waiting = [member for member in good if member in names and self.arrays.get(array, f"dev-{member}/slot") == "none"]
        extra = [member for member in good if member not in names] if purge else []
        leaving = [member for member in extra if "want_replacement" not in self.arrays.flags(array, member)]
        taken = len(good) - len(waiting) + len([name for name in names if name not in good and names[name] not in fresh])
        for path in [names[member] for member in waiting] + fresh:
            new = path in fresh
            if leaving and taken >= slots:
                self._plan_replace(plan, array, leaving.pop(0), path, new)
                continue
            if new:
                self._plan_add(plan, path)
            taken += 1
            if taken > slots:
                slots = taken
                plan.step(f"have {slots} halves", partial(
                    self.arrays.run, "mdadm", "--grow", f"/dev/{array}", f"--raid-devices={slots}"), partial(
                    self.arrays.run, "mdadm", "--grow", f"/dev/{array}", f"--raid-devices={slots - 1}"))
                plan.after["raid_devices"] = slots
        for member in leaving:
            self._plan_out(plan, array, member)
        for member in faulty if purge else ():
            if member not in names and self.blocks.name(f"/dev/{member}"):
                plan.step(f"remove the faulty {member}", partial(self._manage, array, "--remove", f"/dev/{member}"))
        if purge and slots > len(self.devices) and not (extra and not leaving):
            plan.step(f"have {len(self.devices)} halves", partial(
                self.arrays.run, "mdadm", "--grow", f"/dev/{array}", f"--raid-devices={len(self.devices)}"))
            plan.after["raid_devices"] = len(self.devices)

    def _words(self, path: str) -> List[str]:
        words = [] if self.params["failfast"] is False else ["--failfast"]
        return words + (["--write-mostly"] if path in (self.params["write_mostly"] or []) else [])

    def _plan_replace(self, plan: ChangeSet, array: str, member: str, path: str, new: bool) -> None:
        old = f"/dev/{member}"
        if new:
            plan.step(f"add {path}", partial(self._add, path, self.params["allow_overwrite"]),
                      lambda: self._manage(array, "--remove", path), gone=self._lost(path))
        plan.step(f"copy {old} to {path}, then take it out", partial(self._manage, array, "--replace", old, "--with", path))
        plan.after["members"] = [known for known in plan.after["members"] if known["device"] != old] + [
            {"device": path, "state": "rebuilding"}]

    def _plan_return(self, plan: ChangeSet, path: str, apart: bool) -> None:
        plan.step(f"{'overwrite' if apart else 're-add'} {path}", partial(self._return, path, apart),
                  gone=f"what was on {path}" if apart else "")
        plan.after["members"] = [known for known in plan.after["members"] if known["device"] != path] + [
            {"device": path, "state": "active"}]

    def _plan_add(self, plan: ChangeSet, path: str) -> None:
        plan.step(f"add {path}", partial(self._add, path, self.params["allow_overwrite"]),
                  lambda: self._manage(self._now(), "--remove", path), gone=self._lost(path))
        plan.after["members"] = [*plan.after["members"], {"device": path, "state": "rebuilding"}]

    def _lost(self, path: str) -> str:
        return f"what was on {path}" if self.params["allow_overwrite"] else ""

    def _wipe(self, path: str) -> None:
        self._check_new(path, 0)
        self.arrays.run("wipefs", "--all", path)

    def _add(self, path: str, wipe: bool) -> None:
        self._check_new(path, 0)
        if wipe:
            self._wipe(path)
        self._manage(self._now(), *self._words(path), "--add", path)

    def _return(self, path: str, apart: bool) -> None:
        """Bring a half back: by the bitmap where md can, else as a whole."""
        if not apart:
            try:
                self._manage(self._now(), *self._words(path), "--re-add", path)
                return
            except CommandError:
                pass  # the bitmap does not reach back so far
        self.arrays.run("mdadm", "--zero-superblock", path)
        self._manage(self._now(), *self._words(path), "--add", path)

    def _plan_out(self, plan: ChangeSet, array: str, member: str) -> None:
        """Fail and remove a member, if enough is left."""
        keep = [other for other in self.arrays.members(array) if other != member and "in_sync" in self.arrays.flags(array, other)
                and (self.params["state"] == "degraded" or other in self.names())]
        if not keep:
            raise NodeError(f"/dev/{member} has the only complete copy of the data; it cannot be taken out. Wait for the resync of "
                            "another half first.")
        path = self.names().get(member, f"/dev/{member}")
        if "faulty" not in self.arrays.flags(array, member):
            plan.step(f"fail {path}", partial(self._manage, array, "--fail", f"/dev/{member}"))
        plan.step(f"remove {path}", partial(self._remove, array, member))
        plan.after["members"] = [known for known in plan.after["members"] if known["device"] != path]

    def _remove(self, array: str, member: str) -> None:
        """A failed member can be removed as soon as the requests on their way to it have ended."""
        for attempt in range(50):
            try:
                self._manage(array, "--remove", f"/dev/{member}")
                return
            except CommandError:
                if attempt == 49:
                    raise
                time.sleep(0.2)

    def _plan_flags(self, plan: ChangeSet, array: str, flags: Dict[str, List[str]]) -> None:
        for member, live in flags.items():
            path = self.names()[member]
            wanted = {"failfast": self.params["failfast"]}
            if self.params["write_mostly"] is not None:
                wanted["write_mostly"] = path in self.params["write_mostly"]
            for flag, value in wanted.items():
                if value is not None and value != (flag in live):
                    word = flag.replace("_", "")
                    plan.step(f"{'set' if value else 'clear'} {flag} of {path}",
                              partial(self.arrays.set_flag, array, member, word if value else f"-{word}"),
                              partial(self.arrays.set_flag, array, member, f"-{word}" if value else word))
                    for known in plan.after["members"]:
                        if known["device"] == path:
                            known[flag] = value

    def _plan_growth(self, plan: ChangeSet, array: str, good: List[str]) -> None:
        sizes = {self.names().get(member, f"/dev/{member}"): self.blocks.size(f"/dev/{member}") for member in good}
        component = int(self.arrays.get(array, "component_size"))
        used = min(int(self.arrays.get(array, f"dev-{member}/size") or 0) for member in good)
        possible = min(sizes.values()) // 1024
        bitmap = self.arrays.get(array, "bitmap/location") not in ("", "none")
        if max(possible, used) - component <= SLACK_KIB and max(sizes.values()) // 1024 - component <= SLACK_KIB:
            if not bitmap:  # an earlier run was ended before it had put it back
                self._plan_bitmap(plan, array, 0)
            return
        listing = ", ".join(f"{path} has {size} bytes" for path, size in sorted(sizes.items()))
        if max(sizes.values()) - min(sizes.values()) > SLACK_KIB * 1024:
            raise NodeError(f"The halves have not grown alike: {listing}. Grow the other, have it seen here, and run this again.")
        if int(self.arrays.get(array, "degraded")) or self.arrays.get(array, "sync_action") != "idle" or len(plan.steps):
            raise NodeError("The mirror can grow once all its halves are complete: bring back what is missing, and wait for the resync.")
        if self.arrays.get(array, "metadata_version") == "1.0" and not self.params["force"]:
            reason = self.arrays.guard()
            if reason:
                raise NodeError(reason)
        if possible - used > SLACK_KIB:
            if bitmap:  # the kernel does not move a superblock of metadata 1.0 that has one
                plan.step("take the bitmap away", partial(self.arrays.run, "mdadm", "--grow", f"/dev/{array}", "--bitmap=none"),
                          partial(self._make_bitmap, array))
                bitmap = False
            plan.step("have the halves use all of their devices", partial(self.arrays.take_all_space, array))
        plan.step(f"grow {plan.before['device']}", partial(self.arrays.run, "mdadm", "--grow", f"/dev/{array}", "--size=max"))
        plan.step("wait for the new space", partial(self.arrays.wait, array, self.params["wait_timeout"]))
        if not bitmap:
            chunk = int(self.arrays.get(array, "bitmap/chunksize") or 0)
            self._plan_bitmap(plan, array, chunk if chunk and max(sizes.values()) // chunk < BITS else 0)
        plan.after["size"] = room(min(sizes.values())) if self.arrays.get(array, "metadata_version") == "1.0" else \
            plan.before["size"] + (possible - component) // 64 * 64 * 1024

    def _plan_bitmap(self, plan: ChangeSet, array: str, chunk: int) -> None:
        """With the chunk that the task wants, or `chunk` bytes, or what mdadm chooses."""
        size = self.params["bitmap_chunk"] or (f"{chunk // 1024}K" if chunk else "")
        plan.step("make a bitmap", partial(self._make_bitmap, array, *([f"--bitmap-chunk={size}"] if size else [])))

    def _make_bitmap(self, array: str, *words: str) -> None:
        """The kernel reads no bitmap from a half that has come back by one (Bitmap_sync in drivers/md/md.h), until it is added anew
        or the mirror is assembled. If that is so with all halves, one of them is added anew, and copied to as a whole.
        """
        try:
            self.arrays.make_bitmap(array, *words)
        except NodeError:
            if self.arrays.get(array, "sync_action") != "idle":  # which is a reason to be refused one, too
                self._complete(array)
                with suppress(NodeError):
                    self.arrays.make_bitmap(array, *words)
                    return
            halves = [member for member in self.arrays.members(array) if "in_sync" in self.arrays.flags(array, member)]
            if len(halves) < 2:
                raise
            far = max(halves, key=lambda member: "write_mostly" in self.arrays.flags(array, member))
            self._manage(array, "--fail", f"/dev/{far}")
            self._remove(array, far)
            self._return(self.names().get(far, f"/dev/{far}"), True)
            self._complete(array)
            self.arrays.make_bitmap(array, *words)

    # ---- out

    def _plan_degraded(self, plan: ChangeSet) -> None:
        if not self.devices:
            raise NodeError("Name in devices what is to be taken out.")
        if not self.array:
            raise NodeError(f"There is no mirror {self.params['name']} that runs.")
        gone = [member for member in self.arrays.members(self.array)
                if "faulty" in self.arrays.flags(self.array, member) and not self.blocks.name(f"/dev/{member}")]
        if gone:
            plan.step("forget devices that are gone", partial(self._manage, self.array, "--remove", "detached"))
        members = [member for member in self.arrays.members(self.array) if member in self.names()]
        staying = [member for member in self.arrays.members(self.array)
                   if member not in members and "in_sync" in self.arrays.flags(self.array, member)]
        if members and not staying:
            raise NodeError("No complete copy of the data would be left. Wait for the resync of another half first.")
        for member in members:
            self._plan_out(plan, self.array, member)
        if members:
            plan.after["degraded"] = plan.before["raid_devices"] - len(staying)

    def _plan_absent(self, plan: ChangeSet) -> None:
        plan.after = {}
        paths = {}  # type: Dict[str, str]
        if self.array:
            users = self.blocks.users(f"/dev/{self.array}")
            if users:
                raise NodeError(f"{plan.before['device']} is used by {', '.join(users)}. End that first.")
            paths = {member: f"/dev/{member}" for member in self.arrays.members(self.array) if self.blocks.name(f"/dev/{member}")}
            plan.step(f"stop {plan.before['device']}", partial(self.arrays.run, "mdadm", "--stop", f"/dev/{self.array}"))
        for path in self.present:
            half = None if self.blocks.name(path) in paths else self.arrays.half(path)
            if half and half.name != self.params["name"]:
                raise NodeError(f"{path} belongs to another array, {half.name or half.uuid}.")
            if half:
                paths[self.blocks.name(path)] = path
        for path in paths.values():
            plan.step(f"clear the superblock of {path}", partial(self.arrays.run, "mdadm", "--zero-superblock", path),
                      gone=f"the superblock of {path}")
