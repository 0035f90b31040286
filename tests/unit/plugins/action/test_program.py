# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Node modules as one program return what they return in Ansible's own way. It is sent once, and kept where nobody else may write."""
from __future__ import annotations

import importlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nobloat.xen.plugins.plugin_utils import node, program

from .plays import ALIKE, Play, plain, task

SECRET = "Secr3tMark-chap"
EXPORT = {"iqn": "iqn.2026-11.test.nobloat:a", "device": "/dev/nowhere/a", "portals": ["127.0.0.1"], "initiators": []}
BACKUP = {"guest": "web", "disk": "root", "vg": "nowhere", "volume": "~/backup"}
# What runs on nodes, and needs nothing of one: most of it fails there.
TASKS = [
    task("looked at", "leg_backup_info", {"volume": "~/backup"}),
    task("a path of the machine", "leg_backup_info", {"volume": "$WHERE/backup"}, environment={"WHERE": "/nowhere  {or} 'else'"}),
    task("in check mode", "leg_backup_info", {"volume": "~/backup"}, check_mode=True, diff=True),
    task("in a loop", "leg_backup_info", {"volume": "{{ item }}"}, loop=["/a", "/ä"]),
    task("not there", "guest_freeze", {"name": "none/such"}),
    task("no such option", "leg_backup", {**BACKUP, "surprise": 1}),
    task("no such number", "leg_backup", {**BACKUP, "keep": "many"}),
    task("no such choice", "leg_backup", {**BACKUP, "method": "magic"}),
    task("options missing", "leg_backup", {"guest": "web"}),
    task("not both", "leg_restore", {"guest": "a", "disk": "b", "volume": "/c", "halves": ["/d"], "archive": "/e"}),
    task("an alias of true", "leg_backup", {**BACKUP, "frozen": "yes", "snapshot": "nobody's"}, check_mode=True, diff=True),
    task("a secret", "iscsi_export", {**EXPORT, "name": "a", "chap_username": "a b", "chap_password": "{{ secret }}"}, check_mode=True),
    task("a secret that is told", "iscsi_export", {**EXPORT, "name": "{{ secret }} ä", "chap_password": "{{ secret }}"}),
    task("a list", "iscsi_export", {**EXPORT, "exports": [{"name": "a"}, {"name": "b"}], "chap_password": "{{ secret }}"}, check_mode=True),
    task("a list with a secret", "iscsi_export", {**EXPORT, "exports": [{"name": "a", "chap_password": "{{ secret }}"}]}),
    task("a list with one twice", "iscsi_export", {**EXPORT, "exports": [{"name": "a"}, {"name": "a"}]}),
    task("hidden", "leg_backup_info", {"volume": "/a"}, no_log=True),
    task("hidden failure", "leg_backup_info", {"volume": "/a", "surprise": 1}, no_log=True),
    task("in the background", "leg_backup_info", {"volume": "/a"}, **{"async": 60, "poll": 1}),
    task("in the background, not waited for", "leg_backup_info", {"volume": "/a"}, **{"async": 60, "poll": 0}),
    task("elsewhere", "leg_backup_info", {"volume": "/a"}, delegate_to="elsewhere"),
    task("where nothing is fed", "leg_backup_info", {"volume": "/a"}, delegate_to="plain"),
    task("nowhere", "leg_backup_info", {"volume": "/a"}, delegate_to="nowhere", ignore_unreachable=True),
    task("with a template in a name", "leg_backup_info", {"volume": "/{{ '{{' }} 1 + 1 }}"}),
]
HOSTS: dict[str, dict[str, Any]] = {name: {"ansible_connection": "node"} for name in ("host", "elsewhere", "plain", "nowhere", "shaky")}


def played(folder: Path, tasks: list[dict[str, Any]], *args: str, python: str = sys.executable) -> Play:
    folder.parent.joinpath("user").mkdir(exist_ok=True)
    hosts = {**HOSTS, "host": {"ansible_connection": "node", "ansible_python_interpreter": python}}
    return Play(folder, tasks, *args, hosts=hosts, secret=SECRET, environment={
        "NODE_PLACE": str(folder.with_name("place")), "HOME": str(folder.with_name("user")), "LC_ALL": "C.UTF-8",
        "ANSIBLE_ASYNC_DIR": str(folder.with_name("async"))})


