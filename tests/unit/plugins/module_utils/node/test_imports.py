# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What iscsi_import plans and does, with an iscsiadm that keeps its records as the real one (2.1.8) was seen to."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.change import ApplyError
from ansible_collections.nobloat.xen.plugins.module_utils.node.imports import Imports
from ansible_collections.nobloat.xen.plugins.module_utils.node.iscsi import Initiator, answers
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import CommandError, NodeError, Result

IQN = "iqn.2026-11.test.nobloat:node1:web1"
NODE2 = "iqn.2026-11.test.nobloat:node2"
OMITTED = dict.fromkeys(["portals", "initiator", "startup", "replacement_timeout", "noop_interval", "noop_timeout", "chap_username",
                         "chap_password", "mutual_chap_username", "mutual_chap_password", "multipath"])
# iscsiadm -m node ... -o new, the lines that matter; {iface} and {portal} are its arguments.
RECORD = """\
# BEGIN RECORD 2.1.8
node.name = {target}
node.tpgt = -1
node.startup = manual
node.leading_login = No
iface.iscsi_ifacename = {iface}
iface.transport_name = tcp
node.session.initial_login_retry_max = 4
node.session.auth.authmethod = None
node.session.timeo.replacement_timeout = 120
node.session.err_timeo.abort_timeout = 15
node.conn[0].address = {address}
node.conn[0].port = {port}
node.conn[0].startup = manual
node.conn[0].timeo.login_timeout = 30
node.conn[0].timeo.noop_out_interval = 5
node.conn[0].timeo.noop_out_timeout = 5
# END RECORD
"""


