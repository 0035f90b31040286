# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a guest has from the host that it runs on: the legs of its mirrors, by VBD, and its config drive.

A leg is a VDI in an SR of type udev, /dev/mirror/NODE/LEG. The guest logs in to the target that NODE exports it as, also when
NODE is its own host. rootfs/usr/lib/lab/blkback.py is the part in the guest.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from typing import Any

from .calls import NULL, Calls
from .errors import LabError
from .lab import Lab
from .machine import Box

DRIVE = "3"  # position of the config drive
HELPER = "python3 -I -S /usr/lib/lab/blkback.py"
TIMEOUTS = {  # of an open-iscsi record, in seconds, where the host has none to copy
    "node.session.timeo.replacement_timeout": "5",
    "node.conn[0].timeo.noop_out_interval": "2",
    "node.conn[0].timeo.noop_out_timeout": "2",
}
APART = 20  # numbers that the host's iSCSI sessions may still use up; each takes a guest's boot 20 ms
# The target of a leg, as its kernel has it: IQN, portals, and the secrets for an initiator.
TARGET = """cd /sys/kernel/config/target/iscsi 2>/dev/null || exit 0
for target in iqn.*:{node}:{leg}; do
    [ -d "$target" ] || continue
    echo "iqn $target"
    for portal in "$target"/tpgt_*/np/*; do echo "portal ${{portal##*/}}"; done
    cd "$target"/tpgt_*/acls/{initiator}/auth || exit 0
    for name in userid password userid_mutual password_mutual; do echo "$name $(cat $name)"; done
    exit 0
done
"""
SECRETS = {
    "userid": "node.session.auth.username", "password": "node.session.auth.password",
    "userid_mutual": "node.session.auth.username_in", "password_mutual": "node.session.auth.password_in",
}  # fmt: skip
SIZES = """for path in {folder}/*; do
    [ -b "$path" ] || continue
    disk=$(readlink -f "$path")
    echo "$(cat "/sys/class/block/${{disk##*/}}/size") $path"
done"""


@dataclass(frozen=True)
class Leg:
    """A VBD of a leg: device in the guest (xvde), path on the nodes, size in bytes."""

    device: str
    path: str
    size: int


def disks(xapi: Calls, vm: str) -> tuple[dict[str, Leg], str]:
    """The legs that a VM has now, by device; the uuid of its config drive's VDI, or ""."""
    legs, drive = {}, ""
    for vbd in xapi.apart("VBD.get_all_records_where", f'field "VM"="{vm}"').values():
        if vbd["VDI"] == NULL or not vbd["currently_attached"]:
            continue
        vdi = xapi.apart("VDI.get_record", vbd["VDI"])
        if xapi.apart("SR.get_type", vdi["SR"]) == "udev":
            device = "xvd" + "abcdefghijklmnopqrstuvwxyz"[int(vbd["userdevice"])]
            legs[device] = Leg(device, vdi["location"], int(vdi["virtual_size"]))
        elif vbd["userdevice"] == DRIVE and vbd["mode"] == "RO":
            drive = vdi["uuid"]
    return legs, drive


def login(lab: Lab, leg: Leg, host: str) -> dict[str, Any]:
    """What the guest needs to log in, under the initiator name of its host and with the host's time-outs. LabError: not there."""
    match = re.fullmatch(r"/dev/mirror/([^/]+)/([^/]+)", leg.path)
    if not match or match[1] not in [node.name for node in lab.description.nodes]:
        raise LabError(f"{leg.device}: {leg.path} is no /dev/mirror/NODE/LEG of a node of the lab")
    source, initiator = lab.box(match[1]), lab.description.machine(host).initiator
    if not source.running():
        raise LabError(f"{leg.device}: {leg.path} cannot be attached: {match[1]} has no power")
    said = source.run(TARGET.format(node=match[1], leg=match[2], initiator=initiator)).stdout.splitlines()
    words = [line.partition(" ")[::2] for line in said]
    found = {key: value.strip() for key, value in words}
    if "iqn" not in found:
        raise LabError(f"{leg.device}: {leg.path} cannot be attached: {match[1]} does not export it")
    secrets = {SECRETS[key]: found[key] for key in SECRETS if found.get(key, "NULL") not in ("", "NULL")}
    method = {"node.session.auth.authmethod": "CHAP" if secrets else "None"}
    return {
        "device": leg.device, "iqn": found["iqn"], "portals": [value.strip() for key, value in words if key == "portal"],
        "settings": {**_timeouts(lab.box(host), found["iqn"]), **method, **secrets},
    }  # fmt: skip


def _timeouts(host: Box, iqn: str) -> dict[str, str]:
    """As the host has them for this target, or else for any other."""
    found: dict[str, dict[str, str]] = {}
    target = ""
    for line in host.run("iscsiadm -m node -o show 2>/dev/null", check=False).stdout.splitlines():
        key, _equals, value = line.partition(" = ")
        if key == "node.name":
            target = value
        elif key in TIMEOUTS:
            found.setdefault(target, {})[key] = value
    return {**TIMEOUTS, **(found.get(iqn) or next(iter(found.values()), {}))}


def hand_over(box: Box, host: Box, logins: list[dict[str, Any]], drive: bytes) -> None:
    """What the machine is to find when it boots."""
    legs = json.dumps({"first": _sessions(host) + APART, "legs": logins}).encode() if logins else b""
    for name, content in (("legs", legs), ("cidata", drive)):
        path = box.folder / name
        path.unlink(missing_ok=True)
        if content:
            path.touch(0o600)
            path.write_bytes(content.ljust(-(-len(content) // 4096) * 4096, b"\0"))


def _sessions(host: Box) -> int:
    """The highest number of its iSCSI sessions."""
    names = host.run("ls /sys/class/iscsi_session", check=False).stdout.split()
    return max([int(name.removeprefix("session")) for name in names], default=0)


def attached(box: Box) -> set[str]:
    """The devices that are there, in a guest that runs."""
    return set(json.loads(box.run(f"{HELPER} show").stdout))


def plug(box: Box, login: dict[str, Any]) -> None:
    """Into a guest that runs."""
    box.run(f"{HELPER} plug", text=json.dumps(login), timeout=120)


def unplug(box: Box, device: str) -> None:
    """From a guest that runs."""
    box.run(f"{HELPER} unplug {device}")


def grow(box: Box, device: str) -> None:
    """The guest looks at the size again."""
    box.run(f"{HELPER} grow {device}")


def devices(node: Box, folder: str) -> dict[str, int]:
    """Block devices in a folder of a node, what links lead to, and their sizes: what an SR of type udev finds there."""
    said = node.run(SIZES.format(folder=shlex.quote(folder))).stdout.splitlines()
    return {path: int(sectors) * 512 for sectors, path in (line.split(" ", 1) for line in said)}
