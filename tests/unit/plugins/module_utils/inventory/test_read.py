# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An inventory follows a pool by its changes, and only as long as these can be trusted."""
from __future__ import annotations

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.inventory.read import State, read
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import XapiError

ALL = ["", "VIF.get_all_records", "VM.get_all_records", "VM_guest_metrics.get_all_records"]


def names(state: State) -> list[str]:
    return sorted(vm["name_label"] for vm in state.objects["VM"].values() if vm)


def test_four_calls_read_all_and_leaves_out_what_is_no_guest(pool):
    pool.add_vm(10, "web")
    pool.add_vm(11, "template", is_a_template=True)
    pool.add_vm(12, "snapshot", is_a_template=True, is_a_snapshot=True)
    pool.add_vm(13, "dom0", is_control_domain=True)
    state = read(pool)
    assert names(state) == ["web"]
    assert len(state.objects["VM"]) == 4
    assert sorted(pool.calls) == ALL


def test_changes_alone_bring_it_up_to_date(pool):
    for number in range(10, 20):
        pool.add_vm(number, f"vm-{number}")
    known = read(pool)
    pool.put("VM", "vm10", name_label="renamed")
    pool.put("VM", "vm11", is_a_template=True)
    pool.remove("VM", "vm12")
    pool.add_vm(20, "new")
    state = read(pool, known)
    assert names(state) == ["new", "renamed", *(f"vm-{number}" for number in range(13, 20))]
    assert pool.calls[4:] == [known.token]
    assert state.objects == read(pool).objects
    assert "vm12" in known.objects["VM"]  # what was known stays what it was


def test_what_happens_while_it_reads_is_put_right_the_next_time(pool):
    pool.add_vm(10, "stays")
    plain = pool.bulk

    def busy(method, *args):
        if method == "VM.get_all_records":
            pool.bulk = plain
            pool.add_vm(11, "new")
            pool.add_vm(12, "short-lived")
            found = plain(method)
            pool.remove("VM", "vm12")
            pool.gone.pop()  # created and gone between two reads: XAPI does not tell of it
            pool.put("VM", "vm10", name_label="renamed")
            return found
        return plain(method, *args)

    pool.bulk = busy
    known = read(pool)
    assert names(known) == ["new", "short-lived", "stays"]
    assert names(read(pool, known)) == ["new", "renamed"]


def test_it_survives_a_cache(pool):
    pool.add_vm(10, "web", networks={"0/ip": "192.0.2.10"})
    known = read(pool)
    assert State.load(known.dump()) == known
    assert read(pool, State.load(known.dump())) == known


@pytest.mark.parametrize("text", ["", "{}", "[1]", "null", '["token", {"VM": {}}]', "not JSON", None])
def test_a_broken_cache_is_no_state(text):
    assert State.load(text) is None


def restarted(pool):
    pool.put("host", "h1", other_config={"agent_start_time": "2000."})


def forgetful(pool):
    pool.remove("VM", "vm11")
    pool.gone.clear()


def moved(pool):
    pool.put("host", "h2", **{**pool.rows["host"]["h1"], "name_label": "alpha-2"})
    pool.put("pool", "p", master="h2")


def restored(pool):
    pool.generation = 50
    pool.changed = dict.fromkeys(pool.changed, (10, 20))


@pytest.mark.parametrize("event", [restarted, forgetful, moved, restored])
def test_when_in_doubt_it_reads_everything(pool, event):
    pool.add_vm(10, "web")
    pool.add_vm(11, "old")
    known = read(pool)
    event(pool)
    state = read(pool, known)
    assert sorted(pool.calls) == sorted([*ALL, known.token, *ALL])
    assert state.objects == read(pool).objects


def test_a_token_that_xapi_cannot_read(pool):
    known = read(pool)._replace(token="unreadable")
    assert read(pool, known) == read(pool)
    assert sorted(pool.calls) == sorted([*ALL, "unreadable", *ALL, *ALL])


def test_other_errors_are_errors(pool):
    known = read(pool)

    def refuse(*args):
        raise XapiError("SESSION_INVALID", ["x"])

    pool.bulk = refuse
    with pytest.raises(XapiError, match="session"):
        read(pool, known)