class Iscsi:
    """iscsiadm, and the kernel's sessions."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls: list[list[str]] = []
        self.login_code = 0
        self.offers = [IQN]
        self.as_folder = False
        (root / "etc/iscsi").mkdir(parents=True)
        (root / "etc/iscsi/initiatorname.iscsi").write_text(f"## comment\nInitiatorName={NODE2}\n")
        (root / "proc/77").mkdir(parents=True)
        (root / "proc/77/comm").write_text("iscsid\n")

    def __call__(self, *argv: str, timeout: float = 60, codes: Any = (0,)) -> Result:
        self.calls.append(list(argv))
        words = dict(zip(argv[1::2], argv[2::2], strict=False))
        code, out = 0, ""
        if argv[0] == "iscsiadm":
            code, out = getattr(self, words["-m"])(argv, words)
        if code not in codes:
            raise CommandError(argv, code, "it says so")
        return Result(code, out, "")

    def discovery(self, argv: Any, words: dict[str, str]) -> tuple[int, str]:
        return (0, "".join(f"{words['-p']},1 {target}\n" for target in self.offers)) if self.offers else (21, "")

    def iface(self, argv: Any, words: dict[str, str]) -> tuple[int, str]:
        path = self.root / "etc/iscsi/ifaces" / words["-I"]
        path.parent.mkdir(exist_ok=True)
        if words["-o"] == "delete":
            path.unlink()
        else:
            path.write_text(words.get("-v", ""))
        return 0, ""

    def node(self, argv: Any, words: dict[str, str]) -> tuple[int, str]:
        target, iface = words["-T"], words["-I"]
        address, _colon, port = words["-p"].rpartition(":")
        path = self.root / "etc/iscsi/nodes" / target / f"{address},{port}"
        if words.get("-o") == "new":
            path = path / iface if self.as_folder else path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(RECORD.format(target=target, iface=iface, address=address, port=port))
        elif words.get("-o") == "delete":
            path.unlink()
            if not any(path.parent.iterdir()):
                path.parent.rmdir()
        elif self.login_code:
            return self.login_code, ""
        else:
            self.log_in(target, address, port, path)
        return 0, ""

    def session(self, argv: Any, words: dict[str, str]) -> tuple[int, str]:
        for folder in (f"iscsi_session/session{words['-r']}", f"iscsi_connection/connection{words['-r']}:0"):
            (self.root / "sys/class" / folder).rename(self.root / f"gone-{len(self.calls)}-{folder.partition('/')[0]}")
        return 0, ""

    def log_in(self, target: str, address: str, port: str, record: Path) -> None:
        settings = dict(line.split(" = ") for line in record.read_text().splitlines() if " = " in line)
        sid = len(list((self.root / "sys/class/iscsi_session").glob("*"))) + 1
        name = f"sd{'abc'[sid - 1]}"
        session = self.root / f"sys/class/iscsi_session/session{sid}"
        connection = self.root / f"sys/class/iscsi_connection/connection{sid}:0"
        disk = session / f"device/target{sid}:0:0/{sid}:0:0:0"
        for folder in (connection, disk / "block" / name, self.root / f"sys/class/block/{name}/holders"):
            folder.mkdir(parents=True, exist_ok=True)
        files = {
            session / "targetname": target, session / "state": "LOGGED_IN", session / "initiatorname": NODE2,
            session / "ifacename": "default", session / "recovery_tmo": settings["node.session.timeo.replacement_timeout"],
            session / "username": settings.get("node.session.auth.username", "(null)"),
            connection / "persistent_address": address, connection / "persistent_port": port,
            connection / "recv_tmo": settings["node.conn[0].timeo.noop_out_interval"],
            connection / "ping_tmo": settings["node.conn[0].timeo.noop_out_timeout"],
            disk / "state": "running", disk / "wwid": "naa.60014050", disk / "block" / name / "size": "524288",
        }
        for path, text in files.items():
            path.write_text(text + "\n")


@pytest.fixture
def iscsi(tmp_path: Path) -> Iscsi:
    return Iscsi(tmp_path)


@pytest.fixture
def imports(iscsi: Iscsi) -> Imports:
    return Imports(str(iscsi.root), Initiator(str(iscsi.root), iscsi), reach=lambda portal, seconds: "", real_size=lambda path: 0)


def options(**changes: Any) -> dict[str, Any]:
    return {**OMITTED, "iqn": IQN, "state": "present", "purge": False, "force": False, "wait_timeout": 1, **changes}


def make(imports: Imports, params: dict[str, Any]) -> Any:
    plan = imports.plan(params)
    plan.apply()
    return plan


def record(iscsi: Iscsi) -> dict[str, str]:
    (path,) = [path for path in (iscsi.root / "etc/iscsi/nodes").rglob("*") if path.is_file()]
    return dict(line.split(" = ") for line in path.read_text().splitlines() if " = " in line)


def test_import(imports: Imports, iscsi: Iscsi) -> None:
    plan = make(imports, options(portals=["10.66.2.1"]))
    assert plan.before == {} and plan.after["stall"] == 9
    settings = record(iscsi)
    assert settings["node.startup"] == settings["node.conn[0].startup"] == "automatic"
    assert settings["node.session.timeo.replacement_timeout"] == "5"
    live = imports.look(IQN)
    assert (live["device"], live["size"], live["identity"]) == ("/dev/sda", 268435456, "naa.60014050")
    assert {key: live[key] for key in ("portals", "initiator", "stall", "multipath", "chap_secret")} == {
        key: plan.after[key] for key in ("portals", "initiator", "stall", "multipath", "chap_secret")}
    assert not imports.plan(options(portals=["10.66.2.1"])).steps and not imports.plan(options()).steps


def test_a_plan_runs_nothing(imports: Imports, iscsi: Iscsi) -> None:
    assert imports.plan(options(portals=["10.66.2.1"]), check_mode=True).steps
    assert iscsi.calls == []


def test_records_in_folders_are_read_and_written_as_well(imports: Imports, iscsi: Iscsi) -> None:
    initiator = imports.initiator
    iscsi.as_folder = True
    initiator.make_record(IQN, "10.66.2.1:3260", "default", {"node.startup": "automatic"})
    assert record(iscsi)["node.startup"] == "automatic"
    assert initiator.records(IQN) == [("10.66.2.1:3260", "default")]


def test_secrets_are_in_no_command_and_nowhere_shown(imports: Imports, iscsi: Iscsi) -> None:
    plan = make(imports, options(portals=["10.66.2.1"], chap_username="u", chap_password="hush", mutual_chap_username="t",
                                 mutual_chap_password="hush too"))
    assert "hush" not in json.dumps([iscsi.calls, plan.diff(), imports.look(IQN)])
    settings = record(iscsi)
    assert settings["node.session.auth.authmethod"] == "CHAP"
    assert (settings["node.session.auth.password"], settings["node.session.auth.password_in"]) == ("hush", "hush too")
    assert not imports.plan(options()).steps
    make(imports, options(chap_username="", mutual_chap_username=""))
    assert record(iscsi)["node.session.auth.authmethod"] == "None" and "node.session.auth.password" not in record(iscsi)


@pytest.mark.parametrize(("code", "words"), [(24, "CHAP secrets of both sides differ"), (8, "does not answer in time"), (19, "let")])
def test_a_login_that_fails_leaves_nothing(imports: Imports, iscsi: Iscsi, code: int, words: str) -> None:
    iscsi.login_code = code
    with pytest.raises(ApplyError, match=words) as caught:
        make(imports, options(portals=["10.66.2.1"], initiator="iqn.2026-11.test.nobloat:other"))
    assert caught.value.leftovers == []
    assert [path for path in (iscsi.root / "etc/iscsi").rglob("*") if path.is_file()] == [
        iscsi.root / "etc/iscsi/initiatorname.iscsi"]


@pytest.mark.parametrize("changes", [
    {"portals": ["10.66.3.1"], "purge": True, "replacement_timeout": 7},
    {"noop_interval": 9},
    {"state": "absent"},
])
def test_a_failure_gives_back_the_import_that_was_there(imports: Imports, iscsi: Iscsi, changes: dict[str, Any]) -> None:
    make(imports, options(portals=["10.66.2.1"], chap_username="u", chap_password="hush"))

    def told() -> Any:
        state = imports.state(IQN)
        return state["records"], [{key: session[key] for key in ("portal", "initiator", "replacement_timeout", "noop_interval")}
                                  for session in state["sessions"]]

    def fail() -> None:
        raise OSError("no space left")

    before = told()
    plan = imports.plan(options(**changes))
    assert plan.steps
    plan.step("save something", fail)
    with pytest.raises(ApplyError) as caught:
        plan.apply()
    assert caught.value.remains == {}
    assert told() == before


def test_a_target_that_is_not_offered_is_not_tried(imports: Imports, iscsi: Iscsi) -> None:
    iscsi.offers = []
    with pytest.raises(ApplyError, match=f"does not offer {IQN} to {NODE2}"):
        make(imports, options(portals=["10.66.2.1"]))
    assert not any("--login" in call for call in iscsi.calls)


def test_a_disk_that_does_not_come_is_logged_out_again(imports: Imports, iscsi: Iscsi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Initiator, "disks", lambda self, device: [])
    with pytest.raises(ApplyError, match="has shown no disk"):
        make(imports, options(portals=["10.66.2.1"], wait_timeout=0))
    assert imports.state(IQN) == {"records": {}, "sessions": []}


@pytest.mark.parametrize(("changes", "words"), [
    ({}, "portals is needed"), ({"portals": []}, "portals is empty"), ({"portals": ["10.66.2.1", "10.66.3.1"]}, "set multipath"),
    ({"portals": ["10.66.2.1"], "iqn": "web1"}, "no iSCSI name"), ({"portals": ["10.66.2.1"], "chap_username": "u"}, "needed with"),
    *[({"portals": ["10.66.2.1"], "chap_username": f"u{user}", "chap_password": f"p{password}"}, "one line each")
      for user, password in (("\nnode.startup = manual", ""), ("", "\nx = y"), (" ", ""), ("", "\r"), ("", "\u2028x"), ("\0", ""))],
])
def test_bad_options(imports: Imports, iscsi: Iscsi, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(NodeError, match=words):
        imports.plan(options(**changes))
    assert iscsi.calls == []


def test_an_unreachable_portal_is_told_before_anything_is_made(iscsi: Iscsi) -> None:
    imports = Imports(str(iscsi.root), Initiator(str(iscsi.root), iscsi), reach=lambda portal, seconds: "no route to host")
    with pytest.raises(NodeError, match=r"10\.66\.2\.9:3260 cannot be reached: no route to host"):
        imports.plan(options(portals=["10.66.2.9"]))
    assert imports.plan(options(portals=["10.66.2.9"]), check_mode=True).warnings
    assert iscsi.calls == []


def test_nobody_listens_here() -> None:
    assert answers("127.0.0.1:1", 1) == "connection refused"


def test_a_node_without_a_name_needs_one(imports: Imports, iscsi: Iscsi) -> None:
    (iscsi.root / "etc/iscsi/initiatorname.iscsi").unlink()
    with pytest.raises(NodeError, match="no name as an initiator"):
        imports.plan(options(portals=["10.66.2.1"]))


def test_time_outs_of_an_open_session(imports: Imports, iscsi: Iscsi) -> None:
    make(imports, options(portals=["10.66.2.1"]))
    make(imports, options(replacement_timeout=9))
    assert record(iscsi)["node.session.timeo.replacement_timeout"] == "9"
    assert imports.state(IQN)["sessions"][0]["replacement_timeout"] == 9
    assert len([call for call in iscsi.calls if "--login" in call]) == 1
    assert not imports.plan(options()).steps


def test_a_session_that_is_broken_is_waited_for(imports: Imports, iscsi: Iscsi) -> None:
    """The daemon logs in again by itself; whoever comes next shall find a disk that works."""
    make(imports, options(portals=["10.66.2.1"]))
    session = iscsi.root / "sys/class/iscsi_session/session1"
    disk = session / "device/target1:0:0/1:0:0:0/state"
    session.joinpath("state").write_text("FAILED\n")
    disk.write_text("transport-offline\n")
    plan = imports.plan(options(wait_timeout=0))
    assert [step.text for step in plan.steps] == ["wait until the disk is back"]
    with pytest.raises(ApplyError, match="no disk that works for 0 seconds"):
        plan.apply()
    disk.write_text("running\n")
    plan.apply()
    imports.reach = lambda portal, seconds: "there is no answer"
    with pytest.raises(NodeError, match="cannot be reached: there is no answer"):
        imports.plan(options())
    session.joinpath("state").write_text("LOGGED_IN\n")
    assert not imports.plan(options()).steps


def test_what_needs_a_new_login_waits_while_the_disk_is_used(imports: Imports, monkeypatch: pytest.MonkeyPatch) -> None:
    make(imports, options(portals=["10.66.2.1"]))
    monkeypatch.setattr(imports.initiator.blocks, "users", lambda path, opened=None: ["device md0"])
    plan = imports.plan(options(noop_interval=3))
    assert [step.text for step in plan.steps] == [f"change the record of {IQN} at 10.66.2.1:3260"]
    assert "count from the next login" in plan.warnings[0]
    with pytest.raises(NodeError, match="used by device md0"):
        imports.plan(options(state="absent"))


def test_a_portal_that_carries_work_is_not_left(imports: Imports, iscsi: Iscsi, monkeypatch: pytest.MonkeyPatch) -> None:
    make(imports, options(portals=["10.66.2.1"]))
    purge = options(portals=["10.66.3.1"], purge=True)
    assert f"log out of {IQN} at 10.66.2.1:3260" in [step.text for step in imports.plan(purge).steps]
    monkeypatch.setattr(imports.initiator.blocks, "users", lambda path, opened=None: ["device md0"] if path == "/dev/sda" else [])
    for check_mode in (True, False):
        with pytest.raises(NodeError, match=f"Cannot log out of {IQN} at 10.66.2.1:3260: its disk is used by device md0"):
            imports.plan(purge, check_mode)
    assert f"log out of {IQN} at 10.66.2.1:3260" in [step.text for step in imports.plan({**purge, "force": True}).steps]


def test_of_two_ways_one_may_go(imports: Imports, iscsi: Iscsi, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as the other one works, whoever uses the multipath device goes on."""
    two = options(portals=["10.66.2.1", "10.66.3.1"], multipath=True)
    monkeypatch.setattr(imports.multipath, "assemble", lambda now, paths: None)
    make(imports, two)
    device = iscsi.root / "sys/class/block/dm-0"
    (device / "dm").mkdir(parents=True)
    (device / "dm/uuid").write_text("mpath-36001405")
    (device / "dm/name").write_text("mpatha")
    for disk in ("sda", "sdb"):
        (device / "slaves" / disk).mkdir(parents=True)
        (iscsi.root / f"sys/class/block/{disk}/holders/dm-0").mkdir(parents=True)
    monkeypatch.setattr(imports.initiator.blocks, "users", lambda path, opened=None: (
        ["guest domain 7"] if path == "/dev/mapper/mpatha" else ["device dm-0", "process 9 (multipathd)"]))
    purge = options(portals=["10.66.3.1"], purge=True, multipath=True)
    assert f"log out of {IQN} at 10.66.2.1:3260" in [step.text for step in imports.plan(purge).steps]
    state = iscsi.root / "sys/class/iscsi_session/session2/device/target2:0:0/2:0:0:0/state"
    state.write_text("transport-offline\n")
    with pytest.raises(NodeError, match="its disk is used by guest domain 7"):
        imports.plan(purge)


