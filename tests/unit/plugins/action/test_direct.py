# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules in a fork of Ansible's worker return what they return in Ansible's own way, which takes five times as long."""
from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.nobloat.xen.plugins.plugin_utils import direct

from xapisim.launcher import launch

from .plays import ALIKE, Play, plain, task

NETWORK = "Pool-wide network associated with eth0"
VM = {"name": "web", "template": "Debian Bookworm 12", "memory": "1GiB", "nics": [{"network": NETWORK}]}
TASKS = [
    task("in check mode", "vm", VM, check_mode=True, diff=True),
    task("made", "vm", VM, diff=True),
    task("again", "vm", VM),
    task("a list", "vm", {"vms": [{"name": "a"}, {"name": "b"}], "template": VM["template"], "memory": "1GiB"}),
    task("in a loop", "vm", {**VM, "name": "{{ item }}"}, loop=["c", "d"], diff=True),
    task("looked at", "vm_info", {"name": "web"}),
    task("not there", "vm_power", {"name": "nobody", "state": "running"}),
    task("no such option", "vm", {**VM, "surprise": 1}),
    task("no such size", "vm", {**VM, "memory": "much"}),
    task("a warning", "network", {"name": "big", "vlan": 7, "device": "eth0", "mtu": 9000}),
    task("hidden", "vm_info", {"name": "web"}, no_log=True),
    task("login of the environment", "vm_info", {"password": "{{ omit }}"}, environment={"XENSERVER_PASSWORD": "{{ secret }}"}),
    task("wrong password", "vm_info", {"password": "{{ 'not' ~ secret }}"}),
    task("as another user", "vm_info", {"name": "web"}, become=True, become_user="nobody"),
    task("in the background", "vm_info", {"name": "web"}, **{"async": 60, "poll": 1}),
    task("elsewhere", "vm_info", {"name": "web"}, delegate_to="elsewhere"),
    task("with variables of Python's own", "vm_info", {"name": "web"}, environment={"PYTHONWARNINGS": "ignore"}),
]


@pytest.fixture(scope="module")
def pools() -> Iterator[list[dict[str, Any]]]:
    scenario = {"name": "a", "templates": [VM["template"]], "hosts": [{"name": "one"}]}
    with launch({"pools": [scenario, {**scenario, "name": "b"}, {**scenario, "name": "slow", "durations": {"VM.start": 600}}]}) as info:
        yield info["pools"]


def played(folder: Path, pool: dict[str, Any], tasks: list[dict[str, Any]], *args: str, hosts: int = 1, **play: Any) -> Play:
    login = {"hostname": pool["url"], "username": pool["username"], "password": "{{ secret }}", "validate_certs": False}
    names = {**{f"host{number}": "local" for number in range(hosts)}, "elsewhere": "elsewhere"}
    return Play(folder, tasks, *args, secret=pool["password"], hosts={name: {"ansible_connection": way} for name, way in names.items()},
                module_defaults={"group/nobloat.xen.all": login}, **play)


def test_the_same_as_in_ansibles_own_way(tmp_path: Path, pools: list[dict[str, Any]]) -> None:
    ours = played(tmp_path / "ours", pools[0], TASKS, "-vvv")
    theirs = played(tmp_path / "theirs", pools[1], TASKS, "-vvv", "-e", "nobloat_xen_direct=false")
    for mine, his in zip(ours.results, theirs.results, strict=True):
        first, second = (
            ALIKE.sub("ALIKE", json.dumps(plain(each), sort_keys=True)).replace(pool["url"], "URL")
            for each, pool in zip((mine, his), pools[:2], strict=True))
        assert first == second
    status = {name: state for name, state, _result in ours.results}
    failed = {"not there", "no such option", "no such size", "wrong password"}
    assert {name for name, state in status.items() if state == "failed"} == failed
    assert status.keys() == {each["name"] for each in TASKS}
    results = {name: result for name, _state, result in ours.results}
    assert "warnings" in results["a warning"], "a module's own warning is one"
    assert [results["made"]["changed"], results["again"]["changed"], results["in check mode"]["changed"]] == [True, False, True]
    assert pools[0]["password"] not in ours.output.replace(json.dumps({"secret": pools[0]["password"]}), "")
    for play in (ours, theirs):
        assert ": clone" in play.output.lower() or "web: " in play.output, "progress at -v"
    executed = [part for part in ours.output.split("TASK [") if "EXEC /bin/sh" in part]
    assert [part.partition("]")[0] for part in executed] == ["in the background", "elsewhere", "with variables of Python's own"]


@pytest.mark.parametrize("strategy", ["linear", "free"])
def test_imports_are_paid_once(tmp_path: Path, pools: list[dict[str, Any]], strategy: str) -> None:
    play = played(tmp_path / "play", pools[0], [task("look", "vm_info", loop=[1, 2])] * 3, hosts=4, strategy=strategy)
    assert len(play.results) == 12
    assert play.compiled == [play.pid], "by Ansible's main process"


def test_a_time_out_ends_it(tmp_path: Path, pools: list[dict[str, Any]]) -> None:
    slow = task("slow", "vm_power", {"name": "web", "state": "running"}, timeout=5)
    play = played(tmp_path / "play", pools[2], [task("made", "vm", VM), slow, task("again", "vm_info")])
    assert [state for _name, state, _result in play.results] == ["ok", "failed", "ok"], play.output
    assert re.search(r"5 second|\(5\)", play.results[1][2]["msg"])
    assert play.left() == []


def run(main: Any, **environment: str) -> dict[str, Any]:
    return direct.forked(main, b"{}", environment, lambda: None)


def test_what_it_prints_and_how_it_ends() -> None:
    def main() -> None:
        print(os.environ["MOOD"], "ä" * 100_000)
        print("trouble", file=sys.stderr)
        sys.exit(3)

    assert run(main, MOOD="fine") == {"rc": 3, "stdout": f"fine {'ä' * 100_000}\n", "stderr": "trouble\n"}
    assert "MOOD" not in os.environ
    assert run(lambda: None)["rc"] == 0
    ended = run(lambda: {}["x"])
    assert (ended["rc"], "KeyError: 'x'" in ended["stderr"]) == (1, True)


def test_a_process_that_dies() -> None:
    action: Any = SimpleNamespace(_update_module_args=lambda *_args: None, _compute_environment_string=lambda _variables: "")
    result = direct.execute(action, "nobloat.xen.vm", {}, {}, lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert result["failed"]
    assert "nobloat.xen.vm was ended by SIGKILL before it was done" in result["msg"]


def test_who_is_broken_off_lets_go_of_what_it_holds(tmp_path: Path) -> None:
    class TimeOut(BaseException):
        pass

    def late(_signal: int, _frame: Any) -> None:
        raise TimeOut

    def main() -> None:
        try:
            (tmp_path / "pid").write_text(str(os.getpid()), encoding="utf-8")
            time.sleep(100)
        finally:
            (tmp_path / "let go").touch()

    before = signal.signal(signal.SIGALRM, late)
    try:
        signal.setitimer(signal.ITIMER_REAL, 2)
        with pytest.raises(TimeOut):
            run(main)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert (tmp_path / "let go").exists()
    assert not Path("/proc", (tmp_path / "pid").read_text(encoding="utf-8")).exists()
