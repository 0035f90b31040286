# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where playbooks send the pool's password, how long they listen to who has not proven who it is, and that names are no templates."""
from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.node.generations import Store, digests, sum_line
from playing import PLAYBOOKS, local, play
from runs import login, read

from xapisim.launcher import launch


@pytest.mark.parametrize(("address", "way"), [
    ("fd00::17", "fd00::17"), ("https://[fd00::17]", "https://[fd00::17]"), ("[fd00::17]:443", "[fd00::17]:443"),
    ("https://[FD00:0::18]:443", "b"), ("fd00:0::18", "b"),
])  # fmt: skip
def test_the_way_to_a_pool_by_ipv6(tmp_path: Path, address: str, way: str) -> None:
    done = play(tmp_path, [{
        "hosts": "pools", "gather_facts": False, "vars_files": [str(PLAYBOOKS / "vars/servers.yml")], "vars": {"host": "a"},
        "tasks": [{"ansible.builtin.debug": {"msg": "leads to <{{ server_pool_address | trim }}>"}}]}], local(address))
    assert f"leads to <{way}>" in done.stdout, done.stdout + done.stderr


@pytest.fixture(params=[(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 1000), (b"HTTP/1.1 200 OK\r\nX: ", b"x")], ids=["body", "head"])
def stranger(request: pytest.FixtureRequest) -> Iterator[int]:
    """Talks for as long as somebody listens."""
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def serve() -> None:
        while True:
            try:
                client = listener.accept()[0]
            except OSError:
                return
            with client, contextlib.suppress(OSError):
                client.sendall(request.param[0])
                while not ended.wait(0.01):
                    client.sendall(request.param[1])

    thread = threading.Thread(target=serve)
    thread.start()
    yield listener.getsockname()[1]
    ended.set()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def test_who_is_waited_for_is_not_listened_to_for_ever(tmp_path: Path, stranger: int) -> None:
    text = (PLAYBOOKS / "tasks/server_answers.yml").read_text(encoding="utf-8")
    assert "\n  timeout: 60\n" in text
    (tmp_path / "answers.yml").write_text(text.replace("\n  timeout: 60\n", "\n  timeout: 5\n"), encoding="utf-8")
    begun = time.monotonic()
    play(tmp_path, [{
        "hosts": "pools", "gather_facts": False, "vars": {"host_timeout": 1000, "host_pause": 1},
        "tasks": [{"ansible.builtin.include_tasks": str(tmp_path / "answers.yml"),
                   "vars": {"answers_address": f"http://127.0.0.1:{stranger}"}}]}], local("pool"))
    assert time.monotonic() - begun < 100


def test_xapi_is_waited_for(tmp_path: Path) -> None:
    with launch({"pools": [{"name": "hall"}]}) as info:
        done = play(tmp_path, [{
            "hosts": "pools", "gather_facts": False, "vars": {"host_timeout": 20, "host_pause": 1},
            "tasks": [{"ansible.builtin.include_tasks": str(PLAYBOOKS / "tasks/server_answers.yml"),
                       "vars": {"answers_address": login(info, "hall")["hostname"]}}]}], local("pool"))
    assert not done.returncode, done.stdout + done.stderr


def test_without_certificates_nobody_is_asked_once_it_has_left(tmp_path: Path) -> None:
    with launch({"pools": [{"name": "hall", "hosts": [{"name": "a"}, {"name": "b"}]}]}) as info:
        options = login(info, "hall")
        before = read(options)
        inventory = local(options["hostname"])
        inventory["all"]["children"]["pools"]["hosts"]["hall"].update(xapi_password=options["password"], xapi_validate_certs=False)
        inventory["all"]["children"]["servers"]["hosts"] = {"a": {"xapi_pool": "hall", "xapi_hostname": options["hostname"]}}
        inventory["all"]["children"]["pxe_server"] = {"hosts": {"boot": {}}}
        done = play(tmp_path, PLAYBOOKS / "host_reinstall.yml", inventory, "-e", "host=a", "-e", "host_timeout=20")
        assert done.returncode and "nothing proves who answers at" in " ".join(done.stdout.split()), done.stdout + done.stderr
        assert {uuid: host["enabled"] for uuid, host in read(options)["host"].items()} == {
            uuid: host["enabled"] for uuid, host in before["host"].items()}


def test_a_guest_s_name_is_not_evaluated_on_another_host(tmp_path: Path) -> None:
    """Before ansible-core 2.19, what is read through hostvars loses its mark when it is put together with another text."""
    evil = f"{{{{ lookup('pipe', 'touch {tmp_path}/evaluated') }}}}"
    vm = {"pool": "hall", "name": evil, "uuid": "one", "power_state": "running", "host": "node1",
          "disks": [{"device": 4, "name": f"{evil}-data@node1"}]}
    library = tmp_path / "library"
    library.mkdir()
    (library / "said.py").write_text(f"#!/usr/bin/python\nimport json\nprint(json.dumps({{'vms': [{vm}]}}))\n", encoding="utf-8")
    inventory = local("pool")
    inventory["all"]["children"]["nodes"] = {"hosts": {"node1": {"xapi_pool": "hall"}}}
    done = play(tmp_path, [
        {"hosts": "pools", "gather_facts": False, "tasks": [{"said": {}, "register": "pool_guests"}]},
        {"hosts": "node1", "gather_facts": False, "tasks": [
            {"ansible.builtin.set_fact": {"found": "{{ (nodes | nobloat.xen.mirror_status(hostvars.hall.pool_guests.vms)).lacking }}"},
             "vars": {"nodes": [{"name": "node1", "pool": "hall", "host": "node1"}]}},
            {"ansible.builtin.debug": {"msg": "{{ found }}"}}]},
    ], inventory)
    assert not done.returncode and f"{evil}, disk data" in done.stdout, done.stdout + done.stderr
    assert not (tmp_path / "evaluated").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="runs as root on nodes and in guests")
def test_what_root_unpacks_in_a_guest_does_not_lie_where_a_user_could_swap_it(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "backup"), "web1-data", "node1")
    files = Path(store.partial, "files")
    (files / "etc").mkdir(parents=True)
    (files / "etc/file").write_text("of the guest")
    store.complete({"generation": "20261121T120000Z", "method": "files", "size": 1 << 30},
                   iter([sum_line(total, f"files/{name}") for name, total in digests(str(files)).items()]))
    (tmp_path / "home").mkdir()
    (tmp_path / "home/.restore-web1-data.tar").write_text("of the user")
    (tmp_path / "room").mkdir()
    done = play(tmp_path, [{"hosts": "pools", "gather_facts": False, "tasks": [
        {"ansible.builtin.import_role": {"name": "nobloat.xen.mirror_backup", "tasks_from": "restore_files"}, "vars": {
            "mirror_backup_leg": {"guest": "web1", "disk": "data", "name": "web1-data"}, "mirror_backup_path": str(tmp_path / "backup"),
            "mirror_backup_host": "hall", "mirror_backup_file": "/etc", "mirror_backup_destination": str(tmp_path / "home"),
            "mirror_backup_room": str(tmp_path / "room")}}]}], local("pool"))
    assert not done.returncode, done.stdout + done.stderr
    assert (tmp_path / "home/etc/file").read_text() == "of the guest"
    assert (tmp_path / "home/.restore-web1-data.tar").read_text() == "of the user" and not list((tmp_path / "room").iterdir())
