# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups of the legs of a mirror that is in use, on real kernels. Each test finds what the one before it has left.

What is asserted is read from the backup volume, from LVM and from the guest, not from what the modules say.
"""
from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from integration.targets.host_playbooks.files.broken_off import kill as kill_with_workers
from lab_tests.helpers import play, until
from lab_tests.machines import Machines, prepared

pytestmark = pytest.mark.long
IQN = "iqn.2026-11.test.nobloat:{}:{}"
GUEST = "iqn.2026-11.test.nobloat:guest1"
VOLUME = "/srv/backup"
DISKS = ("data", "raw")  # one for each method
# Numbered files, each written at once and then never again; one that is written all the time; and all that rsync has to keep.
CONTENT = """set -e
mount | grep -q ' /mnt ' || mount /dev/md/data /mnt
cd /mnt; mkdir -p etc deep/er; head -c 3000000 /dev/urandom > etc/random; echo hello > 'etc/a name with
a line break'; ln -f etc/random deep/second-name; ln -sf ../etc/random deep/link; truncate -s 20M deep/sparse
echo same > etc/same; touch -d '2026-01-01' etc/same; chown 12:34 etc/same; chmod 4751 etc/same; mkfifo deep/fifo 2>/dev/null || true
python3 -c "import os; os.setxattr('etc/same', 'user.note', b'kept')"
sync; cp -a etc /root/etc-before; sha256sum etc/random > /root/sum"""
WRITER = """#!/usr/bin/python3
import os, time
number = 0
while not os.path.exists("/run/stop"):
    number += 1
    with open(f"/mnt/deep/{number:06d}", "wb") as stream:
        stream.write(b"%d\\n" % number * 1000)
        stream.flush()
        os.fsync(stream.fileno())
    with open("/run/acknowledged", "w") as stream:
        stream.write(str(number))
    if number > 20:
        os.unlink(f"/mnt/deep/{number - 20:06d}")
    time.sleep(0.02)
