# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""LIO through a folder that behaves as configfs does; what the kernel says was recorded from one."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.node import lio
from ansible_collections.nobloat.xen.plugins.module_utils.node.lio import Lio, LioError, at_once, restore, wwn

IQN = "iqn.2026-11.test.nobloat:node1:web1"
GROUP = f"iscsi/{IQN}/tpgt_1"
NODE2, NODE3 = "iqn.2026-11.test.nobloat:node2", "iqn.2026-11.test.nobloat:node3"
# Linux 6.1, cat acls/*/info with a session.
LOGGED_IN = f"""\
InitiatorName: {NODE2}
InitiatorAlias: node2
LIO Session ID: 1   ISID: 0x00 02 3d 00 00 01  TSIH: 1  SessionType: Normal
Session State: TARG_SESS_STATE_LOGGED_IN
---------------------[iSCSI Session Values]-----------------------
  CmdSN/WR  :  CmdSN/WC  :  ExpCmdSN  :  MaxCmdSN  :     ITT    :     TTT
 0x00000040   0x00000040   0x00000059   0x00000098   0x0000005a   0x00000057
----------------------[iSCSI Connections]-------------------------
CID: 0  Connection State: TARG_CONN_STATE_LOGGED_IN
   Address 10.66.2.2 TCP  StatSN: 0x792a8652
"""


def wanted(**changes: Any) -> dict[str, Any]:
    return {"name": "web1", "iqn": IQN, "device": "/dev/vg0/web1", "serial": "54f6330593f29830bf645860a41f1e97",
            "portals": ["10.66.2.1:3260"], "initiators": [NODE2], "chap": {}, "loopback": False, **changes}


def make(target: Lio, want: dict[str, Any]) -> list[str]:
    """Plan all, then do it; what was done."""
    steps: list[tuple[str, Any, Any]] = []
    target.make(want, target.read(want["name"], want["iqn"]), lambda *step: steps.append(step))
    for _text, do, _undo in steps:
        do()
    return [text for text, _do, _undo in steps]


def removal(target: Lio, name: str, iqn: str = "") -> list[str]:
    """What has to be done to remove an export."""
    steps: list[str] = []
    target.remove(target.read(name, iqn), lambda text, _do, _undo: steps.append(text))
    return steps


def test_an_export_from_nothing_and_again(configfs: Any) -> None:
    target = Lio(str(configfs.root))
    assert make(target, wanted())
    assert configfs.tree() == sorted([
        "core", "core/iblock_0", "core/iblock_0/web1", "iscsi", f"iscsi/{IQN}", GROUP, f"{GROUP}/np/10.66.2.1:3260",
        f"{GROUP}/lun/lun_0", f"{GROUP}/lun/lun_0/web1", f"{GROUP}/acls/{NODE2}", f"{GROUP}/acls/{NODE2}/lun_0",
        f"{GROUP}/acls/{NODE2}/lun_0/default"])
    assert {name: configfs.get(f"{GROUP}/{name}") for name in lio.CLOSED} == lio.CLOSED
    assert configfs.get(f"{GROUP}/attrib/authentication") == "0"
    assert configfs.get(f"{GROUP}/enable") == configfs.get("core/iblock_0/web1/enable") == "1"
    assert configfs.get(f"{GROUP}/acls/{NODE2}/attrib/nopin_timeout") == "5"
    assert make(target, wanted()) == []


def test_what_was_read_is_what_was_wanted(configfs: Any) -> None:
    target = Lio(str(configfs.root))
    want = wanted(chap={"username": "u", "password": "p", "mutual_username": "t", "mutual_password": "q"}, loopback=True)
    make(target, want)
    live = target.read("web1")
    assert {key: live[key] for key in want} == want
    assert configfs.get(f"{GROUP}/attrib/authentication") == "1"


def test_changes_touch_nothing_else(configfs: Any) -> None:
    target = Lio(str(configfs.root))
    make(target, wanted())
    assert make(target, wanted(portals=["10.66.3.1:3260"], initiators=[NODE3])) == [
        "listen on 10.66.3.1:3260", f"admit {NODE3}", "stop listening on 10.66.2.1:3260", f"shut out {NODE2}"]
    live = target.read("web1")
    assert (live["portals"], live["initiators"]) == (["10.66.3.1:3260"], [NODE3])


def test_secrets_are_changed_and_cleared_where_they_are_kept(configfs: Any) -> None:
    target = Lio(str(configfs.root))
    make(target, wanted())
    assert make(target, wanted(chap={"username": "u", "password": "p"})) == [
        f"close target {IQN} to strangers", f"change the secret of {NODE2}"]
    assert configfs.get(f"{GROUP}/acls/{NODE2}/auth/password") == "p"
    make(target, wanted())
    assert configfs.get(f"{GROUP}/acls/{NODE2}/auth/password") == "NULL"
    assert target.read("web1")["chap"] == {} and make(target, wanted()) == []


def test_demo_mode_is_ended(configfs: Any) -> None:
    target = Lio(str(configfs.root))
    make(target, wanted())
    configfs.write(str(configfs.target / GROUP / "attrib/generate_node_acls"), "1")
    assert target.read("web1")["open"]
    assert make(target, wanted()) == [f"close target {IQN} to strangers"]


def test_removal_leaves_nothing(configfs: Any) -> None:
    target = Lio(str(configfs.root))
    make(target, wanted(loopback=True, initiators=[NODE2, NODE3]))
    target.remove(target.read("web1"), at_once)
    assert configfs.tree() == ["core", "core/iblock_0", "iscsi", "loopback"]
    assert removal(target, "web1", IQN) == []


