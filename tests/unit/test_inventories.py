# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab runs through the same files that a user edits: its inventory differs from the example in values only.

Its nodes and guests are named by the lab itself, which has an inventory of its own for them.
"""
from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

INVENTORIES = Path(__file__).resolve().parents[2] / "inventories"


def shape(value: Any) -> Any:
    """A value's keys, without what they hold."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    return type(value).__name__


def files(name: str) -> dict[str, Any]:
    root = INVENTORIES / name
    found = {str(path.relative_to(root)): yaml.safe_load(path.read_text(encoding="utf-8")) for path in root.rglob("*.yml")}
    for group in ("nodes", "guests"):
        del found["hosts.yml"]["all"]["children"][group]["hosts"]
    return shape(found)


def test_lab_and_example_differ_in_values_only() -> None:
    assert files("lab")
    assert files("lab") == files("example")
