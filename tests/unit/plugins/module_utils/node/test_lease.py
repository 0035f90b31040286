# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What guest_lease sees on a node, and when it gives the lease to whom. LVM is a table that lvchange changes."""
from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.node import lease as lease_module
from ansible_collections.nobloat.xen.plugins.module_utils.node.block import Blocks
from ansible_collections.nobloat.xen.plugins.module_utils.node.evidence import Witness
from ansible_collections.nobloat.xen.plugins.module_utils.node.lease import Leases
from ansible_collections.nobloat.xen.plugins.module_utils.node.lease_tag import lease_of, parse, text
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import CommandError, NodeError, Result
from ansible_collections.nobloat.xen.plugins.module_utils.node.superblock import place

NOW = 1_795_000_000
BOOT = "382d146e"
OMITTED = {"state": "observed", "owner": None, "seen": None, "generation": None, "lease_time": 120, "host": None, "assume_dead": None,
           "synced": False, "without": None, "recovering": None, "uuid": None}
UUID = "8d7ac6a3-3b2c-4d55-8d4f-6a6b1a7c3f10"
LEASE = f"nobloat.lease=5:{NOW - 60}:starting:anna/c1/aa"
XL = """UUID                                  ID    name
00000000-0000-0000-0000-000000000000  0    Domain-0
{uuid}  7    {name}
"""
EXAMINE = """\
    Feature Map : {features}
     Array UUID : 3dbb1e41:03ff785b:340e7767:01e01dcd
           Name : any:data
     Raid Level : raid1
   Raid Devices : 2
          State : active
    Update Time : Sat Nov 21 06:01:24 2026
         Events : 42
   Device Role : Active device 1
   Array State : .A ('A' == active, '.' == missing, 'R' == replacing)
"""


class Machine:
    """A node with logical volumes {vg/name: (tags, attributes)}."""

    def __init__(self, root: Path, volumes: dict[str, tuple[list[str], str]]) -> None:
        self.root, self.volumes = root, volumes
        self.xl: str | None = XL.format(uuid="1" * 36, name="other")
        self.examine: dict[str, str] = {}
        self.changes: list[list[str]] = []
        self.boot(BOOT)

    def boot(self, boot_id: str) -> None:
        folder = self.root / "proc/sys/kernel/random"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "boot_id").write_text(f"{boot_id}-6b1a-4c3f-8d4f-6a6b1a7c3f10\n")

    def command(self, *argv: str, **_options: Any) -> Result:
        if argv[0] == "lvs":
            rows = [{"vg_name": path.split("/")[0], "lv_name": path.split("/")[1], "lv_tags": ",".join(tags), "lv_attr": attr}
                    for path, (tags, attr) in self.volumes.items()]
            return Result(0, json.dumps({"report": [{"lv": rows}]}), "")
        if argv[0] == "xl":
            if self.xl is None:
                raise CommandError(argv, 1, "cannot talk to xenstore")
            return Result(0, self.xl, "")
        if argv[0] == "mdadm":
            found = self.examine.get(argv[2], "")
            return Result(0 if found else 1, found, "")
        if argv[0] == "wipefs":
            return Result(0, "", "")
        assert argv[0] == "lvchange", argv
        self.changes.append(list(argv[1:]))
        tags = self.volumes[argv[-1]][0]
        for word, tag in pairwise(argv):
            if word == "--deltag":
                tags.remove(tag)
            elif word == "--addtag":
                tags.append(tag)
        return Result(0, "", "")

    def witness(self, legs: list[str] | None = None, vg: str = "", uuid: str = "") -> Witness:
        return Witness("web1", uuid, vg, legs, str(self.root), self.command, lambda _seconds: None)

    def leases(self) -> Leases:
        return Leases(self.witness(["web1-data", "web1-log"]), lambda: NOW)

    def run(self, **params: Any) -> Leases:
        """A whole run of the module's plan."""
        leases = self.leases()
        leases.plan({**OMITTED, **params}).apply()
        leases._lock and leases._lock.close()
        after = self.leases()
        after.read()
        return after


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(lease_module, "PATIENCE", 0.2)
    return Machine(tmp_path, {"vg0/web1-log": ([], "-wi-ao----"), "vg0/web1-data": (["nobloat.guest=web1"], "-wi-ao----"),
                              "vg0/web2-data": (["nobloat.guest=web2"], "-wi-ao----"),
                              "vg0/backup-web1": (["nobloat.guest=web1"], "-wi-ao----")})


