# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answer files from options, read back by another parser; and the script that chooses disks, run by a shell."""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.provisioning.answerfile import VERSIONS
from ansible_collections.nobloat.xen.plugins.module_utils.provisioning.answers import finished

HASHED = "$6$saltsalt$0123456789abcdef"
NOTHING: dict[str, Any] = dict.fromkeys(
    "content guest_disks driver_sources nameservers hostname timezone ntp_servers keymap services scripts".split())
INTERFACE: dict[str, Any] = {
    "name": "eth0", "mac": None, "proto": "static", "address": "10.0.0.5/24", "gateway": "10.0.0.1", "proto6": None,
    "address6": None, "gateway6": None, "vlan": 7}
DISK: dict[str, Any] = {
    "names": ["sda"], "rule": None, "raid": False, "guest_storage": True, "preserve_first_partition": None}


def options(**more: Any) -> dict[str, Any]:
    return {**NOTHING, "version": "xcp-ng-8.3", "mode": "fresh", "sr_type": "ext", "interface": INTERFACE, "disk": DISK,
            "sources": [{"type": "url", "address": "http://10.0.0.1/a&b/"}], **more}


@pytest.mark.parametrize("version", VERSIONS)
def test_everything(version: str) -> None:
    root = ET.fromstring(finished(options(
        version=version, hostname="node1", nameservers=["10.0.0.1", "fd00::1"], ntp_servers=["ntp1"], timezone="Etc/UTC",
        services={"sshd": "enabled"}, guest_disks=["sdc"],
        scripts=[{"stage": "filesystem-populated", "type": "url", "url": "http://10.0.0.1/first"}]), HASHED))
    assert root.findtext("source") == "http://10.0.0.1/a&b/"
    assert root.attrib == {"mode": "fresh", "sr-type": "ext"}
    interface = root.find("admin-interface")
    assert interface is not None and interface.attrib == {"name": "eth0", "proto": "static", "vlan": "7"}
    assert [interface.findtext(name) for name in ("ipaddr", "subnet", "gateway")] == ["10.0.0.5", "255.255.255.0", "10.0.0.1"]
    assert (root.find("ntp") is None) == (version == "xcp-ng-8.2")
    assert [each.text for each in root.findall("name-server")] == ["10.0.0.1", "fd00::1"]
    assert root.findtext("root-password") == HASHED


@pytest.mark.parametrize(("version", "expected"), [("xenserver-8", ("sda,sdb", [])), ("xcp-ng-8.2", ("md127", ["sda", "sdb"]))])
def test_raid(version: str, expected: tuple[str, list[str]]) -> None:
    root = ET.fromstring(finished(options(version=version, disk={**DISK, "raid": True, "names": ["sda", "sdb"]}), None))
    assert (root.findtext("primary-disk"), [each.text for each in root.findall("raid/disk")]) == expected


@pytest.mark.parametrize(("more", "word"), [
    ({"disk": {**DISK, "names": None}}, "a rule"),
    ({"disk": {**DISK, "raid": True}}, "two disks"),
    ({"disk": None}, "needs disk"),
    ({"interface": {**INTERFACE, "address": "10.0.0.5/33"}}, "10.0.0.5/24"),
    ({"interface": {**INTERFACE, "gateway": "10.9.0.1"}}, "not in 10.0.0.0/24"),
    ({"interface": {**INTERFACE, "name": None}}, "name= or hwaddr="),
    ({"content": "<installation/>"}, "needs <source>"),
])
def test_what_is_refused(more: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word.replace("/", ".")):
        finished(options(**more), None)


@pytest.mark.parametrize(("rule", "chosen"), [
    ({"choose": "smallest", "transport": "any", "min_size": None}, "sda"),
    ({"choose": "largest", "transport": "any", "min_size": None}, "nvme0n1"),
    ({"choose": "smallest", "transport": "nvme", "min_size": None}, "nvme0n1"),
    ({"choose": "smallest", "transport": "any", "min_size": 2000 * 512}, "sdb"),
    ({"choose": "smallest", "transport": "any", "min_size": 1 << 50}, None),
])
def test_disks_are_chosen_where_the_installer_runs(tmp_path: Path, rule: dict[str, Any], chosen: str | None) -> None:
    for name, bus, sectors, removable in (("sda", "ata1", 1000, 0), ("sdb", "ata2", 2000, 0), ("sdc", "usb1", 10, 0),
                                          ("nvme0n1", "nvme", 9000, 0), ("sr0", "ata3", 5, 1), ("loop0", "virtual", 1, 0)):
        device = tmp_path / "devices" / bus / "block" / name
        device.mkdir(parents=True)
        (device / "size").write_text(f"{sectors}\n")
        (device / "removable").write_text(f"{removable}\n")
        (tmp_path / "block").mkdir(exist_ok=True)
        (tmp_path / "block" / name).symlink_to(device)
    script = finished(options(disk={**DISK, "names": None, "rule": rule}), HASHED).replace("/sys/block", str(tmp_path / "block"))
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == (chosen is not None), done.stderr
    assert (ET.fromstring(done.stdout).findtext("primary-disk") == chosen) if chosen else "only 0 are here" in done.stderr
