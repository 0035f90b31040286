# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may be installed, and where installers check in.

checkin.py CONFIGURATION serve           take check-ins
checkin.py CONFIGURATION arm             hosts on standard input: see Desk.arm
checkin.py CONFIGURATION disarm HOST...  prints those that were armed

GET /boot/pxelinux and /boot/grub give what boots the machine that asks into the installer, to nobody else: which machine that is say
its MAC, as the kernel knows it, and not the request. 404 if it is not armed.

GET /start/FOLDER gives the first script of an installer, and takes away what boots the host into the installer before it does so: an
installer that cannot fetch a script stops, and one whose script does not do its work is not booted again either.

POST /checkin/HOST with {"token": "...", "state": "started" | "complete" | "failed"}, and {"token": "...", "state": "ready",
"fingerprint": "AB:CD..."} when what is installed has booted: the SHA-256 of XAPI's certificate. Each state is taken once and in order.
`started` disarms, too, before it is answered. `failed` may come without it, and with a "reason": the script that chooses the disks
has found none. The last state ends the token.

Answers: 204 taken, 403 unknown host or wrong token (which of both is not told), 409 not now, 400, 404, 411 and 413 no check-in.
A client gets PATIENCE seconds for its whole request, MOST_OF_ONE connections at once and LONGEST bytes; all of them together, MOST, and
as many come by way of nginx.
Configuration, JSON: {"address", "port", "interface", "root": folder, "callback": null | {"url", "host_config_key"}}. In the root
folder, state/HOST.json is what is known of a host, and http/hosts/ has what installers fetch.
"""
from __future__ import annotations

import fcntl
import hashlib
import hmac
import io
import json
import logging
import os
import re
import shutil
import socket
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

LONGEST = 4096  # bytes of a request's body, and of all before it
PATIENCE = 10.0  # seconds for a whole request
WAITS, ANSWER = (0.0, 5.0, 30.0), 30.0  # seconds before each call-back, and for its answer
MOST, MOST_OF_ONE = 256, 8  # connections at once
BEFORE = {"started": ("armed",), "complete": ("started",), "failed": ("armed", "started"), "ready": ("complete",)}
LAST = ("failed", "ready")
REASON = re.compile("[A-Za-z0-9 .,:;()_/+=-]{0,400}")
FINGERPRINT = re.compile("([0-9A-F]{2}:){31}[0-9A-F]{2}")
BOOT = re.compile(r"/boot/(pxelinux|grub)")
NEIGHBOURS = Path("/proc/net/arp")
PATH = re.compile(r"/checkin/([a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?)")
START = re.compile(r"/start/([a-z0-9][a-z0-9.-]*-[A-Za-z0-9]{32})")
FIRST = "installation-start"
KINDS = {"state": str, "token_sha256": str, "folder": str, "mac": str, "boot": dict, "history": list}
NOBODY = hashlib.sha256(os.urandom(32)).hexdigest()  # what the token of an unknown host is compared with

log = logging.getLogger("checkin")


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def answer_to(request: urllib.request.Request) -> str:
    """The status of an answer, or why there is none, after ANSWER seconds: urllib gives each read the whole time anew."""
    said: list[str] = []

    def ask() -> None:
        try:
            with urllib.request.urlopen(request, timeout=ANSWER) as answer:
                said.append(f"{answer.status}")
        except (OSError, HTTPException, ValueError) as error:  # ValueError is an URL that is none
            said.append(f"failed: {error}")

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(ANSWER)
    return said[0] if said else f"failed: no answer within {ANSWER:g} seconds"


def whole(known: Any) -> bool:
    """Whether this is what Desk.arm and Desk.take write."""
    return isinstance(known, dict) and all(isinstance(known.get(key), kind) for key, kind in KINDS.items())


class Refused(Exception):
    """Why a check-in is not taken, with the status of the answer."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Desk:
    """All that is known of the hosts is in their files, so that several processes may do this at once."""

    def __init__(self, root: Path, callback: dict[str, str] | None = None, interface: str = "") -> None:
        self.root = root
        self.states = root / "state"
        self.callback = callback
        self.interface = interface

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else changes anything meanwhile."""
        with open(self.states / "lock", "a", encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def arm(self, host: str, token: str, folder: str, served: dict[str, str], mac: str, boot: dict[str, str]) -> None:
        """Let a host be installed. `served`: text by name of file, in http/hosts/FOLDER; `boot`: text by boot loader.

        What boots the installer comes last, when all that it then needs is there.
        """
        with self.alone():
            self._forget(host)
            place = self.root / "http/hosts" / folder
            place.mkdir()
            for name, text in served.items():
                (place / name).write_text(text, encoding="utf-8")
            self.write(host, {
                "state": "armed", "token_sha256": hashlib.sha256(token.encode()).hexdigest(), "folder": str(place),
                "mac": mac.lower(), "boot": boot, "history": [{"state": "armed", "at": now()}],
            })

    def disarm(self, host: str) -> bool:
        """Take back what arm did, and forget the host's state. Whether anything was there."""
        with self.alone():
            return self._forget(host)

    def _forget(self, host: str) -> bool:
        file = self.states / f"{host}.json"
        if not file.exists():
            return False
        known = self.read(host)
        # One whose file is damaged has folders, too: HOST-TOKEN, as arm makes them.
        folders = [Path(known["folder"])] if known else [
            place for place in (self.root / "http/hosts").glob(f"{host}-*") if place.name.rpartition("-")[0] == host]
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        file.unlink()
        return True

    def take(self, host: str, token: str, state: str, fingerprint: str = "", reason: str = "") -> None:
        """One check-in. Raises Refused; OSError if the host could not be disarmed, and then nothing was taken."""
        with self.alone():
            known = self.read(host)
            given = hashlib.sha256(token.encode()).hexdigest()
            if not hmac.compare_digest(given, known.get("token_sha256") or NOBODY):
                raise Refused(403, "unknown host or wrong token")
            if known["state"] not in BEFORE[state]:
                raise Refused(409, f"{state} does not follow {known['state']}")
            known["history"].append({"state": state, "at": now()})
            known["state"] = state
            known["boot"] = {}
            if fingerprint:
                known["fingerprint"] = fingerprint
            if reason:
                known["reason"] = reason
            if state in LAST:
                known["token_sha256"] = ""
            self.write(host, known)
            if state != "started":
                # Its answer file and scripts: nobody has to read them any more.
                shutil.rmtree(known["folder"], ignore_errors=True)
        if state == "complete" and self.callback:
            threading.Thread(target=self.call_back, args=(host,), daemon=True).start()

    def start(self, folder: str) -> str:
        """The first script of the installer of an armed host, which has been disarmed now."""
        with self.alone():
            host = folder.rpartition("-")[0]
            known = self.read(host)
            if known.get("state") != "armed" or not hmac.compare_digest(Path(known["folder"]).name, folder):
                raise Refused(404, "not here")
            self.write(host, {**known, "boot": {}})
            return (Path(known["folder"]) / FIRST).read_text(encoding="utf-8")

    def boot(self, loader: str, address: str) -> str:
        """What the machine at this address boots into the installer with, if it is an armed host."""
        mac = self.mac(address)
        for file in self.states.glob("*.json"):
            known = self.read(file.stem)
            if mac and known.get("mac") == mac and known["boot"].get(loader):
                return str(known["boot"][loader])
        raise Refused(404, "not armed")

    def mac(self, address: str) -> str:
        """Of whoever has this address in the hosts' network, as the kernel knows it; "" if it does not."""
        for line in NEIGHBOURS.read_text(encoding="ascii").splitlines()[1:]:
            ip, _kind, flags, mac, _mask, interface = line.split()
            if ip == address and interface == self.interface and int(flags, 16) & 2:  # complete
                return mac.lower()
        return ""

    def read(self, host: str) -> dict[str, Any]:
        """The host's file; empty for an unknown host, and for one whose file is damaged: it is armed anew."""
        try:
            known: dict[str, Any] = json.loads((self.states / f"{host}.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            log.error("%s: its state is damaged, so it is left out until it is armed again: %s", host, error)
            return {}
        if not whole(known):
            log.error("%s: its state is damaged, so it is left out until it is armed again", host)
            return {}
        return known

    def write(self, host: str, known: dict[str, Any]) -> None:
        """Whole or not at all, also if the power fails."""
        draft = self.states / f"{host}.json.new"
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(known, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(self.states / f"{host}.json")

    def call_back(self, host: str) -> None:
        """Tell AWX (a provisioning call-back of a job template) that a host is complete; what came of it goes into its file."""
        assert self.callback
        body = {"host_config_key": self.callback["host_config_key"], "extra_vars": {"pxe_server_completed": host}}
        request = urllib.request.Request(
            self.callback["url"], json.dumps(body).encode(), {"Content-Type": "application/json"})
        said = ""
        for wait in WAITS:
            time.sleep(wait)
            said = answer_to(request)
            if not said.startswith("failed"):
                break
        log.info("%s: call-back: %s", host, said)
        with self.alone():
            known = self.read(host)
            if known.get("state") == "complete":
                self.write(host, {**known, "callback": said})


class Server(ThreadingHTTPServer):
    """A rack that boots at once comes all at once; a single client does not get all threads."""

    request_queue_size = 128

    def __init__(self, *args: Any) -> None:
        self.clients: Counter[str] = Counter()
        self.counting = threading.Lock()
        super().__init__(*args)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether a connection is taken; else it is closed. Of those from here, which are nginx's, each is another machine's: they are
        as many as all others, and neither take the place of the other."""
        with self.counting:
            client, here = client_address[0], self.server_address[0]
            own = self.clients.get(here, 0)
            return own < MOST if client == here else self.clients.total() - own < MOST and self.clients[client] < MOST_OF_ONE

    def process_request(self, request: Any, client_address: Any) -> None:
        self.count(client_address[0], 1)
        try:
            super().process_request(request, client_address)
        except BaseException:
            self.count(client_address[0], -1)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.count(client_address[0], -1)

    def count(self, client: str, more: int) -> None:
        with self.counting:
            self.clients[client] += more
            if not self.clients[client]:
                del self.clients[client]

    def handle_error(self, request: object, client_address: Any) -> None:
        log.warning("%s: %r", client_address[0], sys.exc_info()[1])


class Request(io.RawIOBase):
    """What a client sends, until its time or its bytes are over; that is its end then."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.until = time.monotonic() + PATIENCE
        self.left = 2 * LONGEST

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        seconds = self.until - time.monotonic()
        if seconds <= 0 or not self.left:
            raise TimeoutError("it took too long, or said too much")
        self.connection.settimeout(seconds)
        count = self.connection.recv_into(memoryview(buffer)[:self.left])
        self.left -= count
        return count


class Handler(BaseHTTPRequestHandler):
    """One request, one connection."""

    desk: Desk
    server_version = "checkin"
    sys_version = ""

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self.rfile = io.BufferedReader(Request(self.connection), 1024)

    def do_POST(self) -> None:
        host = "?"
        try:
            host, token, state, fingerprint, reason = self.understood()
            self.desk.take(host, token, state, fingerprint, reason)
        except Refused as why:
            log.warning("%s from %s: refused: %s", host, self.client_address[0], why)
            self.answer(why.status, str(why))
        except OSError as error:
            log.error("%s from %s: %s", host, self.client_address[0], error)
            self.answer(500, "not taken")
        else:
            log.info("%s from %s: %s%s", host, self.client_address[0], state, reason and f": {reason}")
            self.answer(204)

    def do_GET(self) -> None:
        start, boot = START.fullmatch(self.path), BOOT.fullmatch(self.path)
        try:
            if start:
                text, said = self.desk.start(start[1]), f"{start[1].rpartition('-')[0]}: disarmed"
            elif boot:
                text, said = self.desk.boot(boot[1], self.client()), "boots the installer"
            else:
                raise Refused(404, "not here")
        except Refused as why:
            self.answer(why.status, str(why))
        except OSError as error:
            log.error("%s from %s: %s", self.path[:20], self.client(), error)
            self.answer(500, "not given")
        else:
            log.info("%s: %s", self.client(), said)
            self.answer(200, text)

    def client(self) -> str:
        """The address of the machine that asks: nginx, which runs on this one, says for whom it does."""
        peer, here = self.client_address[0], self.server.server_address[0]
        return self.headers.get("X-Real-IP", peer) if peer == here else str(peer)

    def understood(self) -> tuple[str, str, str, str, str]:
        """Host, token, state, fingerprint and reason of the request."""
        path = PATH.fullmatch(self.path)
        if not path:
            raise Refused(404, "not here")
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch("[0-9]{1,9}", length):
            raise Refused(411, "how long?")
        if int(length) > LONGEST:
            raise Refused(413, "too long")
        try:
            said = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            raise Refused(400, "no JSON") from None
        if not isinstance(said, dict) or not all(isinstance(value, str) for value in said.values()):
            raise Refused(400, "token and state, as texts")
        fingerprint, reason = said.pop("fingerprint", ""), said.pop("reason", "")
        if set(said) != {"token", "state"} or (said["state"] == "ready") != bool(FINGERPRINT.fullmatch(fingerprint)):
            raise Refused(400, "token and state, with fingerprint if that is ready, and nothing else")
        if not REASON.fullmatch(reason) or (reason and said["state"] != "failed"):
            raise Refused(400, "a reason goes with failed only, in plain letters")
        if not said["token"].isascii():
            raise Refused(403, "unknown host or wrong token")
        if said["state"] not in BEFORE:
            raise Refused(400, f"state is one of {', '.join(BEFORE)}")
        return path[1], said["token"], said["state"], fingerprint, reason

    def answer(self, status: int, text: str = "") -> None:
        body = text.encode()
        self.connection.settimeout(PATIENCE)
        self.send_response(status)
        if body:
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: what was asked is logged above, with what came of it."""


def server(configuration: dict[str, Any]) -> Server:
    """Bound, not yet serving."""
    handler = type("BoundHandler", (Handler,), {
        "desk": Desk(Path(configuration["root"]), configuration["callback"], configuration["interface"])})
    return Server((configuration["address"], configuration["port"]), handler)


def main(file: str, what: str, *names: str) -> None:
    configuration = json.loads(Path(file).read_text(encoding="utf-8"))
    if what == "serve":
        logging.basicConfig(level=logging.INFO, format="%(message)s")
        server(configuration).serve_forever()
    desk = Desk(Path(configuration["root"]))
    if what == "arm":
        os.umask(0o027)
        for host in json.load(sys.stdin):
            desk.arm(**host)
    elif what == "disarm":
        print(*[name for name in names if desk.disarm(name)])
    else:
        sys.exit(f"{what}: serve, arm or disarm")


if __name__ == "__main__":
    main(*sys.argv[1:])