def take(node: Machine, **params: Any) -> Leases:
    return node.run(**{"state": "starting", "owner": "bert/c2/bb", "seen": 0, "generation": 1, **params})


# ---- the tag


PLAIN = {"synced": "", "held": "", "boot": "", "host": "", "recovering": "", "assumed_dead": [], "without": {}}


@pytest.mark.parametrize("notes", [{}, {"synced": BOOT}, {"without": {"node1": 5, "a/b": 4}, "recovering": "node1"},
                                   {"host": "node2", "assumed_dead": ["bravo", "node1"]},
                                   {"synced": "a1", "host": "node1", "assumed_dead": ["node2"]}])
def test_a_lease_survives_its_tag(notes: dict[str, Any]) -> None:
    lease = {"generation": 5, "time": NOW, "state": "starting", "owner": "anna/c1/aa", **PLAIN, **notes}
    assert parse(text(lease)) == lease


def test_the_tag_is_what_others_read() -> None:
    lease = {**PLAIN, "generation": 5, "time": 7, "state": "started", "owner": "anna", "synced": "6f", "host": "node2",
             "assumed_dead": ["node1", "b"]}
    assert text(lease) == "nobloat.lease=5:7:started:anna:synced=6f:host=node2:dead=node1+b"
    lease.update(without={"node3": 4, "node1": 5}, recovering="node1", boot="7a")
    assert text(lease) == ("nobloat.lease=5:7:started:anna:synced=6f:boot=7a:host=node2:dead=node1+b:without=node1/5+node3/4"
                           ":recovering=node1")


def test_what_older_versions_wrote() -> None:
    assert parse("nobloat.lease=5:7:started:anna:synced=6f") == {
        **PLAIN, "generation": 5, "time": 7, "state": "started", "owner": "anna", "synced": "6f"}


@pytest.mark.parametrize("tag", [
    "", "5", "5:1:starting", "x:1:starting:anna", "5:1:waiting:anna", "5:1:starting:",
    "5:1:started:anna:without=node1", "5:1:started:anna:without=node1/x"])
def test_a_lease_that_nobody_understands_is_not_ignored(tag: str) -> None:
    with pytest.raises(NodeError, match="no lease that can be understood"):
        parse(f"nobloat.lease={tag}")


@pytest.mark.parametrize("word", ["anna@c1", "a:b", "a b", "", "ä", "x" * 201])
def test_what_lvm_would_not_take(word: str) -> None:
    with pytest.raises(NodeError, match="cannot be written"):
        text({**PLAIN, "generation": 1, "time": 1, "state": "starting", "owner": word})


# ---- compare and swap


def test_the_first_lease(node: Machine) -> None:
    after = take(node, host="node1", assume_dead=["node2"])
    assert node.volumes["vg0/web1-data"][0] == [
        "nobloat.guest=web1", f"nobloat.lease=1:{NOW}:starting:bert/c2/bb:boot={BOOT}:host=node1:dead=node2"]
    assert after.view()["age"] == 0 and after.current["synced"] == ""


def test_check_mode_writes_nothing(node: Machine) -> None:
    plan = node.leases().plan({**OMITTED, "state": "starting", "owner": "bert", "seen": 0, "generation": 1}, check_mode=True)
    assert plan.steps and plan.before == {} and plan.after["owner"] == "bert" and not node.changes
    assert not (node.root / "run").exists()


def test_one_change_replaces_the_lease(node: Machine) -> None:
    node.volumes["vg0/web1-data"][0].append(LEASE.replace("starting", "started"))
    take(node, seen=5, generation=6)
    assert len(node.changes) == 1
    assert node.changes[0].count("--deltag") == node.changes[0].count("--addtag") == 1


def test_the_lease_stays_where_it_is(node: Machine) -> None:
    node.volumes["vg0/web1-log"][0].append(LEASE.replace("starting", "started"))
    take(node, seen=5, generation=6)
    assert [tag for tag in node.volumes["vg0/web1-log"][0] if "lease=6" in tag]
    assert not [tag for tag in node.volumes["vg0/web1-data"][0] if "lease" in tag]


