# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists: what an entry has, which ones are wrong, what became of each; on a node's Python, too."""
from __future__ import annotations

import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.discreet import checker
from ansible_collections.nobloat.xen.plugins.module_utils.lists import Item, entries, entry_spec, outcome, side_by_side

SPEC = {
    "disks": {"type": "list", "elements": "dict", "options": {"size": {"type": "str"}, "mode": {"type": "str", "choices": ["rw", "ro"]}}},
    "name": {"type": "str", "required": True}, "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "vlan": {"type": "int"}, "device": {"type": "str"}, "uuid": {"type": "str"}, "purge": {"type": "bool", "default": False},
}
RULES = {"required_by": {"vlan": ["device"]}, "mutually_exclusive": [("uuid", "device")]}
PARAMS = {"disks": [{"size": "1GiB", "mode": None}], "name": None, "state": "present", "vlan": None,
          "device": "eth1", "uuid": None, "purge": True, "timeout": 60}


def laid(*items, identity=("name",), **params):
    check = checker(entry_spec(SPEC, identity), **RULES)
    return entries({**PARAMS, "things": list(items) or None, **params}, SPEC, "things", identity, check, RULES["mutually_exclusive"])


def test_an_entry_is_laid_over_the_modules_options():
    given = [{"name": "a", "vlan": "7"}, {"name": "b", "vlan": 8, "device": "eth2", "state": "absent", "purge": None}]
    one, two = laid(*given)
    assert one == {**PARAMS, "things": given, "name": "a", "vlan": 7}
    assert (two["vlan"], two["device"], two["state"], two["purge"], two["timeout"]) == (8, "eth2", "absent", True, 60)


def test_an_entrys_option_replaces_the_modules_that_it_excludes():
    (entry,) = laid({"name": "a", "uuid": "u-1"})
    assert (entry["uuid"], entry["device"]) == ("u-1", None)


def test_without_a_list_it_is_what_the_module_was_told():
    (entry,) = laid(name="a", vlan=7)
    assert (entry["name"], entry["vlan"], entry["device"]) == ("a", 7, "eth1")


@pytest.mark.parametrize(("items", "words"), [
    ([{"vlan": 1}], r"^things\[0\] \(without name\): missing required arguments: name$"),
    ([{"name": "a", "vlan": 1, "state": "gone"}], r"^things\[0\] \(a\): value of state must be one of"),
    ([{"name": "b"}, {"name": "a", "vlna": None}], r"^things\[1\] \(a\): .*vlna"),
    ([{"name": "a", "device": None, "vlan": "x"}], r"^things\[0\] \(a\): .*vlan"),
    ([{"name": "a", "uuid": "u-1", "vlan": 3}], "required by 'vlan': device"),
    ([{"name": "a", "uuid": "u-1", "device": "eth0"}], "mutually exclusive"),
    ([{"name": "a"}, {"name": "b"}, {"name": "a"}], "^things has more than one item for a.$"),
])
def test_what_is_wrong_is_told(items, words):
    with pytest.raises(ValueError, match=words):
        laid(*items)


def test_rules_hold_for_one_thing_too():
    with pytest.raises(ValueError, match=r"^missing parameter\(s\) required by 'vlan': device$"):
        laid(name="a", vlan=7, device=None)


def test_several_options_may_say_which_one_it_is():
    laid({"name": "a", "device": "eth0"}, {"name": "a", "device": "eth2"}, identity=("device", "name"))
    with pytest.raises(ValueError, match="more than one item for eth1 a"):
        laid({"name": "a"}, {"name": "a", "device": "eth1"}, identity=("device", "name"))


def test_each_has_its_outcome():
    items = [Item({"name": name}, ["name"]) for name in ("made", "same", "bad")]
    for item in items:
        item.changes = ChangeSet(f"thing {item.name}", {"n": 1})
    items[0].changes.set("n", 2, lambda value: None)
    items[0].changes.facts["seen"] = True
    items[2].changes.set("n", 3, lambda value: None)
    items[2].error = ValueError("No.")
    result = outcome(items, "things", "thing", lambda error: {"msg": str(error), "hint": "Look."})
    assert result == {
        "changed": True, "failed": True, "msg": "1 of 3 things failed. bad: No.", "diff": [items[0].changes.diff()],
        "things": [{"name": "made", "changed": True, "failed": False, "thing": {"n": 2}, "seen": True},
                   {"name": "same", "changed": False, "failed": False, "thing": {"n": 1}},
                   {"name": "bad", "changed": False, "failed": True, "msg": "No.", "hint": "Look."}],
    }
    assert "failed" not in outcome(items[:2], "things", "thing", lambda error: {})


@pytest.mark.parametrize(("parallel", "most"), [(1, 1), (3, 3), (99, 4)])
def test_no_more_at_a_time_than_allowed(parallel, most):
    together = threading.Barrier(most)
    done = []

    def work(thing):
        together.wait(timeout=30)
        done.append(thing)

    things = list(range(most * 2))
    side_by_side(work, things, parallel if parallel < 99 else most)
    assert sorted(done) == things


PROGRAM = """
from ansible_collections.nobloat.xen.plugins.module_utils.change import ApplyError, ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.lists import Item, entries, entry_spec, outcome, side_by_side
spec = {"name": {"type": "str"}, "size": {"type": "int", "default": 7}}
found = entries({"name": None, "size": 7, "things": [{"name": "a"}, {"name": "b", "size": 0}]}, spec, "things", ["name"],
                lambda own, shared: (dict(shared, **own), []))
items = [Item(options, ["name"]) for options in found]
for item in items:
    item.changes = ChangeSet(item.name, {"size": 1})
    item.changes.set("size", item.options["size"], lambda value: 1 / value)
def work(item):
    try:
        item.changes.apply()
    except ApplyError as error:
        item.error = error
side_by_side(work, items, 2)
print(entry_spec(spec, ["name"]), outcome(items, "things", "thing", lambda error: {"msg": str(error)}))
"""


def test_a_nodes_python_runs_it():
    oldest = next(map(str, Path.home().glob(".pyenv/versions/3.6.*/bin/python3.6")), shutil.which("python3.6"))
    if not oldest or ".pyenv/shims" in oldest:
        pytest.skip("this machine has no Python 3.6")
    collections = Path(__file__).resolve().parents[4] / ".work/collections"
    done = subprocess.run([oldest, "-c", PROGRAM], env={**os.environ, "PYTHONPATH": str(collections), "PYTHONDONTWRITEBYTECODE": "1"},
                          capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "'msg': '1 of 2 things failed. b: set size of b: division by zero.'" in done.stdout
    assert "{'name': {'type': 'str', 'required': True}, 'size': {'type': 'int'}}" in done.stdout
