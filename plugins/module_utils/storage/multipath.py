# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths to LUNs, as the storage manager notes them in other_config of PBDs (xapi-project/sm, drivers/mpathcount.py)."""
from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

Record = dict[str, Any]

# Types of SR whose driver uses multipath; the others do not care.
TYPES = frozenset({"lvmoiscsi", "lvmohba", "iscsi", "hba", "lvmofcoe", "gfs2", "rawhba"})
_PREFIX = "mpath-"
_COUNTS = re.compile(r"\D*(\d+)\D+(\d+)")


def multipathed(pbd: Mapping[str, Any]) -> bool:
    """Whether an attached SR goes over multipath."""
    return bool(pbd["other_config"].get("multipathed") == "true")


def luns(pbd: Mapping[str, Any], sr: Mapping[str, Any]) -> list[Record]:
    """The LUNs of an attached SR with their paths, sorted; none for an SR that knows no paths.

    Without multipath there is one path, as far as the storage manager can tell.
    """
    if sr["type"] not in TYPES or not pbd["currently_attached"]:
        return []
    config = pbd["other_config"]
    sessions = config.get("iscsi_sessions", "")
    shared = {"sr": sr["name_label"], "sr_uuid": sr["uuid"], "multipathed": multipathed(pbd),
              "iscsi_sessions": int(sessions) if sessions.isdigit() else None}
    found = []
    for key, value in config.items():
        counts = _COUNTS.match(value) if key.startswith(_PREFIX) else None
        if counts and shared["multipathed"]:
            up, total = int(counts[1]), int(counts[2])
            found.append({"scsi_id": key.removeprefix(_PREFIX), "paths_up": up, "paths_total": total, "degraded": up < total, **shared})
    if not found:
        scsi_id = pbd["device_config"].get("SCSIid", "")
        found = [{"scsi_id": scsi_id, "paths_up": None, "paths_total": None, "degraded": False, **shared}]
    return sorted(found, key=lambda lun: str(lun["scsi_id"]))


def users(pbds: Iterable[Record], vbds: Mapping[str, Record], vdis: Mapping[str, Record], vms: Mapping[str, Record]) -> list[str]:
    """Sorted names of the VMs with an attached disk on one of the SRs of `pbds`; `vms`: those of the host."""
    srs = {pbd["SR"] for pbd in pbds}
    return sorted({
        vms[vbd["VM"]]["name_label"] for vbd in vbds.values()
        if vbd["currently_attached"] and vbd["VM"] in vms and vdis.get(vbd["VDI"], {}).get("SR") in srs
    })