REFUSED = [
    # the lease that is there, what is asked for, why not
    (LEASE, {"seen": 5, "generation": 6}, r"anna/c1/aa has had the lease of web1 for 60 seconds \(starting, generation 5\).*60 seconds if"),
    (LEASE, {"seen": 4, "generation": 6}, "somebody else starts the guest"),
    (LEASE, {"seen": 0, "generation": 1}, "somebody else starts the guest"),
    (LEASE.replace("starting", "started"), {"seen": 4, "generation": 6}, "somebody else starts the guest"),
    (LEASE.replace("starting", "started"), {"seen": 5, "generation": 5}, "generation has to grow"),
    (LEASE.replace(str(NOW - 60), str(NOW + 9999)), {"seen": 5, "generation": 6}, "120 seconds if"),
    (LEASE.replace("anna/c1/aa", "bert/c2/bb").replace("starting", "started"), {"seen": 5, "generation": 5}, "Take a new one"),
    ("", {"seen": 5, "generation": 6}, "There is no lease"),
]


@pytest.mark.parametrize(("tag", "params", "words"), REFUSED)
def test_who_does_not_get_it(node: Machine, tag: str, params: dict[str, Any], words: str) -> None:
    node.volumes["vg0/web1-data"][0].extend([tag] if tag else [])
    with pytest.raises(NodeError, match=words):
        take(node, **params)
    assert not node.changes


GIVEN = [
    (LEASE, {"seen": 5, "generation": 6, "lease_time": 60}),  # it has expired
    (LEASE.replace("starting", "started"), {"seen": 5, "generation": 6}),
    (LEASE.replace("starting", "released"), {"seen": 5, "generation": 9}),
    (LEASE.replace("anna/c1/aa", "bert/c2/bb"), {"seen": 5, "generation": 5}),  # renewed
]


@pytest.mark.parametrize(("tag", "params"), GIVEN)
def test_who_gets_it(node: Machine, tag: str, params: dict[str, Any]) -> None:
    node.volumes["vg0/web1-data"][0].append(tag)
    after = take(node, **params).view()
    assert (after["generation"], after["owner"], after["state"], after["age"]) == (params["generation"], "bert/c2/bb", "starting", 0)


def test_two_at_once(node: Machine) -> None:
    """The second one has seen what the first one saw, and waits for the lock meanwhile."""
    first = node.leases()
    plan = first.plan({**OMITTED, "state": "starting", "owner": "anna", "seen": 0, "generation": 1})
    with pytest.raises(NodeError, match="Another process on this node has held the lease"):
        take(node)
    plan.apply()
    assert first._lock
    first._lock.close()
    with pytest.raises(NodeError, match="anna has had the lease of web1 for 0 seconds"):
        take(node)


def test_started_and_released(node: Machine) -> None:
    take(node, synced=True)
    after = node.run(state="started", owner="bert/c2/bb", generation=1).current
    assert (after["state"], after["synced"], after["held"]) == ("started", "", "")
    after = node.run(state="started", owner="bert/c2/bb", generation=1, synced=True).current
    assert after["synced"] == BOOT
    for other in ({"owner": "anna", "generation": 1}, {"owner": "bert/c2/bb", "generation": 2}):
        with pytest.raises(NodeError, match="not the lease of"):
            node.run(state="started", **other)
    changes = len(node.changes)
    node.run(state="started", owner="bert/c2/bb", generation=1)
    node.run(state="released", owner="bert/c2/bb", generation=1)  # too late: it has started
    node.run(state="released", owner="anna", generation=1)
    assert len(node.changes) == changes


def test_what_is_released_can_be_taken_and_still_knows_when_it_was_complete(node: Machine) -> None:
    take(node, synced=True)
    after = node.run(state="released", owner="bert/c2/bb", generation=1).current
    assert (after["state"], after["synced"], after["generation"]) == ("released", BOOT, 1)
    after = take(node, owner="anna", seen=1, generation=2).current
    assert (after["owner"], after["synced"], after["held"]) == ("anna", "", BOOT)
    after = take(node, owner="anna", seen=1, generation=2).current  # renewed
    assert (after["owner"], after["synced"], after["held"]) == ("anna", "", BOOT)
    assert node.run(state="released", owner="anna", generation=2).current["synced"] == BOOT


