# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles for nodes on real kernels: network, storage, exports, imports and names of two nodes.

What is asserted is read from the machines, not from what Ansible says. The tests follow each other: each finds what the one
before it has left.
"""
from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from lab.lab import Lab
from lab_tests.helpers import Played, play, until

pytestmark = pytest.mark.long
LAB: dict[str, Any] = {"nodes": [{"name": "node1", "disks": ["512MiB", "512MiB"]}, {"name": "node2", "disks": ["512MiB", "512MiB"]}],
                       "guests": 0, "xapi": False}
NODES = ("node1", "node2")
POOL = """
all:
  children:
    pools:
      hosts:
        alpha: {ansible_connection: local}
    nodes:
      vars:
        xapi_pool: alpha
        node_network_nics: "{{ san_nics }}"
        node_network_addresses: ["{{ san_address }}/{{ san_prefix }}"]
        node_network_arp_targets: ["{{ san_arp_target }}"]
        node_storage_devices: "{{ node_disks }}"
        mirror_import_chap_username: "{{ mirror_export_chap_username | default(omit) }}"
        mirror_import_chap_password: "{{ mirror_export_chap_password | default(omit) }}"
"""
BASE = """
- hosts: nodes
  gather_facts: false
  roles: [nobloat.xen.node_network, nobloat.xen.node_storage]
"""
LEGS = """
- import_playbook: nobloat.xen.mirror_look
- hosts: pools
  gather_facts: false
  tasks:
    - ansible.builtin.set_fact:
        mirror_legs: "{{ wanted }}"
- hosts: nodes
  gather_facts: false
  roles: [nobloat.xen.mirror_export, nobloat.xen.mirror_import]
"""
NAMES = """
- hosts: nodes
  gather_facts: false
  tasks:
    - ansible.builtin.import_role: {name: nobloat.xen.mirror_import, tasks_from: names}
