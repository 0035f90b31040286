# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The volumes of legs: what module leg plans. Python 3.6 syntax.

A volume gets its name and its tags at once, on extents that were zeroed before (spares.py). It loses them by being renamed.
"""

import os
import time
from functools import partial
from typing import Any, Callable, Dict, List, Optional

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.names import (
    DISK,
    GUEST,
    KEPT,
    NO_LEGS,
    OLD,
    SLOT,
    SPARE,
    TAG,
    WANTED,
    tags,
)
from ansible_collections.nobloat.xen.plugins.module_utils.node.block import Blocks
from ansible_collections.nobloat.xen.plugins.module_utils.node.exports import write_file
from ansible_collections.nobloat.xen.plugins.module_utils.node.held import BETWEEN, exporter
from ansible_collections.nobloat.xen.plugins.module_utils.node.lio import SAVED, saved
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import NodeError, Result, run
from ansible_collections.nobloat.xen.plugins.module_utils.node.spares import (
    SETTINGS,
    Range,
    Spares,
    report,
)
from ansible_collections.nobloat.xen.plugins.module_utils.node.wipe import problems, start
from ansible_collections.nobloat.xen.plugins.module_utils.size import to_bytes, to_text

FIELDS = "vg_name,lv_name,lv_size,lv_tags,stripes,stripe_size,segtype,origin,pool_lv,zero"
# Seconds between two looks how far the worker is.
LOOK = 0.5

Volume = Dict[str, Any]


class LegVolumes:
    """The legs of this node. `root` is another folder than / in tests, and `command` runs nothing there."""

    def __init__(self, root: str = "/", command: Callable[..., Result] = run, clock: Callable[[], float] = time.monotonic,
                 pause: Callable[[float], None] = time.sleep, wait_timeout: float = 86400) -> None:
        self.root, self.run, self.clock, self.pause = root, command, clock, pause
        self.blocks = Blocks(root)
        self.spares = Spares(command, pause, root)
        self.begin, self.wait_timeout = clock(), wait_timeout

    # ---- what there is

    def rows(self) -> List[Dict[str, str]]:
        return report(self.run, "lvs", "lv", FIELDS)

    def find(self, vg: str, name: str) -> Volume:
        """A volume, {} if there is none of that name."""
        rows = self.rows()
        own = [row for row in rows if (row["vg_name"], row["lv_name"]) == (vg, name)]  # a row for each segment
        if not own:
            return {}
        pool = next((row for row in rows if own[0]["pool_lv"] and (row["vg_name"], row["lv_name"]) == (vg, own[0]["pool_lv"])), None)
        return {
            "vg": vg, "name": name, "device": f"/dev/{vg}/{name}", "size": int(own[0]["lv_size"]),
            "tags": sorted(filter(None, own[0]["lv_tags"].split(","))), "stripes": int(own[0]["stripes"] or 1),
            "stripe_size": int(own[0]["stripe_size"] or 0), "origin": own[0]["origin"], "thin": own[0]["segtype"] == "thin",
            "pool": own[0]["pool_lv"], "pool_zeroes": pool is None or pool["zero"] in ("zero", "1"),
            "snapshots": sorted({row["lv_name"] for row in rows if (row["vg_name"], row["origin"]) == (vg, name)}),
        }

    @staticmethod
    def view(volume: Volume) -> Dict[str, Any]:
        if not volume:
            return {}
        own = tags(volume)
        return dict({key: volume[key] for key in ("vg", "name", "device", "size", "stripes", "stripe_size")},
                    guest=own.get("guest", ""), disk=own.get("disk", ""),
                    slot=int(own["slot"]) if own.get("slot", "").isdigit() else None)

    def look(self, options: Dict[str, Any]) -> Dict[str, Any]:
        name = options["name"]
        return self.view(self.find(options["vg"], KEPT + name if options["state"] == "kept" else name))

    # ---- what there shall be

    def plan(self, options: Dict[str, Any]) -> ChangeSet:
        """What becomes of one leg. Raises NodeError for whatever can be known before the first step."""
        if not options["vg"]:
            raise NodeError(f"vg of {options['name']} is needed.")
        volume = self.find(options["vg"], options["name"])
        plan = ChangeSet(f"leg {options['name']}", self.view(volume))
        if options["state"] == "present":
            self._plan_present(plan, volume, options)
        elif volume:
            self._plan_gone(plan, volume, options)
        elif options["state"] == "kept":
            plan.before = plan.after = self.look(options)
        return plan

    def _plan_present(self, plan: ChangeSet, volume: Volume, options: Dict[str, Any]) -> None:
        name, group = options["name"], self._group(options["vg"])
        missing = [key for key in ("guest", "disk", "size") if not options[key]]
        if missing:
            raise NodeError(f"{' and '.join(missing)} of {name} is needed.")
        if name.startswith(NO_LEGS):
            raise NodeError(f"{name} cannot be the name of a leg: volumes whose names begin so are none.")
        stripes = options["stripes"] or group["disks"]
        stripe_size = self._size(options["stripe_size"]) if stripes > 1 else 0
        if volume:
            self._check_ours(volume, options)
            stripes, stripe_size = volume["stripes"], volume["stripe_size"]
        if stripes > group["disks"]:
            raise NodeError(f"{name} cannot have {stripes} stripes: {options['vg']} has {group['disks']} disks.")
        unit = group["extent"] * stripes
        size = -(-self._size(options["size"]) // unit) * unit
        wanted = [GUEST + options["guest"], DISK + options["disk"]]
        wanted += [f"{SLOT}{options['slot']}"] if options["slot"] is not None else []
        if not volume:
            plan.after = self.view({"vg": options["vg"], "name": name, "device": f"/dev/{options['vg']}/{name}", "size": size,
                                    "stripes": stripes, "stripe_size": stripe_size, "tags": wanted})
            self.spares.check(options["vg"], size // group["extent"], stripes)
            plan.step(f"make {name} of zeroed room", partial(
                self._obtain, options, size, group["extent"], stripes, partial(self._make, options, stripes, stripe_size, wanted)))
            return
        slots = [tag for tag in volume["tags"] if tag.startswith(SLOT)]
        if options["slot"] is not None and slots != wanted[2:]:
            plan.after["slot"] = options["slot"]
            plan.step(f"note the slot of {name}", partial(self._retag, volume, slots, wanted[2:]),
                      partial(self._retag, volume, wanted[2:], slots))
        self._plan_growth(plan, volume, options, size, group["extent"])  # the last step, as it cannot be taken back

    def _plan_growth(self, plan: ChangeSet, volume: Volume, options: Dict[str, Any], size: int, extent: int) -> None:
        name, grown = volume["name"], size - volume["size"]
        if grown < 0:
            raise NodeError(f"{name} has {to_text(volume['size'])}, it cannot shrink to {to_text(self._size(options['size']))}.")
        if grown <= 0:
            return
        plan.after["size"] = size
        if volume["thin"]:
            if not volume["pool_zeroes"]:
                raise NodeError(f"The thin pool {volume['vg']}/{volume['pool']} does not zero what it hands out, so {name} could show what "
                                f"others have written. Have it do so first: lvchange --zero y {volume['vg']}/{volume['pool']}.")
            plan.step(f"grow {name}", partial(self.run, "lvextend", *SETTINGS, "--size", f"{size}b", f"{volume['vg']}/{name}"))
            return
        self.spares.check(volume["vg"], grown // extent, volume["stripes"])
        plan.step(f"grow {name} by zeroed room", partial(self._obtain, options, size, extent, volume["stripes"], None))

    def _plan_gone(self, plan: ChangeSet, volume: Volume, options: Dict[str, Any]) -> None:
        name, vg = volume["name"], volume["vg"]
        keep = options["state"] == "kept"
        if OLD not in volume["tags"] or keep:
            self._check_ours(volume, options)
        if keep and self.find(vg, KEPT + name):
            raise NodeError(f"There is {vg}/{KEPT}{name} of an earlier move already. Remove it first (state: absent), or remove {name} "
                            "instead of keeping it.")
        self._check_unused(volume)
        if keep:
            plan.after = dict(plan.before, name=KEPT + name, device=f"/dev/{vg}/{KEPT}{name}", guest="", disk="", slot=None)
            plan.step(f"rename {name} to {KEPT}{name}", partial(self._rename, volume, KEPT + name),
                      partial(self.run, "lvrename", *SETTINGS, vg, KEPT + name, name))
            kept = dict(volume, name=KEPT + name)
            gone = [tag for tag in volume["tags"] if tag.startswith(TAG)]
            plan.step(f"take the tags of {name} away", partial(self._retag, kept, gone, [OLD]),
                      partial(self._retag, kept, [OLD], gone))
            return
        plan.after = {}
        gone_text = f"the data of {vg}/{name}"
        if volume["thin"]:
            plan.step(f"remove {name}", partial(self._checked, volume, lambda: self.run(
                "lvremove", "--force", *SETTINGS, f"{vg}/{name}")), gone=gone_text)
            return
        plan.step(f"have {name} zeroed", partial(self._discard, volume), gone=gone_text)
        plan.step("start the worker that zeroes volumes", self._start)

    def plan_release(self, groups: List[str]) -> ChangeSet:
        """Clean spare volumes of some volume groups give their room back, for what is no leg."""
        found = {spare.name: spare.size for spare in self.spares.all() if spare.vg in groups and spare.clean}
        plan = ChangeSet("spare volumes", found, {})
        for group in groups if found else ():
            plan.step(f"give the room of clean spare volumes in {group} back", partial(
                self.spares.locked, partial(self.spares.release, group)))
        return plan

    # ---- refusals

    def _group(self, vg: str) -> Dict[str, int]:
        rows = [row for row in report(self.run, "pvs", "pv", "pv_name,vg_name,vg_extent_size") if row["vg_name"] == vg]
        if not rows:
            raise NodeError(f"There is no volume group {vg} on this node.")
        return {"disks": len(rows), "extent": int(rows[0]["vg_extent_size"])}

    @staticmethod
    def _size(text: str) -> int:
        try:
            size = to_bytes(text)
        except ValueError as error:
            raise NodeError(str(error)) from None
        if size <= 0:
            raise NodeError(f"'{text}' is no size; write it as 20GiB.")
        return size

    @staticmethod
    def _check_ours(volume: Volume, options: Dict[str, Any]) -> None:
        """Raise NodeError for a volume that only has the name of a leg, or is one of another disk."""
        own = tags(volume)
        if not (own.get("guest") and own.get("disk")) or volume["origin"]:
            raise NodeError(f"{volume['vg']}/{volume['name']} is no leg: it is a snapshot, or lacks the tags nobloat.guest and "
                            "nobloat.disk. Nothing was changed; rename it if the name is needed.")
        for key in ("guest", "disk"):
            if options[key] and options[key] != own[key]:
                raise NodeError(f"{volume['vg']}/{volume['name']} is the leg of disk {own['disk']} of guest {own['guest']}, not of "
                                f"{options[key]}. Nothing was changed.")

    def _check_unused(self, volume: Volume) -> None:
        name, device = volume["name"], volume["device"]
        if volume["snapshots"]:
            raise NodeError(f"{name} has the snapshots {', '.join(volume['snapshots'])}. Remove them first (for those of backups: module "
                            "leg_backup with state: clean).")
        export = exporter(self.blocks, device)
        damaged = {}  # type: Dict[str, str]
        known = [key for key, each in saved(os.path.join(self.root, SAVED.lstrip("/")), damaged).items()
                 if each["device"] == device or self.blocks.number(each["device"]) == self.blocks.number(device) != ""]
        if export or known:
            raise NodeError(f"{name} is exported as {export or known[0]}. Remove the export first (module iscsi_export).")
        for other, trouble in sorted(damaged.items()):
            raise NodeError(f"Nobody can tell whether {name} is the disk of export {other}: {trouble}. Make the export again, or remove it "
                            "(module iscsi_export).")
        users = self.blocks.users(device)
        if users:  # for longer than a moment, as udev does
            self.pause(BETWEEN)
            users = sorted(set(users) & set(self.blocks.users(device)))
        if users:
            raise NodeError(f"{name} is used by {', '.join(users)}. Nothing was changed; end that first.")

    # ---- steps

    def _obtain(self, options: Dict[str, Any], size: int, extent: int, stripes: int,
                make: Optional[Callable[[List[Range]], None]]) -> None:
        """Have the leg get its size from zeroed room; wait for it where none is clean. Raises NodeError after `wait_timeout`."""
        vg, name = options["vg"], options["name"]

        def attempt() -> Optional[bool]:
            volume = self.find(vg, name)  # another run may have been faster
            if volume:
                self._check_ours(volume, options)
            elif not make:
                raise NodeError(f"{vg}/{name} is not there any more.")
            use = partial(self._grow, volume) if volume else make  # type: Any
            extents = (size - volume.get("size", 0)) // extent
            if extents <= 0 or self.spares.take(vg, extents, stripes, use):
                return None
            return self.spares.prepare(vg, extents, stripes)

        first = True
        while True:
            begun = self.spares.locked(attempt)
            if begun is None:
                return
            if begun or first:
                self._start()
            first = False
            end = min(self.begin + self.wait_timeout, self.clock() + 30)
            while self.clock() < end:
                waited = [spare for spare in self.spares.all() if spare.vg == vg and WANTED in spare.tags]
                wrong = [text for device, text in problems(self.root).items() if device in [spare.device for spare in waited]]
                if wrong:
                    raise NodeError(f"The room for {name} cannot be zeroed: {' '.join(wrong)}")
                if not waited:
                    break
                self.pause(LOOK)
            else:
                self._progress(vg, name)

    def _progress(self, vg: str, name: str) -> None:
        """Go on waiting, or raise NodeError that tells how far it is."""
        seconds = self.clock() - self.begin
        if seconds < self.wait_timeout:
            self._start(again=False)  # if it was ended
            return
        waited = [spare for spare in self.spares.all() if spare.vg == vg and WANTED in spare.tags]
        size, done = sum(spare.size for spare in waited), sum(spare.zeroed for spare in waited)
        raise NodeError(f"The room for {name} is zeroed first: {100 * done // max(size, 1)} % of {size >> 20} MiB after {seconds:.0f} "
                        "seconds. That goes on in the background; run this again to go on with it.")

    def _make(self, options: Dict[str, Any], stripes: int, stripe_size: int, wanted: List[str], ranges: List[Range]) -> None:
        self.run("lvcreate", "--yes", *SETTINGS, "--zero", "n", "--wipesignatures", "n",
                 *(word for tag in wanted for word in ("--addtag", tag)), "--name", options["name"],
                 "--extents", str(sum(each.size for each in ranges)), "--stripes", str(stripes),
                 *(("--stripesize", f"{stripe_size}b") if stripes > 1 else ()), options["vg"], *map(str, ranges))

    def _grow(self, volume: Volume, ranges: List[Range]) -> None:
        stripes = volume["stripes"]
        self.run("lvextend", "--yes", *SETTINGS, "--extents", f"+{sum(each.size for each in ranges)}",
                 "--stripes", str(stripes), *(("--stripesize", f"{volume['stripe_size']}b") if stripes > 1 else ()),
                 f"{volume['vg']}/{volume['name']}", *map(str, ranges))

    def _checked(self, volume: Volume, work: Callable[[], Any]) -> None:
        self._check_unused(volume)
        work()

    def _rename(self, volume: Volume, name: str) -> None:
        """The last look for users comes right before it."""
        self._checked(volume, lambda: self.run("lvrename", *SETTINGS, volume["vg"], volume["name"], name))

    def _discard(self, volume: Volume) -> None:
        self._rename(volume, SPARE + os.urandom(6).hex())

    def _retag(self, volume: Volume, gone: List[str], new: List[str]) -> None:
        words = [word for tag in gone for word in ("--deltag", tag)] + [word for tag in new for word in ("--addtag", tag)]
        self.run("lvchange", "--quiet", *SETTINGS, *words, f"{volume['vg']}/{volume['name']}")

    def _start(self, again: bool = True) -> None:
        start(self.root, write_file, self.run, again)
