# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths as they stand in other_config of PBDs."""
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.storage.multipath import luns, users

SR = {"name_label": "san", "uuid": "u", "type": "lvmoiscsi"}


def pbd(**other_config: str) -> dict[str, Any]:
    return {"currently_attached": True, "device_config": {"SCSIid": "s0"}, "other_config": other_config}


@pytest.mark.parametrize(("text", "up", "total"), [("[2, 2]", 2, 2), ("[0, 4]", 0, 4), ("3,4", 3, 4), ("[1, 2, 1763712000]", 1, 2)])
def test_counts(text: str, up: int, total: int) -> None:
    (lun,) = luns(pbd(**{"multipathed": "true", "mpath-s1": text}), SR)
    assert (lun["scsi_id"], lun["paths_up"], lun["paths_total"], lun["degraded"]) == ("s1", up, total, up < total)


def test_several_luns_and_sessions() -> None:
    found = luns(pbd(**{"multipathed": "true", "mpath-b": "[2, 2]", "mpath-a": "[1, 2]", "iscsi_sessions": "2"}), SR)
    assert [(lun["scsi_id"], lun["degraded"], lun["iscsi_sessions"]) for lun in found] == [("a", True, 2), ("b", False, 2)]


def test_without_multipath() -> None:
    (lun,) = luns(pbd(**{"mpath-s1": "[2, 2]"}), SR)  # left over from before
    assert (lun["scsi_id"], lun["paths_up"], lun["multipathed"]) == ("s0", None, False)


def test_what_has_no_paths() -> None:
    assert luns(pbd(multipathed="true"), {**SR, "type": "nfs"}) == []
    assert luns({**pbd(multipathed="true"), "currently_attached": False}, SR) == []


def test_users() -> None:
    vdis = {"d1": {"SR": "san"}, "d2": {"SR": "nfs"}}
    vbds = {n: {"VM": vm, "VDI": vdi, "currently_attached": attached} for n, vm, vdi, attached in (
        ("1", "a", "d1", True), ("2", "b", "d2", True), ("3", "c", "d1", False), ("4", "elsewhere", "d1", True))}
    vms = {name: {"name_label": name} for name in "abc"}
    assert users([{"SR": "san"}], vbds, vdis, vms) == ["a"]
