# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What everything about a leg is called: its paths, tags and export, its VDI and SR, its position in the guest.

The one place for these rules; nodes use it, too. Python 3.6 syntax, standard library only.
"""

import re
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple

# ---- on nodes

PATHS = "/dev/mirror"
PATH = re.compile(PATHS + "/([^/]+)/([^/]+)")
IQN_PREFIX = "iqn.2026-11.xen.nobloat"
# Who logs in to an export whose secret the roles have made, and where each node keeps it.
CHAP_USER, CHAP_PATH = "nobloat", "/etc/nobloat/chap"
# Volumes whose names begin so are no legs: backups of legs, legs that have moved away and whose data are kept, and room for new
# legs, which is zeroed or being zeroed (node/spares.py).
BACKUP, KEPT, SPARE = "backup", "moved-", "spare-"
NO_LEGS = (BACKUP, KEPT, SPARE)
TAG = "nobloat."
# `uuid` decides which guest a leg belongs to; `guest` is its name, for people, and where there is no uuid yet.
GUEST, DISK, SLOT, LEASE, UUID = (TAG + key for key in ("guest=", "disk=", "slot=", "lease=", "uuid="))
# Of a leg that has moved away and is kept. Of a spare volume: how many of its bytes are zeroed, from the first one on; that
# somebody waits for it.
OLD, ZEROED, WANTED = TAG + "kept", TAG + "zeroed=", TAG + "wanted"


def leg_name(guest: str, disk: str) -> str:
    """The name of both legs of a disk, on the node of each."""
    return f"{guest}-{disk}"


def disk_name(guest: str, leg: str) -> str:
    """The disk that a leg belongs to, from the leg's name; the whole name where it is not of that guest."""
    start = leg_name(guest, "")
    return leg[len(start):] if leg.startswith(start) else leg


def path(node: str, leg: str) -> str:
    """The path of a leg, which is the same on every node. Its VDI has it as location."""
    return f"{PATHS}/{node}/{leg}"


def from_path(text: str) -> Optional[Tuple[str, str]]:
    """(node, leg) of a path, None where it is not one of a leg."""
    match = PATH.fullmatch(text)
    return (match.group(1), match.group(2)) if match else None


def iqn(node: str, leg: str, prefix: str = IQN_PREFIX) -> str:
    """The iSCSI name that a leg is exported by."""
    return f"{prefix}:{node}:{leg}"


def tags(volume: Mapping[str, Any]) -> Dict[str, str]:
    """The tags nobloat.KEY=VALUE of a logical volume as {KEY: VALUE}."""
    pairs = (tag.partition("=") for tag in volume["tags"] if tag.startswith(TAG))
    return {key[len(TAG):]: value for key, _sign, value in pairs}


def is_leg(volume: Mapping[str, Any]) -> bool:
    """Whether a logical volume, as module mirror_info tells it, is a leg of a guest's disk."""
    own = tags(volume)
    return bool(own.get("guest") and own.get("disk") and not volume["snapshot_of"] and not volume["name"].startswith(NO_LEGS))


def zeroed(volume: Mapping[str, Any]) -> Optional[int]:
    """How many bytes of a spare volume are zeroed; None for a volume that is none.

    A leg becomes one by its name alone; it still has the tags of a leg then, and nothing is zeroed. A volume with such a name and
    without any of our tags is somebody else's.
    """
    own = tags(volume)
    once = own.get("guest") or OLD in volume["tags"]
    if not volume["name"].startswith(SPARE) or not (once or "zeroed" in own):
        return None
    return int(own["zeroed"]) if own.get("zeroed", "").isdigit() and not once else 0


# ---- in the pool


def sr_name(node: str) -> str:
    """The SR of the legs of a node."""
    return f"mirror-{node}"


# In other_config of that SR: what XAPI calls the node.
SR_HOST = "nobloat.xen.host"


def vdi_name(node: str, leg: str) -> str:
    """The VDI of a leg."""
    return f"{leg}@{node}"


def from_vdi(text: str) -> Optional[Tuple[str, str]]:
    """(node, leg) of a VDI's name, None where it is not one of a leg."""
    leg, sign, node = text.rpartition("@")
    return (node, leg) if leg and sign and node else None


# ---- in the guest

# Positions of legs among the guest's disks, up to /dev/xvdz. Those before are for the system, the CD and the config drive.
CONFIG_DRIVE = 3
POSITIONS = range(4, 26)
# Mirrored disks of a guest, at most. Two positions stay free, as a disk that moves has three legs for a while.
MOST_DISKS = (len(POSITIONS) - 2) // 2


def device(position: int) -> str:
    """The device of a disk at a position, in a Linux guest: 4 is /dev/xvde, 26 is /dev/xvdaa."""
    letters = ""
    position += 1
    while position:
        position, rest = divmod(position - 1, 26)
        letters = chr(ord("a") + rest) + letters
    return "/dev/xvd" + letters


def positions(guest: str, wanted: Iterable[str], attached: Mapping[str, int], taken: Iterable[int]) -> Dict[str, int]:
    """Where each leg of a guest is or will be: those that are attached stay, the others get the next free positions in order.

    `taken`: positions of all disks that it has or will have. Raises ValueError where none is left.
    """
    legs = list(wanted)
    free = iter(sorted(set(POSITIONS) - {*attached.values(), *taken}))
    found = {leg: attached[leg] if leg in attached else next(free, 0) for leg in legs}
    if not all(found.values()):
        raise ValueError(
            f"Guest {guest} has no position left for another disk: legs are from {POSITIONS[0]} to {POSITIONS[-1]}. Detach disks that it "
            "does not need, or move fewer disks at a time.")
    return found


def lacking(guest: str, legs: Iterable[Mapping[str, Any]], attached: Iterable[Mapping[str, Any]],
            taken: Iterable[int]) -> List[Dict[str, Any]]:
    """Current legs that a guest does not have, and where they go: freed positions are given back to those that had them.

    `legs`: {disk, name, node, path, state}; `attached`: {path, device}; `taken`: positions of all disks. Raises ValueError.
    """
    there = {disk["path"]: disk["device"] for disk in attached}
    known = list(legs)
    first = {}  # type: Dict[str, int]
    for leg in known:
        first[leg["disk"]] = min(first.get(leg["disk"], POSITIONS[-1]), there.get(leg["path"], POSITIONS[-1]))
    missing = sorted((leg for leg in known if leg["state"] == "current" and leg["path"] not in there),
                     key=lambda leg: (first[leg["disk"]], leg["disk"], leg["node"]))
    at = positions(guest, [leg["path"] for leg in missing], there, taken)
    return [{"vdi": vdi_name(leg["node"], leg["name"]), "sr": sr_name(leg["node"]), "path": leg["path"], "device": at[leg["path"]]}
            for leg in missing]
