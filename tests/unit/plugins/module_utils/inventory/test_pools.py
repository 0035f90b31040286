# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several pools: how to reach them, what was kept of them, and what happens when one does not answer."""
from __future__ import annotations

import copy
import re
import threading
import time

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.inventory import pools
from ansible_collections.nobloat.xen.plugins.module_utils.inventory.facts import Preferences, World
from ansible_collections.nobloat.xen.plugins.module_utils.inventory.read import read
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import XapiUnreachable

DEFAULTS = {"hostname": None, "username": "root", "password": None, "validate_certs": True, "ca_path": None, "timeout": 60}


def connect(given, many=()):
    def template(_option, value):
        return value.replace("{{ x }}", "secret") if isinstance(value, str) else value

    return pools.connections({**DEFAULTS, **given}, many, "/folder", template)


def test_what_a_pool_omits_is_taken_from_the_top():
    wanted, wrong = connect({"hostname": "ignored", "password": "p{{ x }}", "ca_path": "ca.pem"}, [
        {"hostname": "a"}, {"hostname": "b", "password": "{{ x }}", "validate_certs": "no", "ca_path": "/ca.pem", "timeout": "5"},
    ])
    assert wanted == [
        {**DEFAULTS, "hostname": "a", "password": "p{{ x }}", "ca_path": "/folder/ca.pem"},  # from the environment: no template
        {"hostname": "b", "username": "root", "password": "secret", "validate_certs": False, "ca_path": "/ca.pem", "timeout": 5},
    ]
    assert wrong == {}
    assert connect({}, [{"hostname": "a", "password": 12345}])[0][0]["password"] == "12345"
    assert connect({"hostname": "a", "password": "p"}) == ([{**DEFAULTS, "hostname": "a", "password": "p"}], {})


@pytest.mark.parametrize(("given", "many", "says"), [
    ({}, [], "which hostname, .*XENSERVER_HOST"),
    ({"hostname": "a"}, [], "which password of a, .*XENSERVER_PASSWORD"),
    ({"hostname": "a", "password": "p"}, [{"username": "me"}], "which hostname"),
    ({"password": "p"}, [{"hostname": "a", "host": "b"}], "no option host"),
    ({"password": "p"}, ["a"], "map of options"),
    ({"password": "p"}, [{"hostname": "a", "timeout": "soon"}], "option timeout must be a number"),
    ({"password": "p", "hostname": "a", "validate_certs": "flase"}, [], "option validate_certs must be true or false"),
])
def test_what_is_missing_or_wrong(given, many, says):
    wanted, wrong = connect(given, many)
    assert wanted == []
    assert re.search(says, *wrong.values())


def test_a_pool_whose_options_are_wrong_leaves_the_others():
    wanted, wrong = connect({"password": "p"}, [{"hostname": "a", "host": "x"}, 17, {"hostname": "b"}])
    assert [connection["hostname"] for connection in wanted] == ["b"]
    assert list(wrong) == ["a", "entry 2 of option pools"]


@pytest.fixture
def asked(pool, monkeypatch):
    """Pools a and b are the fake one, pool c does not answer: the names of those that were asked."""
    names: list[str] = []

    class Login:
        def __init__(self, hostname, username, password, **options):
            names.append(hostname)
            self.hostname = hostname

        def __enter__(self):
            if self.hostname == "c":
                raise XapiUnreachable("UNREACHABLE", "c does not answer")
            return pool

        def __exit__(self, *exc):
            pass

    monkeypatch.setattr(pools, "Session", Login)
    return names


def wanted(*names):
    return [{**DEFAULTS, "hostname": name, "password": "p"} for name in names]


def test_what_is_kept_is_used_while_it_is_fresh(pool, asked):
    first = pools.look(wanted("a", "b"), {}, 60)
    assert sorted(asked) == sorted(hostname[-1] for hostname in first.new) == ["a", "b"]
    kept = first.keep({})
    assert set(kept) == {"root@a", "root@b"}
    asked.clear()
    again = pools.look(wanted("a", "b"), kept, 60)
    assert (again.states, again.new, asked) == (first.states, [], [])
    assert pools.look(wanted("a"), kept, 0).new == []  # 0: for ever
    assert asked == []