def test_growth_is_seen_by_asking_the_disk(imports: Imports) -> None:
    make(imports, options(portals=["10.66.2.1"]))
    imports.real_size = lambda path: 536870912
    plan = imports.plan(options())
    assert [step.text for step in plan.steps] == ["see the new size of sda"]
    assert (plan.before["size"], plan.after["size"]) == (268435456, 536870912)


def test_an_initiator_name_in_capitals_is_the_same(imports: Imports, iscsi: Iscsi) -> None:
    """It is sent in small letters, by an interface of its own."""
    capitals = NODE2.replace("node2", "Node2")
    (iscsi.root / "etc/iscsi/initiatorname.iscsi").write_text(f"InitiatorName={capitals}\n")
    make(imports, options(portals=["10.66.2.1"]))
    assert [path.read_text() for path in (iscsi.root / "etc/iscsi/ifaces").iterdir()] == [NODE2]
    for session in (iscsi.root / "sys/class/iscsi_session").iterdir():
        (session / "initiatorname").write_text(capitals)
    assert imports.look(IQN)["initiator"] == imports.initiator.name() == NODE2
    for name in (None, capitals, NODE2):
        assert not imports.plan(options(initiator=name)).steps


def test_another_initiator_name_is_refused_while_logged_in(imports: Imports) -> None:
    make(imports, options(portals=["10.66.2.1"]))
    with pytest.raises(NodeError, match=f"as {NODE2} already"):
        imports.plan(options(initiator="iqn.2026-11.test.nobloat:other"))


def test_absent(imports: Imports, iscsi: Iscsi) -> None:
    make(imports, options(portals=["10.66.2.1"]))
    plan = make(imports, options(state="absent"))
    assert plan.after == {} and imports.look(IQN) == {}
    assert not imports.plan(options(state="absent")).steps
