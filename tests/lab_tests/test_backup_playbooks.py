# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks backup and restore on what site.yml has made. Each test finds what the one before it has left."""
from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from lab.lab import Lab
from lab_tests.helpers import Played, paused, play

INVENTORY = Path(__file__).parent.parent.parent / "inventories/lab"
pytestmark = pytest.mark.long
LAB = {
    "nodes": [{"name": "node1"}, {"name": "node2"}], "guests": [{"name": "web1"}],
    "xapi": {"pool": "alpha", "scenario": {"local_sr": "none", "srs": []}, "pools": [
        {"name": "bravo", "hosts": [{"name": "bravo-1"}], "srs": []}]},
}
DISK = {"guest": "web1", "disk": "data"}
BACKUP = {"mirror_backup_volume": {"vg": "vg0", "size": "400m"}}
POWER = """
- hosts: alpha
  gather_facts: false
  tasks:
    - nobloat.xen.vm_power:
        hostname: "{{ xapi_hostname }}"
        username: "{{ xapi_username }}"
        password: "{{ xapi_password }}"
        ca_path: "{{ xapi_ca_path }}"
        name: web1
        state: WANTED
"""


def run(lab: Lab, playbook: str, check: bool = False, **variables: Any) -> Played:
    text = playbook if "\n" in playbook else f"nobloat.xen.{playbook}"
    return play(lab, text, extra_vars=variables, check=check, inventories=[INVENTORY], timeout=1200)


def fails(lab: Lab, words: str, playbook: str, **variables: Any) -> None:
    done = run(lab, playbook, **variables)
    assert done.rc and words in re.sub(r"\s+", " ", done.stdout), done.stdout + done.stderr


def sh(lab: Lab, machine: str, command: str) -> str:
    return str(lab.box(machine).run(command).stdout.strip())


def generations(lab: Lab, node: str) -> list[str]:
    return sh(lab, node, "ls /srv/backup/web1-data 2>/dev/null; true").split()


@pytest.fixture(scope="module", autouse=True)
def _site(lab: Lab) -> None:
    run(lab, "site").ok()
    sh(lab, "web1", "mkdir -p /srv/etc; head -c 2000000 /dev/urandom > /srv/etc/random; sync; sha256sum < /srv/etc/random > /root/sum")


def test_check_mode(lab: Lab) -> None:
    run(lab, "backup", check=True, **BACKUP).ok()
    assert sh(lab, "node1", "ls -d /srv/backup 2>/dev/null; true") == sh(lab, "node2", "ls -d /srv/backup 2>/dev/null; true") == ""


def test_backup_of_all_guests_away_from_where_they_run(lab: Lab) -> None:
    run(lab, "backup", mirror_backup_method="files", **BACKUP).ok()
    assert (len(generations(lab, "node1")), len(generations(lab, "node2"))) == (0, 1)
    assert run(lab, "backup", mirror_backup_max_age=3600, **BACKUP).ok().changed == 0
    fails(lab, "has a leg of web7", "backup", guest="web7")


def test_restore_of_a_file(lab: Lab) -> None:
    sh(lab, "web1", "echo spoilt > /srv/etc/random; sync")
    told = {**DISK, "file": "/etc/random", "destination": "/srv"}
    fails(lab, "is there in web1 already", "restore", **told)
    run(lab, "restore", check=True, overwrite=True, **told).ok()
    assert sh(lab, "web1", "cat /srv/etc/random") == "spoilt"
    run(lab, "restore", overwrite=True, **told).ok()
    assert sh(lab, "web1", "sha256sum < /srv/etc/random") == sh(lab, "web1", "cat /root/sum")