@pytest.mark.parametrize("max_age", [60, None])
def test_what_is_old_is_brought_up_to_date(pool, asked, max_age):
    kept = pools.look(wanted("a"), {}, 60).keep({})
    if max_age:
        kept["root@a"]["read"] = time.time() - max_age
    pool.add_vm(10, "new")
    pool.calls.clear()
    found = pools.look(wanted("a"), kept, max_age)
    assert pool.calls == [pools.State.load(kept["root@a"]["state"]).token]
    assert found.states["root@a"] == read(pool)
    assert pools.State.load(found.keep(kept)["root@a"]["state"]) == found.states["root@a"]


def test_a_clock_that_went_back_makes_nothing_fresh(pool, asked):
    kept = {"root@a": {"read": time.time() + 3600, "state": read(pool).dump()}}
    pools.look(wanted("a"), kept, 60)
    assert asked == ["a"]


def test_a_broken_pool_leaves_the_others_and_what_was_kept_of_it(pool, asked):
    old = {"root@c": {"read": 1.0, "state": read(pool).dump()}}
    found = pools.look(wanted("a", "c"), old, 60)
    assert list(found.states) == ["root@a"]
    assert str(found.errors["c"]) == "c does not answer"
    assert found.keep(old)["root@c"] == old["root@c"]


def test_pools_are_read_at_the_same_time(pool, monkeypatch):
    both = threading.Barrier(2, timeout=10)

    class Login:
        def __init__(self, hostname, username, password, **options):
            pass

        def __enter__(self):
            both.wait()  # until the other one is here, too
            return pool

        def __exit__(self, *exc):
            pass

    monkeypatch.setattr(pools, "Session", Login)
    assert len(pools.look(wanted("a", "b"), {}, None).states) == 2


def shown(state, _hostname):
    """Needs that the records are as XAPI makes them."""
    world = World(state)
    return sorted(world.facts(item, Preferences())["xapi_name"] for item in world.items())


@pytest.mark.parametrize("change", [
    {"name_label": None}, {"uuid": "../../etc"}, {"uuid": 7}, {"tags": None}, {"power_state": 1}, {"other_config": 5, "resident_on": []},
])
def test_a_pool_that_makes_no_sense_leaves_the_others(pool, monkeypatch, change):
    good = copy.deepcopy(pool)
    pool.add_vm(10, "odd", networks={"0/ip": "192.0.2.1"}, **change)

    class Login:
        def __init__(self, hostname, username, password, **options):
            self.pool = pool if hostname == "a" else good

        def __enter__(self):
            return self.pool

        def __exit__(self, *exc):
            pass

    monkeypatch.setattr(pools, "Session", Login)
    found = pools.look(wanted("a", "b"), {}, None, shown)
    assert found.made == {"root@b": ["alpha-1"]}
    assert "records are not such as XAPI makes" in str(found.errors["a"])
    assert found.new == ["root@b"]  # and nothing of it is kept


@pytest.mark.parametrize("max_age", [60, None])
@pytest.mark.parametrize("damage", [
    lambda entry: "text", lambda entry: {}, lambda entry: {**entry, "read": "yesterday"},
    lambda entry: {**entry, "state": entry["state"][:-9]},
    lambda entry: {**entry, "state": entry["state"].replace("name_label", "name")},
    lambda entry: {**entry, "state": re.sub(r'"VM":{', '"VM":{"r":[],', entry["state"])},
])
def test_a_damaged_cache_is_read_again(pool, asked, damage, max_age):
    pool.add_vm(10, "web")
    kept = pools.look(wanted("a", "b"), {}, 60, shown).keep({})
    asked.clear()
    found = pools.look(wanted("a", "b"), {**kept, "root@a": damage(kept["root@a"])}, max_age, shown)
    assert found.made == {"root@a": ["alpha-1", "web"], "root@b": ["alpha-1", "web"]}
    assert "root@a" in found.new
    assert pools.State.load(found.keep(kept)["root@a"]["state"]) == read(pool)
