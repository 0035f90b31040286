# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""md_mirror in a guest whose halves are volumes of two nodes. Each test finds the mirror that the one before it has left.

What is asserted comes from /proc/mdstat, sysfs, mdadm and the bytes on the halves, not from what the module says.
"""
from __future__ import annotations

import base64
import io
import json
import re
import shlex
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ansible.module_utils
import pytest

from lab_tests.helpers import until
from lab_tests.machines import Machines, prepared

pytestmark = pytest.mark.long
IQN = "iqn.2026-11.test.nobloat:{}:{}"
MD = "/sys/class/block/$(ls /sys/class/block | grep ^md)/md"


# Runs a module as Ansible would, from files that are on the machine already: in a third of the time.
RUN = """import runpy, sys
sys.path.insert(0, "/run/modules")
from ansible.module_utils import basic
basic._ANSIBLE_ARGS, basic._ANSIBLE_PROFILE = sys.argv[2].encode(), "legacy"
runpy.run_module("ansible_collections.nobloat.xen.plugins.modules." + sys.argv[1], run_name="__main__", alter_sys=True)
"""


def archive() -> bytes:
    """What the modules import, as a tar file."""
    found = io.BytesIO()
    own = Path(__file__).resolve().parent.parent.parent / "plugins"
    core = Path(ansible.module_utils.__path__[0])
    target = "ansible_collections/nobloat/xen/plugins"
    with tarfile.open(fileobj=found, mode="w:gz", compresslevel=1) as file:
        for path in core.rglob("*.py"):
            file.add(path, f"ansible/module_utils/{path.relative_to(core)}")
        file.add(core.parent / "release.py", "ansible/release.py")
        file.addfile(tarfile.TarInfo("ansible/__init__.py"))
        for part in ("module_utils/node", "modules"):
            for path in (own / part).glob("*.py"):
                file.add(path, f"{target}/{part}/{path.name}")
    return found.getvalue()


class Direct(Machines):
    """Modules run without Ansible around them."""

    def prepare(self, *names: str) -> None:
        content = base64.b64encode(archive()).decode()
        for name in names:
            self.lab.box(name).run("mkdir /run/modules; base64 -d | tar -xz -C /run/modules", text=content)
            self.lab.box(name).run("cat > /run/module.py", text=RUN)

    def module(self, machine: str, module: str, /, check: bool = False, **options: Any) -> dict[str, Any]:
        arguments = json.dumps({"ANSIBLE_MODULE_ARGS": {**options, "_ansible_check_mode": check, "_ansible_remote_tmp": "/tmp"}})
        done = self.lab.box(machine).run(f"python3 /run/module.py {module} {shlex.quote(arguments)}", check=False, timeout=300)
        assert done.stdout, done.stderr
        result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        result.setdefault("failed", False)
        assert "defect" not in str(result.get("msg")), result
        return result


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    with prepared("mirrors", tmp_path_factory.mktemp("lab")) as found:
        found.__class__ = Direct
        assert isinstance(found, Direct)
        found.prepare("node1", "node2", "guest1")
        for node in ("node1", "node2"):
            for leg in ("web1", "web2"):
                found.sh(node, f"dd if=/dev/zero of=/dev/vg0/{leg} bs=1M 2>&1; true")
                result = found.module(node, "iscsi_export", name=leg, iqn=IQN.format(node, leg), device=f"/dev/vg0/{leg}",
                                      portals=[f"10.66.2.{node[-1]}"], initiators=["iqn.2026-11.test.nobloat:node1"])
                assert result["changed"], result
                result = found.module("guest1", "iscsi_import", iqn=IQN.format(node, leg), portals=[f"10.66.2.{node[-1]}"])
                assert result["changed"], result
        yield found


def leg(node: int, name: str = "web1") -> str:
    """The path of a leg in the guest."""
    return f"/dev/disk/by-path/ip-10.66.2.{node}:3260-iscsi-{IQN.format(f'node{node}', name)}-lun-0"


LEGS = [leg(1), leg(2)]


def mirror(**changes: Any) -> dict[str, Any]:
    return {"name": "data", "devices": LEGS, "wait_timeout": 120, **changes}


def state(machines: Machines) -> str:
    """As [UU] in /proc/mdstat, "" without an array."""
    found = re.search(r"\[([U_]+)\]", machines.sh("guest1", "cat /proc/mdstat 2>/dev/null; true"))
    return found[1] if found else ""


def write(machines: Machines, name: str) -> str:
    """A file of random bytes in the mirror's file system; its checksum."""
    return machines.sh("guest1", f"head -c 3000000 /dev/urandom > /mnt/{name}; sync -f /mnt; sha256sum < /mnt/{name}")


