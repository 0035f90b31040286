# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ways between power states, lists of guests, and reading in bulk."""
from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.change import ApplyError, ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.discreet import checker
from ansible_collections.nobloat.xen.plugins.module_utils.lists import entries as lists_entries
from ansible_collections.nobloat.xen.plugins.module_utils.lists import entry_spec
from ansible_collections.nobloat.xen.plugins.module_utils.many import ListModule
from ansible_collections.nobloat.xen.plugins.module_utils.vm import power as power_module
from ansible_collections.nobloat.xen.plugins.module_utils.vm.power import plan_power, way
from ansible_collections.nobloat.xen.plugins.module_utils.vm.read import MAX_TERMS, device_number, select
from ansible_collections.nobloat.xen.plugins.module_utils.vm.spec import POWER_SPEC, SOURCES, VM_SPEC, check_source
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import XapiError
from vm_fakes import Recorder, vm, world

STATES = {"Running": "running", "Halted": "halted", "Suspended": "suspended", "Paused": "paused"}


@pytest.mark.parametrize("live", STATES)
@pytest.mark.parametrize("wanted", [*STATES.values(), "restarted"])
@pytest.mark.parametrize("force", [False, True])
def test_every_way_is_known_or_refused(live, wanted, force):
    if (live, wanted) == ("Halted", "suspended"):
        with pytest.raises(ValueError, match="cannot become suspended"):
            way(live, wanted, force=force)
    else:
        assert bool(way(live, wanted, force=force)) == (STATES[live] != wanted)


@pytest.mark.parametrize(
    ("live", "wanted", "force", "operations"),
    [
        ("Running", "halted", False, ("down",)), ("Running", "halted", True, ("hard down",)),
        ("Suspended", "halted", False, ("resume", "down")), ("Paused", "restarted", False, ("unpause", "reboot")),
        ("Halted", "paused", False, ("start paused",)), ("Halted", "restarted", True, ("start",)),
    ],
)
def test_ways(live, wanted, force, operations):
    assert way(live, wanted, force=force) == operations


def power(record, **given):
    recorder = Recorder()
    params = {option: rule.get("default") for option, rule in POWER_SPEC.items()}
    changes, _guest = plan_power({**params, "name": record["name_label"], **given}, recorder, world(record))
    changes.apply()
    return changes, recorder.calls


def test_start_on_a_host():
    changes, calls = power(vm(), host="host1")
    assert calls == [("VM.start_on", "vm1", "host1", False, False)]
    assert changes.after == {"name": "vm1", "uuid": "uuid-vm1", "power_state": "running", "host": "host1"}
    assert power(vm(power_state="Suspended"))[1] == [("VM.resume", "vm1", False, False)]
    assert power(vm(), state="paused")[1] == [("VM.start", "vm1", True, False)]


def test_an_equal_state_is_no_change_and_a_restart_always_is():
    running = vm(power_state="Running", resident_on="host1")
    assert not power(running)[0].changed
    changes, calls = power(running, state="restarted", force=True)
    assert calls == [("VM.hard_reboot", "vm1")]
    assert (changes.before["restarted"], changes.after["restarted"]) == (False, True)


def test_a_blocked_operation_is_told_before_the_first_step():
    with pytest.raises(XapiError) as caught:
        power(vm(power_state="Paused", blocked_operations={"clean_shutdown": "ask Ann"}), state="halted")
    assert caught.value.code == "OPERATION_BLOCKED"
    with pytest.raises(XapiError):
        power(vm(blocked_operations={"start_on": "ask Ann"}), host="host1")


@pytest.mark.parametrize(("live", "given", "fail", "calls", "remains"), [
    ("Paused", {"state": "suspended"}, "VM.suspend", ["VM.unpause", "VM.suspend", "VM.pause"], {}),
    ("Suspended", {"state": "restarted", "force": True}, "VM.start", ["VM.hard_shutdown", "VM.start"],
     {"leftovers": ["guest vm1, shut down"], "gone": ["the memory of guest vm1"]}),
])
def test_a_failed_way_is_gone_back(live, given, fail, calls, remains):
    recorder = Recorder(fail=fail)
    params = {option: rule.get("default") for option, rule in POWER_SPEC.items()}
    record = vm(power_state=live)
    changes, _guest = plan_power({**params, "name": "vm1", **given}, recorder, world(record))
    with pytest.raises(ApplyError) as caught:
        changes.apply()
    assert (recorder.methods(), caught.value.remains) == (calls, remains)


