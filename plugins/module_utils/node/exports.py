# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Exports: what module iscsi_export plans, and what brings them back after a boot. Python 3.6 syntax."""

import errno
import inspect
import json
import os
import re
import socket
import sys
from functools import partial
from typing import Any, Callable, Dict, List, Optional

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.node import lio as lio_source
from ansible_collections.nobloat.xen.plugins.module_utils.node.block import Blocks
from ansible_collections.nobloat.xen.plugins.module_utils.node.connections import connections
from ansible_collections.nobloat.xen.plugins.module_utils.node.lio import SAVED, Lio, saved, wwn
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import NodeError, read, run

SCRIPT = "usr/local/lib/nobloat/exports.py"
UNIT = "etc/systemd/system/nobloat-exports.service"
WANTED = "etc/systemd/system/multi-user.target.wants/nobloat-exports.service"
UNIT_TEXT = """\
# Written by nobloat.xen.iscsi_export.
[Unit]
Description=Disks that this node exports by iSCSI
Wants=network-online.target
After=network-online.target local-fs.target
Before=iscsi.service open-iscsi.service xapi.service
ConditionDirectoryNotEmpty=/etc/nobloat/exports.d

[Service]
Type=oneshot
RemainAfterExit=yes
TimeoutStartSec=300
ExecStart={python} /usr/local/lib/nobloat/exports.py

[Install]
WantedBy=multi-user.target
"""
PORTAL = re.compile(r"\[(?P<six>[0-9a-fA-F:]+)\](:(?P<six_port>\d+))?|(?P<bare>[0-9a-fA-F]*:[0-9a-fA-F:]+)"
                    r"|(?P<four>[0-9.]+)(:(?P<port>\d+))?")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
IQN = re.compile(r"(iqn\.\d{4}-\d\d\.[a-z0-9.-]+(:[^\s/A-Z]+)?|eui\.[0-9a-f]{16}|naa\.[0-9a-f]{16}([0-9a-f]{16})?)")
SERIAL = re.compile(r"[0-9a-f]{32}")


def portal(text: str) -> str:
    """address[:port] as the kernel writes it: 10.66.2.1:3260, [fd00::1]:3260. Raises NodeError."""
    match = PORTAL.fullmatch(text)
    try:
        if not match:
            raise OSError
        six = match.group("six") or match.group("bare")
        family = socket.AF_INET6 if six else socket.AF_INET
        packed = socket.inet_pton(family, six or match.group("four"))
    except OSError:
        raise NodeError(f"'{text}' is no portal; write the address of a SAN interface, as 10.0.2.1 or 10.0.2.1:3260.") from None
    if not any(packed):
        raise NodeError(f"'{text}' would offer the disk on every network; name the address of the SAN interface.")
    address = socket.inet_ntop(family, packed)
    return f"[{address}]:{match.group('six_port') or 3260}" if six else f"{address}:{match.group('port') or 3260}"


def has_address(portal_text: str) -> bool:
    """Whether this machine has the address of a portal. The kernel listens on others, too, and nobody ever hears it."""
    address = portal_text.rpartition(":")[0].strip("[]")
    probe = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        probe.bind((address, 0))
    except OSError as error:
        return error.errno != errno.EADDRNOTAVAIL
    finally:
        probe.close()
    return True


def iqn(text: str) -> str:
    if not IQN.fullmatch(text):
        raise NodeError(f"'{text}' is no iSCSI name; write it in lower case, as iqn.2026-11.com.example:node1:web1.")
    return text


def initiator_name(text: str) -> str:
    """An initiator's name in lower case: names are the same whatever the case, and the kernel's target sees no other form
    (Linux: iscsi_initiatorname_tolower)."""
    return iqn(text.lower())


def merged(live: List[str], desired: Optional[List[str]], purge: bool) -> List[str]:
    """A list as it has to become: None leaves it alone, an empty one clears it, `purge` makes it exact."""
    if desired is None:
        return sorted(live)
    return sorted(set(desired) | set([] if purge or not desired else live))


def write_file(path: str, text: str, mode: int) -> None:
    """Write a file in one piece: the old one stays until the new one is complete and on the disk."""
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    fresh = f"{path}.new"
    if os.path.exists(fresh):
        os.unlink(fresh)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.chmod(fresh, mode)
    os.replace(fresh, path)
    folder_descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(folder_descriptor)
    finally:
        os.close(folder_descriptor)


