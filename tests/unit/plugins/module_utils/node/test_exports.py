# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What iscsi_export plans."""
from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.change import ApplyError
from ansible_collections.nobloat.xen.plugins.module_utils.node.block import Blocks
from ansible_collections.nobloat.xen.plugins.module_utils.node.exports import (
    SCRIPT,
    UNIT,
    WANTED,
    Exports,
    merged,
    portal,
)
from ansible_collections.nobloat.xen.plugins.module_utils.node.lio import at_once
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import NodeError

IQN = "iqn.2026-11.test.nobloat:node1:web1"
NODE2 = "iqn.2026-11.test.nobloat:node2"
UUID = "LVM-wbpLhGn70UQy3zBMoj0yW9Ll5dR2GAAOFpD5EfQdK2dBLW8B9Je1qZt2KHqiny02"
OMITTED = dict.fromkeys(["iqn", "device", "serial", "portals", "initiators", "chap_username", "chap_password",
                         "mutual_chap_username", "mutual_chap_password", "loopback"])


class FakeBlocks(Blocks):
    """/dev/vg0/NAME are logical volumes; /dev/mapper/vg0-NAME are the same ones."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.used: dict[str, list[str]] = {}
        for minor, name in enumerate(("web1", "web2", "web3")):
            folder = Path(root, f"sys/class/block/dm-{minor}/dm")
            folder.mkdir(parents=True)
            (folder / "uuid").write_text(UUID[:-1] + str(minor))
            (folder / "name").write_text(f"vg0-{name}")
            (folder.parent / "size").write_text("524288")

    def number(self, path: str) -> str:
        name = path.replace("/dev/mapper/vg0-", "/dev/vg0/")
        return f"254:{int(name[-1]) - 1}" if name.startswith("/dev/vg0/web") else ""

    def name(self, path: str) -> str:
        number = self.number(path)
        return f"dm-{number.partition(':')[2]}" if number else ""

    def users(self, path: str, opened: Any = None) -> list[str]:
        return self.used.get(path, [])


@pytest.fixture
def exports(configfs: Any) -> Exports:
    return Exports(str(configfs.root), blocks=FakeBlocks(str(configfs.root)), local=lambda text: text.startswith("10.66."))


def options(**changes: Any) -> dict[str, Any]:
    return {**OMITTED, "name": "web1", "state": "present", "purge": False, "force": False, **changes}


def whole(**changes: Any) -> dict[str, Any]:
    return options(**{"iqn": IQN, "device": "/dev/vg0/web1", "portals": ["10.66.2.1"], "initiators": [NODE2], **changes})


def make(exports: Exports, params: dict[str, Any]) -> Any:
    plan = exports.plan(params)
    plan.apply()
    return plan


def log_in(configfs: Any, initiator: str = NODE2) -> None:
    (configfs.target / f"iscsi/{IQN}/tpgt_1/acls/{initiator}/info").write_text(
        "Session State: TARG_SESS_STATE_LOGGED_IN\n   Address 10.66.2.2 TCP  StatSN: 0x1\n")


def test_a_plan_changes_nothing(exports: Exports, configfs: Any) -> None:
    plan = exports.plan(whole(), check_mode=True)
    assert plan.steps and plan.before == {} and plan.after["portals"] == ["10.66.2.1:3260"]
    assert configfs.tree() == ["core"] and not Path(exports.folder).exists()


def test_what_was_planned_is_what_is_there(exports: Exports) -> None:
    plan = make(exports, whole(loopback=True))
    live = exports.look("web1")
    assert {key: live[key] for key in plan.after if not key.startswith("loopback_")} == {
        key: value for key, value in plan.after.items() if not key.startswith("loopback_")}
    assert not exports.plan(whole(loopback=True)).steps and not exports.plan(options()).steps


def test_an_initiator_name_in_capitals_is_the_same(exports: Exports) -> None:
    """The kernel lowers the name of whoever logs in, and would find no ACL in capitals."""
    make(exports, whole(initiators=[NODE2.replace("node2", "NODE2")]))
    assert exports.look("web1")["initiators"] == [NODE2]
    for name in (NODE2, NODE2.replace("node2", "Node2")):
        assert not exports.plan(options(initiators=[name], purge=True)).steps


def test_the_identity_comes_from_the_volume(exports: Exports) -> None:
    """Its uuid, not its name or its path."""
    serial = exports.plan(whole()).after["serial"]
    assert serial == exports.plan(whole(device="/dev/mapper/vg0-web1")).after["serial"]
    assert serial != exports.plan(whole(device="/dev/vg0/web2")).after["serial"]
    assert exports.plan(whole(serial="a" * 32)).after["wwn"] == "6001405" + "a" * 25


def test_the_description_is_saved_for_root_only(exports: Exports, configfs: Any) -> None:
    make(exports, whole(chap_username="u", chap_password="secret"))
    path = Path(exports.folder, "web1.json")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text())["chap"] == {"username": "u", "password": "secret"}
    path.chmod(0o644)
    assert [step.text for step in exports.plan(options()).steps] == ["save export web1"]


def test_the_boot_needs_nothing_but_the_script(exports: Exports, configfs: Any) -> None:
    """It runs alone, without anything of the collection, and is told apart from nothing to do by its return code."""
    make(exports, whole())
    root = configfs.root
    assert (root / WANTED).is_symlink() and f"{sys.executable} /{SCRIPT}" in (root / UNIT).read_text()
    program = f"import sys, runpy; runpy.run_path({str(root / SCRIPT)!r}, run_name='lio')"
    subprocess.run([sys.executable, "-I", "-S", "-c", program], check=True)


def test_no_secret_is_shown(exports: Exports) -> None:
    make(exports, whole(chap_username="u", chap_password="hush1"))
    plan = exports.plan(options(chap_username="u", chap_password="hush2"))
    assert plan.steps and "hush" not in json.dumps(plan.diff())
    assert (plan.before["chap_secret"], plan.after["chap_secret"]) == ("another", "set")


def test_omitted_is_left_alone_and_empty_clears(exports: Exports) -> None:
    make(exports, whole(chap_username="u", chap_password="p"))
    assert not exports.plan(options()).steps
    plan = make(exports, options(chap_username="", initiators=[]))
    assert exports.look("web1")["chap_username"] == "" and exports.look("web1")["initiators"] == []
    assert plan.after["initiators"] == []


def test_secrets_outlast_a_time_without_initiators(exports: Exports) -> None:
    make(exports, whole(chap_username="u", chap_password="p"))
    make(exports, options(initiators=[]))
    make(exports, options(initiators=[NODE2]))
    assert exports.lio.read("web1")["chap"] == {"username": "u", "password": "p"}


def test_lists_grow_unless_they_are_purged(exports: Exports) -> None:
    make(exports, whole())
    make(exports, options(portals=["10.66.3.1"]))
    assert exports.look("web1")["portals"] == ["10.66.2.1:3260", "10.66.3.1:3260"]
    make(exports, options(portals=["10.66.3.1"], purge=True))
    assert exports.look("web1")["portals"] == ["10.66.3.1:3260"]


def test_after_a_boot_the_saved_description_is_what_omitted_means(exports: Exports, configfs: Any) -> None:
    make(exports, whole(chap_username="u", chap_password="p"))
    exports.lio.remove(exports.lio.read("web1"), at_once)
    make(exports, options())
    assert exports.look("web1")["initiators"] == [NODE2] and exports.look("web1")["chap_username"] == "u"


@pytest.mark.parametrize(("changes", "words"), [
    ({"name": "../x"}, "no name"), ({"iqn": None}, "iqn is needed"), ({"device": None}, "device is needed"),
    ({"portals": None}, "portals is needed"), ({"portals": ["::"]}, "every network"), ({"portals": ["0.0.0.0:3260"]}, "every network"),
    ({"portals": ["node1"]}, "no portal"), ({"portals": ["192.0.2.1"]}, "does not have the address"),
    ({"iqn": "iqn.2026-11.test:Upper"}, "no iSCSI name"), ({"device": "/dev/nothing"}, "not a block device"),
    ({"serial": "short"}, "no serial"), ({"chap_password": "p"}, "does nothing without"),
    ({"chap_username": "u"}, "chap_password is needed"), ({"chap_username": "u", "chap_password": "NULLx"}, "begin with NULL"),
    ({"mutual_chap_username": "u", "mutual_chap_password": "p"}, "needs chap_username"),
])
def test_bad_options_are_refused_before_anything_is_made(exports: Exports, configfs: Any, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(NodeError, match=words):
        exports.plan(whole(**changes))
    assert configfs.tree() == ["core"]


def test_what_an_earlier_task_would_make_is_no_error_in_check_mode(exports: Exports) -> None:
    assert exports.plan(whole(device="/dev/vg1/later"), check_mode=True).after["serial"] == ""  # which only the volume will have
    plan = exports.plan(whole(portals=["192.0.2.1"], device="/dev/vg1/later", serial="0" * 32), check_mode=True)
    assert len(plan.warnings) == 2 and plan.steps


def test_conflicts_are_named(exports: Exports) -> None:
    make(exports, whole())
    with pytest.raises(NodeError, match="under the name web1"):
        exports.plan(whole(name="other", iqn=f"{IQN}x", device="/dev/mapper/vg0-web1"))
    with pytest.raises(NodeError, match="target of another export, web1"):
        exports.plan(whole(name="other", device="/dev/vg0/web2"))
    with pytest.raises(NodeError, match="cannot be changed"):
        exports.plan(whole(iqn=f"{IQN}x"))


def test_nobody_loses_a_disk_in_use(exports: Exports, configfs: Any) -> None:
    make(exports, whole())
    log_in(configfs)
    for params in (options(state="absent"), options(device="/dev/vg0/web2")):
        with pytest.raises(NodeError, match=r"node2 \(10\.66\.2\.2\) is logged in"):
            exports.plan(params)
        assert exports.plan({**params, "force": True}).steps


@pytest.mark.parametrize("changes", [{"initiators": [f"{NODE2}0"], "purge": True}, {"initiators": []}])
def test_who_is_logged_in_is_not_shut_out(exports: Exports, configfs: Any, changes: dict[str, Any]) -> None:
    make(exports, whole())
    log_in(configfs)
    for check_mode in (True, False):
        with pytest.raises(NodeError, match=rf"Cannot shut out {NODE2} \(10\.66\.2\.2\): it is logged in to the export web1"):
            exports.plan(options(**changes), check_mode)
    assert exports.look("web1")["initiators"] == [NODE2]
    assert not exports.plan(options(initiators=[NODE2], purge=True)).steps
    make(exports, options(**changes, force=True))
    assert NODE2 not in exports.look("web1")["initiators"]


def test_who_is_not_logged_in_may_be_shut_out(exports: Exports, configfs: Any) -> None:
    make(exports, whole(initiators=[NODE2, f"{NODE2}0"]))
    log_in(configfs)
    make(exports, options(initiators=[NODE2], purge=True))
    assert exports.look("web1")["initiators"] == [NODE2]


def test_a_portal_with_connections_stays(exports: Exports, configfs: Any, connect: Any) -> None:
    """Whoever is logged in works on without it, and could not come back after a break."""
    make(exports, whole(portals=["10.66.2.1", "10.66.3.1"]))
    log_in(configfs)
    connect("10.66.2.1", 3260, "10.66.2.2")
    connect("10.66.3.1", 3260, "10.66.3.2", state="06")  # TIME_WAIT
    purge = options(portals=["10.66.3.1"], purge=True)
    with pytest.raises(NodeError, match=rf"Cannot stop listening on 10.66.2.1:3260: 10.66.2.2 is connected there, and {NODE2} "):
        exports.plan(purge, check_mode=True)
    assert "stop listening on 10.66.2.1:3260" in [step.text for step in exports.plan({**purge, "force": True}).steps]
    assert exports.plan(options(portals=["10.66.2.1"], purge=True)).steps


@pytest.mark.parametrize("changes", [{"chap_username": ""}, {"chap_username": "u", "chap_password": "another"}])
def test_secrets_of_who_is_logged_in_stay(exports: Exports, configfs: Any, changes: dict[str, Any]) -> None:
    make(exports, whole(chap_username="u", chap_password="p"))
    log_in(configfs)
    assert not exports.plan(options(chap_username="u", chap_password="p")).steps
    with pytest.raises(NodeError, match=r"Cannot change the secrets: .*node2 .* could not log in again after a break"):
        exports.plan(options(**changes))
    assert exports.plan(options(**changes, force=True)).steps


def test_nor_the_local_disk(exports: Exports, configfs: Any) -> None:
    make(exports, whole(loopback=True))
    (configfs.root / "sys/bus/scsi/devices/0:0:1:0/block/sda").mkdir(parents=True)
    exports.blocks.used["/dev/sda"] = ["mount point /mnt"]  # type: ignore[attr-defined]
    for changes in ({"state": "absent"}, {"loopback": False}):
        with pytest.raises(NodeError, match="/dev/sda of the export web1 is used by mount point /mnt"):
            exports.plan(options(**changes))
        assert exports.plan(options(**changes, force=True)).steps


def test_another_device_is_another_disk(exports: Exports) -> None:
    make(exports, whole())
    before = exports.look("web1")
    make(exports, options(device="/dev/vg0/web2"))
    after = exports.look("web1")
    assert after["device"] == "/dev/vg0/web2" and after["serial"] != before["serial"] and after["enabled"]
    assert not exports.plan(options()).steps


def test_absent_forgets_the_description(exports: Exports, configfs: Any) -> None:
    make(exports, whole())
    plan = make(exports, options(state="absent"))
    assert plan.after == {} and exports.look("web1") == {} and not list(Path(exports.folder).iterdir())
    assert not exports.plan(options(state="absent")).steps


@pytest.mark.parametrize("text", ["", '{"name": "web1"', '{"name": "web1"}', b"\xff"])
def test_a_damaged_description(exports: Exports, configfs: Any, monkeypatch: pytest.MonkeyPatch, text: Any) -> None:
    """It is in the way of no other export; its own is written anew, or removed; what fails leaves it as it is."""
    make(exports, whole(chap_username="u", chap_password="secret"))
    path, data = Path(exports.folder, "web1.json"), text if isinstance(text, bytes) else text.encode()
    path.write_bytes(data)
    make(exports, whole(name="web2", iqn=f"{IQN}2", device="/dev/vg0/web2"))
    plan = exports.plan(options())
    assert [step.text for step in plan.steps] == ["save export web1"] and "is damaged" in plan.warnings[0]
    for step in plan.steps:
        step.do()
        assert json.loads(path.read_text())["chap"] == {"username": "u", "password": "secret"}
        assert step.undo
        step.undo()
    assert path.read_bytes() == data
    exports.lio.remove(exports.lio.read("web1"), at_once)
    plan = make(exports, options(state="absent"))
    assert [step.text for step in plan.steps] == ["forget export web1"] and not path.exists()
    plan.steps[0].undo()
    assert path.read_bytes() == data


def test_a_step_that_fails_takes_the_others_back(exports: Exports, configfs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: Any) -> None:
        raise OSError("no space left")

    plan = exports.plan(whole())
    plan.step("save something", fail)
    with pytest.raises(ApplyError, match="save something: no space left") as caught:
        plan.apply()
    assert configfs.tree() == ["core", "core/iblock_0", "iscsi"]
    assert not list(Path(exports.folder).iterdir())
    assert not [text for text in caught.value.leftovers if "web1" in text]


@pytest.mark.parametrize("changes", [
    {"portals": ["10.66.3.1"], "initiators": [f"{NODE2}x"], "purge": True, "chap_username": "v", "chap_password": "other"},
    {"chap_username": "", "loopback": False},
    {"device": "/dev/vg0/web2"},
    {"state": "absent"},
])
def test_a_failure_gives_back_the_export_that_was_there(exports: Exports, configfs: Any, changes: dict[str, Any]) -> None:
    make(exports, whole(chap_username="u", chap_password="p", loopback=True))
    before = exports.look("web1"), exports.lio.read("web1"), configfs.tree(), Path(exports.folder, "web1.json").read_text()

    def fail() -> None:
        raise OSError("no space left")

    plan = exports.plan(options(**changes))
    assert plan.steps
    plan.step("save something", fail)
    with pytest.raises(ApplyError) as caught:
        plan.apply()
    assert caught.value.remains == {}
    assert (exports.look("web1"), exports.lio.read("web1"), configfs.tree(), Path(exports.folder, "web1.json").read_text()) == before


@pytest.mark.parametrize(("text", "expected"), [
    ("10.0.2.1", "10.0.2.1:3260"), ("10.0.2.1:3261", "10.0.2.1:3261"), ("fd00::1", "[fd00::1]:3260"),
    ("[FD00:0::1]:3261", "[fd00::1]:3261"),
])
def test_portals_are_written_as_the_kernel_does(text: str, expected: str) -> None:
    assert portal(text) == expected


@pytest.mark.parametrize(("live", "desired", "purge", "expected"), [
    (["a"], None, True, ["a"]), (["a"], ["b"], False, ["a", "b"]), (["a"], ["b"], True, ["b"]), (["a"], [], False, []),
])
def test_merged(live: list[str], desired: list[str] | None, purge: bool, expected: list[str]) -> None:
    assert merged(live, desired, purge) == expected
