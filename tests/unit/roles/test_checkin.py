# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check-in of role pxe_server, asked over real connections: what it takes, what it refuses, what it takes away."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import jinja2
import pytest

SOURCE = Path(__file__).resolve().parents[3] / "roles/pxe_server/files/checkin.py"
TOKEN = "0123456789abcdef" * 3
FOLDER = "a1B2" * 8
MAC = "02:66:00:00:01:0a"
FINGERPRINT = ":".join(["A9"] * 32)
ARP = "IP address       HW type     Flags       HW address            Mask     Device\n"


@pytest.fixture(scope="module")
def checkin() -> ModuleType:
    spec = importlib.util.spec_from_file_location("checkin", SOURCE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class World:
    """A server of its own, with armed hosts."""

    def __init__(self, checkin: ModuleType, folder: Path, callback: dict[str, str] | None) -> None:
        self.folder = folder
        self.states = folder / "state"
        for name in ("state", "http/hosts"):
            (folder / name).mkdir(parents=True)
        checkin.NEIGHBOURS = folder / "arp"
        self.near("10.0.0.9", MAC)
        self.server = checkin.server(
            {"address": "127.0.0.1", "port": 0, "interface": "eth7", "root": str(folder), "callback": callback})
        self.desk = self.server.RequestHandlerClass.desk
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def end(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def near(self, address: str, mac: str, *, device: str = "eth7", flags: str = "0x2") -> None:
        """What the kernel knows of its neighbours."""
        line = f"{address:16} 0x1         {flags}         {mac}     *        {device}\n"
        (self.folder / "arp").write_text(ARP + line, encoding="ascii")

    def arm(self, host: str = "host1", token: str = TOKEN, folder: str = "") -> None:
        mac = MAC if host == "host1" else "02:66:00:00:02:00"
        self.desk.arm(host, token, folder or f"{host}-{FOLDER}", {"answers": "secret", "installation-start": f"token {token}"},
                      mac.upper(), {"pxelinux": f"bios {host}", "grub": f"uefi {host}"})

    def armed(self, host: str = "host1") -> list[bool]:
        """Whether it would boot the installer, with BIOS and with UEFI, and whether its answers are there."""
        boot = self.state(host).get("boot", {}) if (self.states / f"{host}.json").exists() else {}
        return ["pxelinux" in boot, "grub" in boot, (self.folder / f"http/hosts/{host}-{FOLDER}/answers").exists()]

    def boots(self, loader: str = "grub", address: str = "10.0.0.9") -> tuple[int, str]:
        """What the machine with an address is given, by way of nginx."""
        return self.said(method="GET", path=f"/boot/{loader}", body=b"", headers={"X-Real-IP": address})

    def state(self, host: str = "host1") -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.states / f"{host}.json").read_text(encoding="utf-8"))
        return found

    def ask(self, state: object = "started", *, host: str = "host1", token: object = TOKEN, body: bytes | None = None,
            path: str = "", method: str = "POST", headers: dict[str, str] | None = None) -> int:
        return self.said(state, host, token, body, path, method, headers)[0]

    def said(self, state: object = "started", host: str = "host1", token: object = TOKEN, body: bytes | None = None,
             path: str = "", method: str = "POST", headers: dict[str, str] | None = None) -> tuple[int, str]:
        link = http.client.HTTPConnection(*self.server.server_address[:2], timeout=10)
        said = json.dumps({"token": token, "state": state}).encode() if body is None else body
        link.request(method, path or f"/checkin/{host}", said, headers or {})
        answer = link.getresponse()
        text = answer.read().decode()
        link.close()
        return answer.status, text


@pytest.fixture
def make(checkin: ModuleType, tmp_path: Path) -> Iterator[Callable[..., World]]:
    made: list[World] = []

    def one(callback: dict[str, str] | None = None) -> World:
        made.append(World(checkin, tmp_path, callback))
        return made[-1]

    yield one
    for world in made:
        world.end()


@pytest.fixture
def world(make: Callable[..., World]) -> World:
    made = make()
    made.arm()
    return made


@pytest.mark.parametrize(
    "damaged", [b"", b'{"state": "arm', b"\xff\xfe", b"[]", b"{}", b'{"state": "armed", "folder": 1}', b"[" * 100_000],
    ids=["empty", "torn", "no text", "a list", "nothing in it", "other kinds", "deep"])
