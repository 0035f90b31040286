# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What XAPI would refuse as the records stand: asked while planning, before the first step does any harm, and in check mode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import XapiError

# These come and go by themselves, and XAPI waits for them.
_PASSING = frozenset({"scan", "update", "update_allowed_operations"})


def refuse_blocked(record: Mapping[str, Any], *operations: str) -> None:
    """Raise what XAPI would raise, where an administrator has blocked one of these operations of a VM."""
    for operation in operations:
        if operation in record["blocked_operations"]:
            raise XapiError("OPERATION_BLOCKED", (record["ref"], record["blocked_operations"][operation]))


def refuse(record: Mapping[str, Any], operation: str, title: str, *, now: bool = True) -> None:
    """Raise where XAPI would refuse an operation that destroys something or takes it away.

    `now`: as the object is; else an earlier step brings it into another state, and only what no step changes counts: blocked
    operations, and others that are going on.
    """
    if "blocked_operations" in record:
        refuse_blocked(record, operation)
    going_on = sorted(set(record["current_operations"].values()) - _PASSING)
    if going_on:
        raise ValueError(f"{title} is busy ({', '.join(going_on)}). Wait until that has ended, then run again.")
    if now and operation not in record["allowed_operations"]:
        raise ValueError(f"{title}: XAPI does not allow {operation} now. Something may use it, or its SR or driver lacks that.")
