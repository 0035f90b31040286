# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets get nowhere: every module and every role is played with marked ones, and all that comes of it is searched.

A new module gets an entry in modules.yml, a new role one in roles.yml.
"""
from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any

import pytest
import XenAPI
import yaml
from marks import CORE, MARKS, in_base64, pattern
from play import MODULES, PASSWORDS, ROLES, ROOT, Played, pools, runs

from xapisim.launcher import launch

SECRET = re.compile(r"(password|passphrase|secrets?|private_key|config_key|user_data|answers)$")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Played, dict[str, dict[str, Any]]]]:
    """What was played, and all records of each pool afterwards."""
    folder = tmp_path_factory.mktemp("secrets")
    with launch({"pools": pools()}) as info:
        found = Played(folder, info)
        yield found, {name: records(url, PASSWORDS[name]) for name, url in found.urls.items()}


@pytest.fixture
def played(world: tuple[Played, Any]) -> Played:
    return world[0]


def records(url: str, password: str) -> dict[str, Any]:
    """All records of a pool, {class: {ref: record}}, by the SDK alone."""
    session = XenAPI.Session(url, ignore_ssl=True)
    session.xenapi.login_with_password("root", password, "1.0", "tests")
    try:
        return {cls: getattr(session.xenapi, cls).get_all_records() for cls in (
            "pool", "host", "VM", "VDI", "VBD", "VIF", "SR", "PBD", "network", "PIF", "task", "secret", "Certificate", "subject",
        )}
    finally:
        session.xenapi.session.logout()


def test_every_module_and_every_role_is_played() -> None:
    assert sorted(MODULES) == sorted(path.stem for path in (ROOT / "plugins/modules").glob("*.py"))
    assert sorted(ROLES) == sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())


def test_modules_do_their_work_and_fail(played: Played) -> None:
    ended = {line["task"]: line["failed"] for line in played.outcomes() if line["host"] == "modules"}
    assert {task.partition(":")[0] for task in ended} == MODULES.keys()
    wrong = {task for task, failed in ended.items() if failed == task.endswith(": good")}
    assert wrong <= {f"{module}: good" for module, case in MODULES.items() if case.get("node")}


def test_roles_do_their_work_and_fail(played: Played) -> None:
    lines = played.outcomes()
    for role, number, run in runs():
        for kind in ("good", "refused"):
            failed = [line["failed"] for line in lines if line["host"] == f"{role}-{kind}-{number}" and line["role"]]
            assert bool(failed) == (kind in run), (role, kind, number)
            assert any(failed) == (kind in run and kind == "refused"), (role, kind, number)
    assert {role for role, _number, run in runs() if "refused" in run} == ROLES.keys()


def test_output(played: Played) -> None:
    secret, task, found = played.secret(), "", []
    for line in played.output.splitlines():
        task = line if line.startswith(("TASK [", "$ ")) else task
        found += [(task.strip(" *"), line[max(0, hit.start() - 50):hit.end() + 20]) for hit in secret.finditer(line)]
    assert found == []


def test_what_others_see_meanwhile(played: Played) -> None:
    """Arguments of processes, the system's log, and files that were removed again."""
    secret = played.secret()
    for name in ("processes", "syslog"):
        text = (played.notes / name).read_text(encoding="utf-8")
        assert text
        assert [line for line in text.splitlines() if secret.search(line)] == []
    files = played.notes / "files"
    lines = files.read_text(encoding="utf-8").splitlines() if files.exists() else []
    assert [line for line in lines if int(line.split()[0], 8) & 0o077] == []


def test_what_is_left(played: Played) -> None:
    """Log, temporary files, caches, pages. A backup of a database has all secrets; it, sessions and the secrets of nodes are for their
    owners only."""
    secret, kept = played.secret(), []
    for path in [*played.work.rglob("*"), *played.kept.rglob("*")]:
        if path.is_file() and secret.search(path.read_text(encoding="utf-8", errors="replace")):
            kept.append(path.name if path.suffix else path.name.rpartition("-")[0])
            assert path.stat().st_mode & 0o077 == 0
    assert set(kept) == {"pool.xml", "nobloat-xen-session", "node.chap"}
    assert {"log", "inventory-cache"} <= {path.name for path in played.work.iterdir()}
    assert (played.kept / "page.html").exists()


def test_what_the_pools_have(world: tuple[Played, dict[str, dict[str, Any]]]) -> None:
    """Secrets are XAPI's secrets, and nothing else of it has them: no other_config, no device_config, no name."""
    played, all_records = world
    values = {entry["value"] for entry in all_records["pool"].pop("secret").values()}
    assert {MARKS["chap"], MARKS["bmc"]} <= values
    secret = pattern(played.key, [])
    for found in all_records.values():
        assert [(cls, key, value) for cls, those in found.items() for record in those.values() for key, value in record.items()
                if secret.search(str(value))] == []


def test_roles_hide_their_secrets_when_they_are_checked() -> None:
    def secrets(options: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        for name, option in options.items():
            if SECRET.search(name):
                yield name, option.get("no_log")
            yield from secrets(option.get("options", {}))

    for role in ROLES:
        specs = yaml.safe_load((ROOT / "roles" / role / "meta/argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
        for spec in specs.values():
            assert {name for name, hidden in secrets(spec.get("options", {})) if not hidden} == set(), role


@pytest.mark.parametrize("before", ["", "a", "ab", "abc"])
def test_a_mark_is_found_in_base64(before: str) -> None:
    encoded = base64.b64encode(f"{before}{CORE}-root'".encode()).decode()
    assert any(part in encoded for part in in_base64(CORE))
