# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The disk store against a plain bytearray per disk, and its promises about space."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from xapisim.disks import BLOCK, DiskStore

MAX = 5 * BLOCK


class Disks(RuleBasedStateMachine):
    """Random lives of disk families; after every step every byte must be what the model says."""

    names = Bundle("names")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = DiskStore(Path(self.folder.name))
        self.model: dict[str, bytearray] = {}
        self.made = 0

    def teardown(self) -> None:
        self.folder.cleanup()

    def fresh(self) -> str:
        self.made += 1
        return f"disk{self.made}"

    @rule(target=names, size=st.integers(0, MAX))
    def create(self, size: int) -> str:
        name = self.fresh()
        self.store.create(name, size)
        self.model[name] = bytearray(size)
        return name

    @rule(target=names, source=names, full=st.booleans())
    def duplicate(self, source: str, full: bool) -> str:
        name = self.fresh()
        (self.store.copy if full else self.store.snapshot)(source, name)
        self.model[name] = bytearray(self.model[source])
        return name

    @rule(name=names, at=st.integers(0, MAX), length=st.integers(0, 2 * BLOCK), byte=st.integers(0, 3))
    def write(self, name: str, at: int, length: int, byte: int) -> None:
        size = len(self.model[name])
        at = min(at, size)
        data = bytes([byte]) * min(length, size - at)
        self.store.write(name, at, data)
        self.model[name][at : at + len(data)] = data

    @rule(name=names, more=st.integers(0, BLOCK))
    def grow(self, name: str, more: int) -> None:
        self.store.resize(name, len(self.model[name]) + more)
        self.model[name].extend(bytes(more))

    @rule(target=names, name=consumes(names))
    def delete(self, name: str) -> object:
        self.store.delete(name)
        del self.model[name]
        return multiple()

    @rule(source=names, into=names)
    def overwrite(self, source: str, into: str) -> None:
        if len(self.model[source]) <= len(self.model[into]):
            self.store.copy_into(source, into)
            self.model[into][: len(self.model[source])] = self.model[source]

    @rule(first=names, second=names)
    def unchanged_blocks_are_equal(self, first: str, second: str) -> None:
        changed = self.store.changed_blocks(first, second)
        one, two = self.model[first], self.model[second]
        for block in range(MAX // BLOCK):
            part = slice(block * BLOCK, min((block + 1) * BLOCK, len(one), len(two)))
            if block not in changed:
                assert one[part] == two[part]

    @invariant()
    def same_bytes(self) -> None:
        for name, expected in self.model.items():
            assert self.store.read(name, 0, len(expected)) == bytes(expected)
            held = set(self.store.blocks(name))
            for block in range((len(expected) + BLOCK - 1) // BLOCK):
                if block not in held:
                    assert not any(expected[block * BLOCK : (block + 1) * BLOCK])

    @invariant()
    def no_stray_files(self) -> None:
        if not self.model:
            assert list(Path(self.folder.name).iterdir()) == []


TestDisks = Disks.TestCase
TestDisks.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


def test_blank_disks_cost_no_files(tmp_path: Path) -> None:
    store = DiskStore(tmp_path)
    for number in range(1000):
        store.create(str(number), 1 << 40)
    assert list(tmp_path.iterdir()) == []
    assert store.read("7", (1 << 40) - 10, 10) == bytes(10)


def test_a_snapshot_shares_and_each_side_pays_for_its_writes(tmp_path: Path) -> None:
    store = DiskStore(tmp_path)
    store.create("base", 1 << 30)
    store.write("base", 5, b"x" * BLOCK)
    assert store.allocated("base") == 2 * BLOCK
    store.snapshot("base", "snap")
    assert (store.allocated("base"), store.allocated("snap")) == (0, 0)
    store.write("base", 0, b"y")
    assert store.allocated("base") == BLOCK
    assert store.allocated_total(["base", "snap"]) == 3 * BLOCK
    assert store.changed_blocks("snap", "base") == {0}
    assert store.read("snap", 0, 6) == bytes(5) + b"x"
    store.delete("snap")
    assert store.allocated("base") == 2 * BLOCK, "the frozen layer is merged once nobody else needs it"
    assert len(list(tmp_path.iterdir())) == 1


def test_files_are_sparse(tmp_path: Path) -> None:
    store = DiskStore(tmp_path)
    store.create("big", 1 << 34)
    store.write("big", (1 << 34) - 4, b"tail")
    (file,) = tmp_path.iterdir()
    assert file.stat().st_blocks * 512 <= 2 * BLOCK


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (0, 11), (10, 1), (11, 0)])
def test_ranges_outside_the_disk_are_refused(tmp_path: Path, offset: int, length: int) -> None:
    store = DiskStore(tmp_path)
    store.create("small", 10)
    with pytest.raises(ValueError, match="outside"):
        store.read("small", offset, length)
    with pytest.raises(ValueError, match="outside"):
        store.write("small", offset, bytes(length))


def test_shrinking_and_reused_names_are_refused(tmp_path: Path) -> None:
    store = DiskStore(tmp_path)
    store.create("one", 10)
    with pytest.raises(ValueError, match="shrink"):
        store.resize("one", 9)
    for make in (lambda: store.create("one", 1), lambda: store.snapshot("one", "one")):
        with pytest.raises(ValueError, match="exists"):
            make()
    with pytest.raises(KeyError):
        store.delete("none")