def test_complete_and_stale(node: Machine) -> None:
    node.volumes["vg0/web1-data"][0].append(LEASE.replace("starting", "started"))
    after = node.run(state="synced", generation=8).current
    assert (after["generation"], after["synced"], after["owner"], after["state"]) == (8, BOOT, "anna/c1/aa", "started")
    changes = len(node.changes)
    node.run(state="synced", generation=8)
    node.run(state="synced")
    assert len(node.changes) == changes
    after = node.run(state="stale", without=["node1"]).current
    assert (after["synced"], after["without"]) == ("", {"node1": 8})
    changes = len(node.changes)
    node.run(state="stale", without=["node1"])
    assert len(node.changes) == changes
    after = node.run(state="synced").current
    assert (after["synced"], after["without"]) == (BOOT, {})
    node.boot("5eed5eed")
    assert node.run(state="synced").current["synced"] == "5eed5eed"


def test_who_was_left_out_is_remembered(node: Machine) -> None:
    """A start that was given up leaves no trace of it; one that has worked forgets those that took part."""
    take(node, without=["node1"])
    assert node.run(state="released", owner="bert/c2/bb", generation=1).current["without"] == {}
    take(node, seen=1, generation=2, without=["node1"])
    assert node.run(state="started", owner="bert/c2/bb", generation=2, without=["node1"]).current["without"] == {"node1": 2}
    take(node, seen=2, generation=3, without=["node1", "node3"])
    assert node.run(state="released", owner="bert/c2/bb", generation=3).current["without"] == {"node1": 2}
    after = take(node, seen=3, generation=4, without=["node3"]).current
    assert after["without"] == {"node1": 2, "node3": 4}, "it may not start"
    assert node.run(state="started", owner="bert/c2/bb", generation=4, without=["node3"]).current["without"] == {"node3": 4}


def test_a_recovery_is_remembered_until_the_guest_runs(node: Machine) -> None:
    take(node, recovering="node1")
    assert node.run(state="released", owner="bert/c2/bb", generation=1).current["recovering"] == "node1"
    assert take(node, seen=1, generation=2).current["recovering"] == "node1", "another playbook tries"
    assert node.run(state="started", owner="bert/c2/bb", generation=2).current["recovering"] == ""
    take(node, seen=2, generation=3, recovering="node1")
    assert node.run(state="synced").current["recovering"] == ""


def test_legs_get_the_uuid_of_their_guest(node: Machine) -> None:
    """Once, and only those that have none."""
    def run(state: str, uuid: str = UUID) -> None:
        witness = node.witness(["web1-data", "web1-log", "web2-data"], uuid=uuid)
        leases = Leases(witness, lambda: NOW)
        leases.plan({**OMITTED, "state": state, "owner": "bert", "seen": 0, "generation": 1, "uuid": uuid}).apply()
        leases._lock and leases._lock.close()

    run("observed")
    assert not node.changes
    run("owned")
    assert node.volumes["vg0/web1-data"][0] == ["nobloat.guest=web1", f"nobloat.uuid={UUID}"]
    assert node.volumes["vg0/web1-log"][0] == [] and node.volumes["vg0/web2-data"][0] == ["nobloat.guest=web2"], "not by their names"
    run("owned", "another")
    assert len(node.changes) == 1
    node.volumes["vg0/web1-data"][0].pop()
    run("starting")
    assert f"nobloat.uuid={UUID}" in node.volumes["vg0/web1-data"][0]


def test_a_leg_without_a_lease_can_be_marked(node: Machine) -> None:
    after = node.run(state="synced", generation=3).current
    assert (after["generation"], after["state"], after["synced"]) == (3, "released", BOOT)


def test_no_leg_no_lease(tmp_path: Path) -> None:
    empty = Machine(tmp_path, {"vg0/web2-data": ([], "-wi-ao----")})
    with pytest.raises(NodeError, match="No leg of web1"):
        take(empty)
    assert not empty.leases().plan(dict(OMITTED)).steps


# ---- a restore of a disk

LATER = 121  # seconds: a lease that was not renewed has ended