def test_a_damaged_state_stops_nobody_else(world: World, damaged: bytes) -> None:
    world.arm("host2")
    # Whatever order the folder has, one of both comes first.
    for name in ("host2", "host0"):
        (world.states / f"{name}.json").write_bytes(damaged)
    assert world.boots() == (200, "uefi host1")
    assert world.ask("started", host="host2") == 403
    assert world.ask("started") == 204
    world.arm("host2")  # its folder of the same name was taken away
    assert world.armed("host2") == [True, True, True]
    assert world.desk.disarm("host0") and not world.desk.disarm("host0")
    (world.states / "host2.json").write_bytes(damaged)
    assert world.desk.disarm("host2")
    assert not (world.folder / f"http/hosts/host2-{FOLDER}").exists() and (world.folder / f"http/hosts/host1-{FOLDER}").exists()


def test_started_disarms_and_complete_ends(world: World) -> None:
    assert world.ask("started") == 204
    assert world.armed() == [False, False, True] and world.state()["state"] == "started"
    assert world.ask("complete") == 204
    assert world.armed() == [False, False, False]
    assert [each["state"] for each in world.state()["history"]] == ["armed", "started", "complete"]
    assert stat.S_IMODE((world.states / "host1.json").stat().st_mode) == 0o600


def test_failed_ends_too(world: World) -> None:
    assert [world.ask("started"), world.ask("failed"), world.ask("complete")] == [204, 204, 403]
    assert world.state()["state"] == "failed"


def failure(reason: object, state: str = "failed") -> bytes:
    return json.dumps({"token": TOKEN, "state": state, "reason": reason}).encode()


def test_what_finds_no_disk_says_why_and_is_not_booted_again(world: World) -> None:
    assert world.ask(body=failure("of 2 disks that are needed, only 1 is here: sda")) == 204
    assert world.state()["reason"] == "of 2 disks that are needed, only 1 is here: sda"
    assert world.armed() == [False, False, False] and [each["state"] for each in world.state()["history"]] == ["armed", "failed"]
    assert [world.ask("started"), world.boots()[0], world.said(method="GET", path=f"/start/host1-{FOLDER}")[0]] == [403, 404, 404]


@pytest.mark.parametrize("body", [
    failure("x", "started"), failure("{{ 1 }}"), failure("a\nb"), failure('"'), failure("x" * 401), failure(["x"]), failure(None)])
def test_what_is_no_reason(world: World, body: bytes) -> None:
    assert world.ask(body=body) == 400
    assert world.state()["state"] == "armed" and "reason" not in world.state()


def test_what_is_installed_tells_its_certificate_once(world: World) -> None:
    def ready(fingerprint: str) -> int:
        return world.ask(body=json.dumps({"token": TOKEN, "state": "ready", "fingerprint": fingerprint}).encode())

    assert [ready(FINGERPRINT), world.ask("started"), ready(FINGERPRINT), world.ask("complete")] == [409, 204, 409, 204]
    assert [ready(""), ready("A9"), ready(FINGERPRINT + "'"), ready(FINGERPRINT.lower()), world.ask("ready")] == [400] * 5
    assert [ready(FINGERPRINT), ready(FINGERPRINT), world.ask("complete")] == [204, 403, 403]
    assert (world.state()["state"], world.state()["fingerprint"]) == ("ready", FINGERPRINT)


def test_a_machine_gets_its_own_boot_file(world: World) -> None:
    world.arm("host2")
    assert [world.boots("grub"), world.boots("pxelinux")] == [(200, "uefi host1"), (200, "bios host1")]
    world.near("10.0.0.9", "02:66:00:00:02:00")
    assert world.boots() == (200, "uefi host2")


@pytest.mark.parametrize("known", [
    {"mac": "02:66:00:00:01:0b"}, {"address": "10.0.0.8"}, {"device": "eth0"}, {"flags": "0x0"}, {"mac": "00:00:00:00:00:00"},
])
def test_nobody_else_does(world: World, known: dict[str, str]) -> None:
    world.near(**{"address": "10.0.0.9", "mac": MAC, **known})
    assert world.boots()[0] == 404