"""


def remote(node: int, disk: str) -> str:
    """The path of a leg on a machine that imports it."""
    return f"/dev/disk/by-path/ip-10.66.2.{node}:3260-iscsi-{IQN.format(f'node{node}', f'web1-{disk}')}-lun-0"


def halves(disk: str = "data") -> list[str]:
    """The paths of both halves on node2, where backups are made."""
    return [remote(1, disk), f"/dev/vg0/web1-{disk}"]


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    with prepared("backup", tmp_path_factory.mktemp("lab")) as found:
        build(found)
        yield found


def build(found: Machines) -> None:
    for node in (1, 2):
        found.sh(f"node{node}", "lvremove -qqy vg0/web1 vg0/web2")
        for disk, size in zip(DISKS, (192, 96), strict=True):
            found.sh(f"node{node}", f"lvcreate -qqy -Zy -i2 -I64k -L{size}m -n web1-{disk} vg0")
            initiators = [GUEST, f"iqn.2026-11.test.nobloat:node{3 - node}"]
            result = found.module(f"node{node}", "iscsi_export", name=f"web1-{disk}", iqn=IQN.format(f"node{node}", f"web1-{disk}"),
                                  device=f"/dev/vg0/web1-{disk}", portals=[f"10.66.2.{node}"], initiators=initiators)
            assert result["changed"], result
    found.sh("node2", "lvcreate -qqy -L600m -n backup vg0 && mkfs.ext4 -q /dev/vg0/backup && mkdir -p /srv/backup && echo "
                      "'/dev/vg0/backup /srv/backup ext4 defaults,nofail 0 2' >> /etc/fstab && mount /srv/backup")
    for disk in DISKS:
        for machine, node in (("node2", 1), ("node1", 2), ("guest1", 1), ("guest1", 2)):
            result = found.module(machine, "iscsi_import", iqn=IQN.format(f"node{node}", f"web1-{disk}"), portals=[f"10.66.2.{node}"],
                                  **({"initiator": GUEST} if machine == "guest1" else {}))
            assert result["changed"], result
        result = found.module("guest1", "md_mirror", name=disk, devices=[remote(1, disk), remote(2, disk)], wait_timeout=120)
        assert result["changed"], result
    found.sh("guest1", "mkfs.ext4 -q /dev/md/data; mkfs.ext4 -q /dev/md/raw; mkdir -p /raw; mount /dev/md/raw /raw")
    found.sh("guest1", CONTENT)
    found.sh("guest1", f"cat > /root/writer.py <<'END'\n{WRITER}END\n")


def start_writer(machines: Machines) -> None:
    machines.sh("guest1", "rm -f /run/stop; systemd-run -q --collect --unit writer python3 /root/writer.py; sleep 1")


def stop_writer(machines: Machines) -> None:
    machines.sh("guest1", "touch /run/stop; sleep 0.5; systemctl stop writer 2>/dev/null; sync")


def options(**changes: Any) -> dict[str, Any]:
    disk = changes.get("disk", "data")
    return {"guest": "web1", "disk": disk, "vg": "vg0", "volume": VOLUME, "node": "node2", "halves": halves(disk), "keep": 20,
            "method": "files", **changes}


def backup(machines: Machines, **changes: Any) -> str:
    """Make a generation; its name."""
    result = machines.module("node2", "leg_backup", **options(**changes))
    assert not result["failed"] and result["changed"], result
    nothing_left(machines)
    return str(result["backup"]["generations"][-1])


def nothing_left(machines: Machines) -> None:
    """No snapshot, mount, partial backup, archive or loop device."""
    assert machines.sh("node2", "lvs --noheadings -o lv_name vg0 | grep backup-; grep -e backup- /proc/*/mounts 2>/dev/null; "
                                f"find {VOLUME} -maxdepth 2 -name '.*'; losetup -a; ls /run/nobloat/mounts 2>/dev/null; true") == ""


def generations(machines: Machines, disk: str = "data") -> list[str]:
    return machines.sh("node2", f"ls {VOLUME}/web1-{disk} 2>/dev/null; true").split()


def manifest(machines: Machines, generation: str, disk: str = "data") -> dict[str, Any]:
    return json.loads(machines.sh("node2", f"cat {VOLUME}/web1-{disk}/{generation}/manifest.json"))


def intact(machines: Machines, disk: str = "data") -> None:
    """All generations are as they were when they were made, by a tool that is not ours."""
    for generation in generations(machines, disk):
        machines.sh("node2", f"cd {VOLUME}/web1-{disk}/{generation} && sha256sum --quiet -c SHA256SUMS")


# ---- files


def test_check_mode(machines: Machines) -> None:
    result = machines.module("node2", "leg_backup", check=True, **options())
    assert result["changed"] and len(result["backup"]["generations"]) == 1, result
    assert generations(machines) == []
    nothing_left(machines)


def test_backup_while_the_guest_writes(machines: Machines) -> None:
    start_writer(machines)
    before = int(machines.sh("guest1", "cat /run/acknowledged"))
    generation = backup(machines)
    stop_writer(machines)
    assert generations(machines) == [generation]
    intact(machines)
    top = f"{VOLUME}/web1-data/{generation}/files"
    found = sorted(int(name) for name in machines.sh("node2", f"ls {top}/deep | grep -x '[0-9]*'").split())
    # All that was acknowledged before, and each file in one piece.
    assert found[-1] > before and found[0] <= max(1, found[-1] - 18)
    sizes = {number: machines.sh("node2", f"sort -u {top}/deep/{number:06d}") for number in (found[1], found[-2])}
    assert sizes == {number: str(number) for number in sizes}
    said = manifest(machines, generation)
    assert {key: said[key] for key in ("guest", "disk", "node", "method", "state", "filesystem")} == {
        "guest": "web1", "disk": "data", "node": "node2", "method": "files", "state": "complete", "filesystem": "ext4"}


def test_all_attributes_are_kept(machines: Machines) -> None:
    top = f"{VOLUME}/web1-data/{generations(machines)[-1]}/files"
    assert machines.sh("node2", f"stat -c '%a %u:%g %Y' {top}/etc/same") == "4751 12:34 1767225600"
    assert machines.sh("node2", f"python3 -c \"import os; print(os.getxattr('{top}/etc/same', 'user.note'))\"") == "b'kept'"
    assert machines.sh("node2", f"stat -c %h {top}/etc/random; readlink {top}/deep/link; stat -c %F {top}/deep/fifo").split("\n") == [
        "2", "../etc/random", "fifo"]
    assert int(machines.sh("node2", f"stat -c %b {top}/deep/sparse")) == 0


def test_the_second_generation_costs_only_what_is_new(machines: Machines) -> None:
    first = generations(machines)[0]
    used = int(machines.sh("node2", f"df -B1 --output=used {VOLUME} | tail -1"))
    # The same size and time as before, and other bytes: what a quick comparison does not see.
    machines.sh("guest1", "cd /mnt/etc; t=$(stat -c %y random); printf X | dd of=random conv=notrunc 2>&1; touch -d \"$t\" random; sync")
    second = backup(machines)
    assert generations(machines) == [first, second]
    intact(machines)
    a, b = (f"{VOLUME}/web1-data/{name}/files/etc" for name in (first, second))
    assert machines.sh("node2", f"stat -c %i {a}/same") == machines.sh("node2", f"stat -c %i {b}/same")
    assert machines.sh("node2", f"sha256sum < {b}/random") == machines.sh("guest1", "sha256sum < /mnt/etc/random")
    assert machines.sh("node2", f"sha256sum < {a}/random").split()[0] == machines.sh("guest1", "cat /root/sum").split()[0]
    assert int(machines.sh("node2", f"df -B1 --output=used {VOLUME} | tail -1")) - used < 5_000_000


def test_retention(machines: Machines) -> None:
    known = generations(machines)
    third = backup(machines, keep=2)
    assert generations(machines) == [known[1], third]
    intact(machines)
    again = machines.module("node2", "leg_backup", **options(keep=2, max_age=3600))
    assert not again["changed"] and generations(machines) == [known[1], third], again


@pytest.mark.parametrize(("changes", "words"), [
    ({"halves": ["/dev/vg0/web1-data"]}, "2 halves, and 1 of them"),
    ({"halves": halves("raw")}, "not halves of the same mirror"),
    ({"vg": "vg1"}, "no logical volume web1-data"),
    ({"disk": "none"}, "no logical volume web1-none"),
    ({"volume": "/nowhere"}, "no folder"),
    ({"volume": "/opt"}, "Nothing is mounted"),
    ({"snapshot_size": "3000%"}, "has only"),
    ({"snapshot_size": "lots"}, "no size of a snapshot"),
    ({"keep": 0}, "1 at least"),
])
def test_bad_input(machines: Machines, changes: dict[str, Any], words: str) -> None:
    known = generations(machines)
    machines.fails("node2", "leg_backup", words, **options(**changes))
    assert generations(machines) == known
    nothing_left(machines)


def test_a_mirror_that_is_not_complete(machines: Machines) -> None:
    """Refused; with consent only from the half that is right."""
    machines.module("guest1", "md_mirror", name="data", state="degraded", devices=[remote(1, "data")])
    machines.sh("guest1", "echo degraded > /mnt/etc/degraded; sync")
    machines.fails("node2", "leg_backup", "is not complete", **options())
    generation = backup(machines, allow_degraded=True)
    assert machines.sh("node2", f"cat {VOLUME}/web1-data/{generation}/files/etc/degraded") == "degraded"
    # The other half is the old one, whatever anybody says.
    older = options(halves=[remote(2, "data"), "/dev/vg0/web1-data"], allow_degraded=True, volume="/mnt", require_mount=False)
    result = machines.module("node1", "leg_backup", **older)
    assert result["failed"] and "cannot be backed up" in result["msg"], result
    result = machines.module("guest1", "md_mirror", name="data", devices=[remote(1, "data"), remote(2, "data")], wait_timeout=120)
    assert result["changed"] and result["mirror"]["healthy"], result
    backup(machines)


# ---- blocks


def image(machines: Machines, generation: str) -> str:
    """The digest of an image."""
    return machines.sh("node2", f"sha256sum < {VOLUME}/web1-raw/{generation}/disk.img").split()[0]


def disk(machines: Machines, node: int) -> str:
    """The digest of the data on a leg, past all caches."""
    return machines.sh(f"node{node}", f"dd if=/dev/vg0/web1-raw iflag=direct,count_bytes bs=1M count={data_size(machines)} status=none "
                                      "| sha256sum").split()[0]


def data_size(machines: Machines) -> int:
    return int(machines.sh("node2", "mdadm --examine /dev/vg0/web1-raw | sed -n 's/ *Array Size : \\([0-9]*\\).*/\\1/p'")) * 1024


def test_image(machines: Machines) -> None:
    machines.sh("guest1", "head -c 5000000 /dev/urandom > /raw/first; sync; sha256sum < /raw/first > /root/first.sum; umount /raw")
    generation = backup(machines, disk="raw", method="blocks")
    assert image(machines, generation) == disk(machines, 1) == disk(machines, 2)
    size, used = machines.sh("node2", f"stat -c '%s %b' {VOLUME}/web1-raw/{generation}/disk.img").split()
    assert int(size) == data_size(machines) and int(used) * 512 < 30_000_000
    # Anybody can look into it.
    machines.sh("node2", f"modprobe loop && mount -o ro,loop {VOLUME}/web1-raw/{generation}/disk.img /mnt")
    assert machines.sh("node2", "sha256sum < /mnt/first; umount /mnt") == machines.sh("guest1", "cat /root/first.sum")


def test_image_of_a_file_system_in_use_gives_files(machines: Machines) -> None:
    """What was written last is in the journal only, or on its way; a restore of files replays it, and changes no image."""
    machines.sh("guest1", "mount /dev/md/raw /raw; mkdir -p /raw/new; echo fresh > /raw/new/file; sync -f /raw; python3 -c \"\nimport os\n"
                          "f = open('/raw/new/synced', 'w'); f.write('x' * 5000); f.flush(); os.fsync(f.fileno())\"")
    generation = backup(machines, disk="raw", method="blocks")
    before = image(machines, generation)
    archive = f"{VOLUME}/restore-web1-raw.tar"
    common = {"guest": "web1", "disk": "raw", "volume": VOLUME, "archive": archive}
    would = machines.module("node2", "leg_restore", check=True, path="/new", **common)
    assert would["changed"] and machines.sh("node2", f"ls {archive} 2>/dev/null; true") == "", would
    result = machines.module("node2", "leg_restore", path="/new", **common)
    assert result["changed"], result
    assert sorted(machines.sh("node2", f"tar -tf {archive}").split()) == ["new/", "new/file", "new/synced"]
    assert machines.sh("node2", f"tar -xOf {archive} new/synced | wc -c; tar -xOf {archive} new/file") == "5000\nfresh"
    machines.sh("node2", f"rm {archive}")
    assert image(machines, generation) == before
    machines.fails("node2", "leg_restore", "not on the disk", path="../../etc", **common)
    machines.fails("node2", "leg_restore", "no complete generation", generation="20200101T000000Z", **common)
    nothing_left(machines)
    first = generations(machines, "raw")[0]
    machines.fails("node2", "leg_restore", "There is no /nothing", path="/nothing", **{**common, "disk": "data"})
    assert generations(machines, "raw") == [first, generation]


def test_a_frozen_file_system_is_thawed(machines: Machines) -> None:
    """By whoever froze it; and by itself when Ansible does not come back."""
    machines.ok("guest1", "guest_freeze", name="data", timeout=900)
    machines.sh("guest1", "systemd-run -q --collect sh -c 'echo late > /mnt/etc/late; touch /run/written'; sleep 1; test ! -e /run/written")
    machines.ok("guest1", "guest_freeze", name="data", state="thawed")
    until(lambda: machines.sh("guest1", "cat /run/written && cat /mnt/etc/late", check=False) == "late", 60, "what waited was written")
    assert machines.module("guest1", "guest_freeze", name="data", timeout=2)["changed"]
    machines.sh("guest1", "echo x > /mnt/etc/frozen; sync -f /mnt")  # waits until then
    assert not machines.module("guest1", "guest_freeze", name="data", state="thawed")["held"]
    machines.fails("guest1", "guest_freeze", "No file system", name="nothing")
    machines.sh("guest1", "rm /mnt/etc/frozen /mnt/etc/late")


# What is on the disk when the last of them is acknowledged, and what a backup has.
SMALL = """python3 -c "
import os
os.makedirs('/mnt/small/{0}')
for number in range(1000):
    with open('/mnt/small/{0}/%d' % number, 'w') as stream:
        stream.write('%d ' % number * 20)
        stream.flush()
        os.fsync(stream.fileno())
