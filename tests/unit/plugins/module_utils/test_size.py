# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sizes in and out."""
from __future__ import annotations

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.size import to_bytes, to_text


@pytest.mark.parametrize(
    ("text", "size"),
    [("20GiB", 20 << 30), ("20 GB", 20 << 30), ("20g", 20 << 30), ("1.5TiB", 3 << 39), ("512MiB", 512 << 20), ("7", 7), (7, 7), ("0", 0)],
)
def test_sizes_are_read(text, size):
    assert to_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "-1GiB", "20XiB", "1.5", "0.3KiB", "20GiBs"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ValueError, match=r"size|whole"):
        to_bytes(text)


@pytest.mark.parametrize(
    ("size", "text"), [(20 << 30, "20GiB"), (1536 << 20, "1536MiB"), (1, "1"), (0, "0"), (-1, "-1"), (1 << 40, "1TiB")]
)
def test_sizes_are_shown_exactly(size, text):
    assert to_text(size) == text
    assert size < 0 or to_bytes(text) == size
