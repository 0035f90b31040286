# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# pylint: disable=ansible-bad-function  # this file also runs by itself, at boot, where there is no module
"""LIO, the kernel's iSCSI target, written straight through configfs. Python 3.6 syntax.

Run as a script it makes all saved exports again. That is what brings them back after a boot, so this file stands on the
standard library alone: module iscsi_export copies it to the node as it is.

An export is a dictionary: name (of the backstore), iqn, device (path), serial (32 hexadecimal digits), portals
("address:port"), initiators (iqns), chap ({} or username, password, mutual_username, mutual_password), loopback (a local
SCSI disk over the same backstore). One target has one portal group, tpgt_1, with one LUN, 0.
"""

import contextlib
import errno
import json
import os
import re
import stat
import subprocess
import sys
import time
from functools import partial
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

SAVED = "/etc/nobloat/exports.d"
MODULES = ("configfs", "target_core_mod", "target_core_iblock", "iscsi_target_mod")
# How long the boot waits for disks that are slow to appear, in seconds.
PATIENCE = 120

# No demo mode: only initiators that are listed may log in, or see the target at all.
CLOSED = {"attrib/generate_node_acls": "0", "attrib/cache_dynamic_acls": "0", "attrib/demo_mode_discovery": "0"}
# Seconds after which an initiator that died without a word is asked, and given up. The kernel's 15 and 30 would leave its
# session here for three quarters of a minute, and the guest that it ran looking alive.
WATCHED = {"attrib/nopin_timeout": "5", "attrib/nopin_response_timeout": "5"}
SECRETS = {"username": "auth/userid", "password": "auth/password",
           "mutual_username": "auth/userid_mutual", "mutual_password": "auth/password_mutual"}

Export = Dict[str, Any]
FIELDS = {"name": str, "iqn": str, "device": str, "serial": str, "portals": list, "initiators": list, "chap": dict, "loopback": bool}
# What is called with each step: what it is, in words; how it is done; how it is taken back. It plans the step, or does it at once.
Take = Callable[[str, Callable[[], Any], Optional[Callable[[], Any]]], Any]


class LioError(OSError):
    """The kernel's target does not do what it should, in plain words."""


def read(*parts: str) -> str:
    """A kernel attribute; "" where it is not there. The target writes NULL for names and secrets that were cleared."""
    try:
        with open(os.path.join(*parts)) as stream:
            text = stream.read().strip("\0 \t\n")
    except OSError:
        return ""
    return "" if text == "NULL" else text


def names(*parts: str) -> List[str]:
    try:
        return sorted(os.listdir(os.path.join(*parts)))
    except OSError:
        return []


def write(path: str, text: str) -> None:
    """Write a kernel attribute in one piece, without a line feed: it would become part of a secret."""
    with open(path, "w") as stream:
        stream.write(text)


def settings(folder: str, wanted: Dict[str, str]) -> Dict[str, str]:
    """Those attributes below `folder` that are not as wanted, with the wanted value."""
    return {name: value for name, value in wanted.items() if read(folder, name) != value}


def values(folder: str, attributes: Iterable[str]) -> Dict[str, str]:
    """What these attributes below `folder` are now."""
    return {name: read(folder, name) for name in attributes}


def put(folder: str, wanted: Dict[str, str]) -> None:
    for name, value in sorted(wanted.items()):
        write(os.path.join(folder, name), value or "NULL")


def is_block_device(path: str) -> bool:
    try:
        return stat.S_ISBLK(os.stat(path).st_mode)
    except OSError:
        return False


def wwn(serial: str) -> str:
    """The identity that every initiator sees, made by the kernel from the serial number: NAA 6, OUI 001405, 25 digits."""
    return f"6001405{serial[:25]}" if serial else ""


def at_once(_text: str, do: Callable[[], Any], _undo: Optional[Callable[[], Any]] = None) -> None:
    """Do a step, with no way back."""
    do()