def later(node: Machine, seconds: int = LATER) -> None:
    """All leases are so much older."""
    for tags, _attributes in node.volumes.values():
        tags[:] = [text(dict(parse(tag), time=parse(tag)["time"] - seconds)) if tag.startswith("nobloat.lease=") else tag for tag in tags]


def test_nobody_gets_the_lease_while_a_restore_lives(node: Machine) -> None:
    take(node, state="restoring", owner="anna/c1/aa", host="node1")
    later(node, 60)
    other = {"owner": "bert/c2/bb", "seen": 1, "generation": 2}
    with pytest.raises(NodeError, match="Wait until it is restored, or for 60 seconds if that was interrupted"):
        take(node, **other)
    restore = node.leases()
    restore.restore("anna/c1/aa")
    assert restore.current["time"] == NOW - 60 and node.leases().witness.look()["restores"]
    renewed = node.leases()
    renewed.read()
    assert renewed.view()["age"] == 0
    for state in ("starting", "restoring"):
        later(node)
        with pytest.raises(NodeError, match="A restore of a disk of web1 is at work on this node"):
            take(node, state=state, **other)
    with pytest.raises(NodeError, match="not to be started"):
        node.run(state="started", owner="anna/c1/aa", generation=1)
    restore._restore.close()  # it was killed
    assert not node.leases().witness.look()["restores"]
    assert take(node, **other).current["owner"] == "bert/c2/bb"


def test_a_killed_restore_is_waited_for(node: Machine) -> None:
    take(node, state="restoring", owner="anna/c1/aa")
    restore = node.leases()
    restore.restore("anna/c1/aa")
    restore._restore.close()
    with pytest.raises(NodeError, match=r"anna/c1/aa has had the lease .* or for 120 seconds if that was interrupted"):
        take(node, seen=1, generation=2)


def test_a_restore_that_has_lost_its_lease(node: Machine) -> None:
    take(node, state="restoring", owner="anna/c1/aa")
    later(node)
    take(node, seen=1, generation=2)
    with pytest.raises(NodeError, match=r"It is not that of anna/c1/aa, who wants to restore a disk"):
        node.leases().restore("anna/c1/aa")
    with pytest.raises(NodeError, match=r"bert/c2/bb has had the lease .* Wait until that is done"):
        node.leases().restore("")


def test_the_lease_of_a_restore_is_given_back_with_what_it_knew(node: Machine) -> None:
    take(node, state="restoring", synced=True)
    after = node.run(state="released", owner="bert/c2/bb", generation=1).current
    assert (after["state"], after["synced"], after["held"]) == ("released", BOOT, "")
    node.leases().restore("")  # nobody is at work


# ---- evidence


def test_which_volumes(node: Machine) -> None:
    assert [leg["name"] for leg in node.witness().volumes()] == ["web1-data"]
    assert [leg["name"] for leg in node.witness(["web1-log", "web1-data"]).volumes()] == ["web1-log", "web1-data"]
    assert node.witness(["web1-data"], vg="vg1").volumes() == []


@pytest.mark.parametrize(("name", "uuid", "asked", "found"), [
    ("web1", UUID, "", True), ("renamed", UUID, UUID, True), ("renamed", UUID, "", False), ("web11", UUID, "", False),
    ("my web1", UUID, "", False)])
def test_domains(node: Machine, name: str, uuid: str, asked: str, found: bool) -> None:
    node.xl = XL.format(uuid=uuid, name=name)
    seen = node.witness(uuid=asked).domains()
    assert seen["domains_known"] and seen["domains"] == ([{"uuid": uuid, "id": "7", "name": name}] if found else [])


def test_domains_that_cannot_be_listed(node: Machine) -> None:
    node.xl = None
    seen = node.witness().domains()
    assert not seen["domains_known"] and "xenstore" in seen["domains_error"]


def device(root: Path, name: str, number: str) -> None:
    (root / "sys/class/block" / name).mkdir(parents=True)
    (root / "sys/dev/block").mkdir(parents=True, exist_ok=True)
    (root / "sys/dev/block" / number).symlink_to(f"../../class/block/{name}")


