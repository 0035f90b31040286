# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pools as modules pool and pool_info show them."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.common import common_view
from ansible_collections.nobloat.xen.plugins.module_utils.vm.read import select
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.records import (
    NULL,
    records,
)
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.session import Session

Record = dict[str, Any]

# Option -> field of the pool.
SR_FIELDS = {"default_sr": "default_SR", "suspend_sr": "suspend_image_SR", "crash_dump_sr": "crash_dump_SR"}
# Options that are fields of the same name. An older XAPI lacks some of them.
FLAGS = ("migration_compression", "coordinator_bias", "live_patching_disabled", "igmp_snooping_enabled")


def read_pool(session: Session) -> tuple[Record, dict[str, Record]]:
    """The record of the pool, and by reference those of its default SRs. One call, or two if it has any."""
    record = next(iter(records(session, "pool").values()))
    refs = sorted({record[field] for field in SR_FIELDS.values()} - {NULL, ""})
    where = " or ".join(f'field "_ref"="{ref}"' for ref in refs)
    return record, records(session, "SR", where) if refs else {}


def pool_view(record: Record, srs: Mapping[str, Record]) -> Record:
    """A pool in the terms of the options of module pool. `srs`: by reference, at least the pool's own."""
    return {
        **common_view(record),
        **{option: sr_view(srs.get(record[field])) for option, field in SR_FIELDS.items()},
        **{option: record.get(option) for option in FLAGS},
    }


def sr_view(record: Record | None) -> dict[str, str] | None:
    """An SR as {name, uuid}: names of SRs repeat (each host may have its "Local storage")."""
    return {"name": record["name_label"], "uuid": record["uuid"]} if record else None


def ha_sr(session: Session, pool: Record) -> Record | None:
    """The SR that holds the state file of high availability; None while that is off. Two calls while it is on."""
    if not pool["ha_enabled"]:
        return None
    vdis = select(session, "VDI", refs=pool["ha_statefiles"])
    return next(iter(select(session, "SR", refs={vdi["SR"] for vdi in vdis.values()}).values()), None)
