# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sizes: what a VDI may measure, what it takes, and what is left in its SR. All in bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .backend import fault
from .sm import DRIVERS, Driver

if TYPE_CHECKING:
    from ..db import Row
    from ..pool import Pool

_MIB = 1 << 20
_UNKNOWN = Driver("", "", "", rounding=1, max_size=0)


def is_raw(sm_config: Mapping[str, str]) -> bool:
    """Whether a VDI is a plain LV instead of a VHD: as it is asked for (type), and as the driver notes it (vdi_type)."""
    return sm_config.get("type") == "raw" or sm_config.get("vdi_type") == "aio"


def rounded(sr: Row, size: int, *, raw: bool = False) -> int:
    """The size that the driver makes of a wish; SR_BACKEND_FAILURE_79 outside its limits."""
    known = DRIVERS.get(sr.type, _UNKNOWN)
    if size < 0 or (known.max_size and size > known.max_size):
        raise fault("VDISize", f"VDI size must be between 1 MB and {known.max_size // _MIB} MB")
    unit = known.raw_rounding if raw and known.raw_rounding else known.rounding
    return max(1, -(-size // unit)) * unit


def footprint(pool: Pool, sr: Row, vdi: Row) -> int:
    """What the VDI alone takes: its whole size on a thick SR, what was written to it on a thin one."""
    if DRIVERS.get(sr.type, _UNKNOWN).thick and not vdi.is_a_snapshot:
        return int(vdi.virtual_size)
    return pool.disks.allocated(vdi.uuid) if vdi.uuid in pool.disks else int(vdi.physical_utilisation)


def assert_room(pool: Pool, sr: Row, size: int) -> None:
    """SR_BACKEND_FAILURE_44 when the SR is full, or would be with a new VDI of that size on a thick SR."""
    if sr.ref in pool.faults.sr_full:
        raise fault("SRNoSpace")
    if not DRIVERS.get(sr.type, _UNKNOWN).thick:
        size = 1  # a thin one only needs room to begin with
    if sr.physical_size >= 0 and sr.physical_utilisation + size > sr.physical_size:
        raise fault("SRNoSpace")


def account(pool: Pool, sr: Row, vdi: Row, *, sign: int = 1) -> None:
    """Add a new VDI to its SR's figures, or take one out that is about to go (sign=-1)."""
    if sr.physical_size < 0:
        return  # never attached: xapi does not know its figures either
    if sign > 0:
        vdi.physical_utilisation = footprint(pool, sr, vdi)
    sr.virtual_allocation = sr.virtual_allocation + sign * vdi.virtual_size
    sr.physical_utilisation = max(0, sr.physical_utilisation + sign * vdi.physical_utilisation)


def measure(pool: Pool, sr: Row) -> None:
    """Read all figures anew, as SR.update and SR.scan do."""
    vdis = pool.db.rows("VDI", SR=sr)
    for vdi in vdis:
        vdi.physical_utilisation = footprint(pool, sr, vdi)
    if sr.physical_size < 0:
        sr.physical_size = DRIVERS.get(sr.type, _UNKNOWN).size
    sr.virtual_allocation = sum(vdi.virtual_size for vdi in vdis)
    if DRIVERS.get(sr.type, _UNKNOWN).thick:
        sr.physical_utilisation = sum(vdi.physical_utilisation for vdi in vdis)
    else:  # frozen layers belong to no VDI but take room
        sr.physical_utilisation = pool.disks.allocated_total([vdi.uuid for vdi in vdis if vdi.uuid in pool.disks])