class Exports:
    """The exports of a node: those of the kernel and the descriptions that survive a boot."""

    def __init__(self, root: str = "/", lio: Optional[Lio] = None, blocks: Optional[Blocks] = None,
                 local: Callable[[str], bool] = has_address) -> None:
        self.root = root
        self.lio = lio or Lio(root)
        self.blocks = blocks or Blocks(root)
        self.local = local
        self.folder = os.path.join(root, SAVED.lstrip("/"))

    def view(self, export: Dict[str, Any], secret: str = "set") -> Dict[str, Any]:
        """An export in the terms of the module's options, without secrets."""
        if not export:
            return {}
        chap, disk = export["chap"], export.get("loopback_device")
        return {
            "name": export["name"], "iqn": export["iqn"], "device": export["device"],
            "size": self.blocks.size(export["device"]) or None, "serial": export["serial"], "wwn": wwn(export["serial"]),
            "portals": sorted(export["portals"]), "initiators": sorted(export["initiators"]),
            "chap_username": chap.get("username", ""), "mutual_chap_username": chap.get("mutual_username", ""),
            "chap_secret": secret if chap else "", "loopback": bool(export["loopback"]),
            "loopback_device": disk or None, "loopback_size": (self.blocks.size(disk) if disk else 0) or None,
            "enabled": bool(export.get("enabled")),
            "sessions": export.get("sessions", []),
        }

    def look(self, name: str) -> Dict[str, Any]:
        """The view of an export as it is in the kernel; {} if it does not export it."""
        return self.view(self.lio.read(name))

    def plan(self, params: Dict[str, Any], check_mode: bool = False) -> ChangeSet:
        """What module iscsi_export does. Raises NodeError for whatever can be known before the first step."""
        name = params["name"]
        if not NAME.fullmatch(name):
            raise NodeError(f"'{name}' is no name for an export; use letters, digits and . _ + - only.")
        damaged = {}  # type: Dict[str, str]
        known = saved(self.folder, damaged).get(name, {})
        live = self.lio.read(name, params["iqn"] or known.get("iqn", ""))
        if params["state"] == "absent":
            return self._plan_absent(name, live, known, params["force"])
        old = live if live.get("backstore") and live.get("target") else dict(known, **{
            key: value for key, value in live.items() if key in ("device", "serial") and value})
        if not live.get("portals"):  # nobody reaches it as it is
            old = dict(old, portals=known.get("portals", []))
        if not live.get("initiators"):  # the kernel keeps secrets with initiators
            old = dict(old, chap=known.get("chap", {}))
        want = self._wanted(params, old, check_mode)
        plan = ChangeSet(f"export {name}", self.view(live))
        if name in damaged:
            plan.warnings.append(f"Export {name}: {damaged[name]}. It is written anew from what the kernel and the options say.")
        self._check(want, live, plan, check_mode)
        kept = live
        if live.get("activated") and (live["device"] != want["device"] or live["serial"] != want["serial"]):
            self._refuse_use(live, params["force"], "give it another device or serial")
            kept = {}
        else:
            self._refuse_cuts(want, live, params["force"])
        if not os.path.isdir(self.lio.target) or (want["loopback"] and not kept.get("loopback")):
            plan.step("load the kernel's modules", partial(self.lio.prepare, want["loopback"]))
        if kept is not live:
            self.lio.remove(live, plan.step)
        self.lio.make(want, kept, plan.step)
        self._plan_growth(plan, kept)
        self._plan_boot(plan, want, known)
        if plan.steps:
            same = kept.get("chap", want["chap"]) == want["chap"]
            plan.before = self.view(self.lio.read(name), "set" if same else "another")
            plan.after = dict(self.view(want), enabled=True, sessions=plan.before.get("sessions", []))
            if want["loopback"] and kept.get("loopback"):
                plan.after.update(loopback_device=kept["loopback_device"] or None, loopback_size=plan.after["size"])
        return plan

    def _wanted(self, params: Dict[str, Any], old: Dict[str, Any], check_mode: bool) -> Dict[str, Any]:
        """The description of the export that is wanted; `old` gives what the options leave alone."""
        for key in ("iqn", "device", "portals"):
            if not (params[key] or old.get(key)):
                raise NodeError(f"{key} is needed to make the export {params['name']}.")
        device = params["device"] or old["device"]
        name = iqn(params["iqn"] or old["iqn"])
        moved = bool(old.get("device")) and not self._same(device, old["device"])
        serial = params["serial"] or ("" if moved else old.get("serial", "")) or self.blocks.serial(device)
        coming = check_mode and not serial and not self.blocks.name(device)  # an earlier task would have made it
        if not serial and not coming:
            raise NodeError(f"{device} is no logical volume, which would give the export its identity: set serial to 32 "
                            "hexadecimal digits that no other export of your nodes has." if self.blocks.name(device)
                            else f"{device} is not a block device of this node.")
        if not SERIAL.fullmatch(serial) and not coming:
            raise NodeError(f"'{serial}' is no serial; write 32 hexadecimal digits in lower case.")
        portals = [portal(text) for text in params["portals"]] if params["portals"] is not None else None
        initiators = [initiator_name(text) for text in params["initiators"]] if params["initiators"] is not None else None
        want = {
            "name": params["name"], "iqn": name, "serial": serial,
            "device": old["device"] if old.get("device") and not moved else device,
            "portals": merged(old.get("portals", []), portals, params["purge"]),
            "initiators": merged(old.get("initiators", []), initiators, params["purge"]),
            "chap": chap(params, old.get("chap", {})),
            "loopback": old.get("loopback", False) if params["loopback"] is None else params["loopback"],
        }
        if not want["portals"]:
            raise NodeError("portals is empty: nobody could reach the export. To remove it, use state: absent.")
        return want

    def _same(self, one: str, other: str) -> bool:
        return one == other or self.blocks.number(one) == self.blocks.number(other) != ""

    def _check(self, want: Dict[str, Any], live: Dict[str, Any], plan: ChangeSet, check_mode: bool) -> None:
        troubles = []
        if not self.blocks.name(want["device"]):
            troubles.append(f"{want['device']} is not a block device of this node.")
        for text in want["portals"]:
            if text not in live.get("portals", ()) and not self.local(text):
                troubles.append(f"This node does not have the address of portal {text}; give the interface its address first.")
        for text in troubles:
            # What an earlier task would have made is not there in check mode.
            if not check_mode:
                raise NodeError(text)
            plan.warnings.append(text)
        for path in self.lio.backstores():
            other = os.path.basename(path)
            if other != want["name"] and self._same(read(path, "udev_path"), want["device"]):
                raise NodeError(f"{want['device']} is exported already, under the name {other}.")
        for target, user in self.lio.luns("iscsi"):
            if target == want["iqn"] and user != want["name"]:
                raise NodeError(f"{want['iqn']} is the target of another export, {user}; each needs a name of its own.")
        if live.get("iqn") and live["iqn"] != want["iqn"]:
            raise NodeError(f"The export {want['name']} has the iSCSI name {live['iqn']}, which its initiators know it by and "
                            "which cannot be changed; remove it first, or choose another name.")

    def _refuse_use(self, live: Dict[str, Any], force: bool, what: str) -> None:
        """Raise NodeError if somebody works with the export."""
        if force:
            return
        if live.get("sessions"):
            raise NodeError(f"Cannot {what}: {who(live['sessions'])} is logged in to the export {live['name']}. Log out there first, "
                            "or use force: true, which cuts the disk off.")
        self._refuse_local_use(live, what)

    def _refuse_local_use(self, live: Dict[str, Any], what: str) -> None:
        users = self.blocks.users(live["loopback_device"]) if live.get("loopback_device") else []
        if users:
            raise NodeError(f"Cannot {what}: the local disk {live['loopback_device']} of the export {live['name']} is used by "
                            f"{', '.join(users)}. End that first, or use force: true, which cuts the disk off.")

    def _refuse_cuts(self, want: Dict[str, Any], live: Dict[str, Any], force: bool) -> None:
        """Raise NodeError for a change that ends the work of somebody who is logged in, or keeps him from logging in again."""
        active = live.get("sessions", [])
        if force or not live:
            return
        if live["loopback"] and not want["loopback"]:
            self._refuse_local_use(live, "remove the local disk")
        out = [session for session in active if session["initiator"] not in want["initiators"]]
        if out:
            raise NodeError(f"Cannot shut out {who(out)}: it is logged in to the export {live['name']}. Log out there first, or use "
                            "force: true, which cuts the disk off.")
        open_now = connections(self.root) if active else []
        for text in sorted(set(live["portals"]) - set(want["portals"])):
            peers = sorted({connection.peer for connection in open_now if connection.portal == text})
            if peers:
                raise NodeError(f"Cannot stop listening on {text}: {', '.join(peers)} is connected there, and {who(active)} is logged "
                                f"in to the export {live['name']}. Have it use another portal first, or use force: true.")
        if active and live["chap"] != want["chap"]:
            raise NodeError(f"Cannot change the secrets: {who(active)} is logged in to the export {live['name']} with the present ones, "
                            "and could not log in again after a break. Log out there first, or use force: true.")

    def _plan_absent(self, name: str, live: Dict[str, Any], known: Dict[str, Any], force: bool) -> ChangeSet:
        plan = ChangeSet(f"export {name}", self.view(live or known), {})
        if live:
            self._refuse_use(live, force, "remove it")
        self.lio.remove(live, plan.step)
        path = self._saved_path(name)
        if os.path.lexists(path):
            plan.step(f"forget export {name}", partial(os.unlink, path), self._back(path))
        return plan

    def _plan_growth(self, plan: ChangeSet, live: Dict[str, Any]) -> None:
        """Initiators see a grown volume when they look again; the local disk of the loopback is made to look here."""
        disk = live.get("loopback_device")
        if disk and self.blocks.size(disk) != self.blocks.size(live["device"]):
            plan.step(f"have {disk} see its new size", partial(self.blocks.rescan, disk))

    def _saved_path(self, name: str) -> str:
        return os.path.join(self.folder, f"{name}.json")

    @staticmethod
    def _back(path: str) -> Callable[[], None]:
        """How a description becomes what it is now, be it damaged or not there."""
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as stream:
                return partial(write_file, path, stream.read(), 0o600)
        except OSError:
            return partial(os.unlink, path)

    def _plan_boot(self, plan: ChangeSet, want: Dict[str, Any], known: Dict[str, Any]) -> None:
        """Save the description, and see to it that something reads it at boot."""
        path, mode = self._saved_path(want["name"]), 0o600
        if known != want or os.stat(path).st_mode & 0o777 != mode:
            text = json.dumps(want, indent=1, sort_keys=True) + "\n"
            plan.step(f"save export {want['name']}", partial(write_file, path, text, mode), self._back(path))
        unit = UNIT_TEXT.format(python=sys.executable)
        for file, text in ((SCRIPT, inspect.getsource(lio_source)), (UNIT, unit)):
            path = os.path.join(self.root, file)
            if not os.path.exists(path) or text.strip() != read(path):
                plan.step(f"write /{file}", partial(write_file, path, text, 0o644))
        if not os.path.islink(os.path.join(self.root, WANTED)):
            plan.step("make the exports again at boot", self._enable)

    def _enable(self) -> None:
        """What `systemctl enable` does; it also works where systemd does not run, as in an image."""
        link = os.path.join(self.root, WANTED)
        os.makedirs(os.path.dirname(link), exist_ok=True)
        os.symlink(f"/{UNIT}", link)
        if os.path.isdir(os.path.join(self.root, "run/systemd/system")):
            run("systemctl", "daemon-reload")