" """
NOTED = """#!/bin/sh
echo called >> /run/e2fsck
exec /sbin/e2fsck "$@"
"""
COUNT = """python3 -c "
print(sum(open('{}/%d' % number).read() == '%d ' % number * 20 for number in range(1000)))
" """


def test_a_thousand_small_files(machines: Machines) -> None:
    """Right after the last was acknowledged. No kernel replays the journal: who does so is noted on the way."""
    machines.sh("node2", f"cat > /usr/local/sbin/e2fsck <<'END'\n{NOTED}END\nchmod +x /usr/local/sbin/e2fsck")
    replayed = machines.sh("node2", "dmesg | grep -c 'recovery complete'; true")
    start_writer(machines)  # so that there always is something in the journal
    machines.sh("guest1", SMALL.format("one"))
    generation = backup(machines)
    assert machines.sh("node2", COUNT.format(f"{VOLUME}/web1-data/{generation}/files/small/one")) == "1000"
    assert machines.sh("node2", "cat /run/e2fsck; rm /run/e2fsck") == "called"
    # Frozen: nothing has to be replayed, and writes go on afterwards.
    machines.sh("guest1", SMALL.format("two"))
    told = {"mirror_backup_legs": [leg("data")], "mirror_backup_keep": 20, "mirror_backup_method": "files"}
    play(machines.lab, ROLE, extra_vars=told).ok()
    generation = generations(machines)[-1]
    assert machines.sh("node2", COUNT.format(f"{VOLUME}/web1-data/{generation}/files/small/two")) == "1000"
    assert machines.sh("node2", "ls /run/e2fsck 2>/dev/null; true") == ""
    before = int(machines.sh("guest1", "cat /run/acknowledged"))
    until(lambda: int(machines.sh("guest1", "cat /run/acknowledged")) > before, 60, "the guest writes on")
    # From an image, which is the default.
    machines.sh("guest1", SMALL.format("three"))
    image_of = options(volume=f"{VOLUME}/images", require_mount=False)
    del image_of["method"]
    machines.sh("node2", f"mkdir {VOLUME}/images")
    assert machines.module("node2", "leg_backup", **image_of)["changed"]
    stop_writer(machines)
    machines.sh("node2", f"ls {VOLUME}/images/web1-data/*/disk.img")
    result = machines.module("node2", "leg_restore", guest="web1", disk="data", volume=f"{VOLUME}/images",
                             archive=f"{VOLUME}/images/small.tar", path="/small/three")
    assert not result["failed"], result
    machines.sh("node2", f"cd {VOLUME}/images; mkdir out; tar -C out -xf small.tar")
    assert machines.sh("node2", COUNT.format(f"{VOLUME}/images/out/small/three")) == "1000"
    assert machines.sh("node2", "dmesg | grep -c 'recovery complete'; true") == replayed
    machines.sh("node2", f"rm -r {VOLUME}/images /usr/local/sbin/e2fsck /run/e2fsck")
    machines.sh("guest1", "rm -r /mnt/small; sync")
    nothing_left(machines)