class Lio:
    """The target of this machine. `root` is another folder than / in tests."""

    def __init__(self, root: str = "/") -> None:
        self.config = os.path.join(root, "sys/kernel/config")
        self.target = os.path.join(self.config, "target")
        self.scsi = os.path.join(root, "sys/bus/scsi/devices")

    def prepare(self, loopback: bool = False) -> None:
        """Load the kernel's modules and mount configfs."""
        modules = [*MODULES, *(["tcm_loop", "sd_mod"] if loopback else [])]
        if subprocess.call(["modprobe", "-a", *modules]):
            raise LioError(f"The kernel has no {', '.join(modules)}: it cannot export disks by iSCSI.")
        if not os.path.isdir(self.target) and subprocess.call(("mount", "-t", "configfs", "configfs", self.config)):
            raise LioError(f"configfs cannot be mounted at {self.config}.")

    # ---- look

    def backstores(self) -> List[str]:
        """The paths of all block backstores."""
        core = os.path.join(self.target, "core")
        return [os.path.join(core, hba, name) for hba in names(core) if hba.startswith("iblock_")
                for name in names(core, hba) if os.path.isdir(os.path.join(core, hba, name))]

    def backstore(self, name: str) -> str:
        """The path of a backstore, where it is or where it would be made."""
        found = [path for path in self.backstores() if os.path.basename(path) == name]
        return found[0] if found else os.path.join(self.target, "core/iblock_0", name)

    def group(self, iqn: str) -> str:
        """The path of a target's portal group."""
        return os.path.join(self.target, "iscsi", iqn, "tpgt_1")

    def luns(self, fabric: str) -> List[Tuple[str, str]]:
        """(name of the target, name of the backstore) of all LUNs of a fabric, iscsi or loopback."""
        found = []
        base = os.path.join(self.target, fabric)
        for target in names(base):
            for lun in names(base, target, "tpgt_1/lun"):
                folder = os.path.join(base, target, "tpgt_1/lun", lun)
                for link in names(folder):
                    if os.path.islink(os.path.join(folder, link)):
                        found.append((target, os.path.basename(os.readlink(os.path.join(folder, link)))))
        return found

    def read(self, name: str, iqn: str = "") -> Export:
        """An export as it is in the kernel, {} where there is nothing of it; more keys than a description has:

        activated (the backstore), enabled (the target), acls ({iqn: linked}), open (demo mode), sessions, loopbacks.
        """
        backstore = self.backstore(name)
        exporting = [target for target, user in self.luns("iscsi") if user == name]
        iqn = exporting[0] if exporting else iqn
        group = self.group(iqn) if iqn else ""
        has_target = bool(iqn) and os.path.isdir(os.path.join(self.target, "iscsi", iqn))
        if not os.path.isdir(backstore) and not has_target:
            return {}
        acls = names(group, "acls") if has_target else []
        loopbacks = [target for target, user in self.luns("loopback") if user == name]
        return {
            "name": name, "iqn": iqn if has_target else "",
            "backstore": os.path.isdir(backstore), "target": has_target, "linked": bool(exporting),
            "device": read(backstore, "udev_path"), "activated": read(backstore, "enable") == "1",
            "serial": read(backstore, "wwn/vpd_unit_serial").rpartition(":")[2].strip(),
            "portals": names(group, "np") if has_target else [],
            "initiators": acls, "enabled": has_target and read(group, "enable") == "1",
            "open": has_target and bool(settings(group, CLOSED)),
            "sessions": [session for acl in acls for session in self.sessions(group, acl)] + (
                [{"initiator": text, "address": "", "state": "LOGGED_IN"}
                 for text in read(group, "dynamic_sessions").split()] if has_target else []),
            "chap": {key: read(group, "acls", acls[0], path) for key, path in SECRETS.items()
                     if read(group, "acls", acls[0], path)} if acls else {},
            "loopback": bool(loopbacks), "loopback_device": self.loopback_device(loopbacks[0]) if loopbacks else "",
        }

    @staticmethod
    def sessions(group: str, acl: str) -> List[Dict[str, str]]:
        """The open sessions of an initiator: iqn, address, state (LOGGED_IN, FAILED ...)."""
        text = read(group, "acls", acl, "info")
        states = re.findall(r"^Session State: TARG_SESS_STATE_(\w+)", text, re.M) or re.findall(r"^Session State: (\S+)", text, re.M)
        addresses = re.findall(r"^\s*Address (\S+)", text, re.M) or [""]
        return [{"initiator": acl, "address": addresses[0], "state": state} for state in states]

    def loopback_device(self, target: str) -> str:
        """The path of the local disk of a loopback target, "" until it is there."""
        address = read(self.target, "loopback", target, "tpgt_1/address")
        for disk in names(self.scsi):
            if address and disk == f"{address}:0":
                return "".join(f"/dev/{block}" for block in names(self.scsi, disk, "block"))
        return ""

    # ---- what is to be done

    def make(self, want: Export, live: Export, take: Take) -> None:
        """Take the steps after which the kernel exports what `want` says; none where it does already.

        A live export of another device or serial has to be removed first.
        """
        name, group = want["name"], self.group(want["iqn"])
        if not live.get("activated"):
            take(f"make backstore {name}", partial(self.make_backstore, want), partial(self.remove_backstore, name))
        if not live.get("linked"):
            take(f"make target {want['iqn']}", partial(self.make_target, want), partial(self.remove_target, want["iqn"]))
        closed = dict(CLOSED, **{"attrib/authentication": "1" if want["chap"] else "0"})
        if not live.get("linked") or settings(group, closed):
            undo = partial(put, group, values(group, closed)) if live.get("linked") else None
            take(f"close target {want['iqn']} to strangers", partial(put, group, closed), undo)
        for portal in want["portals"]:
            path = os.path.join(group, "np", portal)
            if portal not in live.get("portals", ()):
                take(f"listen on {portal}", partial(self.make_portal, path), partial(os.rmdir, path))
        for initiator in want["initiators"]:
            path = os.path.join(group, "acls", initiator)
            wanted = dict(WATCHED, **{SECRETS[key]: want["chap"].get(key, "") for key in SECRETS})
            known = initiator in live.get("initiators", ())
            if not known or not os.path.islink(os.path.join(path, "lun_0/default")):
                undo = None if known else partial(self.remove_acl, path)
                take(f"admit {initiator}", partial(self.make_acl, group, path, wanted), undo)
            elif settings(path, wanted):
                take(f"change the secret of {initiator}", partial(put, path, wanted), partial(put, path, values(path, wanted)))
        for portal in live.get("portals", ()):
            if portal not in want["portals"]:
                path = os.path.join(group, "np", portal)
                take(f"stop listening on {portal}", partial(os.rmdir, path), partial(self.make_portal, path))
        for initiator in live.get("initiators", ()):
            if initiator not in want["initiators"]:
                path = os.path.join(group, "acls", initiator)
                undo = partial(self.make_acl, group, path, values(path, [*WATCHED, *SECRETS.values()]))
                take(f"shut out {initiator}", partial(self.remove_acl, path), undo)
        if not live.get("enabled"):
            path = os.path.join(group, "enable")
            take(f"enable target {want['iqn']}", partial(write, path, "1"), partial(write, path, "0"))
        if want["loopback"] and not live.get("loopback"):
            take(f"make a local disk of {name}", partial(self.make_loopback, want), partial(self.remove_loopback, name))
        if live.get("loopback") and not want["loopback"]:
            take(f"remove the local disk of {name}", partial(self.remove_loopback, name), partial(self.make_loopback, live))

    def remove(self, live: Export, take: Take) -> None:
        """Take the steps after which nothing of the export is left."""
        if live.get("target"):
            take(f"remove target {live['iqn']}", partial(self.remove_target, live["iqn"]), partial(self.again, live))
        if live.get("loopback"):
            take(f"remove the local disk of {live['name']}", partial(self.remove_loopback, live["name"]),
                 partial(self.make_loopback, live))
        if live.get("backstore"):
            take(f"remove backstore {live['name']}", partial(self.remove_backstore, live["name"]),
                 partial(self.make_backstore, live) if live.get("activated") else None)

    def again(self, live: Export) -> None:
        """Make a target as it was, over its backstore; after a removal that was not ended."""
        if not live["linked"]:
            return
        self.make(dict(live, loopback=False), {"activated": True, "enabled": not live["enabled"]}, at_once)

    # ---- how

    def make_backstore(self, want: Export) -> None:
        path, device = self.backstore(want["name"]), want["device"]
        if not is_block_device(device):
            raise LioError(f"{device} is not a block device of this node.")
        os.makedirs(path, exist_ok=True)
        try:
            write(os.path.join(path, "control"), f"udev_path={device}")
            write(os.path.join(path, "udev_path"), device)
            write(os.path.join(path, "enable"), "1")
            write(os.path.join(path, "wwn/vpd_unit_serial"), want["serial"])
        except OSError as error:
            self.remove_backstore(want["name"])
            if error.errno == errno.EBUSY:
                raise LioError(f"{device} is in use on this node (mounted, in an array, or exported already): it cannot be "
                               "exported, as the target opens it for itself alone.") from error
            raise LioError(f"The kernel does not take {device} as a backstore: {error.strerror}.") from error

    def remove_backstore(self, name: str) -> None:
        if os.path.isdir(self.backstore(name)):
            os.rmdir(self.backstore(name))

    def make_target(self, want: Export) -> None:
        group = self.group(want["iqn"])
        lun = os.path.join(group, "lun/lun_0")
        os.makedirs(lun, exist_ok=True)
        # Before anything can log in.
        put(group, CLOSED)
        os.symlink(self.backstore(want["name"]), os.path.join(lun, want["name"]))

    def remove_target(self, iqn: str) -> None:
        """Ends the sessions of the target, too."""
        group = self.group(iqn)
        if os.path.isdir(group):
            if read(group, "enable") == "1":
                write(os.path.join(group, "enable"), "0")
            for acl in names(group, "acls"):
                self.remove_acl(os.path.join(group, "acls", acl))
            for portal in names(group, "np"):
                os.rmdir(os.path.join(group, "np", portal))
            self.remove_luns(group)
            os.rmdir(group)
        if os.path.isdir(os.path.dirname(group)):
            os.rmdir(os.path.dirname(group))

    @staticmethod
    def make_portal(path: str) -> None:
        try:
            os.mkdir(path)
        except OSError as error:
            raise LioError(f"The kernel cannot listen on {os.path.basename(path)}: {error.strerror}.") from error

    @staticmethod
    def make_acl(group: str, path: str, wanted: Dict[str, str]) -> None:
        lun = os.path.join(path, "lun_0")
        os.makedirs(path, exist_ok=True)
        put(path, wanted)
        os.makedirs(lun, exist_ok=True)
        os.symlink(os.path.join(group, "lun/lun_0"), os.path.join(lun, "default"))

    @staticmethod
    def remove_acl(path: str) -> None:
        for lun in names(path):
            if lun.startswith("lun_"):
                for link in names(path, lun):
                    if os.path.islink(os.path.join(path, lun, link)):
                        os.unlink(os.path.join(path, lun, link))
                os.rmdir(os.path.join(path, lun))
        os.rmdir(path)

    @staticmethod
    def remove_luns(group: str) -> None:
        for lun in names(group, "lun"):
            folder = os.path.join(group, "lun", lun)
            for link in names(folder):
                if os.path.islink(os.path.join(folder, link)):
                    os.unlink(os.path.join(folder, link))
            os.rmdir(folder)

    def make_loopback(self, want: Export) -> None:
        group = os.path.join(self.target, f"loopback/naa.50014051{want['serial'][:8]}", "tpgt_1")
        lun = os.path.join(group, "lun/lun_0")
        os.makedirs(group, exist_ok=True)
        write(os.path.join(group, "nexus"), f"naa.50014052{want['serial'][:8]}")
        os.makedirs(lun, exist_ok=True)
        os.symlink(self.backstore(want["name"]), os.path.join(lun, want["name"]))

    def remove_loopback(self, name: str) -> None:
        for target, user in self.luns("loopback"):
            if user == name:
                group = os.path.join(self.target, "loopback", target, "tpgt_1")
                self.remove_luns(group)
                write(os.path.join(group, "nexus"), "NULL")
                os.rmdir(group)
                os.rmdir(os.path.dirname(group))


