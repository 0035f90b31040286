# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets of modules that need a node, played to the end on one that is made of files: they get into the files of root that are meant for
them, and nowhere else. tests/unit/secrets plays the same modules as far as they come without a node."""
from __future__ import annotations

import importlib
import json
import syslog
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils import basic
from ansible_collections.nobloat.xen.plugins.module_utils.node.exports import Exports
from ansible_collections.nobloat.xen.plugins.module_utils.node.imports import Imports
from ansible_collections.nobloat.xen.plugins.module_utils.node.iscsi import Initiator

from .test_exports import FakeBlocks
from .test_imports import IQN, NODE2, Iscsi

ROOT = Path(__file__).parents[5]
CORE = "Secr3tMark"
CHAP = {
    "chap_username": "mirror", "chap_password": f"{CORE}-chap", "mutual_chap_username": "node1", "mutual_chap_password": f"{CORE}-mutual",
}
EXPORT = {"name": "web1", "iqn": IQN, "device": "/dev/vg0/web1", "portals": ["10.66.2.1"], "initiators": [NODE2], **CHAP}
IMPORT = {"iqn": IQN, "portals": ["10.66.2.1"], "wait_timeout": 1, **CHAP}
PLAYED = {"iscsi_export", "iscsi_import"}


def test_all_node_modules_with_secrets_are_played_here() -> None:
    cases = yaml.safe_load((ROOT / "tests/unit/secrets/modules.yml").read_text(encoding="utf-8"))
    for name in (path.stem for path in (ROOT / "plugins/modules").glob("*.py")):
        module = importlib.import_module(f"ansible_collections.nobloat.xen.plugins.modules.{name}")
        spec = getattr(module, "SPEC", {})
        has = any(option.get("no_log") for option in spec.values() if isinstance(option, dict))
        on_nodes = "module_utils.node" in Path(str(module.__file__)).read_text(encoding="utf-8")
        assert not (has and on_nodes) or name in PLAYED, name
        assert not cases[name].get("node") or name in PLAYED or "marks." not in str(cases[name]), name


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The system's log."""
    lines: list[str] = []
    monkeypatch.setattr(syslog, "syslog", lambda *words: lines.append(str(words)))
    monkeypatch.setattr(basic, "has_journal", False)
    return lines


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], said: list[str]) -> Callable[..., dict[str, Any]]:
    """A module of ours, as Ansible runs it at -vvv with --diff: what it says."""
    def play(name: str, options: dict[str, Any], made: Any) -> dict[str, Any]:
        module = importlib.import_module(f"ansible_collections.nobloat.xen.plugins.modules.{name}")
        monkeypatch.setattr(module, type(made).__name__, lambda: made)
        internal = {"_ansible_diff": True, "_ansible_verbosity": 3, "_ansible_module_name": f"nobloat.xen.{name}", "_ansible_no_log": False,
                    **({"_ansible_inject_invocation": True} if "inject_invocation" in basic.PASS_VARS else {})}
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": {**options, **internal}}).encode())
        with pytest.raises(SystemExit):
            module.main()
        out, err = capsys.readouterr()
        assert CORE not in out + err and said and CORE not in str(said)
        answer: dict[str, Any] = json.loads(out)
        assert "invocation" in answer
        return answer

    return play


def keeps(root: Path) -> dict[str, int]:
    """The files with a secret in them, {path: mode}."""
    return {str(path.relative_to(root)): path.stat().st_mode & 0o777 for path in root.rglob("*")
            if path.is_file() and CORE.encode() in path.read_bytes()}


def test_what_is_imported(run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    iscsi = Iscsi(tmp_path)

    def imports() -> Imports:
        return Imports(str(tmp_path), Initiator(str(tmp_path), iscsi), reach=lambda portal, seconds: "", real_size=lambda path: 0)

    iscsi.login_code = 24  # the other side does not take the secret
    assert run("iscsi_import", IMPORT, imports())["failed"]
    assert keeps(tmp_path) == {}
    iscsi.login_code = 0
    assert run("iscsi_import", IMPORT, imports())["changed"]
    assert keeps(tmp_path) == {f"etc/iscsi/nodes/{IQN}/10.66.2.1,3260": 0o600}
    assert not run("iscsi_import", IMPORT, imports())["changed"]
    assert run("iscsi_import", {**IMPORT, "chap_password": f"{CORE}-other", "force": True}, imports())["changed"]
    assert iscsi.calls and CORE not in str(iscsi.calls)


def test_what_is_exported(run: Callable[..., dict[str, Any]], configfs: Any) -> None:
    def exports() -> Exports:
        return Exports(str(configfs.root), blocks=FakeBlocks(str(configfs.root)), local=lambda text: text.startswith("10.66."))

    blocks = exports()
    configfs.busy.add("/dev/vg0/web1")  # it is found in use when it is enabled
    assert run("iscsi_export", EXPORT, blocks)["failed"]
    assert keeps(configfs.root) == {}
    configfs.busy.clear()
    assert run("iscsi_export", EXPORT, blocks)["changed"]
    auth = f"sys/kernel/config/target/iscsi/{IQN}/tpgt_1/acls/{NODE2}/auth"
    kernel = {path: mode for path, mode in keeps(configfs.root).items() if path.startswith("sys/")}
    assert set(kernel) == {f"{auth}/password", f"{auth}/password_mutual"}
    assert {path: mode for path, mode in keeps(configfs.root).items() if path not in kernel} == {"etc/nobloat/exports.d/web1.json": 0o600}
    assert not run("iscsi_export", EXPORT, blocks)["changed"]
    assert run("iscsi_export", {**EXPORT, "chap_password": f"{CORE}-other", "force": True}, blocks)["changed"]