def fed(folder: Path) -> list[int]:
    """How many bytes each command on the node was fed."""
    return [int(line) for line in folder.with_name("place.log").read_text(encoding="utf-8").split()]


def alike(noted: list[Any]) -> list[Any]:
    """Without what changes by itself. The one tells a path as it was given, the other as it is on the machine."""
    name, status, result = plain(noted)
    result.pop("invocation", None)
    return [name, status, re.sub(r'"free": \d+', '"free": ANY', ALIKE.sub("ALIKE", json.dumps(result, sort_keys=True)))]


def message(play: Play, number: int = 0) -> str:
    _name, status, result = play.results[number]
    assert status == "failed", result
    return str(result["msg"])


def test_the_same_as_in_ansibles_own_way(tmp_path: Path) -> None:
    (tmp_path / "user/backup").mkdir(parents=True)
    ours = played(tmp_path / "ours", TASKS, "-vvv")
    theirs = played(tmp_path / "theirs", TASKS, "-vvv", "-e", "nobloat_xen_direct=false")
    assert [name for name, _status, _result in ours.results] == [each["name"] for each in TASKS], ours.output
    for mine, his in zip(ours.results, theirs.results, strict=True):
        assert alike(mine) == alike(his)
    status = {name: state for name, state, _result in ours.results}
    results = {name: result for name, _state, result in ours.results}
    assert status["looked at"] == status["in the background"] == status["where nothing is fed"] == "ok", results
    assert status["nowhere"] == "unreachable"
    assert results["looked at"]["volume"]["path"] == f"{tmp_path}/user/backup"
    assert results["a path of the machine"]["volume"]["path"] == "/nowhere  {or} 'else'/backup"
    assert results["with a template in a name"]["volume"]["path"] == "/{{ 1 + 1 }}"
    for play in (ours, theirs):
        assert SECRET not in play.output.replace(json.dumps({"secret": SECRET}), "")
    sent = [part.partition("]")[0] for part in ours.output.split("TASK [") if "AnsiballZ" in part]
    assert sent == ["in the background, not waited for", "where nothing is fed"]


def test_it_is_sent_once(tmp_path: Path) -> None:
    played(tmp_path / "first", [task("look", "leg_backup_info", {"volume": "/a"})] * 3)
    played(tmp_path / "second", [task("look", "leg_backup_info", {"volume": "/a"})])
    first, sent, *others = fed(tmp_path / "first")
    assert len(others) == 3, "one command for each further task"
    assert sent > len(program.archive()[1])
    assert max(first, *others) < 1000
    assert [path.name for path in (tmp_path / "place").iterdir()] == [program.archive()[0]]


def test_what_is_not_used_any_more_goes(tmp_path: Path) -> None:
    place = tmp_path / "place"
    for name, age in (("old", 30), ("fresh", 1)):
        (place / name / "inner").mkdir(parents=True)
        os.utime(place / name, (0, place.stat().st_mtime - age * 24 * 3600))
    place.chmod(0o700)
    played(tmp_path / "play", [task("look", "leg_backup_info", {"volume": "/a"})])
    assert sorted(path.name for path in place.iterdir()) == sorted(["fresh", program.archive()[0]])