"""
IQN = "iqn.2026-11.xen.nobloat:{}:{}"


def legs(*disks: str, size: int = 50 << 20) -> list[dict[str, Any]]:
    """Legs on both nodes; the first disk of a guest has its home on node1, as all have."""
    return [{"guest": disk.partition("-")[0], "disk": disk.partition("-")[2], "name": disk, "vg": "vg0", "node": node, "size": size,
             "exists": False} for disk in disks for node in NODES]


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inventory") / "pool.yml"
    path.write_text(POOL, encoding="utf-8")
    return path


class Job:
    """A playbook on the lab."""

    def __init__(self, lab: Lab, pool: Path) -> None:
        self.lab = lab
        self.pool = pool

    def run(self, playbook: str, check: bool = False, limit: str = "all", **variables: Any) -> Played:
        return play(self.lab, playbook, check=check, extra_vars=variables, inventories=[self.pool], options=["--limit", limit])

    def all(self, playbook: str, **variables: Any) -> Played:
        """Check mode changes nothing, the run something, a second one nothing."""
        before = self.state()
        assert self.run(playbook, check=True, **variables).ok().changed
        assert self.state() == before
        done = self.run(playbook, **variables).ok()
        assert self.run(playbook, **variables).ok().changed == 0
        return done

    def sh(self, node: str, command: str) -> str:
        return str(self.lab.box(node).run(command).stdout).strip()

    def state(self) -> list[str]:
        """All that roles could change."""
        look = ("ip -o addr; vgs --noheadings; lvs --noheadings -o lv_name,lv_size,lv_tags; find /dev/mirror 2>/dev/null; "
                "find /sys/kernel/config/target -path '*statistics*' -prune -o -print 2>/dev/null | sort; "
                "cat /sys/class/iscsi_session/*/targetname 2>/dev/null; find /etc /usr/local -type f -printf '%p %s %T@\\n' | sort")
        return [self.sh(node, look) for node in NODES]

    def volumes(self, node: str) -> str:
        """Without spare ones."""
        return self.sh(node, "lvs --noheadings -o lv_name --sort lv_name -S 'lv_name!~^spare-' vg0")


@pytest.fixture
def job(lab: Lab, pool: Path) -> Job:
    return Job(lab, pool)


# ---- network and storage


@pytest.mark.parametrize(("variables", "words"), [
    ({"node_network_nics": ["eth0", "eth2"]}, "by which Ansible reaches this node"),
    ({"node_network_nics": ["eth2", "eth9"]}, "has no NIC eth9"),
    ({"node_network_addresses": ["10.66.2.1"]}, "no address with the length of its prefix"),
    ({"node_network_mode": "802.3ad"}, "arp_targets does not go with"),
])
def test_a_network_that_cannot_be_is_refused(job: Job, variables: dict[str, Any], words: str) -> None:
    before = job.state()
    done = job.run(BASE, **variables)
    assert done.rc and words in done.stdout
    assert job.state() == before


def test_a_disk_that_is_not_blank_is_refused(job: Job) -> None:
    job.sh("node2", "mkfs.ext4 -q /dev/mapper/disk2")
    done = job.run(BASE, limit="node2", node_network_nics=[])
    assert done.recap["node2"]["failed"] and "it has a signature: ext4" in done.stdout
    assert job.sh("node2", "pvs --noheadings; blkid -o value -s TYPE /dev/mapper/disk2") == "ext4"
    job.sh("node2", "wipefs -qa /dev/mapper/disk2; dd if=/dev/zero of=/dev/mapper/disk2 bs=1M count=2 2>&1")


def test_network_and_storage(job: Job) -> None:
    job.all(BASE)
    for number, node in enumerate(NODES, 1):
        assert f"10.66.2.{number}/24" in job.sh(node, "ip -br addr show dev san")
        assert f"10.66.0.{number}/24" in job.sh(node, "ip -br addr show dev eth0")
        assert job.sh(node, "cd /sys/class/net/san/bonding; cat mode arp_ip_target; tr ' ' '\\n' < slaves | sort").split() == [
            "active-backup", "1", "10.66.2.254", "eth2", "eth3"]
        assert job.sh(node, "vgs --noheadings -o vg_name,pv_count").split() == ["vg0", "2"]
        assert job.sh(node, "readlink /etc/udev/rules.d/64-md-raid-assembly.rules") == "/dev/null"
    job.sh("node1", "ping -qc2 -W2 10.66.2.2")


# ---- legs


def test_no_space_on_one_node_makes_nothing_on_either(job: Job) -> None:
    job.sh("node2", "lvcreate -qy -i2 -L 900m -n filler vg0")
    done = job.run(LEGS, wanted=legs("web1-data", "web1-log", size=100 << 20))
    assert "node2 has too little free space" in done.stdout and all(done.recap[node]["failed"] for node in NODES)
    assert [job.volumes(node) for node in NODES] == ["", "filler"]
    job.sh("node2", "lvremove -qfy vg0/filler")


def test_what_cannot_be_made_half_way_is_taken_back(job: Job) -> None:
    """LVM fails on one node for one of two disks, although there was space."""
    job.sh("node2", "mv /usr/sbin/lvcreate /root/; printf '#!/bin/sh\\ncase \"$*\" in *web1-log*) echo no luck >&2; exit 5;; esac\\n"
                    "exec /usr/sbin/lvm lvcreate \"$@\"\\n' > /usr/sbin/lvcreate; chmod +x /usr/sbin/lvcreate")
    try:
        done = job.run(LEGS, wanted=legs("web1-data", "web1-log"))
    finally:
        job.sh("node2", "mv /root/lvcreate /usr/sbin/")
    assert "no luck" in done.stdout and all(done.recap[node]["failed"] for node in NODES)
    assert [job.volumes(node) for node in NODES] == ["web1-data", "web1-data"]
    for node in NODES:
        job.sh(node, "systemctl stop nobloat-wipe; lvremove -qfy vg0")


def test_legs(job: Job) -> None:
    for node in NODES:  # what lay there before must not shine through
        job.sh(node, "lvcreate -qy -Wn -i2 -L800m -n former vg0; tr '\\0' x < /dev/zero | dd of=/dev/vg0/former bs=1M iflag=fullblock 2>&1;"
                     " sync; lvremove -qfy vg0")
    job.run(LEGS, wanted=legs("web1-log"), mirror_export_chap=False).ok()
    job.all(LEGS, wanted=legs("web1-data", "web1-log"))
    secrets = {job.sh(node, "cat /etc/nobloat/chap; stat -c ' %a %u' /etc/nobloat/chap") for node in NODES}
    assert len(secrets) == 1
    secret, *mode = secrets.pop().split()
    assert len(secret) == 24 and mode == ["600", "0"]
    for slot, node in enumerate(NODES):
        other = NODES[1 - slot]
        assert job.sh(node, "lvs --noheadings -o lv_tags,lv_size,stripes,stripe_size --units m vg0/web1-data").split() == [
            f"nobloat.disk=data,nobloat.guest=web1,nobloat.slot={slot}", "56.00m", "2", "0.06m"]
        job.sh(node, f"cmp -n {56 << 20} /dev/mirror/{other}/web1-data /dev/zero")
        group = f"/sys/kernel/config/target/iscsi/{IQN.format(node, 'web1-data')}/tpgt_1"
        number = node[-1]
        assert job.sh(node, f"cat {group}/enable; ls {group}/np {group}/acls").split() == [
            "1", f"{group}/acls:", f"iqn.2026-11.test.nobloat:{other}", f"{group}/np:", f"10.66.2.{number}:3260"]
        # A new export wants the secret; one that was there before is left as it was.
        auth = f"{group}/attrib/authentication {group}/acls/iqn.2026-11.test.nobloat:{other}/auth"
        assert job.sh(node, f"cat {auth}/userid; cat {auth.split()[1]}/password").split() == ["1", "nobloat", secret]
        assert job.sh(node, f"cat {auth.split()[0].replace('web1-data', 'web1-log')}") == "0"
        sessions = job.sh(node, "cat /sys/class/iscsi_session/*/targetname; cat /sys/class/iscsi_session/*/recovery_tmo").split()
        assert sorted(sessions) == sorted([IQN.format(other, "web1-data"), IQN.format(other, "web1-log"), "5", "5"])
    same_names(job, "web1-data", "web1-log")


def same_names(job: Job, *names: str) -> None:
    """Each leg has its path on both nodes, and is the same disk there."""
    paths = [f"/dev/mirror/{node}/{name}" for node in NODES for name in names]
    for node in NODES:
        assert job.sh(node, "find /dev/mirror -type l | sort").split() == sorted(paths)
    for path in paths:
        sizes, marks = [], []
        owner = path.split("/")[3]
        other = next(node for node in NODES if node != owner)
        job.sh(other, f"echo {path} | dd of={path} bs=512 seek=999 conv=sync,fsync oflag=direct 2>&1")
        for node in NODES:
            sizes.append(job.sh(node, f"blockdev --getsize64 {path}"))
            marks.append(job.sh(node, f"dd if={path} bs=512 skip=999 count=1 iflag=direct 2>/dev/null | tr -d '\\0'"))
        assert len(set(sizes)) == 1 and marks == [path, path], (sizes, marks)


def test_a_name_that_is_missing_is_told(job: Job) -> None:
    assert job.run(NAMES).ok().changed == 0
    job.sh("node2", "rm /dev/mirror/node1/web1-data")
    done = job.run(NAMES)
    assert done.recap["node1"]["failed"] and done.recap["node2"]["failed"]
    assert "/dev/mirror/node1/web1-data" in done.stdout and "missing" in done.stdout and "web1-log" not in done.stdout
    job.sh("node2", "udevadm trigger --subsystem-match=block --action=change; udevadm settle")
    assert job.run(NAMES).ok()


# ---- faults


@pytest.mark.parametrize("node", NODES)
def test_after_a_power_cut_all_comes_back_without_ansible(job: Job, node: str) -> None:
    """And the node keeps out of what is in the legs: the half of an array with a volume group in it."""
    other = next(each for each in NODES if each != node)
    leg = f"/dev/mirror/{node}/web1-data"
    loose = "--config 'devices { global_filter = [ \"a|.*|\" ] }'"
    if not job.sh(other, f"blkid -p -o value -s TYPE {leg} || true"):
        job.sh(other, f"mdadm --create /dev/md/data --run --metadata=1.0 --level=1 -n2 --bitmap=internal {leg} missing 2>&1;"
                      f"pvcreate {loose} -q /dev/md/data; vgcreate {loose} -q inner /dev/md/data; lvcreate {loose} -qy -Wn -L8m -n x inner;"
                      f"vgchange {loose} -q -an inner; mdadm --stop /dev/md/data 2>&1; sync")
    assert job.sh(other, f"mdadm --examine {leg} | grep -c 'Raid Level : raid1'") == "1"
    job.sh(node, "sync")
    job.lab.kill([node])
    job.lab.start([node])
    until(lambda: [job.sh(each, "cat /sys/class/iscsi_session/*/state | sort -u") for each in NODES] == ["LOGGED_IN"] * 2
          and [job.sh(each, "find /dev/mirror -type l | wc -l") for each in NODES] == ["4", "4"], 90, "exports, imports and names are back")
    for each in NODES:
        assert job.sh(each, "grep -s ^md /proc/mdstat || true") == ""
        assert job.sh(each, "pvs --noheadings -o pv_name 2>&1").split() == ["/dev/mapper/disk1", "/dev/mapper/disk2"]
        assert job.sh(each, "dmsetup ls | grep inner || true") == ""
    same_names(job, "web1-data", "web1-log")
    assert job.run(BASE + LEGS, wanted=legs("web1-data", "web1-log")).ok().changed == 0


def test_a_portal_that_cannot_be_reached(job: Job) -> None:
    wanted = legs("web1-data", "web1-log", "web2-data")
    job.lab.link("node2", [2, 3], "cut")
    try:
        begin = time.monotonic()
        done = job.run(LEGS, wanted=wanted)
        assert done.rc and "cannot be reached" in done.stdout and time.monotonic() - begin < 240
    finally:
        job.lab.link("node2", [2, 3], "plug")
    until(lambda: job.sh("node1", "cat /sys/class/iscsi_session/*/state | sort -u") == "LOGGED_IN", 60, "the old sessions are back")
    assert not job.sh("node1", "cat /sys/class/iscsi_session/*/targetname | grep web2 || true")
    job.run(LEGS, wanted=wanted).ok()
    same_names(job, "web1-data", "web1-log", "web2-data")


def test_a_node_that_does_not_answer_is_not_shut_out(job: Job) -> None:
    """It cannot be asked, but its sessions work: whoever purges does so without it."""
    wanted = [{**leg, "exists": True} for leg in legs("web1-data", "web1-log", "web2-data")]
    acls = "ls -d /sys/kernel/config/target/iscsi/iqn*/tpgt_1/acls/*"
    before = job.sh("node1", acls)
    job.lab.link("node2", [0, 1], "cut")
    try:
        for purge in (False, True):
            done = job.run(LEGS.replace("hosts: nodes\n", "hosts: nodes:!nodes_down\n"), wanted=wanted, mirror_export_purge=purge)
            assert not done.changed and done.recap["node1"]["failed"] == 0, done.stdout
            assert job.sh("node1", acls) == before
    finally:
        job.lab.link("node2", [0, 1], "plug")
    assert job.sh("node2", "cat /sys/class/iscsi_session/*/state | sort -u") == "LOGGED_IN"
    assert job.run(LEGS, wanted=wanted, mirror_export_purge=True).ok().changed == 0


def test_a_wrong_secret(job: Job) -> None:
    wanted = legs("web1-data", "web1-log", "web2-data", "web3-data")
    secret: dict[str, Any] = {"mirror_export_chap_username": "mirror", "mirror_export_chap_password": "not-so-secret-1"}
    before = job.state()
    refused = job.run(LEGS, wanted=legs("web1-data", "web1-log", "web2-data"), **secret)
    assert refused.rc and "could not log in again after a break" in refused.stdout and job.state() == before
    secret["mirror_export_force"] = True
    done = job.run(LEGS, wanted=wanted, **secret, mirror_import_chap_password="another-secret")
    assert done.rc and "secret" in done.stdout and "1 of 4 imports failed" in done.stdout
    assert "not-so-secret" not in done.stdout and "another-secret" not in done.stdout
    assert not job.sh("node1", "cat /sys/class/iscsi_session/*/targetname | grep web3 || true")
    # Those that were logged in before work on without the secret, and would not come back after the next break.
    for node in NODES:
        job.sh(node, "iscsiadm -m session -u")
    assert job.run(LEGS, wanted=wanted, **secret).ok().changed
    assert job.run(LEGS, wanted=wanted, **secret).ok().changed == 0
    same_names(job, "web1-data", "web1-log", "web2-data", "web3-data")


def test_legs_grow_and_never_shrink(job: Job) -> None:
    names = ("web1-data", "web1-log", "web2-data", "web3-data")
    assert job.run(LEGS, wanted=legs(*names, size=70 << 20)).ok().changed
    for node in NODES:
        assert job.sh(node, "blockdev --getsize64 /dev/mirror/*/*").split() == [str(72 << 20)] * 8
    assert job.run(LEGS, wanted=legs(*names, size=30 << 20)).ok().changed == 0
    same_names(job, *names)


# ---- other networks


def test_a_vlan_on_another_kind_of_bond(job: Job) -> None:
    """It interrupts the sessions, which is refused unless it may be. They come back over it by themselves."""
    variables: dict[str, Any] = {"node_network_mode": "balance-alb", "node_network_arp_targets": [], "node_network_vlan": 100,
                                 "node_network_mtu": 1400}
    before = job.state()
    refused = job.run(BASE, **variables)
    assert refused.rc and "The SAN would be interrupted" in refused.stdout and job.state() == before
    assert job.run(BASE, **variables, node_network_force=True).ok().changed
    for number, node in enumerate(NODES, 1):
        assert f"10.66.2.{number}/24" in job.sh(node, "ip -br addr show dev san.100") and not job.sh(node, "ip -4 -o addr show dev san")
        assert job.sh(node, "cat /sys/class/net/san/bonding/mode /sys/class/net/san.100/mtu").split() == ["balance-alb", "6", "1400"]
    until(lambda: [job.sh(each, "cat /sys/class/iscsi_session/*/state | sort -u") for each in NODES] == ["LOGGED_IN"] * 2, 60,
          "sessions over the VLAN")


def test_two_ways_are_one_name(job: Job) -> None:
    """Without a bond, dm-multipath makes one device of both ways, and that has the name; also after a power cut."""
    network = {"node_network_mode": "", "node_network_addresses": "{{ san_addresses | product(['/24']) | map('join') }}",
               "node_network_arp_targets": [], "node_network_force": True}
    portals = {"mirror_export_portals": "{{ san_addresses }}", "mirror_export_chap_username": "mirror",
               "mirror_export_chap_password": "not-so-secret-1"}
    names = ("web1-data", "web1-log", "web2-data", "web3-data")
    wanted = legs(*names, size=70 << 20)
    assert job.run(BASE + LEGS, wanted=wanted, **network, **portals).ok().changed
    job.lab.link("node2", [2], "pull")
    same_names(job, *names)
    job.lab.link("node2", [2], "plug")
    job.sh("node1", "sync")
    job.lab.kill(["node1"])
    job.lab.start(["node1"])
    until(lambda: job.sh("node1", "find /dev/mirror -type l | wc -l") == "8" and all(
        job.sh("node1", f"readlink /dev/mirror/node2/{name}").startswith("../../dm-") for name in names), 90, "names of two ways")
    same_names(job, *names)
    until(lambda: set(job.sh("node1", "cat /sys/class/iscsi_session/*/state").split()) == {"LOGGED_IN"}, 60, "both ways")
    assert job.run(BASE + LEGS, wanted=wanted, **network, **portals).ok().changed == 0
