# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the integration targets against xapisim: one pool per target, so that none can disturb another.

    python tests/integration/run.py [TARGET ...]

Runs `ansible-test integration --local` in the collection tree it stands in (a tree below ansible_collections/nobloat/xen),
and then checks that every state module was proven (see targets/setup_contract/action_plugins/prove.py): that it changed
something as check mode had foretold, changed nothing the second time, and failed clearly at least once; and that every module
that just looks returns what its documentation says.

A target that needs another pool than that of scenario.yml says so in its files/scenario.yml: `pool`, keys that replace those
of its pool, and `more`, further pools, which it knows as TARGET-NAME.
"""
from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent))

from xapisim.launcher import launch  # noqa: E402


def targets() -> list[str]:
    return sorted(path.name for path in (HERE / "targets").iterdir() if not path.name.startswith("setup_"))


def state_modules() -> list[str]:
    """All modules that bring something in a pool into a state: those that do not just look, judge or log in.

    What pool_coordinator does cannot be proven as the others' work is: the address that is read by is that of the dead.
    """
    groups = yaml.safe_load((ROOT / "meta/runtime.yml").read_text(encoding="utf-8"))["action_groups"]
    return [name for name in groups["all"] if not name.endswith("_info") and name not in ("session", "guest_guard", "pool_coordinator")]


def info_modules() -> list[str]:
    """All modules that just look at a pool."""
    groups = yaml.safe_load((ROOT / "meta/runtime.yml").read_text(encoding="utf-8"))["action_groups"]
    return [name for name in groups["all"] if name.endswith("_info")]


def unproven(entries: list[dict[str, Any]], modules: list[str], looking: list[str]) -> list[str]:
    """What is missing in the evidence, one line per module and property."""
    wanted = {
        "a change, predicted by check mode and idempotent": lambda entry: not entry["fails"] and entry["changed"] and entry["again"],
        "a clear failure that leaves the pool alone": lambda entry: entry["fails"],
    }
    lines = [
        f"{module}: {what}"
        for module in modules for what, test in wanted.items()
        if not any(entry["module"] == f"nobloat.xen.{module}" and test(entry) for entry in entries)
    ]
    seen = {entry["module"] for entry in entries if not entry["fails"]}
    return lines + [f"{module}: what it returns, as documented" for module in looking if f"nobloat.xen.{module}" not in seen]


def pools_of(target: str, usual: dict[str, Any]) -> list[dict[str, Any]]:
    """The pools of a target as xapisim's scenarios describe them, its own first."""
    path = HERE / "targets" / target / "files/scenario.yml"
    own = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}
    more = [{**pool, "name": f"{target}-{pool['name']}"} for pool in own.get("more", [])]
    return [{**usual, **own.get("pool", {}), "name": target}, *more]


def login(pool: dict[str, Any]) -> dict[str, Any]:
    """The connection options for a pool of xapisim's ready line."""
    return {"hostname": pool["url"], "username": pool["username"], "password": pool["password"]}


def configure(info: dict[str, Any], tls: dict[str, Any], proven: Path) -> dict[str, Any]:
    """The variables that the targets read: `xapi` {pool: connection options}, `xapisim` {control, hosts by pool}.

    And `xapi_tls`, those of a pool with a certificate that only the authority in `xapi_ca` vouches for.
    """
    pools = {pool["name"]: pool for pool in info["pools"]}
    return {
        "xapi": {name: login(pool) for name, pool in pools.items()},
        "xapi_tls": login(tls["pools"][0]),
        "xapi_ca": tls["ca"],
        "xapisim": {"control": info["control"], "hosts": {name: pool["hosts"] for name, pool in pools.items()}},
        "xapi_proven": str(proven),
    }


def main() -> int:
    chosen = sys.argv[1:] or targets()
    config = HERE / "integration_config.yml"
    with tempfile.TemporaryDirectory() as folder:
        proven, scenario = Path(folder, "proven.jsonl"), Path(folder, "scenario.yml")
        proven.touch()
        usual = yaml.safe_load((HERE / "scenario.yml").read_text(encoding="utf-8"))
        pools = [pool for name in chosen for pool in pools_of(name, usual["pools"][0])]
        scenario.write_text(yaml.safe_dump({**usual, "pools": pools}))
        with launch(scenario=scenario) as info, launch(scenario={"pools": [{"name": "secured"}]}, tls=True) as tls:
            config.write_text(yaml.safe_dump(configure(info, tls, proven)), encoding="utf-8")
            try:
                command = ["ansible-test", "integration", "--local", "--requirements", "--continue-on-error", "--color", "no",
                           "--python", f"{sys.version_info.major}.{sys.version_info.minor}", *chosen]
                code = subprocess.call(command, cwd=ROOT)
            finally:
                config.unlink()
        entries = [json.loads(line) for line in proven.read_text(encoding="utf-8").splitlines()]
    missing = unproven(entries, *([name for name in names if name in chosen or chosen == targets()]
                                  for names in (state_modules(), info_modules())))
    print("\n".join(f"NOT PROVEN  {line}" for line in missing))
    print(f"{len(entries)} calls proven in {len(chosen)} targets, {len(missing)} proofs missing")
    return code or bool(missing)


if __name__ == "__main__":
    sys.exit(main())
