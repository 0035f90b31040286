# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The storage drivers: SM records and what the simulator knows about each SR type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import XapiError

if TYPE_CHECKING:
    from ..db import Database, Row
    from ..pool import Pool

GIB = 1 << 30
_EXTENT = 4 << 20  # of LVM (sm: libs/sm/lvutil.py)
_VHD = (
    "SR_PROBE SR_UPDATE VDI_CREATE VDI_DELETE VDI_ATTACH VDI_DETACH VDI_CLONE VDI_SNAPSHOT VDI_RESIZE VDI_MIRROR "
    "ATOMIC_PAUSE VDI_CONFIG_CBT VDI_ACTIVATE VDI_DEACTIVATE"
)
_LVM = f"{_VHD} SR_TRIM VDI_UPDATE VDI_RESET_ON_BOOT/2"
_SAN = f"{_LVM} SR_METADATA SR_CACHING VDI_GENERATE_CONFIG"
_FILE = f"{_VHD} VDI_GENERATE_CONFIG THIN_PROVISIONING"
_MOUNT = f"{_FILE} VDI_UPDATE VDI_RESET_ON_BOOT/2 VDI_READ_CACHING"
_LUNS = "SR_PROBE VDI_CREATE VDI_DELETE VDI_ATTACH VDI_DETACH VDI_INTRODUCE"


@dataclass(frozen=True)
class Driver:
    """One SR type. Features: the CAPABILITIES of the driver in xapi-project/sm, `NAME/2` for a version.

    rounding: bytes to which VDI sizes are rounded up, raw_rounding: those of a raw VDI (sm_config type=raw), which has no VHD;
    max_size: largest VDI, 0 for none;
    thick: a VDI takes its whole size at once; size: bytes of the simulated medium behind a new SR.
    """

    type: str
    label: str
    features: str
    rounding: int = 2 << 20
    raw_rounding: int = 0
    max_size: int = 2040 * GIB
    thick: bool = False
    size: int = 1024 * GIB


_DRIVERS = (
    Driver("lvm", "Local VHD on LVM", _LVM, raw_rounding=_EXTENT, thick=True, size=512 * GIB),
    Driver("ext", "Local EXT3 VHD", f"{_MOUNT} SR_SUPPORTS_LOCAL_CACHING", size=512 * GIB),
    Driver("file", "Local Path VHD", _FILE, size=512 * GIB),
    Driver("nfs", "NFS VHD", f"{_MOUNT} SR_CACHING"),
    Driver("smb", "SMB VHD", f"{_MOUNT} SR_CACHING"),
    Driver("lvmoiscsi", "LVHD over iSCSI", _SAN, raw_rounding=_EXTENT, thick=True),
    Driver("lvmohba", "LVHD over FC", _SAN, raw_rounding=_EXTENT, thick=True),
    Driver("iscsi", "iSCSI", _LUNS, rounding=1, max_size=0, thick=True),
    Driver("hba", "HBA LUN-per-VDI driver", _LUNS, rounding=1, max_size=0, thick=True),
    # VDI_CREATE and VDI_DELETE of the ISO driver serve its own tools only: xapi users cannot create VDIs there
    Driver("iso", "ISO", "VDI_ATTACH VDI_DETACH SR_SCAN SR_ATTACH SR_DETACH", rounding=1, max_size=0, size=64 * GIB),
    Driver("udev", "udev", "VDI_INTRODUCE VDI_ATTACH VDI_DETACH VDI_UPDATE SR_UPDATE", rounding=1, max_size=0),
    Driver(
        "dummy",
        "dummy",
        "SR_PROBE VDI_CREATE VDI_DELETE VDI_ATTACH VDI_DETACH VDI_ACTIVATE VDI_DEACTIVATE VDI_CLONE VDI_SNAPSHOT "
        "VDI_RESIZE VDI_INTRODUCE VDI_MIRROR",
        rounding=1,
        max_size=0,
    ),
    # what XCP-ng adds
    Driver("zfs", "Local ZFS VHD", _FILE, size=512 * GIB),
    Driver("zfs-vol", "Local ZFS volumes", _FILE, size=512 * GIB),
    Driver("xfs", "Local XFS VHD", _MOUNT, size=512 * GIB),
    Driver("largeblock", "Local EXT VHD on 4 KiB blocks", _MOUNT, size=512 * GIB),
    Driver("linstor", "LINSTOR resources on XCP-ng", f"{_FILE} VDI_UPDATE"),
    Driver("glusterfs", "GlusterFS VHD", _MOUNT),
    Driver("cephfs", "CephFS VHD", _MOUNT),
    Driver("moosefs", "MooseFS VHD", _MOUNT),
)
DRIVERS = {driver.type: driver for driver in _DRIVERS}


def driver(sr_type: str) -> Driver:
    """The driver of an SR type, in any case; SR_UNKNOWN_DRIVER [type] (lower case) when there is none."""
    lowered = sr_type.lower()
    try:
        return DRIVERS[lowered]
    except KeyError:
        raise XapiError("SR_UNKNOWN_DRIVER", lowered) from None


def has_feature(db: Database, sr: Row, feature: str) -> bool:
    """True when the SM record of the SR's type lists the feature. A type without a record has none."""
    return any(feature in sm.features for sm in db.rows("SM", type=sr.type))


def build_sm(pool: Pool) -> None:
    """SM records of all drivers that the pool does not have yet."""
    present = {sm.type for sm in pool.db.rows("SM")}
    for known in _DRIVERS:
        if known.type in present:
            continue
        features = {}
        for text in known.features.split():
            name, _unused, version = text.partition("/")
            features[name] = int(version or 1)
        pool.db.create(
            "SM",
            name_label=known.label,
            name_description=f"SR plugin for {known.type}",
            type=known.type,
            vendor="nobloat.xen",
            copyright="(c) 2026 nobloat.xen contributors",
            version="1.0",
            required_api_version="1.1",
            capabilities=list(features),
            features=features,
            driver_filename=f"/opt/xensource/sm/{known.type}SR",
        )