def stop(machines: Machines) -> None:
    machines.sh("guest1", "umount /mnt 2>/dev/null; mdadm --stop --scan 2>&1; udevadm settle")


def same(machines: Machines) -> None:
    """Both halves hold the same bytes: md compares them."""
    machines.sh("guest1", f"sync; echo check > {MD}/sync_action; while ! grep -q idle {MD}/sync_action; do sleep .2; done", check=True)
    assert machines.sh("guest1", f"cat {MD}/mismatch_cnt") == "0"


def examine(machines: Machines, path: str, what: str) -> str:
    return machines.sh("guest1", f"mdadm --examine {path} 2>&1 | sed -n 's/^ *{what} : //p'")


@pytest.mark.parametrize(("prepare", "devices", "words"), [
    ("true", [leg(1), leg(1)], "are the same device"),
    ("true", [leg(1)], "name the devices of both halves"),
    ("true", [leg(1), "/dev/nothing"], "is not there"),
    (f"mkfs.ext4 -q {leg(2)}", LEGS, "signature: ext4"),
    (f"wipefs -qa {leg(2)}; dd if=/dev/zero of={leg(2)} bs=1M count=1 2>&1; echo x | dd of={leg(2)} bs=512 seek=262143 2>&1",
     LEGS, "data in its last mebibyte"),
    (f"dd if=/dev/zero of={leg(2)} bs=1M 2>&1; mount -t tmpfs none /mnt; umount /mnt", [leg(1), "/dev/ubda"], "differ in size"),
])
def test_bad_devices_are_refused_untouched(machines: Machines, prepare: str, devices: list[str], words: str) -> None:
    machines.sh("guest1", f"{prepare}; sync")
    before = machines.sh("guest1", f"sha256sum {leg(1)} {leg(2)}")
    machines.fails("guest1", "md_mirror", words, **mirror(devices=devices))
    assert machines.sh("guest1", f"sha256sum {leg(1)} {leg(2)}") == before
    assert state(machines) == ""


def test_the_same_disk_under_two_names(machines: Machines) -> None:
    disk = machines.sh("guest1", f"readlink -f {leg(1)}")
    machines.fails("guest1", "md_mirror", "are the same device", **mirror(devices=[leg(1), disk]))


def test_create(machines: Machines) -> None:
    machines.ok("guest1", "md_mirror", **mirror(write_mostly=[leg(2)]))
    assert state(machines) == "UU"
    detail = machines.sh("guest1", "mdadm --detail /dev/md/data")
    assert "Version : 1.0" in detail and "Intent Bitmap : Internal" in detail
    assert machines.sh("guest1", f"for d in {leg(1)} {leg(2)}; do cat {MD}/dev-$(basename $(readlink -f $d))/state; done") == (
        "in_sync,failfast\nin_sync,write_mostly,failfast")
    machines.sh("guest1", "mkfs.ext4 -q /dev/md/data && mount /dev/md/data /mnt")


def test_flags_follow_the_options(machines: Machines) -> None:
    machines.ok("guest1", "md_mirror", **mirror(write_mostly=[leg(1)], failfast=False))
    assert machines.sh("guest1", f"for d in {leg(1)} {leg(2)}; do cat {MD}/dev-$(basename $(readlink -f $d))/state; done") == (
        "in_sync,write_mostly\nin_sync")
    machines.ok("guest1", "md_mirror", **mirror(write_mostly=[leg(2)], failfast=True))


def test_out_for_a_while_and_back_by_the_bitmap(machines: Machines) -> None:
    machines.ok("guest1", "md_mirror", **mirror(state="degraded", devices=[leg(2)]))
    assert state(machines) == "U_"
    machines.fails("guest1", "md_mirror", "No complete copy", **mirror(state="degraded", devices=[leg(1)]))
    write(machines, "while-degraded")
    machines.ok("guest1", "md_mirror", **mirror())
    assert state(machines) == "UU"
    same(machines)


def test_power_cut_of_the_remote_node(machines: Machines) -> None:
    """Nothing that was acknowledged is lost, the stall is short, and the half comes back."""
    machines.sh("node2", "sync")
    machines.lab.kill(["node2"])
    begin = time.monotonic()
    total = write(machines, "after-the-cut")
    assert time.monotonic() - begin < 20
    until(lambda: state(machines) == "U_", 30, "the mirror is degraded")
    machines.fails("guest1", "md_mirror", "Bring its node back", **mirror())
    machines.lab.start(["node2"])
    until(lambda: machines.sh("guest1", f"cat /sys/class/block/$(basename $(readlink -f {leg(2)}))/device/state") == "running", 60,
          "the leg is back")
    machines.ok("guest1", "md_mirror", **mirror())
    assert state(machines) == "UU"
    same(machines)
    assert machines.sh("guest1", "sha256sum < /mnt/after-the-cut") == total


