# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Amounts of bytes as people write them: 20GiB, 512MiB, 1048576. Nodes use it, too. Python 3.6 syntax."""

import re
from fractions import Fraction
from typing import Union

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_TEXT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgtp]?)(?:i?b)?\s*", re.IGNORECASE)


def to_bytes(text: Union[str, int]) -> int:  # noqa: UP007 - nodes have Python 3.6
    """Bytes of a size: a number, with K, M, G, T or P for powers of 1024 (20G, 20GB and 20GiB are the same).

    Raises ValueError where it is none, or no whole number of bytes.
    """
    match = _TEXT.fullmatch(str(text))
    if not match:
        raise ValueError(f"'{text}' is not a size; write it as 20GiB, 512MiB or a number of bytes.")
    size = Fraction(match[1]) * 1024 ** "bkmgtp".index(match[2].lower() or "b")
    if size.denominator != 1:
        raise ValueError(f"'{text}' is not a whole number of bytes.")
    return int(size)


def to_text(size: int) -> str:
    """A number of bytes in the largest unit that expresses it exactly: 21474836480 is 20GiB. Negative ones stay numbers."""
    unit = 0
    while size > 0 and size % 1024 == 0 and unit < len(_UNITS) - 1:
        size //= 1024
        unit += 1
    return f"{size}{_UNITS[unit]}" if unit else str(size)