# ---- the role


ROLE = """
- hosts: node2
  gather_facts: false
  tasks:
    - ansible.builtin.import_role:
        name: nobloat.xen.mirror_backup
"""
FILES = """
- hosts: node2
  gather_facts: false
  tasks:
    - ansible.builtin.import_role:
        name: nobloat.xen.mirror_backup
        tasks_from: restore_files
"""


def leg(name: str, state: str = "present") -> dict[str, Any]:
    """A leg as the filter mirror_backup_legs has it."""
    return {"guest": "web1", "disk": name, "name": f"web1-{name}", "vg": "vg0", "node": "node2", "halves": halves(name), "state": state,
            "host": "guest1"}


def test_role_makes_the_volume_and_the_backups(machines: Machines) -> None:
    """On xfs: images share what has not changed."""
    told = {"mirror_backup_path": "/srv/second", "mirror_backup_legs": [leg("data"), leg("raw")], "mirror_backup_keep": 2,
            "mirror_backup_method": "files", "mirror_backup_volume": {"vg": "vg0", "name": "backup2", "size": "400m", "filesystem": "xfs"},
            "mirror_backup_options": {"web1-raw": {"method": "blocks"}}}
    play(machines.lab, ROLE, extra_vars=told, check=True).ok()
    assert machines.sh("node2", "ls -d /srv/second /dev/vg0/backup2 2>/dev/null; true") == ""
    # The volume, its file system, its place; the snapshot of data, as it is frozen then; two backups.
    assert play(machines.lab, ROLE, extra_vars=told).ok().changed == 6
    assert machines.sh("node2", "findmnt -no FSTYPE /srv/second; grep -c /srv/second /etc/fstab").split() == ["xfs", "1"]
    assert {"nodev", "nosuid", "noexec"} <= set(machines.sh("node2", "findmnt -no OPTIONS /srv/second").split(","))
    young = {**told, "mirror_backup_max_age": 3600}
    assert play(machines.lab, ROLE, extra_vars=young).ok().changed == 0
    machines.sh("guest1", "head -c 1000000 /dev/urandom > /raw/more; sync")
    used = int(machines.sh("node2", "sync; df -B1 --output=used /srv/second | tail -1"))
    assert play(machines.lab, ROLE, extra_vars={**told, "mirror_backup_legs": [leg("raw")]}).ok().changed == 1
    first, second = machines.sh("node2", "ls /srv/second/web1-raw").split()
    images = [machines.sh("node2", f"sha256sum < /srv/second/web1-raw/{name}/disk.img") for name in (first, second)]
    assert images[0] != images[1] and images[1].split()[0] == disk(machines, 2)
    assert int(machines.sh("node2", "sync; df -B1 --output=used /srv/second | tail -1")) - used < 25_000_000
    nothing_left(machines)


