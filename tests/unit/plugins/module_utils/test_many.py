# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists of a pool's objects: what is read, in which order it is changed, and what each comes to."""
from __future__ import annotations

import re
import threading
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.many import ListModule, Sight
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.records import find, records


class Pool:
    """A session, and what was asked of it. Networks only."""

    def __init__(self, *names):
        self.networks = {f"ref-{name}": {"name_label": name, "uuid": f"uuid-{name}", "MTU": "1500"} for name in names}
        self.asked, self.threads = [], set()

    def bulk(self, method, *args):
        self.asked.append(method)
        self.threads.add(threading.get_ident())
        named = re.findall(r'"name__label"="(\w+)"', args[0]) if args else self.networks
        return {ref: dict(raw) for ref, raw in self.networks.items() if not args or raw["name_label"] in named}

    def call(self, method, *args):
        self.asked.append(method)

    def fork(self):
        return self


class Module(ListModule):
    """ListModule without its arguments; `rivals`: who was faster, as often as it says."""

    def __init__(self, pool, names, check_mode=False, listed=True, rivals=0):
        self.params = {"networks": [], "parallel": 3}
        self.items, self.identity, self.noun, self.listed = "networks", ["name"], "", listed
        self.wanted = [{"name": name} for name in names]
        self.check_mode, self.detached, self.xapi, self.rivals = check_mode, [], pool, rivals
        self.lanes = SimpleNamespace(session=lambda: pool)
        self.result, self.claimed, self.told = None, [], []

    def progress(self, text):
        self.told.append(text)

    def telling(self, claim):
        return lambda text: None

    def note(self, error):
        self.rivals -= 1
        return self.rivals >= 0

    @contextmanager
    def alone(self, look, sets, same=None):
        changes = look()
        if changes.making:
            self.claimed.append(set(changes.making))
            changes = look()
        yield changes, SimpleNamespace(note=self.note)

    def perform(self, work):
        self.result = work(self)

    def fail_json(self, **result):
        self.result = {"failed": True, **result}
        raise SystemExit


def plan(module):
    """Make the network unless it is there; `bad` cannot be."""
    name, pool = module.params["name"], module.xapi
    changes = ChangeSet(f"network {name}")
    there = find(pool, "network", name, required=False)
    changes.after["others"] = sorted(network["name_label"] for network in records(pool, "network").values())
    if name == "wrong":
        raise ValueError("No such device.")

    def make():
        if name == "bad":
            raise ValueError("No room.")
        module.xapi.call("network.create", name)
        pool.networks[f"ref-{name}"] = {"name_label": name, "uuid": f"uuid-{name}", "MTU": "1500"}

    if not there:
        changes.create(changes.after, make)
    return changes


def test_a_list_reads_once_when_there_is_nothing_to_do():
    pool = Pool("a", "b", "c")
    module = Module(pool, ["a", "b", "c"])
    module.converge_each("network", plan)
    assert pool.asked == ["network.get_all_records"] and not module.result["changed"] and module.result["diff"] == []


def test_one_by_one_each_is_planned_with_what_the_ones_before_have_changed():
    pool = Pool("a")
    module = Module(pool, ["b", "a", "c"])
    module.converge_each("network", plan)
    assert [(told["name"], told["changed"], told["network"]["others"]) for told in module.result["networks"]] == [
        ("b", True, ["a"]), ("a", False, ["a", "b"]), ("c", True, ["a", "b"])]
    assert module.claimed == [{"network b"}, {"network c"}]
    # Once for all; b again, once it is claimed; once for those after it; and c again, once it is claimed.
    assert pool.asked == ["network.get_all_records", "network.get_all_records_where", "network.get_all_records", "network.create",
                          "network.get_all_records", "network.get_all_records_where", "network.get_all_records", "network.create"]


def test_one_that_fails_keeps_no_other_from_being_done():
    pool = Pool()
    module = Module(pool, ["wrong", "a", "bad", "b"])
    with pytest.raises(SystemExit):
        module.converge_each("network", plan)
    assert sorted(pool.networks) == ["ref-a", "ref-b"]
    assert module.result["msg"] == "2 of 4 networks failed. wrong: No such device; bad: create network bad: No room."
    assert [told["failed"] for told in module.result["networks"]] == [True, False, True, False]
    assert module.told == ["network a is done (1 of 3)", "network bad has failed (2 of 3)", "network b is done (3 of 3)"]


def test_side_by_side_each_has_a_thread():
    pool = Pool()
    module = Module(pool, ["a", "b", "c"])
    module.converge_each("network", plan, group=lambda options: options["name"])
    assert len(pool.networks) == 3 and len(pool.threads) > 1


def test_check_mode_looks_only():
    pool = Pool("a")
    module = Module(pool, ["a", "b"], check_mode=True)
    module.converge_each("network", plan)
    assert pool.asked == ["network.get_all_records"]
    assert [told["changed"] for told in module.result["networks"]] == [False, True] and module.result["changed"]


def test_where_another_run_was_faster_it_is_planned_anew():
    pool = Pool()
    module = Module(pool, ["a", "b"], rivals=1)
    refused = []

    def overtaken(one):
        changes = plan(one)
        if one.params["name"] == "a" and not refused and changes.steps:
            changes.steps[0] = changes.steps[0]._replace(do=lambda: refused.append(1) or 1 / 0)
        return changes

    module.alone = no_claims(module)
    module.converge_each("network", overtaken)
    assert refused and sorted(pool.networks) == ["ref-a", "ref-b"] and all(told["changed"] for told in module.result["networks"])


def no_claims(module):
    @contextmanager
    def alone(look, sets, same=None):
        yield look(), SimpleNamespace(note=module.note)

    return alone


def test_one_alone_fails_at_once_and_has_its_object():
    module = Module(Pool(), ["wrong"], listed=False)
    with pytest.raises(ValueError, match="No such device"):
        module.converge_each("network", plan)
    module = Module(Pool(), ["a"], listed=False)
    module.converge_each("network", plan)
    assert module.result["changed"] and module.result["network"] == {"others": []} and "networks" not in module.result


def test_what_steps_read_is_not_remembered():
    pool = Pool("a")
    sight = Sight(SimpleNamespace(session=lambda: pool), frozenset({"network"}))
    with sight.looking():
        assert len(records(sight, "network")) == 1
        pool.networks["ref-b"] = {"name_label": "b", "uuid": "uuid-b", "MTU": "1500"}
        assert find(sight, "network", "b", required=False) is None
        first, again = records(sight, "network")["ref-a"], records(sight, "network")["ref-a"]
        assert first == again and first is not again and first["MTU"] == 1500
    assert find(sight, "network", "b")["uuid"] == "uuid-b" and len(records(sight, "network")) == 2


def test_a_call_that_a_plan_keeps_is_of_the_thread_that_makes_it():
    pools = [Pool(), Pool()]
    sight = Sight(SimpleNamespace(session=lambda: pools[0]), frozenset())
    kept = sight.call
    sight._lanes.session = lambda: pools[1]
    kept("VBD.destroy", "ref")
    assert (pools[0].asked, pools[1].asked) == ([], ["VBD.destroy"])
