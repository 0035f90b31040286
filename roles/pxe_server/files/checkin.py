# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may be installed, and where installers check in.

checkin.py CONFIGURATION serve           take check-ins
checkin.py CONFIGURATION arm             hosts on standard input: see Desk.arm
checkin.py CONFIGURATION disarm HOST...  prints those that were armed

GET /start/FOLDER gives the first script of an installer, and takes away what boots the host into the installer before it does so: an
installer that cannot fetch a script stops, and one whose script does not do its work is not booted again either.

POST /checkin/HOST with {"token": "...", "state": "started" | "complete" | "failed"}. Each state is taken once and in order.
`started` disarms, too, before it is answered. The last state ends the token.

Answers: 204 taken, 403 unknown host or wrong token (which of both is not told), 409 not now, 400, 404, 411 and 413 no check-in.
Configuration, JSON: {"address", "port", "root": folder, "callback": null | {"url", "host_config_key"}}. In the root folder,
state/HOST.json is what is known of a host, tftp/ has what boots and http/hosts/ what installers fetch.
"""
from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import logging
import os
import re
import shutil
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

LONGEST = 4096  # bytes of a request's body
PATIENCE = 10.0  # seconds for a client that says nothing
BEFORE = {"started": "armed", "complete": "started", "failed": "started"}
PATH = re.compile(r"/checkin/([a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?)")
START = re.compile(r"/start/([a-z0-9][a-z0-9.-]*-[A-Za-z0-9]{32})")
FIRST = "installation-start"
NOBODY = hashlib.sha256(os.urandom(32)).hexdigest()  # what the token of an unknown host is compared with

log = logging.getLogger("checkin")


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class Refused(Exception):
    """Why a check-in is not taken, with the status of the answer."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Desk:
    """All that is known of the hosts is in their files, so that several processes may do this at once."""

    def __init__(self, root: Path, callback: dict[str, str] | None = None) -> None:
        self.root = root
        self.states = root / "state"
        self.callback = callback

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else changes anything meanwhile."""
        with open(self.states / "lock", "a", encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def arm(self, host: str, token: str, folder: str, served: dict[str, str], boot: dict[str, str]) -> None:
        """Let a host be installed. `served`: text by name of file, in http/hosts/FOLDER; `boot`: text by path in tftp.

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
                "boot_files": [str(self.root / "tftp" / path) for path in boot], "history": [{"state": "armed", "at": now()}],
            })
            for path, text in boot.items():
                draft = self.root / "tftp" / f"{path}.new"
                draft.write_text(text, encoding="utf-8")
                draft.chmod(0o644)
                draft.rename(self.root / "tftp" / path)

    def disarm(self, host: str) -> bool:
        """Take back what arm did, and forget the host's state. Whether anything was there."""
        with self.alone():
            return self._forget(host)

    def _forget(self, host: str) -> bool:
        known = self.read(host)
        if known:
            for path in known["boot_files"]:
                Path(path).unlink(missing_ok=True)
            shutil.rmtree(known["folder"], ignore_errors=True)
            (self.states / f"{host}.json").unlink()
        return bool(known)

    def take(self, host: str, token: str, state: str) -> None:
        """One check-in. Raises Refused; OSError if the host could not be disarmed, and then nothing was taken."""
        with self.alone():
            known = self.read(host)
            given = hashlib.sha256(token.encode()).hexdigest()
            if not hmac.compare_digest(given, known.get("token_sha256") or NOBODY):
                raise Refused(403, "unknown host or wrong token")
            if known["state"] != BEFORE[state]:
                raise Refused(409, f"{state} does not follow {known['state']}")
            for path in known["boot_files"]:
                Path(path).unlink(missing_ok=True)
            known["history"].append({"state": state, "at": now()})
            known["state"] = state
            if state != "started":
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
            known = self.read(folder.rpartition("-")[0])
            if known.get("state") != "armed" or not hmac.compare_digest(Path(known["folder"]).name, folder):
                raise Refused(404, "not here")
            for path in known["boot_files"]:
                Path(path).unlink(missing_ok=True)
            return (Path(known["folder"]) / FIRST).read_text(encoding="utf-8")

    def read(self, host: str) -> dict[str, Any]:
        """The host's file; empty for an unknown host."""
        try:
            known: dict[str, Any] = json.loads((self.states / f"{host}.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
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
        for wait in (0, 5, 30):
            time.sleep(wait)
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    said = f"{answer.status}"
                    break
            except (OSError, ValueError) as error:  # of urllib, all are OSErrors; ValueError is an URL that is none
                said = f"failed: {error}"
        log.info("%s: call-back: %s", host, said)
        with self.alone():
            known = self.read(host)
            if known.get("state") == "complete":
                self.write(host, {**known, "callback": said})


class Server(ThreadingHTTPServer):
    """A rack that boots at once comes all at once."""

    request_queue_size = 128

    def handle_error(self, request: object, client_address: Any) -> None:
        log.warning("%s: %r", client_address[0], sys.exc_info()[1])


class Handler(BaseHTTPRequestHandler):
    """One request, one connection."""

    desk: Desk
    timeout = PATIENCE
    server_version = "checkin"
    sys_version = ""

    def do_POST(self) -> None:
        host = "?"
        try:
            host, token, state = self.understood()
            self.desk.take(host, token, state)
        except Refused as why:
            log.warning("%s from %s: refused: %s", host, self.client_address[0], why)
            self.answer(why.status, str(why))
        except OSError as error:
            log.error("%s from %s: %s", host, self.client_address[0], error)
            self.answer(500, "not taken")
        else:
            log.info("%s from %s: %s", host, self.client_address[0], state)
            self.answer(204)

    def do_GET(self) -> None:
        folder = START.fullmatch(self.path)
        try:
            if not folder:
                raise Refused(404, "not here")
            script = self.desk.start(folder[1])
        except Refused as why:
            self.answer(why.status, str(why))
        except OSError as error:
            log.error("%s from %s: %s", self.path[:20], self.client_address[0], error)
            self.answer(500, "not given")
        else:
            log.info("%s from %s: disarmed", folder[1].rpartition("-")[0], self.client_address[0])
            self.answer(200, script)

    def understood(self) -> tuple[str, str, str]:
        """Host, token and state of the request."""
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
        if not isinstance(said, dict) or set(said) != {"token", "state"} or not all(isinstance(v, str) for v in said.values()):
            raise Refused(400, "token and state, and nothing else")
        if not said["token"].isascii():
            raise Refused(403, "unknown host or wrong token")
        if said["state"] not in BEFORE:
            raise Refused(400, f"state is one of {', '.join(BEFORE)}")
        return path[1], said["token"], said["state"]

    def answer(self, status: int, text: str = "") -> None:
        body = text.encode()
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
    handler = type("BoundHandler", (Handler,), {"desk": Desk(Path(configuration["root"]), configuration["callback"])})
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