def test_role_asks_the_guest(machines: Machines) -> None:
    machines.module("guest1", "md_mirror", name="data", state="degraded", devices=[remote(1, "data")])
    told = {"mirror_backup_legs": [leg("data")]}
    known = generations(machines)
    failed = play(machines.lab, ROLE, extra_vars=told)
    assert failed.rc and "mirror data of web1 is not complete" in " ".join(failed.stdout.split()), failed.stdout
    result = machines.module("guest1", "md_mirror", name="data", devices=[remote(1, "data"), remote(2, "data")], wait_timeout=120)
    assert result["mirror"]["healthy"] and generations(machines) == known, result


def test_files_go_back_into_the_guest(machines: Machines) -> None:
    machines.sh("guest1", "cd /mnt/etc; sha256sum * > /root/sums; stat -c '%n %a %u %g %Y' * > /root/stats; sync")
    backup(machines)
    machines.sh("guest1", "echo spoilt > /mnt/etc/random; rm /mnt/etc/same")
    told = {"mirror_backup_leg": leg("data"), "mirror_backup_host": "guest1", "mirror_backup_file": "/etc",
            "mirror_backup_destination": "/root/back"}
    play(machines.lab, FILES, extra_vars=told, check=True).ok()
    assert machines.sh("guest1", "ls /root/back 2>/dev/null; true") == ""
    play(machines.lab, FILES, extra_vars=told).ok()
    machines.sh("guest1", "cd /root/back/etc && sha256sum --quiet -c /root/sums && stat -c '%n %a %u %g %Y' * | diff - /root/stats")
    assert machines.sh("guest1", "python3 -c \"import os; print(os.getxattr('/root/back/etc/same', 'user.note'))\"") == "b'kept'"
    # Where the disk is, only with consent.
    there = {**told, "mirror_backup_destination": "/mnt"}
    failed = play(machines.lab, FILES, extra_vars=there)
    assert failed.rc and "is there in guest1 already" in failed.stdout, failed.stdout
    assert machines.sh("guest1", "cat /mnt/etc/random") == "spoilt"
    play(machines.lab, FILES, extra_vars={**there, "mirror_backup_overwrite": True}).ok()
    machines.sh("guest1", "cd /mnt/etc && sha256sum --quiet -c /root/sums && stat -c '%n %a %u %g %Y' * | diff - /root/stats")
    # One file of an image; nothing is left in between.
    one = {**told, "mirror_backup_leg": leg("raw"), "mirror_backup_file": "/new/file", "mirror_backup_destination": "/root/one"}
    play(machines.lab, FILES, extra_vars=one).ok()
    assert machines.sh("guest1", "cat /root/one/new/file; ls -A /root/one").split() == ["fresh", "new"]
    assert machines.sh("node2", f"ls {VOLUME} | grep restore; true") == ""
    nothing_left(machines)


