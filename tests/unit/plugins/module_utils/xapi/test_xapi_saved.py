# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions that tasks share, and options that cannot be sent: by modules that run as Ansible runs them, on a real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.saved import load_session, move_session, save_session
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.session import Session

PLUGINS = "ansible_collections.nobloat.xen.plugins.modules"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def module(server, tmp_path):
    """Run a module in a process of its own: what it returns."""
    server.methods["pool.get_all_records"] = {}

    def run(name, /, **args):
        options = {"_ansible_remote_tmp": str(tmp_path), "_ansible_tmpdir": str(tmp_path), **args}
        done = subprocess.run(
            [sys.executable, "-m", f"{PLUGINS}.{name}"], input=json.dumps({"ANSIBLE_MODULE_ARGS": options}), text=True, timeout=60,
            capture_output=True, check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(tmp_path)},
        )  # fmt: skip
        assert "Traceback" not in done.stdout + done.stderr, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture
def saved(server):
    """The file of a session."""
    return save_session(Session(server.url, reference="OpaqueRef:s"), True, None)


DAMAGED = {
    "cut off": b'{"url": "http', "empty": b"", "a list": b"[]", "not UTF-8": b"\xff\xfe", "a number as URL": b'{"url": 1}',
    "no reference": b'{"url": "http://127.0.0.1", "validate_certs": true, "ca_path": null}', "endless": b" " * (1 << 20),
    "deep": b"[" * 60_000,
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_session(module, saved, kind):
    with open(saved, "wb") as stream:
        stream.write(DAMAGED[kind])
    told = module("pool_info", session=saved)
    assert told["failed"] and told["msg"].startswith(f"The file of session {saved} is damaged. Log in again"), told
    out = module("session", session=saved, state="absent")
    assert not out.get("failed") and "damaged" in str(out["warnings"])
    assert not os.path.exists(saved)
    assert not module("session", session=saved, state="absent").get("failed")


def test_a_session_whose_ca_path_is_gone_can_be_logged_out(module, server, folder):
    path = save_session(Session(server.url, reference="OpaqueRef:s"), True, str(folder / "gone.pem"))
    with open(path, encoding="utf-8") as stream:
        known = json.load(stream)
    with open(path, "w", encoding="utf-8") as stream:
        json.dump({**known, "url": "https://127.0.0.1:1"}, stream)
    assert "gone.pem" in module("pool_info", session=path)["msg"]
    assert "gone.pem" in str(module("session", session=path, state="absent")["warnings"])
    assert not os.path.exists(path)


def test_a_session_that_others_may_read_or_write(module, server, saved):
    for mode in (0o640, 0o604, 0o602, 0o666):
        os.chmod(saved, mode)
        for args in ({}, {"state": "absent"}):
            told = module("session", session=saved, **args)
            assert told["failed"] and "others than you may read or write it" in told["msg"], told
    assert os.path.exists(saved) and server.calls == []


def test_a_link_is_no_session(module, server, saved, folder):
    link = str(folder / "link")
    os.symlink(saved, link)
    for args in ({}, {"state": "absent"}):
        told = module("session", session=link, **args)
        assert told["failed"] and "it is a link" in told["msg"]
    assert os.path.exists(saved) and server.calls == []


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_no_session(module, folder, make):
    path = str(folder / "other")
    make(path, 0o700)
    for args in ({}, {"state": "absent"}):
        told = module("session", session=path, **args)
        assert told["failed"] and "it is no file" in told["msg"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files of others")
def test_a_session_of_another_user(module, server, saved):
    os.chown(saved, 65534, -1)
    for args in ({}, {"state": "absent"}):
        told = module("session", session=saved, **args)
        assert told["failed"] and "belongs to the user with the number 65534, not to you" in told["msg"]
    assert os.path.exists(saved) and server.calls == []


def test_a_session_is_moved_in_one_piece(server, saved, serve):
    """Who reads meanwhile finds the old address or the new one, always."""
    sessions = [Session(url, reference="OpaqueRef:s") for url in (server.url, serve().url)]
    ended, seen = threading.Event(), set()

    def read():
        while not ended.is_set():
            seen.add(load_session(saved, 5).url)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _unused in range(200):
            for session in sessions:
                move_session(saved, session)
    finally:
        ended.set()
        reader.join(30)
    assert seen <= {session.url for session in sessions} and load_session(saved, 5).url == sessions[1].url
    assert os.stat(saved).st_mode & 0o777 == 0o600
    assert [entry.name for entry in os.scandir(os.path.dirname(saved)) if entry.is_file()] == [os.path.basename(saved)]


def test_a_session_of_another_is_not_moved(server, saved, folder):
    link = folder / "link"
    os.symlink(saved, link)
    with pytest.raises(ValueError, match="it is a link"):
        move_session(str(link), Session("http://192.0.2.1", reference="OpaqueRef:s"))
    assert load_session(saved, 5).url == server.url


@pytest.mark.parametrize(("options", "named"), [
    ({"description": "be\x07ll"}, "option description has the control character U+0007 at position 3"),
    ({"tags": ["a", "\x1b"]}, "option tags[1] has the control character U+001B at position 1"),
    ({"other_config": {"k": "\x00"}}, "option other_config.k has the control character U+0000"),
    ({"other_config": {"\x01": "v"}}, "option other_config (a key) has the control character U+0001"),
    ({"password": "sec\x02ret"}, "option password has the control character U+0002 at position 4"),
])  # fmt: skip
def test_control_characters_are_refused_before_anything_is_sent(module, server, options, named):
    told = module("network", **{"hostname": server.url, "password": "x", "name": "n", **options})
    assert told["failed"] and named in told["msg"] and told["xapi_error"]["code"] == "TEXT_INVALID"
    assert "ret" not in f"{told['msg']}{told['xapi_error']}" and server.calls == []
    told = module("session", **{"hostname": server.url, "password": "x", **{k: v for k, v in options.items() if k == "password"}})
    assert bool(told.get("failed")) is ("password" in options)