def entries(params, spec):
    return lists_entries(params, spec, "vms", ["name"], checker(entry_spec(spec, ["name"])), [SOURCES])


def test_items_are_laid_over_the_modules_options():
    params = {**dict.fromkeys(VM_SPEC), "state": "present", "memory": "1GiB", "force": False,
              "vms": [{"name": "a"}, {"name": "b", "memory": "2GiB", "disks": [{"size": "1GiB"}], "purge": "yes"}]}
    first, second = entries(params, VM_SPEC)
    assert (first["name"], first["memory"], first["state"], first["disks"]) == ("a", "1GiB", "present", None)
    assert (second["memory"], second["purge"], second["disks"][0]["sr"]) == ("2GiB", True, None)


def test_an_items_source_replaces_the_modules():
    params = {**dict.fromkeys(VM_SPEC), "template": "t", "vms": [{"name": "a"}, {"name": "b", "snapshot": "s"}]}
    assert [(entry["template"], entry["snapshot"]) for entry in entries(params, VM_SPEC)] == [("t", None), (None, "s")]
    with pytest.raises(ValueError, match="not from both"):
        check_source(entries({**params, "snapshot": "s"}, VM_SPEC)[0])


@pytest.mark.parametrize(
    ("items", "match"),
    [
        ([{"name": "a", "memry": "1GiB"}], r"vms\[0\] \(a\).*memry"),
        ([{"memory": "1GiB"}], "name"),
        ([{"name": "a"}, {"name": "a"}], "more than one item for a"),
        ([{"name": "a", "disks": [{"mode": "wo"}]}], "rw, ro"),
    ],
)
def test_a_wrong_item_is_told(items, match):
    with pytest.raises(ValueError, match=match):
        entries({**dict.fromkeys(VM_SPEC), "vms": items}, VM_SPEC)


class FakeModule(ListModule):
    """ListModule without its arguments and its pool."""

    def __init__(self, names, listed=True, check_mode=False, parallel=3):
        self.params = {"vms": [] if listed else None, "parallel": parallel}
        self.items, self.identity, self.noun, self.listed = "vms", ["name"], "guests", listed
        self.wanted = [{"name": name} for name in names]
        self.check_mode, self.detached, self.xapi = check_mode, [], SimpleNamespace()
        self.failed = self.result = None

    def telling(self, claim):
        return lambda text: None

    @contextmanager
    def alone(self, look, sets, same=None):
        yield look(), SimpleNamespace(note=lambda error: False)

    def perform(self, work):
        self.result = work(self)

    def fail_json(self, **result):
        self.failed = result
        raise SystemExit

    def together(self, look):
        self.converge_together("vm", look, lambda items: None, lambda items: False)
        return self.result


def planner(busy, done, seen):
    def plan(item):
        entry = item.options
        if entry["name"] == "wrong":
            raise ValueError("no such network")
        changes = ChangeSet(f"guest {entry['name']}", {"n": 0})

        def work(value):
            busy.add(threading.get_ident())
            seen.append(len(busy))
            time.sleep(0.01)
            busy.discard(threading.get_ident())
            if entry["name"] == "broken":
                raise XapiError("SR_FULL", ("1", "0"))
            done.append(entry["name"])

        if entry["name"] != "same":
            changes.set("n", 1, work)
        return changes

    return lambda items: plan


def test_one_failure_stops_no_other_and_all_are_told():
    done, seen = [], []
    module = FakeModule(["a", "b", "wrong", "broken", "same", "c", "d", "e"])
    with pytest.raises(SystemExit):
        module.together(planner(set(), done, seen))
    assert sorted(done) == ["a", "b", "c", "d", "e"]
    assert max(seen) <= 3
    result = module.failed
    assert result["msg"].startswith("2 of 8 guests failed. wrong: no such network; broken: set n of guest broken: the SR is full")
    assert {item["name"]: item["changed"] for item in result["vms"]} == {
        "a": True, "b": True, "wrong": False, "broken": False, "same": False, "c": True, "d": True, "e": True,
    }
    assert len(result["diff"]) == 5