def attack(folder: Path, how: str) -> Path:
    """A place that others may write to, or have made, with a program of theirs in it."""
    place = folder / "place"
    theirs = place / program.archive()[0]
    theirs.mkdir(parents=True)
    (theirs / "__main__.py").write_text(f"open({str(folder / 'owned')!r}, 'w')\n", encoding="utf-8")
    place.chmod(0o700)
    if how == "owner":
        shutil.chown(place, "nobody")
    elif how == "link":
        place.rename(folder / "real")
        place.symlink_to(folder / "real")
    elif how == "file":
        shutil.rmtree(place)
        place.write_text("")
    else:
        place.chmod(int(how, 8))
    return place


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize("how", ["owner", "link", "file", "0777", "0770", "0701", "1777"])
def test_a_place_of_others_is_refused(tmp_path: Path, how: str) -> None:
    place = attack(tmp_path, how)
    said = []
    for send in (False, True):
        shell = program.command("", sys.executable, send).replace(program.PLACE, str(place))
        done = subprocess.run(["sh", "-c", shell], input=program.archive()[1] + b"{}", capture_output=True, check=True)
        said.append(done.stdout.decode())
    assert said[0] == f"{program.MARK}absent\n", "what is there is not run"
    assert f"{place} is not a folder that only its user may enter" in said[1]
    assert not (tmp_path / "owned").exists()


