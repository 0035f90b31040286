# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A mirrored guest grows, one of its legs moves, a node retires, and the status page tells it; all while the guest writes.

Each test finds what the one before it has left. What is asserted is read on the nodes, in the guest and through XAPI, not from
what the playbooks say.
"""
from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from integration.targets.host_playbooks.files.broken_off import kill as kill_with_workers
from lab.lab import Lab
from lab_tests.helpers import Played, Xapi, play, playbook_command, playbook_environment, until

pytestmark = pytest.mark.long
LAB = {"nodes": 3, "guests": ["web1"], "xapi": {"pool": "alpha"}}
NODES = ("node1", "node2", "node3")
MIB = 1 << 20
INVENTORY = {
    "nodes": {"vars": {
        "node_network_nics": ["eth2", "eth3"], "node_network_addresses": ["{{ san_address }}/24"],
        "node_network_arp_targets": ["{{ san_arp_target }}"], "node_storage_devices": "{{ node_disks }}",
        # Guests of the lab reach the legs of their own node by iSCSI, too.
        "mirror_export_initiators": "{{ groups.nodes | map('extract', hostvars, 'initiator_name') }}",
    }},
    "pools": {"hosts": {"alpha": {
        "pool_settings_name": "alpha",
        "pool_storage_repositories": [
            {"name": "shared", "type": "nfs", "device_config": {"server": "nas1.lab.test", "serverpath": "/export/alpha"}}],
        "pool_storage_default": "shared",
        "mirror_guest_list": [{
            "name": "web1", "disks": [{"name": "data", "size": "256MiB", "filesystem": "ext4", "mount": "/srv"}],
            "vm": {"template": "Debian Bookworm 12", "memory": "1GiB", "vcpus": 1, "other_config": {"lab_guest": "web1"}}}],
    }}},
}
# Numbered records, each on the disk before the next begins, with the longest time that one took.
WRITER = """
import os, time
number = longest = 0
with open("/srv/records", "ab") as stream:
    while not os.path.exists("/run/stop"):
        begin = time.monotonic()
        stream.write(b"%09d\\n" % number); stream.flush(); os.fsync(stream.fileno())
        longest = max(longest, time.monotonic() - begin)
        number += 1
        with open("/run/acknowledged", "w") as told:
            told.write(f"{number} {longest:.1f}")
        time.sleep(0.01)