def flaw(name: str, export: Any) -> str:
    """Why something is no description of the export of this name; "" if it is."""
    if not isinstance(export, dict):
        return "it is no description of an export"
    for key, kind in FIELDS.items():
        value = export.get(key)
        if not isinstance(value, kind):
            return f"{key} is missing or wrong"
        parts = value if isinstance(value, list) else [*value, *value.values()] if isinstance(value, dict) else []
        if not all(isinstance(part, str) for part in parts):
            return f"{key} is wrong"
    if any("/" in text or not text for text in (export["name"], export["iqn"], *export["portals"], *export["initiators"])):
        return "one of its names is none"
    return "" if export["name"] == name else f"it describes {export['name']}"


def saved(folder: str = SAVED, damaged: Optional[Dict[str, str]] = None) -> Dict[str, Export]:
    """The saved descriptions by name. Those of which nothing can be made are left out; {name: why} goes to `damaged`."""
    found = {}
    for file in names(folder):
        if file.endswith(".json"):
            name = file[:-len(".json")]
            try:
                with open(os.path.join(folder, file), encoding="utf-8") as stream:
                    export = json.load(stream)
                trouble = flaw(name, export)
            except (OSError, ValueError, RecursionError) as error:
                trouble = str(error)
            if not trouble:
                found[name] = export
            elif damaged is not None:
                damaged[name] = f"its description {os.path.join(folder, file)} is damaged: {trouble}"
    return found


def restore(lio: Lio, folder: str = SAVED, patience: float = PATIENCE) -> Dict[str, str]:
    """Make all saved exports. Returns {name: what is wrong} of those that could not be made within `patience` seconds."""
    wrong = {}  # type: Dict[str, str]
    pending = saved(folder, wrong)
    if pending:
        lio.prepare()
    if any(export["loopback"] for export in pending.values()):
        with contextlib.suppress(OSError):  # those that need it will tell
            lio.prepare(True)
    end = time.monotonic() + patience
    while pending:
        for name, export in list(pending.items()):
            try:
                lio.make(export, lio.read(name, export["iqn"]), at_once)
                del pending[name]
                wrong.pop(name, None)
            except Exception as error:  # noqa: BLE001 - whatever it is, the others come back
                wrong[name] = str(error) or type(error).__name__
        if time.monotonic() > end:
            break
        if pending:
            time.sleep(1)
    return wrong


if __name__ == "__main__":
    troubles = restore(Lio())
    for export_name, trouble in sorted(troubles.items()):
        print(f"{export_name}: {trouble}", file=sys.stderr)
    sys.exit(1 if troubles else 0)