def test_everything_at_once(node: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A leg here that somebody writes to, and one of the other node that a domain has open."""
    numbers = {"/dev/vg0/web1-data": "254:0", "/dev/mirror/node1/web1-data": "254:0", "/dev/mirror/node2/web1-data": "8:0"}
    monkeypatch.setattr(Blocks, "number", lambda self, path: numbers.get(path, ""))
    device(node.root, "dm-0", "254:0")
    device(node.root, "sda", "8:0")
    for path in ("node1/web1-data", "node2/web1-data", "node2/web2-data", "node2/web1-log"):
        (node.root / "dev/mirror" / path).parent.mkdir(parents=True, exist_ok=True)
        (node.root / "dev/mirror" / path).write_text("")
    counter, stat = [100], node.root / "sys/class/block/dm-0/stat"
    stat.write_text("1 0 8 0 100 0 800 0 0 0 0")

    def pause(_seconds: float) -> None:
        stat.write_text(f"1 0 8 0 {counter[0] + 3} 0 800 0 0 0 0")
        (fleeting / "physical_device").write_text("0:0")

    for name, physical in (("vbd-7-51712", "8:0"), ("vbd-9-51712", "fe:0")):
        backend = node.root / "sys/bus/xen-backend/devices" / name
        backend.mkdir(parents=True)
        (backend / "physical_device").write_text(physical)
    fleeting = node.root / "sys/bus/xen-backend/devices/vbd-9-51712"
    node.examine["/dev/vg0/web1-data"] = EXAMINE.format(features="0x1")
    witness = Witness("web1", "", "", ["web1-data", "web1-log"], str(node.root), node.command, pause)
    seen = witness.look()
    data, log = seen["legs"]
    assert seen["imports"] == [{"path": "/dev/mirror/node2/web1-data", "users": ["guest domain 7"]}]
    assert (data["name"], data["writes"], data["users"], data["exported"], data["unreadable"]) == ("web1-data", 3, [], False, "")
    assert data["half"] == {
        "uuid": "3dbb1e41:03ff785b:340e7767:01e01dcd", "name": "data", "events": 42, "role": 1, "members": ".A", "raid_devices": 2,
        "state": "active",
        "incomplete": False, "updated": data["half"]["updated"]}
    assert data["half"]["updated"] > 1_790_000_000
    assert log["half"] is None and log["unreadable"] == "it is not active"
    assert seen["boot"] == BOOT and seen["initiator"] == ""


@pytest.mark.parametrize(("features", "incomplete"), [("0x1", False), ("0x9", True), ("0x3", True), ("0x81", True)])
def test_a_half_that_lacks_something(node: Machine, monkeypatch: pytest.MonkeyPatch, features: str, incomplete: bool) -> None:
    monkeypatch.setattr(Blocks, "name", lambda self, path: "dm-0")
    node.examine["/dev/vg0/web1-data"] = EXAMINE.format(features=features)
    assert node.witness().half({"device": "/dev/vg0/web1-data"})["half"]["incomplete"] is incomplete


def test_a_half_that_is_half_restored(node: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no superblock, and is not blank."""
    size = 1 << 20
    path = node.root / "leg"
    monkeypatch.setattr(Blocks, "name", lambda self, path: "dm-0")
    monkeypatch.setattr(Blocks, "size", lambda self, path: size)
    raw = bytearray(size)
    path.write_bytes(raw)
    assert node.witness().half({"device": str(path)}) == {"half": None, "restoring": False, "unreadable": ""}
    raw[place(size):place(size) + 8] = b"nbRs\x01\0\0\0"
    path.write_bytes(raw)
    assert node.witness().half({"device": str(path)}) == {"half": None, "restoring": True, "unreadable": ""}


def test_whose_a_leg_is(node: Machine) -> None:
    assert [leg["uuid"] for leg in node.witness().volumes()] == [""]
    node.volumes["vg0/web1-data"][0].append(f"nobloat.uuid={UUID}")
    assert [leg["uuid"] for leg in node.witness().volumes()] == [UUID]


def test_what_facts_tell_of_a_lease() -> None:
    assert lease_of(["other", LEASE]) == parse(LEASE)
    assert lease_of(["other"]) is None
    damaged = lease_of(["nobloat.lease=x:1:a:b"])
    assert damaged and (damaged["state"], damaged["generation"]) == ("damaged", 0)