"""


class Cloud:
    """The lab, and what it is described as."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab = lab
        self.xapi = Xapi(lab)
        self.inventory = folder / "cloud.yml"
        self.inventory.write_text(yaml.safe_dump({"all": {"children": INVENTORY}}), encoding="utf-8")

    def play(self, name: str, check: bool = False, **variables: Any) -> Played:
        return play(self.lab, f"nobloat.xen.{name}", extra_vars=variables, check=check, inventories=[self.inventory], timeout=1800)

    def fails(self, name: str, words: str, **variables: Any) -> None:
        """It must fail, say why, and change nothing."""
        before = self.state()
        done = self.play(name, **variables)
        assert done.rc != 0 and words in " ".join((done.stdout + done.stderr).split()), done.stdout + done.stderr
        assert self.state() == before

    def sh(self, machine: str, command: str) -> str:
        return self.lab.box(machine).run(command).stdout.strip()

    def legs(self) -> dict[str, int]:
        """{node: size} of the legs of web1."""
        look = "lvs --noheadings --units b --nosuffix -o lv_size -S 'lv_tags={nobloat.guest=web1} && lv_name!~^spare-'"
        found = {node: self.sh(node, look) for node in NODES}
        return {node: int(size) for node, size in found.items() if size}

    def vdis(self) -> dict[str, int]:
        """{path: size} of the legs that XAPI knows."""
        return {vdi["location"]: int(vdi["virtual_size"]) for vdi in self.xapi("VDI.get_all_records").values()
                if vdi["location"].startswith("/dev/mirror/")}

    def vm(self) -> dict[str, Any]:
        return next(vm for vm in self.xapi("VM.get_all_records").values() if vm["name_label"] == "web1" and not vm["is_a_template"])

    def targets(self, machine: str) -> set[str]:
        """The nodes that a machine has the leg of, by its sessions."""
        said = self.sh(machine, "cat /sys/class/iscsi_session/*/targetname 2>/dev/null; true").split()
        return {name.split(":")[-2] for name in said if name.endswith(":web1-data")}

    def halves(self) -> str:
        """As [UU]."""
        found = re.search(r"\[([U_]+)\]", self.sh("web1", "cat /proc/mdstat 2>/dev/null; true"))
        return found[1] if found else ""

    def state(self) -> Any:
        return [self.legs(), self.vdis(), self.halves(), *(self.sh(node, "lvs --noheadings -o name,size,tags") for node in NODES),
                *(self.targets(machine) for machine in (*NODES, "web1"))]

    def same(self) -> None:
        """Both halves hold the same bytes: md compares them."""
        folder = "/sys/class/block/$(ls /sys/class/block | grep ^md)/md"
        self.sh("web1", f"sync; echo check > {folder}/sync_action; while ! grep -q idle {folder}/sync_action; do sleep .2; done")
        assert self.sh("web1", f"cat {folder}/mismatch_cnt") == "0", self.differences()

    def differences(self) -> str:
        """Where the halves differ, and what stands there."""
        sums, where = {}, {}
        for node in self.legs():
            read = f"dd if=/dev/mirror/{node}/web1-data bs=64k iflag=direct 2>/dev/null"
            where[node] = read
            sums[node] = self.sh(node, f"{read} | python3 -c 'import hashlib, sys\nwhile part := sys.stdin.buffer.read(65536):"
                                       " print(hashlib.md5(part).hexdigest())'").split()
        blocks = [number for number, pair in enumerate(zip(*sums.values(), strict=False)) if len(set(pair)) > 1]
        begins = [f"{node}: {self.sh(node, f'{read} skip={block} count=1 | head -c 256 | od -c | head')}"
                  for block in blocks[:3] for node, read in where.items()]
        return f"64 KiB blocks that differ: {blocks}\n" + "\n".join(begins)

    def settled(self, nodes: set[str]) -> None:
        """These two nodes have the legs, everybody knows and nobody knows another, and the data are the same on both."""
        assert set(self.legs()) == nodes
        assert self.halves() == "UU"
        assert self.targets("web1") == nodes
        for node in NODES:
            assert self.targets(node) == nodes - {node}
            exported = self.sh(node, "ls /sys/kernel/config/target/iscsi 2>/dev/null | grep web1-data; true")
            assert bool(exported) == (node in nodes)
            names = set(self.sh(node, "cd /dev/mirror && ls -d */web1-data").split())
            assert names == {f"{each}/web1-data" for each in nodes}
        assert set(self.vdis()) == {f"/dev/mirror/{node}/web1-data" for node in nodes}
        self.same()

    @contextmanager
    def load(self) -> Iterator[None]:
        """The guest writes meanwhile; nothing that was acknowledged is lost, and no write waits for long."""
        self.sh("web1", f"rm -f /run/stop /srv/records; cat > /run/writer.py <<'END'\n{WRITER}\nEND\n"
                        "systemd-run --quiet --unit=writer python3 /run/writer.py")
        yield
        self.sh("web1", "touch /run/stop; while systemctl is-active -q writer; do sleep .1; done")
        count, longest = self.sh("web1", "cat /run/acknowledged").split()
        self.sh("web1", "umount /srv && mount /srv")
        records = self.sh("web1", "cat /srv/records").split()
        assert [int(record) for record in records] == list(range(int(count))) and int(count) > 100
        assert float(longest) < 10


