# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows, relations at both ends, generations."""

from __future__ import annotations

import pytest

from xapisim import schema
from xapisim.db import Database, new_uuid
from xapisim.errors import XapiError


@pytest.fixture
def db() -> Database:
    return Database(schema.load())


def test_uuids_are_version_4() -> None:
    made = {new_uuid() for _unused in range(1000)}
    assert len(made) == 1000
    assert all(u[14] == "4" and u[19] in "89ab" and len(u) == 36 for u in made)


def test_defaults_are_not_shared(db: Database) -> None:
    one, two = db.create("VM"), db.create("VM")
    one.other_config = {"a": "b"}
    one.tags.append("lost")  # reading gives a copy
    assert (one.tags, two.other_config) == ([], {})
    assert (one.power_state, one.actions_after_softreboot, one.generation_id) == ("Halted", "soft_reboot", "0:0")


def test_unknown_fields_are_errors(db: Database) -> None:
    with pytest.raises(KeyError):
        db.create("VM", nope=1)
    vm = db.create("VM")
    with pytest.raises(KeyError):
        vm.nope = 1
    with pytest.raises(AttributeError):
        _unused = vm.nope


def test_one_to_many_follows_the_one_end(db: Database) -> None:
    network, vm = db.create("network"), db.create("VM")
    vif = db.create("VIF", VM=vm, network=network)
    assert (vm.VIFs, network.VIFs) == ([vif.ref], [vif.ref])
    other = db.create("network")
    vif.network = other
    assert (network.VIFs, other.VIFs) == ([], [vif.ref])
    with pytest.raises(ValueError, match="kept by the database"):
        vm.VIFs = []
    db.destroy(vif)
    assert (vm.VIFs, other.VIFs) == ([], [])


def test_many_to_many(db: Database) -> None:
    vm, group = db.create("VM"), db.create("VM_group")
    vm.groups = [group]
    assert group.VMs == [vm.ref]
    group.VMs = []
    assert vm.groups == []
    vm.groups = [group]
    db.destroy(vm)
    assert group.VMs == []


def test_children_of_a_destroyed_row_dangle(db: Database) -> None:
    vm = db.create("VM")
    snapshot = db.create("VM", snapshot_of=vm)
    assert vm.snapshots == [snapshot.ref]
    db.destroy(vm)
    assert snapshot.snapshot_of == vm.ref
    assert db.maybe("VM", vm.ref) is None
    with pytest.raises(XapiError, match="HANDLE_INVALID"):
        vm.name_label = "gone"


def test_rows_by_fields(db: Database) -> None:
    vm = db.create("VM", name_label="a")
    vbds = [db.create("VBD", VM=vm, userdevice=str(n)) for n in range(3)]
    db.create("VBD")
    assert db.rows("VBD", VM=vm) == vbds
    assert db.rows("VBD", VM=vm.ref, userdevice="1") == [vbds[1]]
    assert db.rows("VM", name_label="a", power_state="Running") == []


def test_an_equal_value_is_no_change(db: Database) -> None:
    vm = db.create("VM", name_label="a")
    before = db.generation
    vm.name_label = "a"
    assert db.generation == before
    vm.name_label = "b"
    assert db.generation == before + 1


def test_what_changed_since(db: Database) -> None:
    old = db.create("VM")
    since = db.generation
    new = db.create("VM")
    new.name_label = "x"
    old.name_label = "x"
    assert db.modified_since(since) == [(new, True), (old, False)]
    assert db.modified_since(db.generation) == []


def test_uuid_index_follows(db: Database) -> None:
    vm = db.create("VM", uuid="00000000-0000-4000-8000-000000000001")
    assert db.by_uuid("VM", vm.uuid) == vm
    db.destroy(vm)
    with pytest.raises(XapiError, match="UUID_INVALID"):
        db.by_uuid("VM", "00000000-0000-4000-8000-000000000001")


def test_sessions_make_no_events(db: Database) -> None:
    since = db.generation
    db.create("session")
    assert db.modified_since(since) == []