def test_restore_of_the_disk(lab: Lab) -> None:
    fails(lab, "has an image", "restore", overwrite=True, **DISK)
    run(lab, "backup", **DISK, **BACKUP).ok()
    sh(lab, "web1", "rm -r /srv/etc; echo later > /srv/later; sync")
    fails(lab, "runs on", "restore", overwrite=True, **DISK)
    assert sh(lab, "web1", "cat /srv/later") == "later"
    run(lab, POWER.replace("WANTED", "halted")).ok()
    fails(lab, "use overwrite: true", "restore", **DISK)
    would = run(lab, "restore", check=True, overwrite=True, **DISK).ok()
    assert would.changed
    run(lab, "restore", overwrite=True, **DISK).ok()
    # Both halves are the same, and as the image.
    size = sh(lab, "node2", "stat -c %s /srv/backup/web1-data/*/disk.img")
    sums = {sh(lab, node, f"dd if=/dev/vg0/web1-data iflag=direct,count_bytes bs=1M count={size} status=none | sha256sum")
            for node in ("node1", "node2")}
    assert sums == {sh(lab, "node2", "sha256sum < $(ls /srv/backup/web1-data/*/disk.img)")}
    assert run(lab, "restore", overwrite=True, **DISK).ok().recap["node2"]["changed"] == 0
    run(lab, "site").ok()
    assert sh(lab, "web1", "sha256sum < /srv/etc/random; ls /srv") == sh(lab, "web1", "cat /root/sum; echo etc; echo lost+found")
    assert sh(lab, "web1", "grep -o '\\[U*\\]' /proc/mdstat") == "[UU]"


def test_somebody_begins_to_use_the_disk_on_the_other_node_meanwhile(lab: Lab) -> None:
    """The restore is told by that node, once nobody else can begin, and leaves the disk as it was."""
    run(lab, POWER.replace("WANTED", "halted")).ok()
    image = sh(lab, "node2", "ls /srv/backup/web1-data/*/disk.img")
    examine = "mdadm --examine /dev/vg0/web1-data; dd if=/dev/vg0/web1-data iflag=direct bs=1M status=none | sha256sum"
    before = [sh(lab, node, examine) for node in ("node1", "node2")]
    with paused(lab.box("node2"), image, "web1", lambda: run(lab, "restore", overwrite=True, **DISK)) as restore:
        sh(lab, "node1", "systemd-run -q --collect --unit user sh -c 'exec 9</dev/vg0/web1-data; sleep 900'")
    said = re.sub(r"\s+", " ", restore.result().stdout)
    assert restore.result().rc and "Its leg web1-data is used on node1 by process" in said, restore.result().stdout
    assert "Take the disk" in said and [sh(lab, node, examine) for node in ("node1", "node2")] == before
    assert all(":released:" in sh(lab, node, "lvs --noheadings -o lv_tags vg0/web1-data") for node in ("node1", "node2"))
    sh(lab, "node1", "systemctl stop user")
    run(lab, "restore", overwrite=True, **DISK).ok()
    run(lab, "site").ok()
    assert sh(lab, "web1", "sha256sum < /srv/etc/random; ls /srv") == sh(lab, "web1", "cat /root/sum; echo etc; echo lost+found")


def test_bad_variables(lab: Lab) -> None:
    fails(lab, "Name a guest and one of its disks", "restore", guest="web1", disk="data", file="/etc")
    fails(lab, "No node that answers has a leg of disk other", "restore", guest="web1", disk="other")
    fails(lab, "20200101T000000Z", "restore", generation="20200101T000000Z", **DISK)


def test_the_coordinator_is_dead(lab: Lab) -> None:
    """The inventory still leads to it; another node is asked."""
    assert lab.box("web1").status.host == "node1"
    before = generations(lab, "node2")
    lab.kill(["node1"])
    run(lab, "node_recover", node="node1", assume_dead=["node1"]).ok()
    fails(lab, "is not complete", "backup", **DISK, **BACKUP)
    fails(lab, "node1", "guest_grow", size="300MiB", **DISK)
    run(lab, "backup", mirror_backup_allow_degraded=True, **DISK, **BACKUP).ok()
    assert len(set(generations(lab, "node2")) - set(before)) == 1