def test_what_was_half_removed_is_found_by_its_iqn(configfs: Any) -> None:
    target = Lio(str(configfs.root))
    make(target, wanted())
    target.remove_luns(target.group(IQN))
    target.remove_backstore("web1")
    assert target.read("web1") == {}
    assert removal(target, "web1", IQN) == [f"remove target {IQN}"]
    make(target, wanted())
    assert target.read("web1")["linked"]


def test_a_device_in_use_leaves_nothing(configfs: Any) -> None:
    configfs.busy.add("/dev/vg0/web1")
    with pytest.raises(LioError, match="in use on this node"):
        make(Lio(str(configfs.root)), wanted())
    assert configfs.tree() == ["core", "core/iblock_0"]


def test_sessions(configfs: Any) -> None:
    target = Lio(str(configfs.root))
    make(target, wanted(initiators=[NODE2, NODE3]))
    (configfs.target / GROUP / "acls" / NODE2 / "info").write_text(LOGGED_IN)
    assert target.read("web1")["sessions"] == [{"initiator": NODE2, "address": "10.66.2.2", "state": "LOGGED_IN"}]
    (configfs.target / GROUP / "dynamic_sessions").write_text(f"{NODE3}\0\n")
    assert [session["initiator"] for session in target.read("web1")["sessions"]] == [NODE2, NODE3]


def test_the_boot_makes_what_is_saved_and_waits_for_what_is_late(
        configfs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = tmp_path / "saved"
    saved.mkdir()
    (saved / "web1.json").write_text(json.dumps(wanted()))
    late = wanted(name="web2", iqn=f"{IQN}2", device="/dev/vg0/web2", serial="1" * 32)
    (saved / "web2.json").write_text(json.dumps(late))
    there = ["/dev/vg0/web1"]
    monkeypatch.setattr(lio, "is_block_device", lambda path: path in there)
    monkeypatch.setattr(lio.time, "sleep", lambda seconds: there.append("/dev/vg0/web2"))
    target = Lio(str(configfs.root))
    assert restore(target, str(saved)) == {}
    assert make(target, wanted()) == [] and make(target, late) == []


def test_the_boot_tells_what_is_wrong_and_makes_the_rest(
        configfs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = tmp_path / "saved"
    saved.mkdir()
    for name in ("web1", "web2"):
        (saved / f"{name}.json").write_text(json.dumps(wanted(name=name, iqn=f"{IQN}{name}", device=f"/dev/vg0/{name}")))
    configfs.busy.add("/dev/vg0/web1")
    monkeypatch.setattr(lio.time, "sleep", lambda seconds: None)
    wrong = restore(Lio(str(configfs.root)), str(saved), patience=0)
    assert list(wrong) == ["web1"] and "in use" in wrong["web1"]
    assert "core/iblock_0/web2" in configfs.tree()


DAMAGED = {
    "cut off": json.dumps(wanted(name="bad"))[:40], "empty": "", "zeros": "\0" * 200, "a list": "[]", "nothing": "null",
    "deep": "[" * 100_000,
    "not UTF-8": b"\xff\xfe{}", "no loopback": json.dumps({key: value for key, value in wanted(name="bad").items() if key != "loopback"}),
    "a number for a name": json.dumps(wanted(name="bad", iqn=5)), "numbers for portals": json.dumps(wanted(name="bad", portals=[1])),
    "a text for initiators": json.dumps(wanted(name="bad", initiators="all")),
    "chap of numbers": json.dumps(wanted(name="bad", chap={"a": 1})),
    "a path": json.dumps(wanted(name="bad", iqn="../../core/iblock_0/web1")), "another one's": json.dumps(wanted()), "a folder": None,
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_one_damaged_description_does_not_keep_the_others_away(
        configfs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    folder, text = tmp_path / "saved", DAMAGED[kind]
    folder.mkdir()
    (folder / "web1.json").write_text(json.dumps(wanted()))
    if text is None:
        (folder / "bad.json").mkdir()
    else:
        (folder / "bad.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    monkeypatch.setattr(lio.time, "sleep", lambda seconds: pytest.fail("what is damaged is waited for"))
    wrong = restore(Lio(str(configfs.root)), str(folder))
    assert list(wrong) == ["bad"] and wrong["bad"].startswith(f"its description {folder}/bad.json is damaged: ")
    assert make(Lio(str(configfs.root)), wanted()) == []
    assert list(lio.saved(str(folder))) == ["web1"]


def test_one_export_that_fails_in_an_unknown_way(configfs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also without the kernel's module for local disks, those that need none come back."""
    folder = tmp_path / "saved"
    folder.mkdir()
    for name in ("web1", "web2", "web3"):
        (folder / f"{name}.json").write_text(json.dumps(wanted(
            name=name, iqn=f"{IQN}{name}", device=f"/dev/vg0/{name}", loopback=name == "web3")))
    make_portal = Lio.make_portal

    def fail(path: str) -> None:
        if "web2" in path:
            raise RuntimeError("who knows")
        make_portal(path)

    def prepare(_self: Lio, loopback: bool = False) -> None:
        if loopback:
            raise LioError("no tcm_loop")

    monkeypatch.setattr(Lio, "make_portal", staticmethod(fail))
    monkeypatch.setattr(Lio, "prepare", prepare)
    assert restore(Lio(str(configfs.root)), str(folder), patience=0) == {"web2": "who knows"}
    assert Lio(str(configfs.root)).read("web1")["enabled"] and Lio(str(configfs.root)).read("web3")["enabled"]


def test_the_wwn_is_the_kernels() -> None:
    """As Linux 6.1 made it: serial 0011..., initiator's wwid naa.6001405 0011..."""
    assert wwn("00112233445566778899aabbccddeeff") == "600140500112233445566778899aabbc"
