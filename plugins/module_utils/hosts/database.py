# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dumps of a pool's database: what is in one, and how two differ (xapi-project/xen-api, db_xml.ml)."""
from __future__ import annotations

import re
from xml.etree import ElementTree

Tables = dict[str, dict[str, dict[str, str]]]  # class -> reference -> column -> text

# What moves by itself: metrics, and who is logged in or at work.
_CLASSES = re.compile(r"(session|task|message|blob|console|role|data_source|host_cpu|.*_metrics)", re.IGNORECASE)
_COLUMNS = re.compile(r"_.*|.*last_updated|last_active|memory__free|allowed_operations|current_operations|generation")
# Of other_config, when a host and its toolstack started.
_BOOTED = re.compile(r"\('(boot_time|agent_start_time)'[^)]*\)|\s|%\.")


def parse(data: bytes) -> Tables:
    """A dump, without what moves by itself. Raises ValueError where it is none."""
    try:
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError as error:
        raise ValueError(f"it is no XML: {error}") from error
    tables = {str(table.get("name")): table for table in root.iter("table")}
    if root.tag != "database" or "host" not in tables:
        raise ValueError("it is XML, but no dump of a pool's database")
    return {
        name: {
            str(row.get("ref") or row.get("_ref")): {
                column: _BOOTED.sub("", value) if column == "other_config" else value
                for column, value in row.items() if not _COLUMNS.fullmatch(column)
            }
            for row in table.iter("row")
        }
        for name, table in tables.items() if not _CLASSES.fullmatch(name)
    }


def count(tables: Tables) -> dict[str, int]:
    """How many objects of each class there are."""
    return {name: len(rows) for name, rows in sorted(tables.items()) if rows}


def differences(old: Tables, new: Tables) -> list[str]:
    """What comes, goes and changes from `old` to `new`, one line for each object, sorted."""
    lines = []
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name, {}), new.get(name, {})
        for ref in before.keys() | after.keys():
            row = after.get(ref) or before[ref]
            title = f"{name} {row.get('name__label') or row.get('uuid') or ref}"
            if ref not in before:
                lines.append(f"{title} appears")
            elif ref not in after:
                lines.append(f"{title} goes")
            else:
                columns = sorted(key for key in before[ref].keys() | after[ref].keys() if before[ref].get(key) != after[ref].get(key))
                if columns:
                    lines.append(f"{title}: {', '.join(columns)}")
    return sorted(lines)