def open_to_all(folder: Path) -> None:
    for path in (folder, *folder.parents):
        if path.stat().st_mode & 0o055 != 0o055:
            path.chmod(path.stat().st_mode | 0o055)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_as_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`become` keeps the program in the home of the user that it leads to."""
    open_to_all(tmp_path)
    home = tmp_path / "nobody"
    (home / "backup").mkdir(parents=True)
    shutil.chown(home, "nobody")
    monkeypatch.setenv("BECOME_HOME", str(home))
    other = {**task("look", "leg_backup_info", {"volume": "~/backup"}), "become": True, "become_method": "other", "become_user": "nobody"}
    play = played(tmp_path / "play", [other, other, LOOK], python="/usr/bin/python3")
    assert [status for _name, status, _result in play.results] == ["ok"] * 3, play.output
    assert play.results[0][2]["volume"]["path"] == str(home / "backup")
    kept = home / ".nobloat.xen" / program.archive()[0]
    assert kept.stat().st_uid == home.stat().st_uid
    assert [path.name for path in (tmp_path / "place").iterdir()] == [program.archive()[0]], "root has its own"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_home_of_others_is_refused(tmp_path: Path) -> None:
    open_to_all(tmp_path)
    name, content = program.archive()
    for home, words in ((tmp_path, "no folder of the user's own"), (tmp_path / "own", program.MARK + "old")):
        home.mkdir(exist_ok=True)
        if home.name == "own":
            shutil.chown(home, "nobody")
        shell = program.command(f"HOME={home}", "/usr/bin/python3", send=True)
        command = ["setpriv", "--reuid=nobody", "--clear-groups", "sh", "-c", shell]
        said = subprocess.run(command, input=content, capture_output=True, check=False)
        if home.name == "own":
            assert (home / ".nobloat.xen" / name / "__main__.py").stat().st_uid == home.stat().st_uid, said.stderr
            assert (home / ".nobloat.xen").stat().st_mode & 0o777 == 0o700
        else:
            assert words in said.stdout.decode()
            assert not (home / ".nobloat.xen").exists()


def interpreter(folder: Path, text: str) -> str:
    """A Python that does something else where the program should begin."""
    path = folder / "python"
    path.write_text(f'#!/bin/sh\ncase "$*" in *" -c "*) exec {sys.executable} "$@";; esac\n{text}\n', encoding="utf-8")
    path.chmod(0o755)
    return str(path)


LOOK = task("look", "leg_backup_info", {"volume": "/a"})


OLD = 'import sys; sys.version_info = (3, 5); sys.version = "3.5.9 (old)"; exec(open(sys.argv[1] + "/__main__.py").read())'


@pytest.mark.parametrize(("does", "words"), [
    ("kill -9 $$", "before it was done, and without an answer"),
    ("echo Hello; exit 0", "ended with 0 before it was done, and without an answer"),
    ("echo 'nobloat.xen:said {garbage'", "without an answer"),
    (f"for last; do :; done; exec {{python}} -c '{OLD}' $last", "needs Python 3.6 or newer; this is 3.5.9."),
])
def test_a_program_that_says_nothing(tmp_path: Path, does: str, words: str) -> None:
    played(tmp_path / "first", [LOOK])
    play = played(tmp_path / "play", [LOOK, task("again", "leg_backup_info", {"volume": "/a"}, delegate_to="elsewhere")],
                  python=interpreter(tmp_path, does.replace("{python}", sys.executable)))
    assert words in message(play)
    assert play.results[1][1] == "ok"


def test_a_lost_connection_does_not_end_it(tmp_path: Path) -> None:
    played(tmp_path / "first", [LOOK])
    play = played(tmp_path / "play", [{**LOOK, "delegate_to": "shaky", "async": 60, "poll": 1}])
    assert [status for _name, status, _result in play.results] == ["ok"]
    assert "" in tmp_path.joinpath("place.log").read_text(encoding="utf-8").splitlines(), "it was lost"
    assert [path.name for path in (tmp_path / "place").iterdir()] == [program.archive()[0]]


def test_no_python(tmp_path: Path) -> None:
    play = played(tmp_path / "play", [LOOK], python="/no/python3")
    assert "There is no /no/python3, which ansible_python_interpreter names, on this machine." in message(play)
    play = played(tmp_path / "second", [{**LOOK, "environment": {"PATH": str(tmp_path)}}], "-e", '{"ansible_python_interpreter": ""}')
    assert play.results[0][1] == "ok" or "There is no python3 on this machine. Install Python 3.6 or newer" in message(play)


def test_a_time_out_ends_it(tmp_path: Path) -> None:
    played(tmp_path / "first", [LOOK])
    play = played(tmp_path / "play", [{**LOOK, "timeout": 3}], python=interpreter(tmp_path, "exec sleep 30"))
    assert "3" in message(play)
    assert not [pid for pid in play.left() if b"ansible-playbook" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_with_the_oldest_python(tmp_path: Path) -> None:
    found = [*Path.home().glob(".pyenv/versions/3.6.*/bin/python3.6"), *map(Path, filter(None, [shutil.which("python3.6")]))]
    if not found:
        pytest.skip("this machine has no Python 3.6")
    (tmp_path / "user/backup").mkdir(parents=True)
    oldest = played(tmp_path / "oldest", TASKS, python=str(found[0]))
    newest = played(tmp_path / "newest", TASKS)
    for mine, other in zip(oldest.results, newest.results, strict=True):
        if mine[0] not in ("in the background, not waited for", "where nothing is fed"):
            assert alike(mine) == alike(other)


@pytest.mark.parametrize("name", program.modules())
def test_all_that_a_module_imports_is_in_it(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(io.BytesIO(program.archive()[1])) as archive:
        archive.extractall(tmp_path)
    script = (f"import sys; sys.path.insert(0, '.'); import {program.OURS}modules.{name} as it; it.main; "
              "sys.exit(any(each.split('.')[0] == 'ansible' for each in sys.modules))")
    subprocess.run([sys.executable, "-E", "-s", "-S", "-c", script], cwd=tmp_path, check=True)


def test_the_same_bytes_each_time() -> None:
    before = program.archive()
    program.archive.cache_clear()
    assert program.archive() == before
    assert {*program.modules()} >= {"leg", "md_mirror"}
    for name in program.modules():
        action = importlib.import_module(f"ansible_collections.nobloat.xen.plugins.action.{name}").ActionModule
        assert issubclass(action, node.ActionModule), name


def test_waiting_for_a_node(tmp_path: Path) -> None:
    played(tmp_path / "first", [LOOK])
    play = played(tmp_path / "play", [
        task("in time", "node_wait", delegate_to="shaky"), task("at once", "node_wait"),
        task("in check mode", "node_wait", check_mode=True),
        task("too late", "node_wait", {"timeout": 2}, delegate_to="nowhere"), task("wrong", "node_wait", {"time": 2})])
    assert [status for _name, status, _result in play.results] == ["ok", "ok", "ok", "failed", "failed"]
    assert "did not answer for 2 seconds: There is no such machine." in message(play, 3)
    assert "Unsupported parameters" in message(play, 4)
