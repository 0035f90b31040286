# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The script that chooses disks, run on pictures of /sys by sh with its usual programs, and by busybox with nothing but its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.provisioning.disks import PLACES, generator, guarded

BUSYBOX = shutil.which("busybox")
GIB = 1 << 30
PCI = "pci0000:00/0000:00:1d.0"
RAID_CARD = f"{PCI}/0000:02:00.0/host0"


class Disk(NamedTuple):
    """`place` is its folder below /sys/devices, `files` what is written there; ../x is one of its parent."""

    place: str
    gib: float = 500
    files: dict[str, str] = {}

    @property
    def name(self) -> str:
        return self.place.rpartition("/")[2]


def sata(port: int, name: str, gib: float = 500, **files: str) -> Disk:
    return Disk(f"pci0000:00/0000:00:17.0/ata{port}/host{port}/target{port}:0:0/{port}:0:0:0/block/{name}", gib, files)


def scsi(place: str, name: str, gib: float = 500, **files: str) -> Disk:
    return Disk(f"{place}/target0:0:0/0:0:0:0/block/{name}", gib, files)


def nvme(number: int, gib: float = 900, place: str = PCI, **files: str) -> Disk:
    """Without native multipath."""
    return Disk(f"{place}/0000:0{number + 3}:00.0/nvme/nvme{number}/nvme{number}n1", gib, {"hidden": "0", "../transport": "pcie", **files})


def subsystem(number: int, gib: float = 900, transport: str = "pcie") -> list[Disk]:
    """With native multipath: the disk below its subsystem, and its hidden path below the controller."""
    return [Disk(f"virtual/nvme-subsystem/nvme-subsys{number}/nvme{number}n1", gib,
                 {"hidden": "0", f"../nvme{number}/transport": transport}),
            Disk(f"{PCI}/0000:0{number + 3}:00.0/nvme/nvme{number}/nvme{number}c{number}n1", gib,
                 {"hidden": "1", "../transport": transport})]


def card_reader(name: str, gib: float) -> Disk:
    return Disk(f"pci0000:00/0000:00:14.0/usb1/1-4/1-4:1.0/host9/target9:0:0/9:0:0:0/block/{name}", gib)


EMMC = [Disk("pci0000:00/0000:00:1e.6/mmc_host/mmc0/mmc0:0001/block/mmcblk0", 64, {"device/type": "MMC"}),
        Disk("pci0000:00/0000:00:1e.6/mmc_host/mmc0/mmc0:0001/block/mmcblk0/mmcblk0boot0", 0.004, {"ro": "1"}),
        Disk("pci0000:00/0000:00:1e.6/mmc_host/mmc0/mmc0:0001/block/mmcblk0/mmcblk0boot1", 0.004),
        Disk("pci0000:00/0000:00:1e.6/mmc_host/mmc0/mmc0:0001/block/mmcblk0/mmcblk0rpmb", 0.004)]
FC = scsi(f"{PCI}/0000:04:00.0/host7/rport-7:0-0", "sdf", 60)
FCOE = scsi("pci0000:00/0000:05:00.0/net/eth4/ctlr_0/host8/rport-8:0-3", "sdg", 60)
ISCSI = scsi("platform/host6/session1", "sdh", 60)
ISCSI_CARD = scsi(f"{PCI}/0000:06:00.0/host5/session2", "sdi", 60)


def driven(place: str, name: str, driver: str, gib: float = 500) -> Disk:
    """Below a SCSI host of a driver, which is the last part of `place`."""
    return scsi(place, name, gib, **{f"../../../../scsi_host/{place.rpartition('/')[2]}/proc_name": driver})


SRP = driven(f"{PCI}/0000:07:00.0/host7", "sdj", "ib_srp", 60)
SD_CARD = Disk("pci0000:00/0000:00:1d.0/0000:08:00.0/mmc_host/mmc1/mmc1:aaaa/block/mmcblk1", 64, {"device/type": "SD"})
ODDS = [Disk("virtual/block/loop0", 1), Disk("virtual/block/ram0", 1), Disk("virtual/block/dm-0", 1), Disk("virtual/block/md127", 1),
        Disk("virtual/block/zram0", 1), Disk("virtual/block/nbd0", 1), Disk("platform/floppy.0/block/fd0", 0.001),
        Disk("rbd/0/block/rbd0", 1), sata(9, "sr0", 1, removable="1"), Disk("LNXSYSTM:00/ndbus0/region0/pmem0", 1)]
