# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading the values of a scenario, with errors that say where they are."""

from __future__ import annotations

import re
from typing import Any

from .db import Row
from .pool import Pool

MIB = 1 << 20
GIB = 1 << 30
_UNITS = {"": 1, "B": 1, "KIB": 1 << 10, "MIB": MIB, "GIB": GIB, "TIB": 1 << 40}
_SIZE = re.compile(r"^(\d+(?:\.\d+)?)\s*([KMGT]iB|B)?$", re.IGNORECASE)


class ScenarioError(Exception):
    """The scenario is wrong; the text says where and why."""


def keys(content: Any, where: str, known: str) -> dict[str, Any]:
    """A mapping that has only known keys (separated by blanks)."""
    if not isinstance(content, dict):
        raise ScenarioError(f"{where}: a mapping is wanted, not {content!r}")
    for key in content:
        if key not in known.split():
            raise ScenarioError(f"{where}: unknown key {key!r}, known: {', '.join(sorted(known.split()))}")
    return content


def listed(content: Any, where: str) -> list[Any]:
    """A list; none for null."""
    if content is None:
        return []
    if not isinstance(content, list):
        raise ScenarioError(f"{where}: a list is wanted, not {content!r}")
    return content


def size(value: Any, where: str) -> int:
    """Bytes of a number or of `2GiB`, `512 MiB`."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    found = _SIZE.match(str(value).strip())
    if not found or isinstance(value, bool):
        raise ScenarioError(f"{where}: {value!r} is no size, write bytes or 512MiB, 20GiB")
    return int(float(found.group(1)) * _UNITS[(found.group(2) or "").upper()])


def named(pool: Pool, cls: str, name: Any, where: str) -> Row:
    """The one object of a name."""
    found = pool.db.rows(cls, name_label=name)
    if len(found) != 1:
        raise ScenarioError(f"{where}: {len(found)} {cls} named {name!r}")
    return found[0]


def strings(content: Any) -> dict[str, str]:
    """A mapping with everything turned into text."""
    return {str(k): str(v) for k, v in (content or {}).items()}