# ---- a whole disk


def restore(**changes: Any) -> dict[str, Any]:
    return {"guest": "web1", "disk": "raw", "volume": VOLUME, "halves": halves("raw"), **changes}


def events(machines: Machines) -> list[str]:
    return [machines.sh(f"node{n}", "mdadm --examine /dev/vg0/web1-raw | grep -e Events -e 'Array UUID'") for n in (1, 2)]


def test_restore_is_refused_without_consent(machines: Machines) -> None:
    first = generations(machines, "raw")[0]
    machines.sh("guest1", "umount /raw; mdadm --stop /dev/md/raw")
    before = [disk(machines, 1), disk(machines, 2), *events(machines)]
    machines.fails("node2", "leg_restore", "use overwrite: true", **restore(generation=first))
    machines.fails("node2", "leg_restore", "Name all halves", **restore(generation=first, overwrite=True, halves=halves("raw")[:1]))
    machines.fails("node2", "leg_restore", "are the same device", **restore(
        generation=first, overwrite=True, halves=["/dev/vg0/web1-raw", "/dev/mapper/vg0-web1--raw"]))
    machines.fails("node2", "leg_restore", "is not there", **restore(
        generation=first, overwrite=True, halves=["/dev/vg0/web1-raw", "/dev/no"]))
    machines.fails("node2", "leg_restore", "not all halves of the same mirror", **restore(
        generation=first, overwrite=True, halves=["/dev/vg0/web1-raw", "/dev/vg0/web1-data"]))
    machines.fails("node2", "leg_restore", "was made with method files", **restore(disk="data", overwrite=True))
    machines.sh("node2", f"mount -t ext4 -o ro {remote(1, 'raw')} /mnt")
    machines.fails("node2", "leg_restore", "Stop the guest first", **restore(generation=first, overwrite=True))
    machines.sh("node2", "umount /mnt")
    assert [disk(machines, 1), disk(machines, 2), *events(machines)] == before


def test_restore_of_a_disk(machines: Machines) -> None:
    first = generations(machines, "raw")[0]
    before = events(machines)
    machines.ok("node2", "leg_restore", **restore(generation=first, overwrite=True))
    assert disk(machines, 1) == disk(machines, 2) == image(machines, first)
    assert events(machines) == before
    nothing_left(machines)
    result = machines.module("guest1", "md_mirror", name="raw", devices=[remote(1, "raw"), remote(2, "raw")], wait_timeout=60)
    assert result["changed"] and result["mirror"]["healthy"], result
    machines.sh("guest1", "mount /dev/md/raw /raw")
    assert machines.sh("guest1", "sha256sum < /raw/first") == machines.sh("guest1", "cat /root/first.sum")
    assert machines.sh("guest1", "ls /raw").split() == ["first", "lost+found"]
    machines.sh("guest1", "cd /sys/class/block/$(basename $(readlink -f /dev/md/raw))/md; echo check > sync_action; "
                          "while ! grep -q idle sync_action; do sleep .2; done; test $(cat mismatch_cnt) = 0; umount /raw; "
                          "mdadm --stop /dev/md/raw")


