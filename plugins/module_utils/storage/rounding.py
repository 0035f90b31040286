# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sizes of disks as storage drivers round them. What was asked for and what there is may differ by that, and are the same."""
from __future__ import annotations

from ansible_collections.nobloat.xen.plugins.module_utils.size import to_bytes

# Drivers round sizes up to blocks of 2 MiB (VHD; sm: libs/sm/vhdutil.py), so that this is what is asked for. Some round further
# (a raw LV: extents of 4 MiB; libs/sm/drivers/LVHDSR.py): a disk that is larger by less than that is as wanted.
BLOCK = 2 << 20
ROUNDING = 4 << 20


def rounded(size: int) -> int:
    """A number of bytes to ask for, rounded up to whole blocks."""
    return -(-size // BLOCK) * BLOCK


def same_size(live: int, wanted: int) -> bool:
    """Whether a disk that has `live` bytes is what a driver makes of a wish for `wanted`."""
    return live - ROUNDING < wanted <= live


def wanted_size(what: str, text: str | int | None) -> int | None:
    """The bytes of an option `size`, None where it was omitted. Raises ValueError, for nothing at all, too."""
    if text is None:
        return None
    size = to_bytes(text)
    if not size:
        raise ValueError(f"{what} cannot have size {text}. Give the size that it shall have, as 20GiB.")
    return size
