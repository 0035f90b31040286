# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control port, which only tests use: time, faults, deaths of hosts, counts of calls.

POST a JSON object {"do": NAME, "pool": POOL, ...}; the reply is {"ok": true, ...} or, with status 400, {"error": text}.
GET /calls?pool=NAME is {method: count}. `pool` may be left out when there is only one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from . import paths
from .behaviour.vm_agent import other_addresses
from .db import Row
from .installer import Netboot
from .pool import Pool
from .types import NULL


class ControlError(Exception):
    """A wrong request: its text goes to the client."""


def _find(pool: Pool, cls: str, name: Any) -> Row:
    found = [r for r in pool.db.rows(cls) if name in (r.uuid, r.ref)] or [
        r for r in pool.db.rows(cls) if r.name_label == name and not (cls == "VM" and r.is_a_snapshot)
    ]
    if len(found) != 1:
        raise ControlError(f"{len(found)} {cls} with name or uuid {name!r}")
    return found[0]


def _advance(pool: Pool, args: dict[str, Any]) -> None:
    pool.clock.advance(float(args["seconds"]))


def _crash_host(pool: Pool, args: dict[str, Any]) -> None:
    pool.crash(_find(pool, "host", args["host"]))


def _isolate_host(pool: Pool, args: dict[str, Any]) -> None:
    pool.isolate(_find(pool, "host", args["host"]))


def _restore_host(pool: Pool, args: dict[str, Any]) -> None:
    """One that went down in order, for a reboot, boots now; it does not wait for its time."""
    host = _find(pool, "host", args["host"])
    boot = pool.boots.pop(host.uuid, None)
    if boot is not None and not pool.runtime(host).alive:
        boot()
    else:
        pool.restore(host)


def _lose_coordinator(pool: Pool, args: dict[str, Any]) -> None:
    pool.isolate(pool.master)


def _restore_coordinator(pool: Pool, args: dict[str, Any]) -> None:
    """Bring it back; for `booting` simulated seconds it answers HOST_STILL_BOOTING."""
    master = pool.master
    runtime = pool.runtime(master)
    seconds = float(args.get("booting", 0.0))
    if seconds:
        runtime.booting = True

        def booted() -> None:
            runtime.booting = False

        pool.clock.later(seconds, booted)
    pool.restore(master)


def _fail(pool: Pool, args: dict[str, Any]) -> None:
    pool.faults.fail(_method(pool, args), int(args.get("times", 1)), [str(e) for e in args["error"]])


def _delay(pool: Pool, args: dict[str, Any]) -> None:
    pool.faults.delay(_method(pool, args), int(args.get("times", 1)), float(args["seconds"]))


def _method(pool: Pool, args: dict[str, Any]) -> str:
    method = str(args["method"]).removeprefix("Async.")
    if method not in pool.schema.messages:
        raise ControlError(f"no message {method}")
    return method


def _switch(which: set[str], ref: str, on: bool) -> None:
    (which.add if on else which.discard)(ref)


def _sr_full(pool: Pool, args: dict[str, Any]) -> None:
    _switch(pool.faults.sr_full, _find(pool, "SR", args["sr"]).ref, bool(args.get("full", True)))


def _sr_lost(pool: Pool, args: dict[str, Any]) -> None:
    _switch(pool.faults.sr_lost, _find(pool, "SR", args["sr"]).ref, bool(args.get("lost", True)))


def _sr_unplugged(pool: Pool, args: dict[str, Any]) -> None:
    """PBDs come loose, on one host or on all, as after a failed plug at boot."""
    sr = _find(pool, "SR", args["sr"])
    host = _find(pool, "host", args["host"]).ref if args.get("host") else None
    for pbd in pool.db.rows("PBD", SR=sr.ref):
        if host in (None, pbd.host):
            pbd.currently_attached = False


def _sr_paths(pool: Pool, args: dict[str, Any]) -> None:
    """So many paths to the SR's LUN are left, on one host or on all."""
    from .behaviour.pbd import lose_paths

    sr = _find(pool, "SR", args["sr"])
    host = _find(pool, "host", args["host"]).ref if args.get("host") else None
    for pbd in pool.db.rows("PBD", SR=sr.ref):
        if host in (None, pbd.host):
            lose_paths(pbd, int(args["up"]))


def _guest_ip(pool: Pool, args: dict[str, Any]) -> None:
    """The guest agent reports an address of the first NIC (or of `device`)."""
    vm = _find(pool, "VM", args["vm"])
    set_guest_ip(pool, vm, str(args["ip"]), str(args.get("device", "0")))


