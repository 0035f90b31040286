# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands, and the place where errors become answers."""
from __future__ import annotations

import ast
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.node import module as module_source
from ansible_collections.nobloat.xen.plugins.module_utils.node.module import NodeModule
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import CommandError, NodeError, names, read, run


def test_a_command_speaks_english() -> None:
    assert run("sh", "-c", "echo $LC_ALL; echo err >&2") == (0, "C\n", "err\n")


def test_a_command_that_fails_says_why() -> None:
    with pytest.raises(CommandError, match="sh -c echo no luck; exit 3 failed with 3: no luck") as caught:
        run("sh", "-c", "echo no luck; exit 3")
    assert caught.value.code == 3
    assert run("sh", "-c", "exit 3", codes=(0, 3)).code == 3


def test_a_command_that_hangs_is_left() -> None:
    with pytest.raises(NodeError, match=r"sleep 60 was not done after 0\.1 seconds"):
        run("sleep", "60", timeout=0.1)


def test_a_command_that_is_not_there() -> None:
    with pytest.raises(NodeError, match="There is no command no-such-command"):
        run("no-such-command")


def test_files_that_are_not_there_are_empty(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"text\0\n")
    assert (read(str(tmp_path), "file"), read(str(tmp_path), "none"), names(str(tmp_path / "none"))) == ("text", "", [])


class Module(NodeModule):
    """NodeModule without its arguments."""

    def __init__(self, check_mode: bool = False) -> None:
        self.check_mode = check_mode
        self.result: dict[str, Any] = {}
        self.warned: list[str] = []

    def exit_json(self, **result: Any) -> None:
        self.result = result

    fail_json = exit_json

    def warn(self, warning: str) -> None:
        self.warned.append(warning)


def planned(module: Any) -> ChangeSet:
    plan = ChangeSet("thing", {"size": 1}, {"size": 2})
    plan.warnings.append("Look out.")
    plan.step("grow", lambda: {"size": 3})
    return plan


def test_check_mode_takes_no_step() -> None:
    module = Module(check_mode=True)
    module.converge("thing", planned, lambda _module, _plan: pytest.fail("looked"))
    assert module.result["changed"] and module.result["thing"] == {"size": 2} and module.warned == ["Look out."]
    assert (module.result["diff"]["before"], module.result["diff"]["after"]) == ({"size": 1}, {"size": 2})


def test_facts_of_steps_are_part_of_the_result() -> None:
    module = Module()
    module.converge("thing", planned)
    assert module.result["thing"] == {"size": 3}
    module.converge("thing", planned, lambda _module, _plan: {"size": 4})
    assert module.result["diff"]["after"] == {"size": 4}


@pytest.mark.parametrize(("error", "words"), [
    (NodeError("Do that."), "Do that."), (OSError("full"), "full"), (KeyError("x"), "defect of nobloat.xen"),
])
def test_every_error_is_an_answer(error: Exception, words: str) -> None:
    def fail(*_args: Any) -> Any:
        raise error

    module = Module()
    module.converge("thing", fail)
    assert words in module.result["msg"]
    assert ("exception" in module.result) == isinstance(error, KeyError)
    module.report(fail)
    assert words in module.result["msg"]
    json.dumps(module.result)


class Many(Module):
    """With the options of a module that takes several things; a failure is marked as Ansible marks it."""

    def __init__(self, items: list[dict[str, Any]], check_mode: bool = False) -> None:
        super().__init__(check_mode)
        self.argument_spec = {
            "name": {"type": "str"}, "size": {"type": "int", "default": 7}, "purge": {"type": "bool", "default": False},
            "secret": {"type": "str", "no_log": True}, "things": {"type": "list", "elements": "dict"}}
        self.params = {"name": None, "size": 7, "purge": True, "secret": "hush", "things": items}
        self.done: list[dict[str, Any]] = []

    def fail_json(self, **result: Any) -> None:
        self.result = {"failed": True, **result}
        raise SystemExit

    def run(self) -> dict[str, Any]:
        def plan(options: dict[str, Any]) -> ChangeSet:
            if options["name"] == "bad":
                raise NodeError("No such thing.")
            found = ChangeSet(options["name"], {}, {"size": options["size"]})
            if options["size"]:
                found.step("make", lambda: self.done.append(options) if options["name"] != "stuck" else 1 / 0 or None)
            return found

        self.items, self.identity = "things", "name"
        with contextlib.suppress(SystemExit):
            self.entries = [{**self.params, **own} for own in self.own_entries("things", "name")]
            self.converge_each("thing", plan, lambda options: {"size": options["size"], "seen": True})
        return self.result


def test_several_things_in_one_run() -> None:
    module = Many([{"name": "one"}, {"name": "bad"}, {"name": "two", "size": "9", "purge": False}, {"name": "same", "size": 0}])
    result = module.run()
    assert [(options["name"], options["size"], options["purge"], options["secret"]) for options in module.done] == [
        ("one", 7, True, "hush"), ("two", 9, False, "hush")]
    assert result["failed"] and result["changed"] and result["msg"] == "1 of 4 things failed. bad: No such thing."
    assert [(told["name"], told["changed"], told["failed"]) for told in result["things"]] == [
        ("one", True, False), ("bad", False, True), ("two", True, False), ("same", False, False)]
    assert result["things"][2]["thing"] == {"size": 9, "seen": True}
    assert [diff["after"] for diff in result["diff"]] == [{"size": 7, "seen": True}, {"size": 9, "seen": True}]


def test_several_things_in_check_mode() -> None:
    module = Many([{"name": "one"}, {"name": "same", "size": 0}], check_mode=True)
    result = module.run()
    assert result["changed"] and not module.done and result["things"][0]["thing"] == {"size": 7} and "failed" not in result


@pytest.mark.parametrize(("items", "words"), [
    ([{"size": 1}], r"things[0] (without name): missing required arguments: name"),
    ([{"name": "one"}, {"name": "one"}], "more than one item for one"),
    ([{"name": "one", "sice": 1}], "sice"),
    ([{"name": "one", "secret": "loud"}], "secret"),
    ([{"name": "one", "size": "big"}], "things[0] (one): "),
])
def test_bad_items_do_nothing(items: list[dict[str, Any]], words: str) -> None:
    module = Many([{"name": "good"}, *items] if "[0]" not in words else items)
    assert module.run()["failed"] and words in module.result["msg"] and not module.done


def test_a_defect_in_one_of_several_is_no_answer_of_it() -> None:
    assert "defect of nobloat.xen" in Many([{"name": "stuck"}]).run()["msg"]


def test_nothing_but_the_node_is_imported() -> None:
    """What runs on a node stands on the standard library, itself, the framework, the names of legs, sizes, and the one file that knows
    Ansible.

    lio.py and the names stand on the standard library alone.
    """
    folder = Path(module_source.__file__).parent
    ours = "ansible_collections.nobloat.xen.plugins.module_utils.node"
    utils = "ansible_collections.nobloat.xen.plugins.module_utils."
    allowed = {utils + name for name in ("change", "lists", "mirror.names", "size", "discreet")}
    for path in folder.glob("*.py"):
        imported = {node.module or "" for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                    if isinstance(node, ast.ImportFrom)}
        foreign = {name for name in imported if name.startswith("ansible")}
        assert all(name in allowed or name.startswith(ours) for name in foreign), path
        assert path.name != "lio.py" or not foreign
        assert "__future__" not in imported, path
