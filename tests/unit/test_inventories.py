# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab runs through the same files that a user edits: its inventory differs from the example in values only."""
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
    return {str(path.relative_to(root)): shape(yaml.safe_load(path.read_text(encoding="utf-8"))) for path in root.rglob("*.yml")}


def test_lab_and_example_differ_in_values_only() -> None:
    assert files("lab")
    assert files("lab") == files("example")