def test_a_new_bitmap_when_both_halves_have_come_back(machines: Machines) -> None:
    """The kernel does not load one then, until a half is added anew."""
    machines.ok("guest1", "md_mirror", **mirror(state="degraded", devices=[leg(1)]))
    write(machines, "while-the-other-was-out")
    machines.ok("guest1", "md_mirror", **mirror())
    machines.sh("guest1", "mdadm --grow /dev/md/data --bitmap=none", check=True)
    assert machines.sh("guest1", "mdadm --grow /dev/md/data --bitmap=internal >&2; echo $?").endswith("1"), "the kernel has learnt it"
    machines.sh("guest1", f"echo none > {MD}/bitmap/location", check=True)
    machines.ok("guest1", "md_mirror", **mirror(grow=True))
    assert state(machines) == "UU"
    assert "Intent Bitmap : Internal" in machines.sh("guest1", "mdadm --detail /dev/md/data")
    same(machines)


def test_assemble_takes_the_newer_half(machines: Machines) -> None:
    machines.ok("guest1", "md_mirror", **mirror(state="degraded", devices=[leg(2)]))
    total = write(machines, "only-on-the-newer")
    stop(machines)
    assert int(examine(machines, leg(1), "Events")) > int(examine(machines, leg(2), "Events"))
    machines.ok("guest1", "md_mirror", **mirror())
    assert state(machines) == "UU"
    machines.sh("guest1", "mount /dev/md/data /mnt")
    assert machines.sh("guest1", "sha256sum < /mnt/only-on-the-newer") == total
    same(machines)


def test_a_half_that_may_be_the_older_needs_consent(machines: Machines) -> None:
    stop(machines)
    machines.fails("guest1", "md_mirror", "is not in devices", **mirror(devices=[leg(2)]))
    machines.fails("guest1", "md_mirror", "Bring it back", **mirror(devices=[leg(2), "/dev/nothing"]))
    assert state(machines) == ""
    machines.ok("guest1", "md_mirror", **mirror(devices=[leg(2), "/dev/nothing"], allow_degraded=True, wait=False))
    assert state(machines) == "_U"


def test_halves_that_went_apart_are_not_mixed(machines: Machines) -> None:
    """Both ran alone. Nothing is given up without force, and then the loser is overwritten as a whole."""
    machines.sh("guest1", "mount /dev/md/data /mnt")
    write(machines, "only-on-the-second")
    stop(machines)
    machines.ok("guest1", "md_mirror", **mirror(devices=[leg(1), "/dev/nothing"], allow_degraded=True, wait=False))
    machines.sh("guest1", "mount /dev/md/data /mnt")
    total = [write(machines, f"only-on-the-first-{n}") for n in range(3)][-1]
    machines.fails("guest1", "md_mirror", "went on without", **mirror())
    stop(machines)
    before = [examine(machines, path, "Events") for path in LEGS]
    machines.fails("guest1", "md_mirror", "went on without", **mirror())
    assert [examine(machines, path, "Events") for path in LEGS] == before and state(machines) == ""
    newest = max(LEGS, key=lambda path: int(examine(machines, path, "Events")))
    machines.ok("guest1", "md_mirror", **mirror(force=True))
    assert state(machines) == "UU"
    same(machines)
    machines.sh("guest1", "mount /dev/md/data /mnt")
    if newest == leg(1):
        assert machines.sh("guest1", "sha256sum < /mnt/only-on-the-first-2") == total


def test_move_a_half_to_another_disk(machines: Machines) -> None:
    total = write(machines, "moving")
    machines.ok("guest1", "md_mirror", **mirror(devices=[leg(1), leg(2, "web2")], purge=True, write_mostly=[leg(2, "web2")]))
    assert state(machines) == "UU"
    members = machines.sh("guest1", f"ls -d {MD}/dev-* | sed 's/.*dev-//'").split()
    assert sorted(members) == sorted(machines.sh("guest1", f"basename -a $(readlink -f {leg(1)} {leg(2, 'web2')})").split())
    same(machines)
    assert machines.sh("guest1", "sha256sum < /mnt/moving") == total


def test_three_halves_and_two_again(machines: Machines) -> None:
    machines.sh("guest1", f"mdadm --zero-superblock {leg(2)}; wipefs -qa {leg(2)}; dd if=/dev/zero of={leg(2)} bs=1M 2>&1; true")
    machines.ok("guest1", "md_mirror", **mirror(devices=[leg(2)]))
    assert state(machines) == "UUU"
    same(machines)
    machines.ok("guest1", "md_mirror", **mirror(purge=True))
    assert state(machines) == "UU"
    same(machines)