def set_guest_ip(pool: Pool, vm: Row, ip: str, device: str = "0") -> None:
    """Write an address into the guest metrics of a VM, which are made if there are none; it survives reboots.

    FreeBSD's agent has all of a NIC in one key, so `ip` may be several. `device` may be a number that no VIF has.
    """
    metrics = pool.db.maybe("VM_guest_metrics", vm.guest_metrics) if vm.guest_metrics != NULL else None
    if metrics is None:
        metrics = pool.db.create("VM_guest_metrics", PV_drivers_detected=True, live=True)
        vm.guest_metrics = metrics
    family = "ipv6" if ":" in ip else "ipv4"
    said = {f"{device}/{family}/0": ip} | ({f"{device}/ip": ip} if family == "ipv4" else {})
    other_addresses(pool, vm).update(said)
    metrics.networks = metrics.networks | said
    metrics.last_updated = pool.clock.datetime()


def _cut(pool: Pool, args: dict[str, Any]) -> None:
    """Frames of a network or a VLAN get lost, on all hosts or on one; `cut: false` lets them through again."""
    cut = paths.Cut(
        network=_find(pool, "network", args["network"]).ref if args.get("network") else "",
        vlan=int(args["vlan"]) if args.get("vlan") is not None else None,
        host=_find(pool, "host", args["host"]).ref if args.get("host") else "",
        clients=bool(args.get("clients", False)),
        management=bool(args.get("management", False)),
    )
    pool.faults.cuts = [other for other in pool.faults.cuts if other != cut] + [cut] * bool(args.get("cut", True))
    paths.settle(pool)


def _reset_calls(pool: Pool, args: dict[str, Any]) -> None:
    pool.calls.clear()


def _drop_sessions(pool: Pool, args: dict[str, Any]) -> dict[str, Any]:
    return {"dropped": pool.sessions.close_all()}


def _netboot(pool: Pool, args: dict[str, Any]) -> dict[str, Any]:
    """With `armed`, the machine at an address is installed when it boots next; without, how that is going."""
    netboot = pool.site.netboot if pool.site is not None else {}
    address = str(args["address"])
    before = netboot.get(address)
    if "armed" in args:
        netboot[address] = Netboot(
            str(args.get("password", "simulator")), float(args.get("seconds", 1.0)), bool(args.get("fails", False)),
            state="armed" if args["armed"] else "", count=before.count if before else 0,
        )  # fmt: skip
    now = netboot.get(address)
    return {"state": now.state if now else "", "count": now.count if now else 0}


def _clear(pool: Pool, args: dict[str, Any]) -> None:
    pool.faults.clear()
    paths.settle(pool)


ACTIONS: dict[str, Callable[[Pool, dict[str, Any]], dict[str, Any] | None]] = {
    "advance": _advance,
    "crash_host": _crash_host,
    "isolate_host": _isolate_host,
    "restore_host": _restore_host,
    "lose_coordinator": _lose_coordinator,
    "restore_coordinator": _restore_coordinator,
    "fail": _fail,
    "delay": _delay,
    "sr_full": _sr_full,
    "sr_lost": _sr_lost,
    "sr_unplugged": _sr_unplugged,
    "sr_paths": _sr_paths,
    "guest_ip": _guest_ip,
    "netboot": _netboot,
    "cut": _cut,
    "reset_calls": _reset_calls,
    "drop_sessions": _drop_sessions,
    "clear": _clear,
}


def perform(pools: dict[str, Pool], request: dict[str, Any]) -> dict[str, Any]:
    """Do one action; ControlError when the request is wrong."""
    action = ACTIONS.get(str(request.get("do")))
    if action is None:
        raise ControlError(f"unknown action {request.get('do')!r}, known: {', '.join(sorted(ACTIONS))}")
    pool = _pool(pools, request.get("pool"))
    try:
        with pool.lock:
            return {"ok": True, **(action(pool, request) or {})}
    except KeyError as error:
        raise ControlError(f"{request['do']} needs {error}") from None
    except (TypeError, ValueError) as error:
        raise ControlError(f"{request['do']}: {error}") from None


def _pool(pools: dict[str, Pool], name: Any) -> Pool:
    if name is None and len(pools) == 1:
        return next(iter(pools.values()))
    if name not in pools:
        raise ControlError(f"no pool {name!r}, there are: {', '.join(pools)}")
    return pools[name]


def serve(pools: dict[str, Pool], address: str = "127.0.0.1", port: int = 0) -> ThreadingHTTPServer:
    """The control server, bound and not yet serving."""

    class Control(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _reply(self, status: int, content: dict[str, Any]) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            try:
                request = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
                if not isinstance(request, dict):
                    raise ControlError("not a JSON object")
                self._reply(200, perform(pools, request))
            except (ControlError, ValueError) as error:
                self._reply(400, {"error": str(error)})

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            if url.path != "/calls":
                self._reply(404, {"error": "only GET /calls?pool=NAME, and POST"})
                return
            try:
                pool = _pool(pools, parse_qs(url.query).get("pool", [None])[0])
                with pool.lock:
                    self._reply(200, dict(pool.calls))
            except ControlError as error:
                self._reply(400, {"error": str(error)})

        def log_message(self, format: str, *args: Any) -> None:
            """Silence."""

    server = ThreadingHTTPServer((address, port), Control)
    server.daemon_threads = True
    return server