MEGARAID = [scsi(RAID_CARD, "sda", 200), Disk(f"{RAID_CARD}/target0:2:1/0:2:1:0/block/sdb", 4000)]

# Picture, its disks, and what is chosen by choose and transport ("-" stands for a refusal). Two names: of a RAID1.
PICTURES: list[tuple[str, list[Disk], dict[tuple[str, str], str]]] = [
    ("two SATA disks", [sata(1, "sda", 500), sata(2, "sdb", 400)],
     {("smallest", "any"): "sdb", ("largest", "any"): "sda", ("smallest", "sata"): "sdb", ("smallest", "nvme"): "-"}),
    ("equal SATA disks", [sata(2, "sdb"), sata(1, "sda"), sata(3, "sdc", 600)],
     {("smallest", "any"): "sda sdb", ("largest", "any"): "sda sdc"}),
    ("NVMe without multipath", [nvme(0), nvme(1, 400)], {("smallest", "nvme"): "nvme1n1", ("largest", "any"): "nvme0n1"}),
    ("NVMe, old kernel", [nvme(0)._replace(files={})], {("smallest", "nvme"): "nvme0n1", ("smallest", "sata"): "-"}),
    ("NVMe with native multipath", [*subsystem(0), *subsystem(1, 400)],
     {("smallest", "nvme"): "nvme1n1", ("largest", "any"): "nvme0n1", ("smallest", "any"): "nvme1n1 nvme0n1"}),
    ("hidden paths only", [subsystem(0)[1]], {("smallest", "any"): "-", ("smallest", "nvme"): "-"}),
    ("hidden paths of a kernel that does not say so", [subsystem(0)[1]._replace(files={})], {("smallest", "any"): "-"}),
    ("NVMe over TCP, multipath", [*subsystem(0, 60, "tcp"), *subsystem(1, 900)],
     {("smallest", "nvme"): "nvme1n1", ("smallest", "any"): "nvme1n1"}),
    ("NVMe over Fibre Channel only", subsystem(0, 60, "fc"), {("smallest", "any"): "-"}),
    ("NVMe over RDMA, no multipath", [Disk("virtual/nvme-fabrics/ctl/nvme0/nvme0n1", 60, {"../transport": "rdma"}), sata(1, "sda")],
     {("smallest", "any"): "sda", ("smallest", "nvme"): "-"}),
    ("NVMe and SATA", [nvme(0, 900), sata(1, "sda", 200)],
     {("smallest", "nvme"): "nvme0n1", ("smallest", "sata"): "sda", ("largest", "sata"): "sda"}),
    ("eMMC", EMMC, {("smallest", "any"): "mmcblk0", ("largest", "any"): "mmcblk0", ("smallest", "sata"): "-"}),
    ("eMMC and SATA", [*EMMC, sata(1, "sda", 50)], {("smallest", "any"): "sda", ("smallest", "sata"): "sda"}),
    ("Fibre Channel", [FC, sata(1, "sda", 500)], {("smallest", "any"): "sda", ("largest", "any"): "sda"}),
    ("only Fibre Channel", [FC], {("smallest", "any"): "-"}),
    ("Fibre Channel over Ethernet", [FCOE, *MEGARAID], {("smallest", "any"): "sda"}),
    ("iSCSI", [ISCSI, ISCSI_CARD, sata(1, "sda", 500)], {("smallest", "any"): "sda"}),
    ("only iSCSI", [ISCSI, ISCSI_CARD], {("smallest", "any"): "-"}),
    ("SRP", [SRP, nvme(0)], {("smallest", "any"): "nvme0n1"}),
    ("only SRP", [SRP], {("smallest", "any"): "-"}),
    ("drivers of local disks", [driven(f"{PCI}/0000:07:00.0/ata1/host7", "sdb", "ahci"), driven(RAID_CARD, "sda", "megaraid_sas", 60)],
     {("smallest", "any"): "sda sdb"}),
    ("unequal disks, the smaller one first", [sata(1, "sda", 500), sata(2, "sdb", 480), sata(3, "sdc", 600), sata(4, "sdd", 60)],
     {("largest", "any"): "sda sdc", ("smallest", "any"): "sdd sdb"}),
    ("too small for the installers", [nvme(0, 16), sata(1, "sda", 45.99), sata(2, "sdb", 46), Disk("vbd-51728/block/xvdb", 0.01)],
     {("smallest", "any"): "sdb", ("largest", "any"): "sdb -"}),
    ("SD card", [SD_CARD, sata(1, "sda")], {("smallest", "any"): "sda"}),
    ("only an SD card", [SD_CARD], {("smallest", "any"): "-"}),
    ("two namespaces of one NVMe", [nvme(0, 400, wwid="a.1"), nvme(0, 500, wwid="a.2")._replace(
        place=f"{PCI}/0000:03:00.0/nvme/nvme0/nvme0n2"), sata(1, "sda", 900)],
     {("smallest", "any"): "nvme0n1 sda", ("largest", "any"): "nvme0n2 sda", ("smallest", "nvme"): "nvme0n1 -"}),
    ("two namespaces below a subsystem, one too small", [*subsystem(0, 20), subsystem(0, 500)[0]._replace(
        place="virtual/nvme-subsystem/nvme-subsys0/nvme0n2"), *subsystem(1, 800)],
     {("smallest", "any"): "nvme0n2 nvme1n1"}),
    ("RAID controller", MEGARAID, {("smallest", "any"): "sda", ("largest", "any"): "sdb", ("smallest", "sata"): "-"}),
    ("SAS expander", [scsi(f"{PCI}/0000:03:00.0/host1/port-1:{port}/expander-1:0/port-1:0:{port}/end_device-1:0:{port}", name)
                      for port, name in ((1, "sdb"), (0, "sda"))], {("smallest", "any"): "sda sdb"}),
    ("SAS disk by two paths", [scsi(f"{PCI}/0000:0{port}:00.0/host{port}/end_device", name, wwid="naa.5000c500a1b2c3d4")
                               for port, name in ((1, "sda"), (2, "sdb"))], {("smallest", "any"): "sda", ("largest", "any"): "sda -"}),
    ("Smart Array, old driver", [Disk(f"{PCI}/cciss0/c0d0/block/cciss!c0d0", 146)], {("smallest", "any"): "cciss/c0d0"}),
    ("USB stick and disk", [card_reader("sda", 60), card_reader("sdb", 9000), sata(1, "sdc")],
     {("smallest", "any"): "sdc", ("largest", "any"): "sdc"}),
    ("only USB", [card_reader("sda", 60)], {("smallest", "any"): "-"}),
    ("read-only", [sata(1, "sda", 60, ro="1"), sata(2, "sdb", 500, ro="0")], {("smallest", "any"): "sdb"}),
    ("removable", [sata(1, "sda", 60, removable="1"), sata(2, "sdb")], {("smallest", "any"): "sdb"}),
    ("no medium", [sata(1, "sda", 0), sata(2, "sdb")], {("smallest", "any"): "sdb"}),
    ("what is no disk", [*ODDS, sata(1, "sda")], {("smallest", "any"): "sda", ("largest", "any"): "sda"}),
    ("nothing but what is no disk", ODDS, {("smallest", "any"): "-"}),
    ("empty", [], {("smallest", "any"): "-", ("largest", "nvme"): "-"}),
    ("virtual machine", [Disk(f"{PCI}/virtio2/block/vda", 50), Disk("vbd-51712/block/xvda", 60)],
     {("smallest", "any"): "vda", ("largest", "any"): "xvda"}),
    ("identities with blanks", [sata(port, name, 500, **{"device/wwid": f"t10.ATA     DISK {name}"})
                                for port, name in ((1, "sda"), (2, "sdb"))],
     {("smallest", "any"): "sda sdb"}),
]
CASES = [pytest.param(disks, choose, transport, chosen, id=f"{name}: {choose} {transport}")
         for name, disks, expected in PICTURES for (choose, transport), chosen in expected.items()]


