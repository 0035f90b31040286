# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all kinds of objects share: finding them, renaming them, their tags and other_config."""
from __future__ import annotations

from types import SimpleNamespace

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.common import (
    common_view,
    find_named,
    matching,
    plan_common,
    wanted_keys,
)
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import NotFound


def network(ref, name):
    return {
        "uuid": f"uuid-{ref}", "name_label": name, "name_description": "", "tags": ["b", "a"],
        "other_config": {"k": "1", "boot_time": "5"}, "MTU": "1500",
    }


class Pool:
    """A session on a pool of a few networks; it answers a where-expression by the names and uuids that stand in it."""

    def __init__(self, **names):
        self.rows = {ref: network(ref, name) for ref, name in names.items()}
        self.calls = []

    def bulk(self, method, where=""):
        self.calls.append(method)
        return {
            ref: dict(row) for ref, row in self.rows.items()
            if not where or f'"{row["name_label"]}"' in where or f'"{row["uuid"]}"' in where
        }

    def call(self, *args):
        self.calls.append(args)


def find(pool, name, new_name=None, required=True):
    return find_named(pool, "network", {"name": name, "new_name": new_name}, required=required)


def test_an_object_is_found_by_name_and_by_uuid_in_one_call():
    pool = Pool(one="a", two="b")
    assert find(pool, "a")["ref"] == find(pool, "uuid-one")["ref"] == "one"
    assert pool.calls == ["network.get_all_records_where"] * 2


def test_a_renamed_object_is_found_under_its_new_name():
    assert find(Pool(one="old"), "old", "new")["ref"] == "one"
    assert find(Pool(one="new"), "old", "new")["ref"] == "one"
    assert find(Pool(one="new"), "uuid-one", "new")["ref"] == "one"


def test_a_name_that_is_taken_is_refused():
    with pytest.raises(ValueError, match="network old cannot become new: there is one already"):
        find(Pool(one="old", two="new"), "old", "new")


def test_what_is_not_there_is_an_error_only_when_required():
    assert find(Pool(), "x", required=False) is None
    assert find(Pool(), "x", "y", required=False) is None
    for new_name in (None, "y"):
        with pytest.raises(NotFound):
            find(Pool(), "x", new_name)


def test_matching_filters_and_sorts():
    pool = Pool(one="b", two="a", three="b", four='q"q')
    assert [row["ref"] for row in matching(pool, "network", None)] == ["two", "one", "three", "four"]
    assert [row["ref"] for row in matching(pool, "network", "b")] == ["one", "three"]
    assert [row["ref"] for row in matching(pool, "network", "uuid-two")] == ["two"]
    assert [row["ref"] for row in matching(pool, "network", 'q"q')] == ["four"]
    assert matching(pool, "network", "x") == []


def planned(**params):
    pool = Pool(one="a")
    record = {"ref": "one", **pool.rows["one"]}
    everything = {"description": None, "tags": None, "other_config": None, "purge": False, **params}
    changes = ChangeSet("network a", before=common_view(record))
    plan_common(changes, SimpleNamespace(params=everything, xapi=pool), "network", record)
    changes.apply()
    return changes, pool.calls


def test_omitted_options_are_left_alone():
    changes, calls = planned()
    assert not changes.changed
    assert calls == []


def test_tags_and_keys_are_added():
    changes, calls = planned(tags=["c", "a"], other_config={"new": True})
    assert changes.after["tags"] == ["a", "b", "c"]
    assert calls == [
        ("network.add_tags", "one", "c"),
        ("network.add_to_other_config", "one", "new", "true"),
    ]


def test_purge_spares_what_xapi_keeps_for_itself():
    _changes, calls = planned(tags=["c"], other_config={"new": 1}, purge=True)
    assert calls == [
        ("network.add_tags", "one", "c"), ("network.remove_tags", "one", "a"), ("network.remove_tags", "one", "b"),
        ("network.remove_from_other_config", "one", "k"), ("network.add_to_other_config", "one", "new", "1"),
    ]


NOTES = {"boot_time": "5", "nobloat.xen.maintenance": "x", "xo:backup:job": "y", "XenCenter.CustomFields.owner": "z", "folder": "/a"}


@pytest.mark.parametrize("wanted", [{"k": "1"}, {}])
def test_purge_keeps_the_notes_of_other_products_and_ours(wanted):
    assert wanted_keys({"k": "1", "mine": "2", **NOTES}, wanted, purge=True) == {**NOTES, **wanted}


def test_a_note_that_is_named_goes():
    assert wanted_keys(NOTES, {"folder": None}, purge=True) == {key: value for key, value in NOTES.items() if key != "folder"}
    assert wanted_keys(NOTES, {"folder": "/b"}, purge=True) == {**NOTES, "folder": "/b"}
    assert wanted_keys(NOTES, {}, purge=False) == NOTES
    assert wanted_keys(NOTES, None, purge=True) is None
