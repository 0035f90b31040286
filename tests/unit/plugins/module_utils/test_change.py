# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ChangeSet: what is planned, what is shown, what is undone."""
from __future__ import annotations

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.change import ApplyError, ChangeSet, merged


@pytest.mark.parametrize(
    ("live", "desired", "purge", "expected"),
    [
        ({"a": "1"}, None, False, None),
        ({"a": "1"}, None, True, None),
        ({"a": "1"}, {}, False, {}),
        ({"a": "1"}, {"b": 2}, False, {"a": "1", "b": "2"}),
        ({"a": "1"}, {"b": True}, True, {"b": "true"}),
        ({"a": "1", "b": "2"}, {"a": None}, False, {"b": "2"}),
        ({"a": "1", "b": "2"}, {"a": None, "b": "3"}, True, {"b": "3"}),
        (None, {"a": "1"}, False, {"a": "1"}),
        (["x"], None, False, None),
        (["x"], [], False, []),
        (["x"], ["b", "a", "b"], False, ["a", "b", "x"]),
        (["x"], ["b", "a"], True, ["a", "b"]),
    ],
)
def test_omitted_leaves_alone_empty_clears_purge_makes_exact(live, desired, purge, expected):
    assert merged(live, desired, purge=purge) == expected


def test_equal_or_omitted_values_plan_nothing():
    changes = ChangeSet("network x", {"mtu": 1500, "tags": ["a"]})
    assert not changes.set("mtu", 1500, pytest.fail)
    assert not changes.set("mtu", None, pytest.fail)
    assert not changes.merge("tags", ["a"], pytest.fail)
    assert not changes.changed
    assert changes.diff()["before"] == changes.diff()["after"]


def test_a_plan_touches_nothing_until_it_is_applied():
    calls = []
    changes = ChangeSet("network x", {"mtu": 1500, "tags": ["a"]})
    changes.set("mtu", 9000, lambda value: calls.append(("mtu", value)))
    changes.merge("tags", ["b"], lambda value: calls.append(("tags", value)))
    assert changes.changed and calls == []
    assert changes.before == {"mtu": 1500, "tags": ["a"]}
    assert changes.after == {"mtu": 9000, "tags": ["a", "b"]}
    told = []
    changes.apply(told.append)
    assert calls == [("mtu", 9000), ("tags", ["a", "b"])]
    assert told == ["set mtu of network x", "set tags of network x"]


def test_what_a_step_learns_is_in_the_returned_object_but_a_setter_teaches_nothing():
    changes = ChangeSet("network x")
    changes.create({"name": "x"}, lambda: {"uuid": "1234"})
    changes.set("mtu", 9000, lambda value: {"uuid": "wrong"})
    changes.apply()
    assert changes.after == {"name": "x", "mtu": 9000, "uuid": "1234"}


def test_what_is_no_dictionary_teaches_nothing():
    changes = ChangeSet("network x", {"name": "x"}, {"name": "y"})
    changes.step("count", lambda: 7)
    changes.step("look", lambda: {"uuid": "1234"})
    changes.apply()
    assert (changes.before, changes.after) == ({"name": "x"}, {"name": "y", "uuid": "1234"})


def test_removal_leaves_nothing_behind_in_the_view():
    changes = ChangeSet("network x", {"name": "x"})
    changes.delete(lambda: "a task's result")
    changes.apply()
    assert (changes.before, changes.after) == ({"name": "x"}, {})


def test_a_failed_step_undoes_the_earlier_ones_newest_first_and_names_what_stays():
    log = []

    def fail():
        raise RuntimeError("disk full")

    def cannot():
        raise RuntimeError("no connection")

    changes = ChangeSet("vm x")
    changes.step("one", lambda: log.append("one"), undo=lambda: log.append("undo one"))
    changes.step("two", lambda: log.append("two"), undo=cannot, leaves="disk two")
    changes.step("three", lambda: log.append("three"), leaves="network three")
    changes.step("four", fail)
    changes.step("five", lambda: log.append("five"))
    with pytest.raises(ApplyError, match="four: disk full") as error:
        changes.apply()
    assert log == ["one", "two", "three", "undo one"]
    assert error.value.leftovers == ["network three", "disk two (no connection)"]
    assert isinstance(error.value.cause, RuntimeError)


def test_every_setter_has_its_way_back():
    live = {"mtu": 1500, "tags": ["a"], "rate": 10}

    def fail():
        raise ValueError("It does not start.")

    changes = ChangeSet("network x", dict(live))
    changes.set("mtu", 9000, lambda value: live.update(mtu=value))
    changes.merge("tags", ["b"], lambda value: live.update(tags=value))
    changes.set("rate", 20, lambda value: live.update(rate=value), undo=lambda: live.update(rate=0))
    changes.set("mtu", 1280, lambda value: live.update(mtu=value))
    changes.step("start", fail)
    with pytest.raises(ApplyError) as error:
        changes.apply()
    assert live == {"mtu": 1500, "tags": ["a"], "rate": 0}
    assert error.value.remains == {}


def test_what_is_made_anew_goes_as_a_whole():
    log = []

    def fail():
        raise ValueError("No.")

    changes = ChangeSet("network x")
    changes.create({"mtu": 1500}, lambda: log.append("made"), undo=lambda: log.append("gone"))
    changes.set("mtu", 9000, log.append)
    changes.step("plug", fail)
    with pytest.raises(ApplyError):
        changes.apply()
    assert log == ["made", 9000, "gone"]


def test_what_was_destroyed_before_a_failure_is_named():
    def fail():
        raise ValueError("The switch is off.")

    changes = ChangeSet("guest x", {"name": "x"})
    changes.step("destroy disk one", lambda: None, gone="disk one")
    changes.delete(lambda: None)
    changes.step("tell the switch", fail, gone="the port")
    with pytest.raises(ApplyError, match=r"^tell the switch: The switch is off\. Already gone: disk one, guest x\.$") as error:
        changes.apply()
    assert error.value.remains == {"gone": ["disk one", "guest x"]}