def test_nobody_speaks_for_another_machine(world: World) -> None:
    """Only nginx, which runs here, says whose request it is."""
    world.near("127.0.0.2", "02:66:00:00:02:00")
    link = http.client.HTTPConnection(*world.server.server_address[:2], timeout=10, source_address=("127.0.0.2", 0))
    link.request("GET", "/boot/grub", headers={"X-Real-IP": "10.0.0.9"})
    assert link.getresponse().status == 404
    link.close()


def test_who_is_not_armed_any_more_boots_its_disk(world: World) -> None:
    assert world.boots()[0] == 200
    assert world.said(method="GET", path=f"/start/host1-{FOLDER}")[0] == 200
    assert world.boots()[0] == 404
    world.arm()
    assert [world.boots()[0], world.ask("started"), world.boots()[0]] == [200, 204, 404]
    world.arm()
    world.desk.disarm("host1")
    assert world.boots()[0] == 404


def test_the_first_script_is_given_to_what_is_disarmed(world: World) -> None:
    """It may be fetched again, as long as its check-in has not been taken."""
    for _each in range(2):
        assert world.said(method="GET", path=f"/start/host1-{FOLDER}") == (200, f"token {TOKEN}")
        assert world.armed() == [False, False, True] and world.state()["state"] == "armed"
    assert world.ask("started") == 204
    assert world.ask(method="GET", path=f"/start/host1-{FOLDER}") == 404
    assert world.ask("complete") == 204


def test_who_cannot_be_disarmed_gets_no_script(world: World) -> None:
    (world.states / "host1.json.new").mkdir()
    assert world.ask(method="GET", path=f"/start/host1-{FOLDER}") == 500


def test_arming_again_ends_the_token_before(world: World) -> None:
    world.arm(token="another" * 7, folder="host1-other")
    assert [path.name for path in (world.folder / "http/hosts").iterdir()] == ["host1-other"]
    assert [world.ask(), world.ask(token="another" * 7)] == [403, 204]
    world.arm()
    assert world.armed() == [True, True, True] and len(world.state()["history"]) == 1


def test_what_boots_comes_last(world: World) -> None:
    """An arming that is broken off lets nothing be booted."""
    (world.folder / f"http/hosts/host2-{FOLDER}").mkdir()
    with pytest.raises(FileExistsError):
        world.arm("host2")
    assert world.armed("host2")[:2] == [False, False] and world.ask(host="host2") == 403


def test_disarming_forgets(world: World) -> None:
    assert [world.desk.disarm("host1"), world.desk.disarm("host1"), world.desk.disarm("host2")] == [True, False, False]
    assert world.armed() == [False, False, False] and world.ask() == 403
    assert sorted(path.name for path in world.folder.rglob("*") if path.is_file()) == ["arp", "lock"]


def test_commands(world: World) -> None:
    settings = world.folder / "settings.json"
    settings.write_text(json.dumps(
        {"address": "127.0.0.1", "port": 0, "interface": "eth7", "root": str(world.folder), "callback": None}), encoding="utf-8")
    command = [sys.executable, "-I", str(SOURCE), str(settings)]
    hosts = [{"host": "host2", "token": "another" * 7, "folder": f"host2-{FOLDER}", "served": {"answers": "x"},
              "mac": MAC, "boot": {"pxelinux": "bios", "grub": "uefi"}}]
    subprocess.run([*command, "arm"], input=json.dumps(hosts), text=True, check=True)
    assert world.armed("host2") == [True, True, True]
    assert stat.S_IMODE((world.states / "host2.json").stat().st_mode) == 0o600
    assert not (world.folder / f"http/hosts/host2-{FOLDER}/answers").stat().st_mode & stat.S_IRWXO
    assert world.ask(host="host2", token="another" * 7) == 204
    done = subprocess.run([*command, "disarm", "host2", "host3"], capture_output=True, text=True, check=True)
    assert done.stdout == "host2\n"


@pytest.mark.parametrize("token", ["", "x", TOKEN[:-1], TOKEN + "0", TOKEN.upper(), "\u00e4" * 48, "\ud800" * 48])
def test_a_wrong_token_changes_nothing(world: World, token: str) -> None:
    before = world.state()
    assert world.ask(token=token) == 403
    assert world.state() == before and world.armed() == [True, True, True]