def paint(root: Path, disks: list[Disk]) -> None:
    """A /sys with these disks."""
    (root / "block").mkdir(parents=True)
    for disk in disks:
        folder = root / "devices" / disk.place
        folder.mkdir(parents=True)
        for name, text in {"size": str(int(disk.gib * GIB / 512)), "removable": "0", **disk.files}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(f"{text}\n", encoding="ascii")
        (root / "block" / disk.name).symlink_to(Path("..") / "devices" / disk.place)


def chosen_by(shell: str, root: Path, rule: dict[str, Any], wanted: int, guests: tuple[str, ...] = (),
              arrays: str = "none") -> subprocess.CompletedProcess[str]:
    text = f"<a>{','.join(f'<b>{place}</b>' for place in PLACES[:wanted])} it's</a>"
    return played(shell, root, generator(text, rule, guests, arrays=arrays))


def played(shell: str, root: Path, made: str) -> subprocess.CompletedProcess[str]:
    script = root / "choose"
    script.write_text(made.replace("/sys/", f"{root}/").replace('"/dev/', f'"{root}/dev/'), encoding="ascii")
    command, search = ["sh", str(script)], os.environ["PATH"]
    if shell == "busybox":
        if not BUSYBOX:
            pytest.skip("busybox is not there (Debian: busybox-static; tools/bootstrap installs it)")
        (root / "bin").mkdir()
        subprocess.run([BUSYBOX, "--install", "-s", str(root / "bin")], check=True)
        command, search = [BUSYBOX, "sh", str(script)], str(root / "bin")
    return subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": search}, timeout=60)