def test_check_mode_applies_nothing_to_a_list():
    done = []
    result = FakeModule(["a", "same"], check_mode=True).together(planner(set(), done, []))
    assert not done
    assert result["changed"] is True
    assert [item["vm"] for item in result["vms"]] == [{"n": 1}, {"n": 0}]


def test_a_single_guest_fails_at_once():
    with pytest.raises(ValueError, match="no such network"):
        FakeModule(["wrong"], listed=False).together(planner(set(), [], []))


def reader(rows):
    asked = []

    def bulk(method, *args):
        asked.append((method, *args))
        return {ref: dict(row) for ref, row in rows.items()}

    return SimpleNamespace(bulk=bulk), asked


def test_many_are_read_in_one_call_however_many():
    session, asked = reader({})
    select(session, "VM", refs=["r1"], names=["web"])
    assert asked == [("VM.get_all_records_where", '(field "_ref"="r1") or (field "name__label"="web") or (field "uuid"="web")')]
    rows = {f"r{n}": {"name_label": f"vm{n}", "uuid": str(n)} for n in range(MAX_TERMS * 2)}
    session, asked = reader(rows)
    found = select(session, "VM", names=[f"vm{n}" for n in range(MAX_TERMS)])
    assert asked == [("VM.get_all_records",)]
    assert len(found) == MAX_TERMS


def test_nothing_asked_is_no_call_and_quotes_are_found_too():
    session, asked = reader({"r": {"name_label": 'a "b"', "uuid": "1"}, "s": {"name_label": "c", "uuid": "2"}})
    assert select(session, "VM", refs=["OpaqueRef:NULL"]) == {}
    assert not asked
    assert list(select(session, "VM", names=['a "b"'])) == ["r"]


@pytest.mark.parametrize(
    ("device", "number"),
    [({"userdevice": "3"}, 3), ({"userdevice": "xvdb"}, 1), ({"userdevice": "hda"}, 0), ({"device": "7"}, 7), ({"userdevice": "odd"}, -1)],
)
def test_positions(device, number):
    assert device_number(device) == number


@pytest.fixture
def network(monkeypatch):
    """Where XAPI listens: a set of addresses."""
    found = set()
    monkeypatch.setattr(
        power_module, "signs_of_life", lambda url, address: f"it takes connections at {address}:443" if address in found else "")
    return found


@pytest.mark.parametrize("live", ["Running", "Paused"])
@pytest.mark.parametrize(("wanted", "host", "calls"), [
    ("running", "host1", [("VM.start_on", "vm1", "host1", False, False)]), ("running", None, [("VM.start", "vm1", False, False)]),
    ("paused", None, [("VM.start", "vm1", True, False)]), ("halted", None, []), ("restarted", None, [("VM.start", "vm1", False, False)]),
])
def test_a_guest_of_a_dead_host(network, live, wanted, host, calls):
    record = vm(power_state=live, resident_on="host0")
    changes, made = power(record, state=wanted, host=host, assume_dead=True)
    assert made == [("VM.power_state_reset", "vm1"), *calls]
    assert "restarted" not in changes.after and changes.after.get("host") == (host if calls else None)


def test_a_host_that_answers_is_not_dead(network):
    network.add("10.0.0.1")
    record = vm(power_state="Running", resident_on="host0")
    with pytest.raises(ValueError, match=r"host0 must not be taken for dead, it takes connections at 10\.0\.0\.1:443"):
        power(record, assume_dead=True)
    assert power(record, assume_dead=False)[1] == []
    assert power(record, assume_dead=True, host="host0")[1] == []


def test_only_a_guest_that_runs_is_reset(network):
    assert power(vm(), assume_dead=True)[1] == [("VM.start", "vm1", False, False)]
    assert power(vm(power_state="Suspended"), assume_dead=True)[1] == [("VM.resume", "vm1", False, False)]
    with pytest.raises(ValueError, match="cannot become suspended"):
        power(vm(power_state="Running", resident_on="host1"), state="suspended", assume_dead=True)