def test_the_disk_is_held_from_the_first_look_on(machines: Machines) -> None:
    """The comparison of the backup with its digests takes as long as it wants to: until somebody writes into the pipe."""
    first = generations(machines, "raw")[0]
    folder, far, near = f"{VOLUME}/web1-raw/{first}", remote(1, "raw"), "/dev/vg0/web1-raw"
    machines.sh("node2", f"dd if=/dev/urandom of={near} bs=1M seek=40 count=1 oflag=direct 2>&1")
    before = [disk(machines, 1), disk(machines, 2), *events(machines)]
    machines.sh("node2", f"mv {folder}/disk.img {folder}/real && mkfifo {folder}/disk.img")
    command, environment = machines.command("node2", "leg_restore", **restore(generation=first, overwrite=True))
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        until(lambda: machines.sh("node2", f"fuser $(readlink -f {far}) 2>/dev/null; true"), 60, "it has the disk")
        # Nobody can start the guest, or claim the disk; who only opens it, as drivers of guests' disks do, is seen.
        lease = {"name": "web1", "legs": ["web1-raw"], "vg": "vg0", "owner": "bert", "seen": 0, "generation": 1}
        machines.fails("node2", "guest_lease", "A restore of a disk of web1 is at work", state="starting", **lease)
        assert machines.module("node2", "guest_lease", **{**lease, "state": "observed"})["evidence"]["restores"]
        for path in (far, near):
            assert "usy" in machines.sh("node2", f"mount -t ext4 -o ro {path} /mnt 2>&1", check=False)
        machines.sh("node2", f"systemd-run -q --collect --unit user sh -c 'exec 9<{near}; sleep 900'")
        machines.sh("node2", f"cat {folder}/real > {folder}/disk.img")
        said = process.communicate(timeout=120)[0]
    assert process.returncode and "is used by process" in said and "Nothing was written" in said, said
    machines.sh("node2", f"systemctl stop user; mv {folder}/real {folder}/disk.img")
    assert [disk(machines, 1), disk(machines, 2), *events(machines)] == before
    # It can be taken, and given up.
    asked = restore(generation=first, overwrite=True)
    assert machines.module("node2", "leg_restore", state="held", **asked)["held"]
    assert "No md superblock" in machines.sh("node2", f"mdadm --examine {far} 2>&1; true")
    assert machines.module("node1", "guest_lease", **{**lease, "state": "observed"})["evidence"]["legs"][0]["restoring"]
    machines.ok("node2", "leg_restore", state="unheld", **asked)
    assert [disk(machines, 1), disk(machines, 2), *events(machines)] == before
    machines.ok("node2", "leg_restore", **asked)
    assert disk(machines, 1) == disk(machines, 2) == image(machines, first)


def test_power_cut_during_a_restore(machines: Machines) -> None:
    """What is half restored belongs to no mirror, and cannot be taken for blank. The second run completes it."""
    second = generations(machines, "raw")[1]
    # What it writes takes long enough to be killed.
    machines.sh("node2", f"for d in {' '.join(halves('raw'))}; do dd if=/dev/urandom of=$d bs=1M count=80 oflag=direct 2>&1; done")
    command, environment = machines.command("node2", "leg_restore", **restore(generation=second, overwrite=True))
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: machines.sh("node2", f"mdadm --examine {remote(1, 'raw')} 2>&1 | grep 'No md superblock'; true"), 300, "it writes")
    machines.lab.kill(["node2"])
    process.kill()
    process.wait()
    machines.lab.start(["node2"])
    until(lambda: "LOGGED_IN" in machines.sh("node2", "cat /sys/class/iscsi_session/session*/state"), 60, "the node sees the other")
    until(lambda: machines.sh("guest1", f"cat /sys/class/block/$(basename $(readlink -f {remote(2, 'raw')}))/device/state") == "running",
          60, "the guest sees the leg")
    machines.fails("guest1", "md_mirror", "not blank", name="raw", devices=[remote(1, "raw"), remote(2, "raw")])
    machines.fails("node2", "leg_backup", "carries no half", **options(disk="raw", method="blocks"))
    machines.ok("node2", "leg_restore", **restore(generation=second, overwrite=True))
    assert disk(machines, 1) == disk(machines, 2) == image(machines, second)
    for name in DISKS:
        result = machines.module("guest1", "md_mirror", name=name, devices=[remote(1, name), remote(2, name)], wait_timeout=120)
        assert result["mirror"]["healthy"], result
    machines.sh("guest1", "mount /dev/md/raw /raw && grep -q fresh /raw/new/file")


def test_damaged_backup(machines: Machines) -> None:
    """One byte that is another: nothing is restored from it."""
    second = generations(machines, "raw")[1]
    machines.sh("guest1", "echo later > /raw/later; umount /raw; mdadm --stop /dev/md/raw")
    machines.sh("node2", f"cp -a --sparse=always {VOLUME}/web1-raw/{second} /root/kept; printf X | dd bs=1 seek=5000001 conv=notrunc 2>&1 "
                         f"of={VOLUME}/web1-raw/{second}/disk.img")
    before = [disk(machines, 1), disk(machines, 2), *events(machines)]
    machines.fails("node2", "leg_restore", "is damaged", **restore(generation=second, overwrite=True))
    assert [disk(machines, 1), disk(machines, 2), *events(machines)] == before
    machines.sh("node2", f"cp --sparse=always /root/kept/disk.img {VOLUME}/web1-raw/{second}/disk.img; rm -r /root/kept; "
                         f"echo '{'0' * 64}' >> {VOLUME}/web1-raw/{second}/SHA256SUMS")
    machines.fails("node2", "leg_restore", "is damaged", **restore(generation=second, overwrite=True))
    machines.sh("node2", f"sed -i '$d' {VOLUME}/web1-raw/{second}/SHA256SUMS")
    result = machines.module("guest1", "md_mirror", name="raw", devices=[remote(1, "raw"), remote(2, "raw")], wait_timeout=60)
    assert result["mirror"]["healthy"], result
    machines.sh("guest1", "mount /dev/md/raw /raw && grep -q later /raw/later")