def test_an_unknown_host_is_answered_like_a_wrong_token(world: World) -> None:
    assert world.ask(host="host2") == 403
    assert sorted(path.name for path in world.states.iterdir()) == ["host1.json", "lock"]


def test_a_token_is_of_one_host(world: World) -> None:
    world.arm("host2", "another" * 7)
    assert world.ask(host="host2") == 403
    assert world.armed("host2") == [True, True, True]


def test_each_state_is_taken_once_and_in_order(world: World) -> None:
    assert world.ask("complete") == 409
    assert world.armed() == [True, True, True]
    assert [world.ask("started"), world.ask("started")] == [204, 409]
    assert [world.ask("complete"), world.ask("complete"), world.ask("started"), world.ask("failed")] == [204, 409, 409, 409]


def test_an_ended_token_is_none_even_an_empty_one(world: World) -> None:
    assert [world.ask("started"), world.ask("failed")] == [204, 204]
    assert world.ask(token="") == 403


def test_of_many_at_once_one_is_taken(world: World) -> None:
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(world.ask("started"))) for _each in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [204, *[409] * 19]


def test_what_cannot_be_disarmed_has_not_started(world: World) -> None:
    """The installer then stops: it would be booted again."""
    (world.states / "host1.json.new").mkdir()
    assert world.ask("started") == 500
    assert world.state()["state"] == "armed"


@pytest.mark.parametrize(("asked", "status"), [
    ({"path": "/"}, 404), ({"path": "/checkin/"}, 404), ({"path": "/checkin/../host1"}, 404), ({"path": "/checkin/host1/"}, 404),
    ({"path": "/checkin/..%2fhost1"}, 404), ({"path": "/checkin/Host1"}, 404), ({"path": "/checkin/host1?x"}, 404),
    ({"method": "GET"}, 404), ({"method": "GET", "path": "/start/host1"}, 404),
    ({"method": "GET", "path": f"/start/host1-{FOLDER[:-1]}x"}, 404), ({"method": "GET", "path": f"/start/host2-{FOLDER}"}, 404),
    ({"method": "GET", "path": f"/start/../host1-{FOLDER}"}, 404),
    ({"method": "PUT"}, 501),
    ({"body": b"{"}, 400), ({"body": b"\xff\xfe"}, 400), ({"body": b"[]"}, 400), ({"body": b"{}"}, 400),
    ({"state": "armed"}, 400), ({"state": ["started"]}, 400), ({"token": None}, 400), ({"token": 1}, 400),
    ({"body": json.dumps({"token": TOKEN, "state": "started", "more": ""}).encode()}, 400),
    ({"body": b"x" * 5000}, 413), ({"headers": {"Content-Length": "-1"}}, 411), ({"headers": {"Content-Length": "1e3"}}, 411),
    ({"body": b"[" * 4000}, 400),
])
def test_what_is_no_check_in(world: World, asked: dict[str, Any], status: int) -> None:
    before = world.state()
    assert world.ask(**asked) == status
    assert world.state() == before and world.armed() == [True, True, True]


def connected(world: World, address: str) -> socket.socket:
    return socket.create_connection(world.server.server_address[:2], 10, source_address=(address, 0))


def closed(link: socket.socket) -> bool:
    """Whether the server has ended it without a word, or does so while one waits."""
    try:
        return link.recv(1) == b""
    except ConnectionError:
        return True


def test_one_client_does_not_get_all_threads(world: World, checkin: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkin, "MOST", 20)
    links = [connected(world, "127.0.0.5") for _each in range(checkin.MOST_OF_ONE)]
    try:
        with connected(world, "127.0.0.5") as late:
            assert closed(late)
        assert world.ask("started") == 204
        links += [connected(world, f"127.0.0.{number}") for number in range(10, 10 + 20 - len(links))]
        with connected(world, "127.0.0.90") as late:
            assert closed(late)
        # Whoever fills the check-in does not keep machines from what nginx asks for.
        here = world.server.server_address[0]
        links += [connected(world, here) for _each in range(20)]
        deadline = time.monotonic() + 60
        while world.server.clients[here] < 20 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert world.server.clients[here] == 20
        with connected(world, here) as late:
            assert closed(late)
    finally:
        for link in links:
            link.close()
    deadline = time.monotonic() + 60
    while world.server.clients.total() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert world.ask("complete") == 204