@pytest.mark.parametrize("shell", ["sh", "busybox"])
@pytest.mark.parametrize(("disks", "choose", "transport", "chosen"), CASES)
def test_pictures(tmp_path: Path, shell: str, disks: list[Disk], choose: str, transport: str, chosen: str) -> None:
    paint(tmp_path / "sys", disks)
    names = chosen.split()
    done = chosen_by(shell, tmp_path / "sys", {"choose": choose, "transport": transport, "min_size": None}, len(names))
    if "-" in names:
        assert done.returncode == 1 and f"only {len(names) - 1} are here" in done.stderr and done.stdout == ""
        return
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert [node.text for node in ET.fromstring(done.stdout).findall("b")] == names


@pytest.mark.parametrize("shell", ["sh", "busybox"])
@pytest.mark.parametrize(("least", "chosen"), [(100 * GIB, "sdb"), (400 * GIB, "sdb"), (400 * GIB + 1, "sda"), (501 * GIB, "-")])
def test_smallest_of_a_least_size(tmp_path: Path, shell: str, least: int, chosen: str) -> None:
    paint(tmp_path / "sys", [sata(1, "sda", 500), sata(2, "sdb", 400), sata(3, "sdc", 64)])
    done = chosen_by(shell, tmp_path / "sys", {"choose": "smallest", "transport": "any", "min_size": least}, 1)
    assert (f">{chosen}<" in done.stdout) == (chosen != "-") == (done.returncode == 0)


WWN = "disk/by-id/wwn-0x5000c500a1b2c3d4"


@pytest.mark.parametrize("shell", ["sh", "busybox"])
@pytest.mark.parametrize(("guests", "chosen"), [
    (("sdc",), "sdb"), (("/dev/sdc",), "sdb"), ((WWN,), "sdb"), ((f"/dev/{WWN}", "sda"), "sdb"), (("sdb",), "sdc"),
    (("cciss/c0d0",), "sdc"), (("sdc", "cciss/c0d0"), "sdb"), (("sde",), "sdb"), (("sdb", "sdc", "sda", "cciss/c0d0"), "-"), ((), "sdc")])
def test_guest_disks_are_not_chosen(tmp_path: Path, shell: str, guests: tuple[str, ...], chosen: str) -> None:
    """By any name; sdc and sde are two paths to one disk."""
    root = tmp_path / "sys"
    paint(root, [sata(1, "sda", 900), sata(2, "sdb", 800), sata(3, "sdc", 500, wwid="naa.5000c500a1b2c3d4"),
                 sata(4, "sde", 500, wwid="naa.5000c500a1b2c3d4"), Disk(f"{PCI}/cciss0/c0d0/block/cciss!c0d0", 850)])
    for name in ("sda", "sdb", "sdc", "sde", "cciss/c0d0"):
        (root / "dev" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "dev" / name).touch()
    (root / "dev" / WWN).parent.mkdir(parents=True)
    (root / "dev" / WWN).symlink_to("../../sdc")
    done = chosen_by(shell, root, {"choose": "smallest", "transport": "any", "min_size": None}, 1, guests)
    assert (f">{chosen}<" in done.stdout) == (chosen != "-") == (done.returncode == 0), done.stderr


@pytest.mark.parametrize("shell", ["sh", "busybox"])
def test_a_guest_disk_that_is_not_here_stops_it(tmp_path: Path, shell: str) -> None:
    paint(tmp_path / "sys", [sata(1, "sda", 900)])
    done = chosen_by(shell, tmp_path / "sys", {"choose": "smallest", "transport": "any", "min_size": None}, 1, ("sdx",))
    assert done.returncode == 1 and "disk sdx is not here" in done.stderr and done.stdout == ""


def joined(root: Path, arrays: dict[str, str]) -> None:
    """Running arrays of disks, or of parts of them."""
    for array, members in arrays.items():
        (root / "block" / array).mkdir()
        (root / "dev").mkdir(exist_ok=True)
        (root / "dev" / array).touch()
        (root / "block" / array / "slaves").mkdir()
        for member in members.split():
            (root / "block" / array / "slaves" / member).touch()
            held = root / "block" / member.rstrip("123") / (member if member[-1] in "123" else "") / "holders"
            held.mkdir(parents=True)
            (held / array).touch()


