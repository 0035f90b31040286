# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plays every module and every role with marked secrets, and keeps all that comes of it."""
from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from marks import CORE, MARKS, pattern, pem

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
LOGIN = {"hostname": "{{ urls.pool }}", "password": "{{ login_password | default(marks.pool) }}", "timeout": 20}
XAPI = yaml.safe_load((ROOT / "meta/runtime.yml").read_text(encoding="utf-8"))["action_groups"]["all"]
PASSWORDS = {"pool": MARKS["pool"], "fresh": MARKS["install"]}
# Which pool the nodes of which guest belong to; a leg of it is on both of them.
NODES = {
    "good": "mirror_guest-good-0", "bad": "mirror_guest-refused-0", "late": "mirror_guest-refused-1", "seen": "mirror_facts-good-0",
    "unseen": "mirror_facts-refused-0", "own": "mirror_import-refused-1",
}


def data(name: str) -> Any:
    return yaml.safe_load((HERE / name).read_text(encoding="utf-8"))


MODULES, ROLES = data("modules.yml"), data("roles.yml")


def pools() -> list[dict[str, Any]]:
    return [{**pool, "password": PASSWORDS[pool["name"]]} for pool in data("scenario.yml")]


def tasks() -> list[dict[str, Any]]:
    """A task for each case of each module, named MODULE: CASE."""
    found = []
    for module, case in MODULES.items():
        own = LOGIN if module in XAPI else {}
        good = {**own, **case["good"]}
        cases = {"good": good}
        if own:
            cases["no login"] = {**good, "password": "{{ marks.wrong }}"}
        if not (own or case.get("node")) or "marks." in str(case):
            cases["unknown option"] = {**good, "surprise": True}
        cases.update({f"refused {number}": {**own, **options} for number, options in enumerate(case.get("refused", []), 1)})
        for title, options in cases.items():
            found.append({
                "name": f"{module}: {title}", f"nobloat.xen.{module}": {key: value for key, value in options.items() if value is not None},
                "check_mode": bool(case.get("look")), "ignore_errors": True,
            })
    return found


def runs() -> list[tuple[str, int, dict[str, Any]]]:
    """(role, number, run) for all runs of all roles."""
    return [(role, number, run) for role, case in ROLES.items()
            for number, run in enumerate([case, *({"look": case.get("look", False), **more} for more in case.get("also", []))])]


def plays(look: bool) -> list[dict[str, Any]]:
    """A play for each run of a role that is, or is not, in check mode; that is seen by the command line only."""
    return [{
        "name": f"Role {role}", "gather_facts": False, "module_defaults": {"group/nobloat.xen.all": LOGIN},
        "hosts": [f"{role}-{kind}-{number}" for kind in ("good", "refused") if kind in run],
        "tasks": [{
            "name": role,
            "block": [{"name": role, "include_role": {"name": f"nobloat.xen.{role}", "tasks_from": run.get("enter", "main")},
                       "vars": run.get("vars", {})}],
            "rescue": [{"name": "The play goes on", "debug": {"msg": "It failed."}}],
        }],
    } for role, number, run in runs() if run.get("look", False) == look]


def nodes(pools: dict[str, str]) -> dict[str, Any]:
    """Two nodes for each of these guests, {guest: pool}, with a leg each, as role mirror_facts would have found it."""
    found = {}
    for guest, pool in pools.items():
        leg = {"name": f"{guest}-data", "vg": "vg0", "size": 1 << 30, "tags": [f"nobloat.guest={guest}", "nobloat.disk=data"],
               "lease": None, "snapshot_of": None}
        export = {"name": leg["name"], "iqn": f"iqn.2026-11.test:{guest}", "portals": ["127.0.0.1:3260"], "initiators": [], "enabled": True,
                  "chap_username": "nobloat" if guest == "own" else ""}
        for number, host in enumerate(("first", "second")):
            said = {"legs": [{**leg, "tags": [*leg["tags"], f"nobloat.slot={number}"]}], "exports": [export], "imports": [], "names": [],
                    "vgs": [], "initiator": ""}
            found[f"{guest}{number + 1}"] = {"xapi_pool": pool, "xapi_host": host, "mirror_facts_node": said}
    return found


def pool(name: str, mark: str) -> dict[str, str]:
    """A pool as a host of an inventory."""
    return {"xapi_hostname": f"{{{{ urls.{name} }}}}", "xapi_password": f"{{{{ marks.{mark} }}}}"}


def inventory() -> dict[str, Any]:
    """A host for each run of a role, with its variables; nodes, and other pools that are asked."""
    hosts = {f"{role}-{kind}-{number}": run[kind] for role, number, run in runs() for kind in ("good", "refused") if kind in run}
    return {"all": {"hosts": {**hosts, "modules": {}}}, "nodes": {"hosts": nodes(NODES)},
            "pools": {"hosts": {"other-pool": pool("fresh", "install"), "with-another-password": pool("fresh", "wrong")}}}