def test_grow(machines: Machines) -> None:
    total = write(machines, "growing")
    before = int(machines.sh("guest1", "blockdev --getsize64 /dev/md/data"))
    machines.sh("node1", "lvextend -qy -L+64m vg0/web1")
    machines.ok("guest1", "iscsi_import", iqn=IQN.format("node1", "web1"))
    machines.fails("guest1", "md_mirror", "not grown alike", **mirror(grow=True))
    machines.sh("node2", "lvextend -qy -L+64m vg0/web1")
    machines.ok("guest1", "iscsi_import", iqn=IQN.format("node2", "web1"))
    would = machines.module("guest1", "md_mirror", check=True, **mirror(grow=True))
    machines.ok("guest1", "md_mirror", **mirror(grow=True))
    after = int(machines.sh("guest1", "blockdev --getsize64 /dev/md/data"))
    assert after == would["mirror"]["size"]
    assert abs(after - before - (64 << 20)) < 65536  # mdadm and the kernel keep different room for a bitmap
    machines.sh("guest1", "resize2fs /dev/md/data 2>&1")
    same(machines)
    # The superblock is where it belongs: the mirror can be assembled again.
    stop(machines)
    machines.ok("guest1", "md_mirror", **mirror())
    machines.sh("guest1", "mount /dev/md/data /mnt")
    assert machines.sh("guest1", "sha256sum < /mnt/growing") == total


def test_a_guest_that_dies_when_its_halves_have_grown(machines: Machines) -> None:
    """Their superblocks are where the end was, and nobody finds them any more."""
    total = write(machines, "before-the-end")
    before = int(machines.sh("guest1", "blockdev --getsize64 /dev/md/data"))
    for node in (1, 2):
        machines.sh(f"node{node}", "lvextend -qy -L+64m vg0/web1")
        machines.module("guest1", "iscsi_import", iqn=IQN.format(f"node{node}", "web1"))
    machines.lab.kill(["guest1"])
    machines.lab.start(["guest1"])
    assert isinstance(machines, Direct)
    machines.prepare("guest1")
    until(lambda: machines.sh("guest1", f"ls {' '.join(LEGS)}"), 60, "the legs are back")
    assert state(machines) == "" and examine(machines, leg(1), "Events") == examine(machines, leg(2), "Events") == ""
    machines.fails("guest1", "md_mirror", "is not blank", **mirror())
    machines.ok("guest1", "md_mirror", **mirror(grow=True))
    assert state(machines) == "UU"
    assert int(machines.sh("guest1", "blockdev --getsize64 /dev/md/data")) == before + (64 << 20)  # both by the kernel
    assert "Intent Bitmap : Internal" in machines.sh("guest1", "mdadm --detail /dev/md/data")
    machines.sh("guest1", "mount /dev/md/data /mnt")
    assert machines.sh("guest1", "sha256sum < /mnt/before-the-end") == total
    same(machines)


def test_a_half_that_grows_while_it_is_away(machines: Machines) -> None:
    total = write(machines, "before-it-left")
    machines.ok("guest1", "md_mirror", **mirror(state="degraded", devices=[leg(2)]))
    write(machines, "while-it-is-away")
    machines.sh("node2", "lvextend -qy -L+64m vg0/web1")
    machines.module("guest1", "iscsi_import", iqn=IQN.format("node2", "web1"))
    assert examine(machines, leg(2), "Events") == ""
    machines.ok("guest1", "md_mirror", **mirror())
    assert state(machines) == "UU"
    same(machines)
    machines.sh("node1", "lvextend -qy -L+64m vg0/web1")
    machines.module("guest1", "iscsi_import", iqn=IQN.format("node1", "web1"))
    machines.ok("guest1", "md_mirror", **mirror(grow=True))
    same(machines)
    assert machines.sh("guest1", "sha256sum < /mnt/before-it-left") == total


def test_absent(machines: Machines) -> None:
    machines.fails("guest1", "md_mirror", "mount point /mnt", **mirror(state="absent"))
    machines.sh("guest1", "umount /mnt")
    machines.ok("guest1", "md_mirror", **mirror(state="absent"))
    assert state(machines) == "" and examine(machines, leg(1), "Events") == examine(machines, leg(2), "Events") == ""
    # The data are still on each half.
    for path in LEGS:
        assert machines.sh("guest1", f"mount -o ro {path} /mnt && ls /mnt/growing; umount /mnt") == "/mnt/growing"


def test_info(machines: Machines) -> None:
    found = machines.ok("guest1", "mirror_info")
    assert sorted(each["iqn"] for each in found["imports"]) == sorted(IQN.format(f"node{n}", v) for n in (1, 2) for v in ("web1", "web2"))
    assert found["arrays"] == [] and found["legs"] == []
    json.dumps(found)
