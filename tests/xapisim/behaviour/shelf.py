# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies on the media although the database has forgotten it, so that introduce and scan find it again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..db import Row
    from ..pool import Pool

_KEPT = (
    "uuid",
    "name_label",
    "name_description",
    "virtual_size",
    "physical_utilisation",
    "type",
    "read_only",
    "location",
    "managed",
    "sm_config",
    "is_a_snapshot",
    "snapshot_time",
    "cbt_enabled",
)


@dataclass
class Shelf:
    """The forgotten part of one SR: how it was reached, and VDI fields by location."""

    type: str
    device_config: dict[str, str]
    vdis: dict[str, dict[str, Any]] = field(default_factory=dict)


def shelves(pool: Pool) -> dict[str, Shelf]:
    """Shelves by SR uuid."""
    found: dict[str, Shelf] = pool.__dict__.setdefault("shelves", {})
    return found


def put(pool: Pool, sr: Row, vdi: Row | None = None) -> None:
    """Remember an SR (with the device_config of its first PBD), or one VDI of it, before its record goes."""
    shelf = shelves(pool).get(sr.uuid)
    if shelf is None:
        pbds = pool.db.rows("PBD", SR=sr)
        shelf = shelves(pool)[sr.uuid] = Shelf(sr.type, pbds[0].device_config if pbds else {})
    if vdi is not None:
        shelf.vdis[vdi.location] = {name: getattr(vdi, name) for name in _KEPT}


def take(pool: Pool, sr: Row) -> list[dict[str, Any]]:
    """Fields of the VDIs to be found again; the shelf is empty afterwards."""
    shelf = shelves(pool).pop(sr.uuid, None)
    return list(shelf.vdis.values()) if shelf is not None else []


def clear(pool: Pool, sr: Row) -> None:
    """The medium is wiped: drop the shelf and the bytes of its disks."""
    for fields in take(pool, sr):
        if fields["uuid"] in pool.disks:
            pool.disks.delete(fields["uuid"])