ANY: dict[str, Any] = {"choose": "smallest", "transport": "any", "min_size": None}


@pytest.mark.parametrize("shell", ["sh", "busybox"])
@pytest.mark.parametrize(("arrays", "members", "chosen"), [
    # for one disk: none that an array holds, whole or in part
    ("none", {"md127": "sda sdb"}, "sdc"), ("none", {"md0": "sda1 sdb1", "md1": "sda2 sdb2"}, "sdc"),
    ("none", {"md126": "sdc sdd"}, "sda"), ("none", {"md127": "sda sdb", "md126": "sdc sdd"}, "-"),
    # XenServer stops the arrays of the disks that it takes, but not those of their parts
    ("stopped", {"md127": "sda sdb"}, "sda sdb"), ("stopped", {"md126": "sdb sdd"}, "sda sdb"),
    ("stopped", {"md0": "sda1 sdb1"}, "sdc sdd"),
    # XCP-ng takes md127 as it is
    ("taken", {}, "sda sdb"), ("taken", {"md127": "sda sdb"}, "sda sdb"), ("taken", {"md126": "sda sdb"}, "sdc sdd"),
    ("taken", {"md127": "sdc sdd"}, "!"), ("taken", {"md127": "sda sdd"}, "!"), ("taken", {"md127": "sda"}, "!"),
    ("taken", {"md127": ""}, "!"),
    ("taken", {"md127": "sda sdb sdc"}, "!"), ("taken", {"md127": "sda1 sdb1"}, "!"), ("taken", {"md0": "sda1", "md126": "sdb"}, "sdc sdd"),
])
def test_disks_of_arrays(tmp_path: Path, shell: str, arrays: str, members: dict[str, str], chosen: str) -> None:
    root = tmp_path / "sys"
    paint(root, [sata(number, f"sd{name}", 400 + number) for number, name in enumerate("abcd")])
    joined(root, members)
    done = chosen_by(shell, root, ANY, 1 if arrays == "none" else 2, arrays=arrays)
    if chosen in ("-", "!"):
        assert done.returncode == 1 and done.stdout == ""
        assert ("is part of md127" if chosen == "-" else "array md127 is here already") in done.stderr
        return
    assert [node.text for node in ET.fromstring(done.stdout).findall("b")] == chosen.split(), done.stderr


@pytest.mark.parametrize("shell", ["sh", "busybox"])
@pytest.mark.parametrize(("names", "members", "why"), [
    (("sda", "sdb"), {}, ""), ((WWN, "/dev/cciss/c0d0"), {}, ""), (("sda", "sdb"), {"md127": "sdb sda"}, ""),
    (("sda", "sdb"), {"md126": "sdc"}, ""), ((WWN, "sdb"), {"md127": "sda sdb"}, ""),
    (("sda", "sdb"), {"md127": "sdc sdd"}, "of disks sdc sdd and not of those that are meant: sda sdb"),
    (("sda", "sdb"), {"md127": "sda"}, "md127 is here already"), (("sda", "sdb"), {"md127": ""}, "of disks that are not known"),
    (("sda", WWN), {}, "one disk is named twice"), (("sda", "sdx"), {}, "disk sdx is not here")])
def test_xcp_ng_makes_an_array_only_where_it_would_not_take_another(tmp_path: Path, shell: str, names: tuple[str, ...],
                                                                    members: dict[str, str], why: str) -> None:
    root = tmp_path / "sys"
    paint(root, [*(sata(number, f"sd{name}") for number, name in enumerate("abcd")), Disk(f"{PCI}/cciss0/c0d0/block/cciss!c0d0", 146)])
    for name in ("sda", "sdb", "sdc", "sdd", "cciss/c0d0"):
        (root / "dev" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "dev" / name).touch()
    (root / "dev" / WWN).parent.mkdir(parents=True)
    (root / "dev" / WWN).symlink_to("../../sda")
    joined(root, members)
    done = played(shell, root, guarded("<a>it's</a>", names))
    assert (done.returncode, done.stdout) == ((1, "") if why else (0, "<a>it's</a>")), done.stderr
    assert why in done.stderr and bool(why) == bool(done.stderr)


def test_there_are_pictures_enough() -> None:
    assert len({name for name, _disks, _expected in PICTURES}) == len(PICTURES) >= 20
