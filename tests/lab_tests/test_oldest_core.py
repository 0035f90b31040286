# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules for nodes and guests run from the oldest ansible-core, too: $LAB_OLDEST_CORE is the folder of its programs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from lab.lab import Lab
from lab_tests.machines import Machines

IQN = "iqn.2026-11.test.nobloat:oldest:leg"
HERE = "10.66.0.1"  # node1 exports on its service network: this is about Ansible


@pytest.fixture(scope="module")
def oldest(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Machines:
    programs = os.environ.get("LAB_OLDEST_CORE")
    if not programs or not Path(programs, "ansible").exists():
        pytest.skip("no oldest ansible-core: LAB_OLDEST_CORE is not set")
    version = subprocess.run([f"{programs}/ansible", "--version"], capture_output=True, text=True, check=True).stdout
    assert version.startswith("ansible [core 2.16."), version
    machines = Machines(lab, tmp_path_factory.mktemp("oldest"), Path(programs))
    for node in ("node1", "node2"):
        machines.sh(node, "vgcreate -q vgold /dev/mapper/disk2 && lvcreate -qy -L 64M -n leg vgold")
    return machines


def test_export_import_and_mirror(oldest: Machines) -> None:
    other = oldest.lab.box("node2").machine.initiator
    export = {"name": "leg", "iqn": IQN, "device": "/dev/vgold/leg", "portals": [HERE], "initiators": [other]}
    assert oldest.module("node1", "iscsi_export", **export)["changed"]
    device = oldest.module("node2", "iscsi_import", iqn=IQN, portals=[HERE])["import"]["device"]
    assert oldest.sh("node2", f"blockdev --getsize64 {device}") == str(64 << 20)
    assert [each["iqn"] for each in oldest.module("node1", "mirror_info")["exports"]] == [IQN]
    mirror = oldest.module("node2", "md_mirror", name="old", devices=[device, "/dev/vgold/leg"])
    assert mirror["changed"], mirror
    assert "[UU]" in oldest.sh("node2", "mdadm --wait /dev/md/old; cat /proc/mdstat")
    assert not oldest.module("node2", "md_mirror", name="old", devices=[device, "/dev/vgold/leg"])["changed"]
    oldest.sh("node2", f"mdadm --stop -q /dev/md/old; mdadm -q --zero-superblock {device} /dev/vgold/leg")
    assert oldest.module("node2", "iscsi_import", iqn=IQN, state="absent")["changed"]
    assert oldest.module("node1", "iscsi_export", name="leg", state="absent")["changed"]
    for node in ("node1", "node2"):
        oldest.sh(node, "vgremove -qfy vgold && pvremove -q /dev/mapper/disk2")
