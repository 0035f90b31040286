# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One guest or a list of them in one run: planned together, changed side by side, each with its own outcome."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.change import ApplyError, ChangeSet, with_gone
from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.vm.guest import Guest
from ansible_collections.nobloat.xen.plugins.module_utils.vm.read import GUEST, TEMPLATE, kind, select
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import XapiError
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.marks import Claim, marked
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.records import name_refs

Entry = Mapping[str, Any]
PlanOne = Callable[[Entry], tuple[ChangeSet, "Guest | None"]]
Look = Callable[[Sequence[Entry]], PlanOne]


@dataclass
class Job:
    """One guest of a run, and what became of it."""

    name: str
    changes: ChangeSet = field(default_factory=lambda: ChangeSet(""))
    guest: Guest | None = None
    error: Exception | None = None
    extra: dict[str, Any] = field(default_factory=dict)  # what the result tells besides the guest

    @property
    def changed(self) -> bool:
        return self.changes.changed and not self.error


def run_jobs(
    module: XapiModule, key: str, entries: Sequence[Entry], look: Look, finish: Callable[[list[Job]], None]
) -> dict[str, Any]:
    """Plan every entry, apply unless in check mode, let `finish` look again at what was changed, and return the result.

    `look` reads the pool, and returns what plans one entry.

    A list (option `vms`) gives a result per guest and fails in the end if any of them failed; a single guest fails at once.
    """
    listed = module.params["vms"] is not None

    def check(jobs: list[Job]) -> None:
        if not listed and jobs[0].error:
            raise jobs[0].error

    with module.alone(lambda: plan_jobs(entries, look), lambda jobs: [job.changes for job in jobs], still_none) as (jobs, claim):
        check(jobs)
        if not module.check_mode:
            apply_jobs(module, claim, jobs)
            again = [place for place, job in enumerate(jobs) if isinstance(job.error, ApplyError) and claim.note(job.error)]
            if again:
                fresh = plan_jobs([entries[place] for place in again], look)
                apply_jobs(module, claim, fresh)
                for place, job in zip(again, fresh, strict=True):
                    jobs[place] = job
            check(jobs)
            finish([job for job in jobs if not job.error])
            check(jobs)
    if listed:
        return list_result(module, key, jobs)
    job, task = jobs[0], {"task": module.detached[-1]} if module.detached else {}
    return {"changed": job.changed, "diff": job.changes.diff(), key: job.changes.after, **job.extra, **task}


def still_none(jobs: Sequence[Job]) -> bool:
    """Whether all that is to be made are guests of which there is nothing in the pool, as was planned. One call."""
    makers = [job for job in jobs if job.changes.making]
    guests = [job.guest for job in makers if job.guest and job.guest.fresh and not job.changes.half_made]
    if len(guests) < len(makers):
        return False
    names = [label for job in makers for label in (job.name, marked(job.name))]
    return not any(kind(vm) in (GUEST, TEMPLATE) for vm in select(guests[0].lanes.session(), "VM", labels=names).values())


def plan_jobs(entries: Sequence[Entry], look: Look) -> list[Job]:
    """Look, and plan every entry."""
    plan = look(entries)
    return [plan_job(entry, plan) for entry in entries]


def plan_job(entry: Entry, plan: PlanOne) -> Job:
    """Plan one entry; what the user got wrong becomes its outcome."""
    try:
        changes, guest = plan(entry)
    except (XapiError, ValueError) as error:
        return Job(entry["name"], error=error)
    return Job(entry["name"], changes, guest)


def apply_jobs(module: XapiModule, claim: Claim, jobs: Sequence[Job]) -> None:
    """Apply the change sets, at most `parallel` at a time, each in a thread with connections of its own."""
    tell, jobs = module.telling(claim), [job for job in jobs if job.changed]

    def apply(job: Job) -> None:
        try:
            job.changes.apply(tell)
        except ApplyError as error:
            job.error = error

    if len(jobs) < 2:
        for job in jobs:
            apply(job)
        return
    with ThreadPoolExecutor(max_workers=min(max(1, module.params["parallel"]), len(jobs))) as pool:
        list(pool.map(apply, jobs))


def list_result(module: XapiModule, key: str, jobs: Sequence[Job]) -> dict[str, Any]:
    """The result of a list; exits with a failure that tells each, if there is any."""
    outcomes = []
    for job in jobs:
        outcome: dict[str, Any] = {"name": job.name, "changed": job.changed, "failed": bool(job.error)}
        if job.error:
            outcome.update(explain(module, job))
        else:
            outcome.update({key: job.changes.after, **job.extra})
        outcomes.append(outcome)
    result = {
        "changed": any(job.changed for job in jobs),
        "diff": [job.changes.diff() for job in jobs if job.changed],
        f"{key}s": outcomes,
        **({"tasks": list(module.detached)} if module.detached else {}),
    }
    failed = [outcome for outcome in outcomes if outcome["failed"]]
    if failed:
        told = "; ".join(f"{outcome['name']}: {outcome['msg']}" for outcome in failed)
        module.fail_json(msg=f"{len(failed)} of {len(jobs)} guests failed. {told}", **result)
    return result


def explain(module: XapiModule, job: Job) -> dict[str, Any]:
    """A failed guest's `msg`, and what goes with it."""
    told: dict[str, Any] = {**job.error.remains} if isinstance(job.error, ApplyError) else {}
    cause = job.error.cause if isinstance(job.error, ApplyError) else job.error
    if isinstance(cause, XapiError):
        name_refs(module.xapi, cause)
        told["xapi_error"] = {"code": cause.code, "params": cause.params}
        if cause.hint:
            told["hint"] = cause.hint
    text = str(cause) if isinstance(cause, (XapiError, ValueError)) else f"{type(cause).__name__}: {cause}"
    if isinstance(job.error, ApplyError):
        text = with_gone(f"{job.error.step.text}: {text}", job.error.gone)
    return {"msg": text, **told}
