# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two controllers that run the same thing at the same time make it once, and both say that it is there.

One race of 20 guests for each role; 20 with LONG_RUNS=1 in the environment.
"""
from __future__ import annotations

import time
from collections import Counter

import pytest
from runs import CASES, LONG, POOL, SILENCE, Run, login, picture, read

from xapisim.launcher import launch

RACES = 20 if LONG else 1

GUESTS = [f"web{number}" for number in range(20)]
ADMIN = {"name": "vera", "password": "secret", "role": "vm-admin"}
LIST = {"template": "Debian Bookworm 12", "memory": "1GiB", "disks": [{"size": "1GiB"}], "vms": [{"name": name} for name in GUESTS]}


def pools(count):
    return {"durations": {"VM.clone": 0.01, "VM.provision": 0.01},
            "pools": [{"name": f"pool{number}", "users": [ADMIN], "templates": ["Debian Bookworm 12"]} for number in range(count)]}


def race(options, module, args):
    first, second = Run(module, {**options, **args}), Run(module, {**options, **args})
    results = [first.end(), second.end()]
    assert not [result for result in results if result.get("failed")], results
    assert not [task for task in read(options)["task"].values() if "making" in task["name_label"]]
    return results


@pytest.mark.parametrize("role", ["pool-admin", "vm-admin"])
def test_guests(role):
    with launch(pools(RACES)) as info:
        for number in range(RACES):
            options = login(info, f"pool{number}", *(("vera", "secret") if role == "vm-admin" else ()))
            root = login(info, f"pool{number}")
            results = race(options, "vm", LIST)
            made = Counter(vm["name_label"] for vm in read(root)["VM"].values() if vm["name_label"] != "Debian Bookworm 12"
                           and not vm["is_control_domain"])
            assert made == Counter(GUESTS)
            assert len([vdi for vdi in read(root)["VDI"].values() if vdi["name_label"].startswith("web")]) == len(GUESTS)
            assert sorted(result["changed"] for result in results) == [False, True]
            before = picture(root)
            third = Run("vm", {**options, **LIST}).end()
            assert third["changed"] is False, third
            assert picture(root) == before


def test_a_slow_run_is_not_taken_for_a_dead_one_and_who_waits_is_told_for_whom():
    with launch({"durations": {"VM.provision": 2 * SILENCE}, "pools": [{"name": "slow", "templates": ["Debian Bookworm 12"]}]}) as info:
        args = {**login(info, "slow"), "name": "web1", "template": "Debian Bookworm 12", "disks": [{"size": "1GiB"}]}
        slow = Run("vm", args)
        time.sleep(SILENCE / 3)
        patient, hasty = Run("vm", args), Run("vm", {**args, "wait_timeout": 1})
        told = hasty.end()
        assert told["failed"]
        assert "guest web1" in told["msg"], told
        assert "since 20" in told["msg"], told
        assert [slow.end()["changed"], patient.end()["changed"]] == [True, False]
        assert [vm["name_label"] for vm in read(args)["VM"].values() if "web1" in vm["name_label"]] == ["web1"]


@pytest.mark.parametrize("case", CASES)
def test_whatever_is_made(case):
    module, args, *prepare = CASES[case]
    with launch({"pools": [{**POOL, "name": "single"}, *({**POOL, "name": f"pool{number}"} for number in range(RACES))]}) as info:
        for options in [*prepare, args]:
            assert Run(module, {**login(info, "single"), **options}).end()["changed"]
        for number in range(RACES):
            options = login(info, f"pool{number}")
            for first in prepare:
                assert Run(module, {**options, **first}).end()["changed"]
            race(options, module, args)
            assert picture(options) == picture(login(info, "single"))
