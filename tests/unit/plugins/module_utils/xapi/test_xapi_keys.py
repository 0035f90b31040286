# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Maps and sets are written key by key: what somebody else writes between our reading and our writing stays."""
from __future__ import annotations

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import XapiError
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.keys import Keys, write_key


class Pool:
    """One VM with a map and a set; `rival` is another client, which is called before each of our calls."""

    def __init__(self, rival=lambda pool, method: None, **fields):
        self.fields, self.rival = fields, rival

    def call(self, method, ref, *args):
        assert ref == "vm"
        self.rival(self, method)
        verb, field = next((verb, method[len(f"VM.{verb}"):]) for verb in ("add_to_", "remove_from_", "add_", "remove_")
                           if method.startswith(f"VM.{verb}"))
        value = self.fields[field]
        if verb == "add_to_":
            if args[0] in value:
                raise XapiError("MAP_DUPLICATE_KEY", ["VM", field, ref, args[0]])
            value[args[0]] = args[1]
        elif verb == "remove_from_":
            value.pop(args[0], None)
        elif verb == "add_":
            value.add(args[0])
        else:
            value.discard(args[0])

    def keys(self, field):
        return Keys(self.call, "VM", field, lambda: "vm", self.fields[field].copy())


def test_what_another_client_writes_meanwhile_stays():
    pool = Pool(other_config={"old": "1", "gone": "1"}, tags={"a", "b"})
    keys, tags = pool.keys("other_config"), pool.keys("tags")
    pool.fields["other_config"]["theirs"] = "1"
    pool.fields["tags"].add("theirs")
    keys({"old": "2", "new": "1"})
    tags(["a", "c"])
    assert pool.fields["other_config"] == {"old": "2", "new": "1", "theirs": "1"}
    assert pool.fields["tags"] == {"a", "c", "theirs"}


def test_the_way_back_takes_back_what_was_written_and_nothing_else():
    before = {"old": "1", "gone": "1"}
    pool = Pool(other_config=dict(before))
    keys = pool.keys("other_config")
    keys({"old": "2", "new": "1"})
    pool.fields["other_config"]["theirs"] = "1"
    keys(before)
    assert pool.fields["other_config"] == {**before, "theirs": "1"}


def test_a_key_that_somebody_adds_at_the_same_moment_gets_our_value():
    times = iter(range(3))

    def rival(pool, method):
        if method == "VM.add_to_other_config" and next(times, None) is not None:
            pool.fields["other_config"]["k"] = "theirs"

    pool = Pool(rival, other_config={})
    pool.keys("other_config")({"k": "ours"})
    assert pool.fields["other_config"] == {"k": "ours"}


def test_somebody_who_never_rests_wins_in_the_end():
    pool = Pool(lambda pool, method: pool.fields["other_config"].update(k="theirs"), other_config={})
    with pytest.raises(XapiError) as caught:
        write_key(pool.call, "VM", "other_config", "vm", "k", "ours")
    assert caught.value.code == "MAP_DUPLICATE_KEY"


def test_a_failure_half_way_leaves_what_was_there():
    def rival(pool, method):
        if pool.broken and method == "VM.add_to_other_config" and "a" in pool.fields["other_config"]:
            pool.broken = False
            raise XapiError("INTERNAL_ERROR", ["power cut"])

    pool = Pool(rival, other_config={"b": "1"})
    pool.broken = True
    with pytest.raises(XapiError, match="power cut"):
        pool.keys("other_config")({"a": "1", "b": "2"})
    assert pool.fields["other_config"] == {"b": "1"}


def test_what_is_the_same_costs_no_call():
    pool = Pool(lambda pool, method: pytest.fail(method), other_config={"a": "1"}, tags={"a"})
    pool.keys("other_config")({"a": "1"})
    pool.keys("tags")(["a"])