@pytest.fixture(scope="module")
def cloud(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Cloud:
    found = Cloud(lab, tmp_path_factory.mktemp("cloud"))
    found.play("site").ok()
    until(lambda: found.halves() == "UU" and "/srv" in found.sh("web1", "findmnt -n /srv"), 60, "the guest has its mirror")
    return found


def other(cloud: Cloud) -> str:
    """The node without a leg."""
    (found,) = set(NODES) - set(cloud.legs())
    return found


# ---- the status page


class Rows(HTMLParser):
    """The text of the cells of the tables, by the table's id."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.rows = self.tables[str(dict(attrs)["id"])] = []
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self.cell = True

    def handle_endtag(self, tag: str) -> None:
        self.cell = self.cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self.cell:
            self.rows[-1][-1] += data.strip() + " "


def status(cloud: Cloud, page: Path) -> tuple[list[str], list[str], list[str]]:
    """What the page says: the words of the row of web1, what the picture says of legs, and of the line."""
    cloud.play("mirror_status", mirror_status_page=str(page)).ok()
    text = page.read_text(encoding="utf-8")
    found = re.search(r"<svg.*</svg>", text, re.S)
    assert found and not re.search(r"https?:|<script| src=|url\(", text)
    svg = ElementTree.fromstring(found[0])
    titles = {tag: [str(each.find("title").text) for each in svg.iter(tag) if each.find("title") is not None]  # type: ignore[union-attr]
              for tag in ("g", "line")}
    (row,) = Rows(text).tables["mirrors"][1:]
    return [cell.strip() for cell in row], titles["g"], titles["line"]


def test_status_of_a_healthy_mirror(cloud: Cloud, tmp_path: Path) -> None:
    page = tmp_path / "status.html"
    row, groups, lines = status(cloud, page)
    legs = sorted(cloud.legs())
    home = next(node for node, ref in cloud.xapi.hosts.items() if ref == cloud.vm()["resident_on"])
    assert row[:3] == ["web1", "data", "256 MiB"] and "✓ healthy" in row[4] and row[5] == home
    assert row[3].count("✓ complete") == 2 and all(node in row[3] for node in legs)
    assert [text for text in groups if "web1-data" in text] == [
        f"web1-data on {node}: complete{', the guest runs here' if node == home else ''}" for node in legs]
    assert lines == ["web1 data: healthy"]
    again = cloud.play("mirror_status", mirror_status_page=str(page)).ok()
    assert again.changed == 0


def test_status_of_a_mirror_without_one_half(cloud: Cloud, tmp_path: Path) -> None:
    far = cloud.sh("web1", "readlink -f /dev/xvdf")
    cloud.sh("web1", f"mdadm /dev/md/data -q --fail {far}; sleep 1; mdadm /dev/md/data -q --remove {far}")
    row, groups, lines = status(cloud, tmp_path / "status.html")
    assert "○ degraded" in row[4] and row[3].count("✓ complete") == 1 and row[3].count("○ not in the mirror") == 1
    assert lines == ["web1 data: degraded"] and sum("not in the mirror" in text for text in groups) == 1
    cloud.fails("guest_grow", "a half is missing", guest="web1", size="320MiB")
    cloud.sh("web1", f"mdadm /dev/md/data -q --re-add {far}; mdadm --wait /dev/md/data; true")
    assert cloud.halves() == "UU"


# ---- growth


def test_growth_that_cannot_be(cloud: Cloud) -> None:
    cloud.fails("guest_grow", "cannot shrink to 128MiB", guest="web1", disk="data", size="128MiB")
    cloud.fails("guest_grow", "left in vg0", guest="web1", disk="data", size="1TiB")


def test_growth_of_a_guest_that_nobody_reaches(cloud: Cloud) -> None:
    """All that comes after the look into the guest is on other hosts, and does not begin."""
    cloud.lab.link("web1", [0, 1], "cut")
    try:
        cloud.fails("guest_grow", "UNREACHABLE", guest="web1", disk="data", size="320MiB")
    finally:
        cloud.lab.link("web1", [0, 1], "plug")


def test_grow(cloud: Cloud) -> None:
    before = cloud.state()
    assert cloud.play("guest_grow", check=True, guest="web1", disk="data", size="320MiB").ok().changed > 0
    assert cloud.state() == before
    with cloud.load():
        cloud.play("guest_grow", guest="web1", disk="data", size="320MiB").ok()
        grown(cloud, 320 * MIB)
    cloud.settled(set(cloud.legs()))
    assert cloud.play("guest_grow", guest="web1", disk="data", size="320MiB").ok().changed == 0


def grown(cloud: Cloud, size: int) -> None:
    """Everybody knows the size: volumes, imports, XAPI, the guest, its mirror, its file system."""
    legs = cloud.legs()
    assert len(legs) == 2 and set(legs.values()) == {size}
    for node in NODES:
        assert cloud.sh(node, "blockdev --getsize64 /dev/mirror/*/web1-data").split() == [str(size)] * 2
    assert set(cloud.vdis().values()) == {size}
    assert cloud.sh("web1", "blockdev --getsize64 /dev/xvde /dev/xvdf").split() == [str(size)] * 2
    array = int(cloud.sh("web1", "blockdev --getsize64 /dev/md/data"))
    assert size - MIB < array < size
    blocks, each = cloud.sh("web1", "dumpe2fs -h /dev/md/data 2>/dev/null | sed -n 's/^Block \\(count\\|size\\): *//p'").split()
    assert array - 65536 < int(blocks) * int(each) <= array
    assert "Intent Bitmap : Internal" in cloud.sh("web1", "mdadm --detail /dev/md/data")


def test_a_growth_that_ends_with_the_guest(cloud: Cloud) -> None:
    """The controller dies when the volumes have grown, then the guest loses power: nobody finds the superblocks. Then again."""
    cloud.sh("web1", "head -c 3000000 /dev/urandom > /srv/kept; sync; sha256sum < /srv/kept > /root/sum; sync")
    command = playbook_command(
        cloud.lab, "nobloat.xen.guest_grow", extra_vars={"guest": "web1", "size": "384MiB"}, inventories=[cloud.inventory])
    process = subprocess.Popen(
        command, env=playbook_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    until(lambda: set(cloud.legs().values()) == {384 * MIB}, 600, "both volumes have grown")
    kill_with_workers(process)
    vm = next(ref for ref, record in cloud.xapi("VM.get_all_records").items() if record["uuid"] == cloud.vm()["uuid"])
    cloud.xapi("VM.hard_reboot", vm)
    until(lambda: cloud.sh("web1", "blockdev --getsize64 /dev/xvde /dev/xvdf") == f"{384 * MIB}\n{384 * MIB}", 300, "the guest is back")
    cloud.lab.wait([cloud.lab.box("web1")])
    assert cloud.halves() == ""
    cloud.play("guest_grow", guest="web1", size="384MiB").ok()
    grown(cloud, 384 * MIB)
    assert cloud.sh("web1", "sha256sum < /srv/kept") == cloud.sh("web1", "cat /root/sum")
    cloud.settled(set(cloud.legs()))


# ---- moves


def test_moves_that_cannot_be(cloud: Cloud) -> None:
    one, two = sorted(cloud.legs())
    cloud.fails("guest_move", "two different nodes", guest="web1", **{"from": one, "to": two})
    cloud.fails("guest_move", "has no mirrored disk logs", guest="web1", disk="logs", **{"from": one, "to": other(cloud)})


def test_move(cloud: Cloud) -> None:
    one, two = sorted(cloud.legs())
    to = other(cloud)
    with cloud.load():
        cloud.play("guest_move", guest="web1", **{"from": one, "to": to}).ok()
    cloud.settled({two, to})
    # The old volume is kept: no leg any more, and with the data.
    assert cloud.sh(one, "lvs --noheadings -o lv_name,lv_tags vg0 | grep web1").split() == ["moved-web1-data", "nobloat.kept"]
    assert cloud.play("guest_move", guest="web1", **{"from": one, "to": to}).ok().changed == 0
    # The guest finds its new halves at its next boot.
    vm = next(ref for ref, record in cloud.xapi("VM.get_all_records").items() if record["uuid"] == cloud.vm()["uuid"])
    cloud.xapi("VM.clean_reboot", vm)
    until(lambda: cloud.halves() == "UU" and "/srv" in cloud.sh("web1", "findmnt -n /srv"), 300, "the guest has its mirror")


# ---- the end of a node


def test_a_node_that_cannot_retire(cloud: Cloud) -> None:
    cloud.sh(other(cloud), "lvcreate -qy -l 100%FREE -n filler vg0")
    cloud.fails("node_retire", "not enough space", node=sorted(cloud.legs())[0])
    cloud.sh(other(cloud), "lvremove -qy vg0/filler")


def test_retire(cloud: Cloud) -> None:
    """The one that the guest runs on, which lives on elsewhere."""
    host = next(node for node, ref in cloud.xapi.hosts.items() if ref == cloud.vm()["resident_on"])
    node = host if host in cloud.legs() else sorted(cloud.legs())[0]
    to, stays = other(cloud), set(cloud.legs()) - {node}
    booted = cloud.sh("web1", "cat /proc/sys/kernel/random/boot_id")
    done = cloud.play("node_retire", node=node, remove_old=True).ok()
    assert f"{node} is empty." in done.stdout
    cloud.settled({to, *stays})
    assert cloud.vm()["resident_on"] != cloud.xapi.hosts[node] and cloud.vm()["power_state"] == "Running"
    assert cloud.sh("web1", "cat /proc/sys/kernel/random/boot_id") == booted
    assert "web1-data" not in cloud.sh(node, "lvs --noheadings -o lv_name vg0 | grep -v moved; true")
    # What it had is zeroed.
    left = ("for v in $(lvs --noheadings -o lv_name vg0 | grep spare-); do"
            " cmp -n $(blockdev --getsize64 /dev/vg0/$v) /dev/vg0/$v /dev/zero; done")
    until(lambda: cloud.sh(node, "lvs --noheadings -o lv_tags vg0 | grep zeroed= || true") and cloud.sh(node, f"{left} 2>&1 || true") == "",
          120, "nothing is left of its legs")
    assert f"mirror-{node}" not in [sr["name_label"] for sr in cloud.xapi("SR.get_all_records").values()]
    assert cloud.play("node_retire", node=node, remove_old=True).ok().changed == 0
    assert cloud.lab.incidents == []