def test_a_request_has_an_end(world: World, checkin: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """However slowly it comes: not each byte has a time of its own."""
    monkeypatch.setattr(checkin, "PATIENCE", 0.5)
    with connected(world, "127.0.0.5") as slow:
        slow.settimeout(0.05)
        begun, ended = time.monotonic(), False
        while not ended and time.monotonic() < begun + 60:
            try:
                slow.sendall(b"x")
                ended = slow.recv(1) == b""
            except TimeoutError:
                continue
            except ConnectionError:
                ended = True
        assert ended


def test_a_request_has_a_size(world: World) -> None:
    with connected(world, "127.0.0.5") as talker:
        with contextlib.suppress(ConnectionError):
            talker.sendall(b"GET / HTTP/1.1\r\nX-More: " + b"x" * 60_000)
        assert closed(talker)
    assert world.ask("started") == 204


def test_a_client_that_says_nothing_keeps_nobody_waiting(world: World) -> None:
    with socket.create_connection(world.server.server_address[:2]) as silent:
        silent.sendall(b"POST /checkin/host1 HTTP/1.1\r\nContent-Length: 50\r\n\r\n{")
        assert world.ask("started") == 204


@pytest.mark.parametrize("ended", ["complete", "failed"])
def test_awx_is_called_back_once_for_what_is_complete(make: Callable[..., World], ended: str) -> None:
    calls: list[dict[str, Any]] = []

    class Awx(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            calls.append({"path": self.path, **json.loads(self.rfile.read(int(self.headers["Content-Length"])))})
            self.send_response(202)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    awx = HTTPServer(("127.0.0.1", 0), Awx)
    thread = threading.Thread(target=awx.serve_forever, args=(0.01,))
    thread.start()
    try:
        path = "/api/v2/job_templates/7/callback/"
        world = make({"url": f"http://127.0.0.1:{awx.server_address[1]}{path}", "host_config_key": "key"})
        world.arm()
        assert [world.ask("started"), world.ask(ended)] == [204, 204]
        deadline = time.monotonic() + 10
        while ended == "complete" and "callback" not in world.state() and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        awx.shutdown()
        awx.server_close()
        thread.join()
    if ended == "complete":
        assert calls == [{"path": path, "host_config_key": "key", "extra_vars": {"pxe_server_completed": "host1"}}]
        assert world.state()["callback"] == "202"
    else:
        assert calls == []


@pytest.mark.parametrize(("first", "then", "words"), [
    (b"HTTP/1.1 202 OK\r\n", b"X: y\r\n", "failed: no answer within 0.5 seconds"), (b"nonsense\r\n\r\n", b"", "failed: nonsense")])
def test_an_awx_that_never_ends_its_answer(make: Callable[..., World], checkin: ModuleType, monkeypatch: pytest.MonkeyPatch,
                                           first: bytes, then: bytes, words: str) -> None:
    monkeypatch.setattr(checkin, "WAITS", (0.0,), raising=False)
    monkeypatch.setattr(checkin, "ANSWER", 0.5, raising=False)
    over = threading.Event()

    def drip(listener: socket.socket) -> None:
        with contextlib.suppress(OSError), listener.accept()[0] as link:
            text = link.recv(65536)
            while text and not text.endswith(b"}}"):
                text = link.recv(65536)
            link.sendall(first)
            while then and not over.wait(0.05):
                link.sendall(then)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        try:
            world = make({"url": f"http://127.0.0.1:{listener.getsockname()[1]}/", "host_config_key": "key"})
            world.arm()
            assert [world.ask("started"), world.ask("complete")] == [204, 204]
            deadline = time.monotonic() + 10
            while "callback" not in world.state() and time.monotonic() < deadline:
                time.sleep(0.01)
        finally:
            over.set()
            thread.join()
    assert world.state()["callback"].startswith(words)


def programs(folder: Path, *names: str) -> dict[str, str]:
    """An environment in which there are no other programs."""
    folder.mkdir()
    for name in ("sh", "date", "sleep", "timeout", *names):
        found = sys.executable if name == "python3" else shutil.which(name)  # which might find a script that needs others
        if not found:
            pytest.skip(f"there is no {name}")
        (folder / name).symlink_to(found)
    return {"PATH": str(folder)}


def rendered(template: str, address: Any, **more: object) -> str:
    templates = jinja2.Environment(loader=jinja2.FileSystemLoader(SOURCE.parents[1] / "templates"), trim_blocks=True, autoescape=False)
    return templates.get_template(template).render(
        pxe_server_token=TOKEN, pxe_server_desk_url=f"http://{address[0]}:{address[1]}", pxe_server_host={"name": "host1"}, **more)


def own_script(address: Any) -> str:
    """What an installed host checks in with."""
    return "set -eu\n" + rendered("check-in.sh.j2", address)


@pytest.mark.parametrize(("content", "said"), [
    ("#!/bin/sh\nset -eu\necho left >&2\nprintf '%s' '<a>it'\"'\"'s $x</a>'\n", None),
    ("#!/bin/sh\nset -eu\nprintf '<a>'\necho 'disk \"sdx\" is not here' >&2\nexit 1\n", "disk sdx is not here "),
    ("#!/bin/sh\nset -eu\nfalse\n", ""),
    ("#!/bin/sh\nyes '${x}`y`' | head -c 5000 >&2\necho '\\ end' >&2\nexit 3", "xy " * 131 + "xy  end ")])
def test_a_script_in_place_of_the_answer_file_tells_why_it_prints_none(
    world: World, tmp_path: Path, content: str, said: str | None,
) -> None:  # fmt: skip
    script = tmp_path / "answers"
    script.write_text(rendered("answers.j2", world.server.server_address[:2], pxe_server_rendered={"content": content}), encoding="utf-8")
    done = subprocess.run(["sh", str(script), "answerfile"], check=False, capture_output=True, text=True,
                          env={**os.environ, "TMPDIR": str(tmp_path)})
    if said is None:
        assert (done.returncode, done.stdout, world.state()["state"]) == (0, "<a>it's $x</a>", "armed")
        return
    assert (done.returncode, done.stdout, world.state()["state"]) == (1, "", "failed")
    reason = world.state().get("reason", "")
    assert reason == said or (len(reason) == 400 and reason.endswith(said[3:]))
    assert world.armed() == [False, False, False]


@pytest.mark.parametrize("program", ["curl", "wget", "python3"])
def test_the_hosts_own_script_ends_whatever_it_hears(tmp_path: Path, program: str) -> None:
    """An answer that comes drop by drop, and never ends. A second for each attempt, and no more than one of them."""
    environment, over = programs(tmp_path / "bin", program), threading.Event()

    def drip(listener: socket.socket) -> None:
        with contextlib.suppress(OSError), listener.accept()[0] as link:
            link.recv(65536)
            link.sendall(b"HTTP/1.1 200 OK\r\nX: ")
            while not over.wait(0.05):
                link.sendall(b"y")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)  # on a busy machine, the second may be over before it has connected
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        script = own_script(listener.getsockname()).replace("-m 20", "-m 1").replace("timeout 20", "timeout 1").replace("+ 300", "+ 0")
        try:
            done = subprocess.run(["sh", "-c", f"{script}\ncheck_in started"], env=environment, check=False, timeout=20)
        finally:
            over.set()
            thread.join()
    assert done.returncode == 1


@pytest.mark.parametrize("program", ["curl", "wget", "python3"])
def test_the_hosts_own_script_checks_in(world: World, tmp_path: Path, program: str) -> None:
    """With what there is, in a shell; the folder of programs has no other one of the three."""
    environment, script = programs(tmp_path / "bin", program), own_script(world.server.server_address[:2])
    for state, more in (("started", ""), ("complete", ""), ("ready", FINGERPRINT)):
        subprocess.run(["sh", "-c", f"{script}\ncheck_in {state} {more}"], env=environment, check=True)
    assert [each["state"] for each in world.state()["history"]] == ["armed", "started", "complete", "ready"]
    assert world.state()["fingerprint"] == FINGERPRINT
    refused = subprocess.run(["sh", "-c", f"{script}\ncheck_in started"], env=environment, check=False, capture_output=True)
    assert refused.returncode == 1 and b"403" in refused.stderr