def who(sessions: List[Dict[str, Any]]) -> str:
    """Who is logged in, in words."""
    return ", ".join(f"{session['initiator']} ({session['address'] or 'address unknown'})" for session in sessions)


def chap(params: Dict[str, Any], old: Dict[str, str]) -> Dict[str, str]:
    """The secrets that are wanted: an omitted user name leaves them alone, an empty one clears them. Raises NodeError."""
    result = dict(old)
    for prefix, option in (("", "chap"), ("mutual_", "mutual_chap")):
        user, password = params[f"{option}_username"], params[f"{option}_password"]
        if user is None and password is not None:
            raise NodeError(f"{option}_password does nothing without {option}_username.")
        if user is None:
            continue
        result.pop(f"{prefix}username", None)
        result.pop(f"{prefix}password", None)
        if user:
            if not password:
                raise NodeError(f"{option}_password is needed with {option}_username.")
            if any(not text.isprintable() or text != text.strip() for text in (user, password)):
                # Each is one line of open-iscsi's records, and one write to the kernel: another line would be another setting.
                raise NodeError(f"{option}_username and {option}_password are one line each, without control characters, and without "
                                "spaces at their ends.")
            if password.startswith("NULL") or user.startswith("NULL"):
                raise NodeError(f"{option}_username and {option}_password cannot begin with NULL: the kernel takes that for none.")
            result.update({f"{prefix}username": user, f"{prefix}password": password})
    if result.get("mutual_username") and not result.get("username"):
        if params["mutual_chap_username"]:
            raise NodeError("mutual_chap_username needs chap_username: the target proves itself only to one that did.")
        return {}
    return result
