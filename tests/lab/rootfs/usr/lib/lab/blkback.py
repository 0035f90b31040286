# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest's disks that would come from its host through blkback: it logs in to them itself, under its host's initiator name.

blkback.py boot              log in to what the machine was given at power-on, {"legs": [...], "first": number that its iSCSI sessions
                             begin with} on /dev/ubdk; before anything mounts
blkback.py plug              one more: a leg as JSON on standard input
blkback.py unplug|grow xvde  one less; ask for its size again
blkback.py show              {"xvde": bytes, ...} of those that are there, as JSON

A leg: {"device": "xvde", "iqn", "portals": [one is used, the first that works], "settings": {of its open-iscsi record: value}}.
"""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

BOOT = Path("/dev/ubdk")
RULES = Path("/run/udev/rules.d/61-lab-blkback.rules")
LEGS = Path("/run/lab/blkback.json")
NETLINK_ISCSI, CREATE, DESTROY = 8, 11, 12


def main() -> None:
    verb, words = sys.argv[1], sys.argv[2:]
    if verb == "boot":
        boot(json.loads(BOOT.read_bytes().rstrip(b"\0")))
    elif verb == "plug":
        plug(json.load(sys.stdin))
    elif verb == "show":
        print(json.dumps({name: size(name) for name in legs() if Path("/dev", name).exists()}))
    else:
        {"unplug": unplug, "grow": grow}[verb](words[0])


def boot(given: dict[str, Any]) -> None:
    """All at once. One that cannot be had is left out, as `show` will tell."""
    # Records are of the last boot, whose host may have been another.
    subprocess.run("rm -rf /etc/iscsi/nodes /etc/iscsi/send_targets; modprobe iscsi_tcp", shell=True, check=True)
    skip_numbers(given["first"])
    # Not its unit, which waits for the network that waits for us; in the foreground it does not wait for itself.
    subprocess.Popen(["/sbin/iscsid", "-f"], start_new_session=True)
    keep({leg["device"]: leg for leg in given["legs"]})

    def one(leg: dict[str, Any]) -> None:
        try:
            log_in(leg)
        except subprocess.SubprocessError as error:
            print(f"{leg['device']}: {error}: {getattr(error, 'stderr', '')}", file=sys.stderr)

    threads = [threading.Thread(target=one, args=[leg]) for leg in given["legs"]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def skip_numbers(first: int) -> None:
    """Make and end sessions of no target, until the kernel's count is there.

    A session is known to its target by initiator name and ISID, and open-iscsi's ISID is the number of the kernel's session. The
    host has sessions 1, 2, ... under the same name: one of the guest with the number of the host's session to the same target
    would end that, and the other way round.
    """
    handle = int(Path("/sys/class/iscsi_transport/tcp/handle").read_text())
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_ISCSI) as kernel:
        kernel.bind((0, 0))

        def ask(kind: int, body: bytes) -> bytes:
            event = (struct.pack("=IIQ", kind, 0, handle) + body).ljust(64, b"\0")
            kernel.send(struct.pack("=IHHII", 16 + len(event), kind, 1, 0, 0) + event)
            return kernel.recv(4096)[16:]

        number = 0
        while number < first - 1:
            reply = ask(CREATE, struct.pack("=IHH", 0, 16, 16))  # as few commands as it allows: it makes them all
            (error,), (number,) = struct.unpack_from("=4xI", reply), struct.unpack_from("=I", reply, 40)
            if error:
                raise OSError(error, "the kernel makes no iSCSI session")
            ask(DESTROY, struct.pack("=I", number))


def plug(leg: dict[str, Any]) -> None:
    keep({**legs(), leg["device"]: leg})
    try:
        log_in(leg)
    except subprocess.SubprocessError:
        unplug(leg["device"])
        raise


def unplug(device: str) -> None:
    known = legs()
    leg = known.pop(device)
    iscsiadm("-T", leg["iqn"], "--logout", check=False)
    iscsiadm("-T", leg["iqn"], "-o", "delete", check=False)
    keep(known)


def grow(device: str) -> None:
    disk = Path("/dev", device).resolve().name
    Path("/sys/class/block", disk, "device/rescan").write_text("1")


def log_in(leg: dict[str, Any]) -> None:
    """And wait for the disk."""
    for portal in leg["portals"]:
        this = ["-T", leg["iqn"], "-p", portal]
        iscsiadm(*this, "-o", "new")
        settings = {"node.startup": "manual", "node.session.initial_login_retry_max": "1", **leg["settings"]}
        iscsiadm(*this, "-o", "update", *[word for name, value in settings.items() for word in ("-n", name, "-v", value)])
        try:
            iscsiadm(*this, "--login", timeout=60)
            break
        except subprocess.SubprocessError:
            iscsiadm(*this, "-o", "delete", check=False)
            if portal == leg["portals"][-1]:
                raise
    path, deadline = Path("/dev", leg["device"]), time.monotonic() + 60
    while not path.exists():
        if time.monotonic() > deadline:
            raise subprocess.TimeoutExpired(str(path), 60)
        time.sleep(0.05)


def iscsiadm(*words: str, check: bool = True, timeout: float = 60) -> None:
    subprocess.run(["iscsiadm", "-m", "node", *words], check=check, timeout=timeout, capture_output=True, text=True)


def legs() -> dict[str, Any]:
    try:
        known: dict[str, Any] = json.loads(LEGS.read_text())
    except FileNotFoundError:
        return {}
    return known


def keep(known: dict[str, Any]) -> None:
    """The names follow the targets, whatever disk the kernel makes of them."""
    LEGS.parent.mkdir(exist_ok=True)
    LEGS.write_text(json.dumps(known))
    LEGS.chmod(0o600)
    RULES.parent.mkdir(parents=True, exist_ok=True)
    rules = [f'KERNEL=="sd*", ENV{{ID_PATH}}=="*-iscsi-{leg["iqn"]}-lun-*", SYMLINK+="{name}%n"\n' for name, leg in known.items()]
    RULES.write_text("".join(rules))
    subprocess.run(["udevadm", "control", "--reload"], check=True)


def size(device: str) -> int:
    disk = Path("/dev", device).resolve().name
    return int(Path("/sys/class/block", disk, "size").read_text()) * 512


if __name__ == "__main__":
    main()
