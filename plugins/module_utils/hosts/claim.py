# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who works on a pool as a whole, noted in its other_config so that nobody else does meanwhile.

A playbook is many processes, so that none of them can renew a claim all the time as one module does (xapi/marks.py). Its claim
ends with the ansible-playbook that made it, as another one on the same controller can see; elsewhere, when its time is up.
"""
from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.module import Refused, XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.xapi import records

CLAIM = "nobloat.xen.claim"
PROGRAMS = ("ansible-playbook", "ansible")
FORM = "%Y-%m-%dT%H:%M:%SZ"


def playbook() -> str:
    """The ansible-playbook that this process belongs to, so that it is known again: its pid and when it was started; "" if unknown."""
    pid, found = os.getpid(), ""
    while pid > 1:
        words, parent, started = look_at(pid)
        if any(os.path.basename(word) in PROGRAMS for word in words[:2]):
            found = f"{pid}/{started}"  # or its parent: workers look the same
        elif found:
            break
        pid = parent
    return found


def look_at(pid: int) -> tuple[list[str], int, str]:
    """Command line, parent and beginning of a process; nothing where there is none, or no /proc."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace").split("\0")
        # proc(5): what follows the name, which may contain anything, begins with field 3.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return words, int(fields[1]), fields[19]
    except (OSError, ValueError, IndexError):
        return [], 0, ""


def alive(process: str) -> bool:
    """Whether an ansible-playbook of this machine (as `playbook` names it) still runs."""
    pid, _slash, started = process.partition("/")
    return pid.isdigit() and look_at(int(pid))[2] == started


def read_claim(pool: Mapping[str, Any]) -> dict[str, str] | None:
    """The claim on a pool. What nobody of us has written counts as none."""
    try:
        claim = json.loads(pool["other_config"].get(CLAIM, ""))
        found = {key: str(claim[key]) for key in ("purpose", "by", "process", "since", "until")}
        datetime.strptime(found["until"], FORM)
    except (ValueError, KeyError, TypeError):
        return None
    return found


def plan_claim(module: XapiModule) -> ChangeSet:
    """The change set of the claim on a pool."""
    params, call = module.params, module.xapi.call
    pool = next(iter(records.records(module.xapi, "pool").values()))
    now = records.date(str(call("host.get_servertime", pool["master"]))).replace(tzinfo=None)  # one clock for all controllers
    me = {"by": f"{os.environ.get('USER') or os.getuid()}@{socket.gethostname()}", "process": playbook()}
    live = read_claim(pool)
    mine = live if live and {key: live[key] for key in me} == me else None
    title = f"claim on pool {pool['name_label'] or pool['uuid']}"
    changes = ChangeSet(title, before=view(live))
    if params["state"] == "absent":
        if live and (mine or params["force"]):
            changes.making.add(title)
            changes.delete(lambda: call("pool.remove_from_other_config", pool["ref"], CLAIM))
        return changes
    if live and not mine and not params["force"] and not ended(live, me, now):
        raise Refused(
            f"Pool {pool['name_label']} is being worked on: {live['purpose']}, by {live['by']}, since {live['since']}. Wait for its end. "
            f"If it was broken off, that counts from {live['until']} on; on {live['by'].rpartition('@')[2]} itself, at once. "
            "If you know that it does not go on, take over: pool_claim_force=true (option force).",
            claim=view(live),
        )
    lifetime = timedelta(minutes=params["lifetime"])
    if mine and mine["purpose"] == params["purpose"] and datetime.strptime(mine["until"], FORM) - now > lifetime / 2:
        return changes
    since = mine["since"] if mine else now.strftime(FORM)
    claim = {**me, "purpose": params["purpose"], "since": since, "until": (now + lifetime).strftime(FORM)}

    def write() -> dict[str, str]:
        if CLAIM in pool["other_config"]:
            call("pool.remove_from_other_config", pool["ref"], CLAIM)
        call("pool.add_to_other_config", pool["ref"], CLAIM, json.dumps(claim))
        return view(claim)

    changes.making.add(title)  # of those who find the same one ended, one takes over
    # The times are those of the moment when it is written.
    changes.after = {key: value for key, value in view(claim).items() if key not in ("since", "until")}
    changes.step(f"note the {title}", write)
    return changes


def view(claim: Mapping[str, str] | None) -> dict[str, str]:
    """What the module shows of a claim."""
    return {key: claim[key] for key in ("purpose", "by", "since", "until")} if claim else {}


def ended(claim: Mapping[str, str], me: Mapping[str, str], now: datetime) -> bool:
    """Whether nobody works on the pool any more for whom it was claimed."""
    here = claim["by"].rpartition("@")[2] == me["by"].rpartition("@")[2]
    return datetime.strptime(claim["until"], FORM) <= now or (here and bool(claim["process"]) and not alive(claim["process"]))