# ---- what goes wrong


def begin(machines: Machines, **changes: Any) -> subprocess.Popen[bytes]:
    """A backup that is at work: it has a snapshot, and begins to copy."""
    command, environment = machines.command("node2", "leg_backup", **options(**changes))
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: machines.sh("node2", f"ls {VOLUME}/web1-{changes.get('disk', 'data')}/.partial.node2/*; true"), 300, "it copies")
    return process


def test_killed_backup(machines: Machines) -> None:
    """Ansible and the node's processes die: the next backup clears up."""
    machines.sh("guest1", "head -c 60000000 /dev/urandom > /mnt/big; sync")
    known = generations(machines)
    process = begin(machines)
    kill_with_workers(process)
    machines.sh("node2", "kill -9 $(fuser /run/nobloat/backup-web1-data.lock 2>/dev/null)")
    assert generations(machines) == known
    assert "backup-web1-data" in machines.sh("node2", "lvs --noheadings -o lv_name vg0")
    until(lambda: not machines.sh("node2", "pidof rsync; true"), 10, "no rsync is left")
    result = machines.module("node2", "leg_backup", check=True, **options(state="clean"))
    assert result["changed"], result
    machines.ok("node2", "leg_backup", **options(state="clean"))
    nothing_left(machines)
    new = backup(machines)
    assert generations(machines) == [*known, new]
    intact(machines)


def test_only_one_at_a_time(machines: Machines) -> None:
    machines.sh("guest1", "head -c 50000000 /dev/urandom > /mnt/big; sync")
    process = begin(machines)
    machines.fails("node2", "leg_backup", "is at work", **options())
    assert process.wait(300) == 0
    nothing_left(machines)


def test_power_cut_of_the_node(machines: Machines) -> None:
    known = generations(machines)
    machines.sh("guest1", "rm /mnt/big; sync; head -c 60000000 /dev/urandom > /mnt/big; sync")
    process = begin(machines)
    machines.lab.kill(["node2"])
    process.kill()
    process.wait()
    machines.sh("guest1", "echo afterwards > /mnt/etc/afterwards; sync", check=False)
    machines.lab.start(["node2"])
    until(lambda: "LOGGED_IN" in machines.sh("node2", "cat /sys/class/iscsi_session/session*/state"), 60, "the node sees the other")
    until(lambda: machines.sh("guest1", f"cat /sys/class/block/$(basename $(readlink -f {remote(2, 'data')}))/device/state") == "running",
          60, "the guest sees the leg")
    assert "backup-web1-data" in machines.sh("node2", "lvs --noheadings -o lv_name vg0")
    machines.fails("node2", "leg_backup", "is not complete", **options())
    for disk in DISKS:
        result = machines.module("guest1", "md_mirror", name=disk, devices=[remote(1, disk), remote(2, disk)], wait_timeout=120)
        assert result["mirror"]["healthy"], result
    new = backup(machines)
    assert generations(machines) == [*known, new]
    intact(machines)
    assert machines.sh("node2", f"cat {VOLUME}/web1-data/{new}/files/etc/afterwards") == "afterwards"


def test_full_backup_volume(machines: Machines) -> None:
    known = generations(machines)
    machines.sh("guest1", "rm /mnt/big; head -c 60000000 /dev/urandom > /mnt/big; sync")
    machines.sh("node2", f"rm -f {VOLUME}/filler; fallocate -l $(($(df -B1 --output=avail {VOLUME} | tail -1) - 5000000)) {VOLUME}/filler")
    machines.fails("node2", "leg_backup", "is full", **options())
    assert generations(machines) == known
    machines.sh("node2", f"rm {VOLUME}/filler")
    nothing_left(machines)
    intact(machines)


def test_the_guest_writes_more_than_the_snapshot_holds(machines: Machines) -> None:
    known = generations(machines)
    machines.sh("guest1", "systemd-run -q --collect --unit flood sh -c 'while :; do dd if=/dev/urandom of=/mnt/flood bs=1M count=30 "
                          "conv=fsync; rm /mnt/flood; done'")
    machines.fails("node2", "leg_backup", "wrote more than the snapshot", **options(snapshot_size=str(4 << 20)))
    machines.sh("guest1", "systemctl stop flood; rm -f /mnt/flood; sync")
    assert generations(machines) == known
    nothing_left(machines)
    intact(machines)
    assert machines.sh("guest1", "grep -c '\\[UU\\]' /proc/mdstat") == "2"
    backup(machines)
