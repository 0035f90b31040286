# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""open-iscsi on a node: sessions as sysfs shows them, node records, login and logout. Python 3.6 syntax."""

import hashlib
import os
import re
import socket
import time
from typing import Any, Callable, Dict, List, Tuple

from ansible_collections.nobloat.xen.plugins.module_utils.node.block import Blocks
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import (
    CommandError,
    NodeError,
    Result,
    names,
    read,
    run,
)

# Where distributions keep the records, and where the name of this machine as an initiator is.
DATABASES = ("etc/iscsi/nodes", "var/lib/iscsi/nodes")
INITIATOR_NAME = "etc/iscsi/initiatorname.iscsi"
# Return codes of iscsiadm (its manual page, EXIT STATUS): no objects found; the session is there already.
NOT_FOUND, EXISTS = 21, 15
# What its return codes mean to the one who has to repair it.
LOGIN_ERRORS = {
    4: "The connection breaks; see that {portal} is up and nothing between filters it",
    8: "{portal} does not answer in time",
    19: "The target does not let {initiator} in, or does not prove itself with the secret of mutual_chap_username",
    24: "The target refuses {initiator}: the CHAP secrets of both sides differ, or that name is not among the export's initiators",
}


class Initiator:
    """The initiator of this machine. `root` is another folder than / in tests, and `command` runs nothing there."""

    def __init__(self, root: str = "/", command: Callable[..., Result] = run) -> None:
        self.root = root
        self.run = command
        self.blocks = Blocks(root)
        self.classes = os.path.join(root, "sys/class")

    # ---- look

    def name(self) -> str:
        """The machine's own name as an initiator, in lower case as targets see it; "" if it has none."""
        return self._written_name().lower()

    def _written_name(self) -> str:
        match = re.search(r"^InitiatorName=(\S+)", read(self.root, INITIATOR_NAME), re.M)
        return match.group(1) if match else ""

    def sessions(self, target: str = "") -> List[Dict[str, Any]]:
        """All sessions (those of a target): sid, target, portal, initiator, iface, state, time-outs in seconds, disks."""
        found = []
        for entry in names(self.classes, "iscsi_session"):
            folder = os.path.join(self.classes, "iscsi_session", entry)
            iqn = read(folder, "targetname")
            if not iqn or target not in ("", iqn):
                continue
            sid = entry[len("session"):]
            connection = os.path.join(self.classes, "iscsi_connection", f"connection{sid}:0")
            address = read(connection, "persistent_address")
            user = read(folder, "username")
            found.append({
                "sid": int(sid), "target": iqn, "state": read(folder, "state"), "initiator": read(folder, "initiatorname").lower(),
                "portal": portal_text(address, read(connection, "persistent_port")) if address else "",
                "iface": read(folder, "ifacename"), "chap_username": "" if user == "(null)" else user,
                "replacement_timeout": int(read(folder, "recovery_tmo") or 0),
                "noop_interval": int(read(connection, "recv_tmo") or 0), "noop_timeout": int(read(connection, "ping_tmo") or 0),
                "disks": self.disks(os.path.join(folder, "device")),
            })
        return found

    def disks(self, device: str) -> List[Dict[str, Any]]:
        """The disks of a session: lun, name (sda), state (running, transport-offline ...), size in bytes, identity."""
        found = []
        for target in names(device):
            for address in names(device, target) if target.startswith("target") else ():
                folder = os.path.join(device, target, address)
                for name in names(folder, "block"):
                    found.append({
                        "lun": int(address.rpartition(":")[2]), "name": name, "state": read(folder, "state"),
                        "size": int(read(folder, "block", name, "size") or 0) * 512, "identity": read(folder, "wwid"),
                    })
        return sorted(found, key=lambda disk: disk["lun"])

    def path(self, session: Dict[str, Any], disk: Dict[str, Any]) -> str:
        """The path of a disk: the one that udev keeps the same over logins, where it is there."""
        stable = f"/dev/disk/by-path/ip-{session['portal']}-iscsi-{session['target']}-lun-{disk['lun']}"
        return stable if os.path.exists(stable) else f"/dev/{disk['name']}"

    def iface(self, initiator: str) -> str:
        """The open-iscsi interface that stands for an initiator name; `default` is the machine's own.

        One with capitals gets an interface with small letters: the kernel's target finds its ACL, but does not tell it of targets.
        """
        return "default" if initiator == self._written_name() else f"nobloat-{hashlib.sha256(initiator.encode()).hexdigest()[:8]}"

    def record_path(self, target: str, portal: str, iface: str) -> str:
        """The file of a node record, "" if there is none. iscsiadm has two ways to lay them out."""
        address, port = split_portal(portal)
        for database in DATABASES:
            base = os.path.join(self.root, database, target)
            for entry in names(base):
                if entry == f"{address},{port}" or entry.startswith(f"{address},{port},"):
                    path = os.path.join(base, entry)
                    for file in [os.path.join(path, name) for name in names(path)] if os.path.isdir(path) else [path]:
                        if self.record(file).get("iface.iscsi_ifacename", "default") == iface:
                            return file
        return ""

    def record(self, path: str) -> Dict[str, str]:
        """The settings of a record file."""
        lines = [line.partition(" = ") for line in read(path).splitlines() if " = " in line] if path else []
        return {key.strip(): value.strip() for key, _sign, value in lines}

    def targets(self) -> List[str]:
        """All targets that there is a session with or a record of."""
        recorded = [target for database in DATABASES for target in names(self.root, database)]
        return sorted({session["target"] for session in self.sessions()} | set(recorded))

    def records(self, target: str) -> List[Tuple[str, str]]:
        """(portal, iface) of all records of a target."""
        found = set()
        for database in DATABASES:
            base = os.path.join(self.root, database, target)
            for entry in names(base):
                path = os.path.join(base, entry)
                for file in [os.path.join(path, name) for name in names(path)] if os.path.isdir(path) else [path]:
                    settings = self.record(file)
                    if "node.conn[0].address" in settings:
                        found.add((portal_text(settings["node.conn[0].address"], settings.get("node.conn[0].port", "3260")),
                                   settings.get("iface.iscsi_ifacename", "default")))
        return sorted(found)

    # ---- apply

    def ready(self) -> bool:
        """Whether the daemon runs that holds the sessions."""
        return any(read(self.root, "proc", pid, "comm") == "iscsid" for pid in names(self.root, "proc") if pid.isdigit())

    def start(self) -> None:
        self.run("modprobe", "-a", "iscsi_tcp", "sd_mod")
        if os.path.isdir(os.path.join(self.root, "run/systemd/system")):
            self.run("systemctl", "start", "iscsid.service")
        else:
            self.run("iscsid")

    def make_iface(self, iface: str, initiator: str) -> None:
        """Let an interface speak under an initiator name of its own. It may be there already."""
        self.run("iscsiadm", "-m", "iface", "-I", iface, "-o", "new", codes=(0, EXISTS))
        self.run("iscsiadm", "-m", "iface", "-I", iface, "-o", "update", "-n", "iface.initiatorname", "-v", initiator)

    def remove_iface(self, iface: str) -> None:
        self.run("iscsiadm", "-m", "iface", "-I", iface, "-o", "delete", codes=(0, NOT_FOUND))

    def make_record(self, target: str, portal: str, iface: str, settings: Dict[str, str]) -> None:
        self._node(target, portal, iface, "-o", "new")
        try:
            self.write_record(target, portal, iface, settings)
        except Exception:
            self.remove_record(target, portal, iface)
            raise

    def write_record(self, target: str, portal: str, iface: str, settings: Dict[str, str]) -> None:
        """Change settings of a record; an empty value removes one. Not by iscsiadm: secrets would be in the list of processes."""
        path = self.record_path(target, portal, iface)
        if not path:
            raise NodeError(f"open-iscsi keeps its records where nobody looks for them: not in {' or '.join(DATABASES)}.")
        lines = [line for line in read(path).splitlines() if line.partition(" = ")[0] not in settings]
        end = lines.index("# END RECORD") if "# END RECORD" in lines else len(lines)
        lines[end:end] = [f"{name} = {value}" for name, value in sorted(settings.items()) if value]
        fresh = f"{path}.nobloat"
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
            stream.write("\n".join(lines) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(fresh, path)

    def remove_record(self, target: str, portal: str, iface: str) -> None:
        self._node(target, portal, iface, "-o", "delete", codes=(0, NOT_FOUND))

    def login(self, target: str, portal: str, iface: str, initiator: str) -> None:
        if not self.offered(target, portal, iface):
            raise NodeError(f"{portal} does not offer {target} to {initiator}; see that its node exports it on this address, "
                            "and to this initiator.")
        try:
            self._node(target, portal, iface, "--login", timeout=180, codes=(0, EXISTS))
        except CommandError as error:
            text = LOGIN_ERRORS.get(error.code)
            if not text:
                raise
            raise NodeError(f"{text.format(portal=portal, initiator=initiator)} (iscsiadm ended with {error.code}).") from error

    def offered(self, target: str, portal: str, iface: str) -> bool:
        """Whether a portal lets this initiator see a target. A login to one that is not there would be tried for long."""
        found = self.run("iscsiadm", "-m", "discovery", "-t", "sendtargets", "-p", portal, "-I", iface, "-o", "nonpersistent",
                         codes=range(256))
        if found.code not in (0, NOT_FOUND):
            return True  # a portal that tells nothing may still let in
        return target in [word for line in found.out.splitlines() for word in line.split()[1:2]]

    def logout(self, sid: int) -> None:
        self.run("iscsiadm", "-m", "session", "-r", str(sid), "--logout", codes=(0, NOT_FOUND))

    def logout_from(self, target: str, portal: str, initiator: str) -> None:
        for session in self.sessions(target):
            if (session["portal"], session["initiator"]) == (portal, initiator):
                self.logout(session["sid"])

    def set_replacement_timeout(self, sid: int, seconds: int) -> None:
        """In the kernel, for a session that stays."""
        with open(os.path.join(self.classes, f"iscsi_session/session{sid}/recovery_tmo"), "w") as stream:
            stream.write(str(seconds))

    def wait_for_disks(self, target: str, count: int, timeout: float) -> None:
        """Wait until `count` sessions with a target have a disk that works. Raises NodeError."""
        end = time.monotonic() + timeout
        while True:
            sessions = self.sessions(target)
            having = [session for session in sessions
                      if any(disk["state"] == "running" and disk["size"] for disk in session["disks"])]
            if len(having) >= count:
                break
            if time.monotonic() > end:
                raise NodeError(f"{target} has shown no disk that works for {timeout:g} seconds; see that it exports one to "
                                "this initiator.")
            time.sleep(0.1)
        self.run("udevadm", "settle", "--timeout=10", codes=(0, 1))

    def _node(self, target: str, portal: str, iface: str, *action: str, **options: Any) -> Result:
        return self.run("iscsiadm", "-m", "node", "-T", target, "-p", portal, "-I", iface, *action, **options)


def portal_text(address: str, port: str) -> str:
    return f"[{address.strip('[]')}]:{port}" if ":" in address else f"{address}:{port}"


def split_portal(portal: str) -> Tuple[str, str]:
    """(address, port) of a portal as the function `portal` of exports.py writes it."""
    address, _colon, port = portal.rpartition(":")
    return address.strip("[]"), port


def answers(portal: str, timeout: float) -> str:
    """"" if something listens at a portal, else why not, in words."""
    address, port = split_portal(portal)
    try:
        socket.create_connection((address, int(port)), timeout).close()
    except socket.timeout:
        return f"there is no answer within {timeout:g} seconds"
    except OSError as error:
        return str(error.strerror or error).lower()
    return ""