class Played:
    """The plays, and what is there of them: in folder work what Ansible and modules made, in notes what the watch has seen, in kept
    what modules were told to write. `output` is what was printed."""

    def __init__(self, folder: Path, info: dict[str, Any]) -> None:
        self.folder, self.work, self.notes, self.kept = folder, folder / "work", folder / "notes", folder / "kept"
        self.urls = {pool["name"]: pool["url"] for pool in info["pools"]}
        for name in ("work", "notes", "kept", "inventory", "inventory/group_vars", "few", "work/tmp"):
            (folder / name).mkdir(mode=0o700)
        self._strangers()
        # The program of node modules leaves out what the environment says to Python; the watch is to be loaded there, too.
        python = folder / "python"
        python.write_text(f'#!/bin/sh\n[ "$1" != -E ] || shift 3\nexec {sys.executable} "$@"\n', encoding="utf-8")
        python.chmod(0o755)
        for name, secret in {"given": MARKS["chap"], "wrong": f"NULL{MARKS['chap']}"}.items():
            (self.kept / name).mkdir()
            (self.kept / name / "node.chap").touch(mode=0o600)
            (self.kept / name / "node.chap").write_text(secret, encoding="ascii")
        certificate, self.key = pem("first")
        marks = {name: {"__ansible_unsafe": text} for name, text in {**MARKS, "key": self.key}.items()}
        self._write("inventory/group_vars/all.json", {
            "marks": marks, "urls": self.urls, "certificate": certificate, "other_certificate": pem("first")[0], "folder": str(self.kept),
            "said": data("nodes.yml"), "ansible_python_interpreter": str(python), "ansible_connection": "local",
        })
        self._write("inventory/hosts.json", inventory())
        (folder / "few/group_vars").symlink_to("../inventory/group_vars")
        self._write("few/hosts.json", {"nodes": {"hosts": nodes({"shown": "page"})}, "pools": {"hosts": {"page": pool("pool", "pool")}}})
        self._write("pool.xapi.yml", {
            "plugin": "nobloat.xen.xapi", "hostname": self.urls["pool"], "cache": True, "cache_plugin": "ansible.builtin.jsonfile",
            "cache_connection": str(self.work / "inventory-cache"),
        })
        self._write("looks.json", plays(look=True))
        self._write("does.json", [{"name": "Modules", "hosts": "modules", "gather_facts": False, "tasks": tasks()}, *plays(look=False)])
        page = {"mirror_status_page": str(self.kept / "page.html")}
        self._write("page.json", [{"name": "A page", "import_playbook": "nobloat.xen.mirror_status", "vars": page}])
        self.output = "".join([
            self._run("ansible-playbook", "-vvv", "--diff", "--check", "looks.json"),
            self._run("ansible-playbook", "-vvv", "--diff", "does.json"),
            self._run("ansible-playbook", "-vvv", "--diff", "page.json", source="few"),
            self._run("ansible-inventory", "-vvv", "--list", source="pool.xapi.yml", XENSERVER_PASSWORD=MARKS["pool"]),
            self._run("ansible-inventory", "-vvv", "--list", source="pool.xapi.yml", XENSERVER_PASSWORD=MARKS["wrong"],
                      ANSIBLE_INVENTORY_CACHE="0"),
        ])

    def _write(self, name: str, content: Any) -> None:
        (self.folder / name).write_text(json.dumps(content, indent=1), encoding="utf-8")

    def _strangers(self) -> None:
        """Modules of other collections that roles name, to be found; they do nothing."""
        for path in ROOT.glob("roles/*/tasks/*.yml"):
            for name in re.findall(r"^ +(community\.\w+\.\w+|ansible\.posix\.\w+):", path.read_text(encoding="utf-8"), re.MULTILINE):
                space, collection, module = name.split(".")
                place = self.folder / "collections/ansible_collections" / space / collection / "plugins/modules"
                place.mkdir(parents=True, exist_ok=True)
                (place / f"{module}.py").write_text("print('{}')\n", encoding="utf-8")

    def _run(self, command: str, *args: str, source: str = "inventory", **more: str) -> str:
        work = self.work
        environment = {
            **os.environ, "PYTHONPATH": os.pathsep.join([str(HERE / "watch"), str(HERE.parents[1])]), "TMPDIR": str(work / "tmp"),
            "HOME": str(work), "PATH": f"{HERE / 'bin'}:{os.environ['PATH']}", "PYTHONDONTWRITEBYTECODE": "1",
            "SECRETS_FOLDER": str(self.notes), "SECRETS_CORE": CORE,
            "ANSIBLE_HOME": str(work / "ansible"), "ANSIBLE_REMOTE_TEMP": str(work / "remote"), "ANSIBLE_LOG_PATH": str(work / "log"),
            "ANSIBLE_COLLECTIONS_PATH": f"{ROOT / '.work/collections'}:{self.folder / 'collections'}",
            "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callback"), "ANSIBLE_CALLBACKS_ENABLED": "outcomes", "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_CACHE_PLUGIN": "jsonfile", "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(work / "cache"), "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_INJECT_INVOCATION": "1", **more,
        }
        done = subprocess.run(
            [str(Path(sys.executable).parent / command), "-i", str(self.folder / source), *args], env=environment, cwd=self.folder,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=1200,
        )
        return f"$ {command} {' '.join(args)}\n{done.stdout}"

    def outcomes(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.notes / "outcomes").read_text(encoding="utf-8").splitlines()]

    def secret(self) -> re.Pattern[str]:
        """What finds a secret in a text: also the session that module `session` has left, and what role mirror_export has made."""
        sessions = [json.loads(path.read_text(encoding="utf-8"))["reference"] for path in self.work.rglob("nobloat-xen-session-*")]
        made = (self.kept / "made/node.chap").read_text(encoding="utf-8").split()
        assert sessions and len(made) == 1
        return pattern(self.key, [*sessions, *made])
