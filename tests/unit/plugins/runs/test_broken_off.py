# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A controller is killed in the middle of what it makes. The next run makes it whole, and nothing else is left in the pool.

Each module at a handful of moments; at 20 with LONG_RUNS=1 in the environment.
"""
from __future__ import annotations

import pytest
from runs import CASES, LONG, POOL, Run, login, picture, read

from xapisim.launcher import launch

MOMENTS = 20 if LONG else 4

SLOW = 0.15
METHODS = """VM.clone VM.copy VM.provision VM.snapshot VM.checkpoint VM.set_other_config VM.set_is_a_template VM.set_name_label
VBD.eject VDI.destroy VM.add_to_other_config VDI.create VDI.set_name_label VBD.create VBD.plug VBD.insert VIF.create VIF.plug network.create
network.set_name_label network.set_default_locking_mode VLAN.create Bond.create tunnel.create SR.create SR.set_name_label SR.set_tags
SR.set_other_config SR.add_to_other_config PBD.create PBD.plug""".split()


@pytest.mark.parametrize("case", CASES)
def test_killed_and_run_again(case):
    module, args, *prepare = CASES[case]
    names = ["whole", *(f"pool{number}" for number in range(MOMENTS))]
    with launch({"durations": dict.fromkeys(METHODS, SLOW), "pools": [{**POOL, "name": name} for name in names]}) as info:
        for name in names if prepare else ():
            assert Run(module, {**login(info, name), **prepare[0]}).end()["changed"]
        before = read(login(info, "whole"))
        run = Run(module, {**login(info, "whole"), **args})
        result = run.end()
        assert result["changed"], result
        wanted, seconds = picture(login(info, "whole")), run.seconds
        assert read(login(info, "whole")) != before
        # All moments side by side, each in a pool of its own.
        options = [login(info, name) for name in names[1:]]
        moments = [seconds * (number + 0.5) / MOMENTS for number in range(MOMENTS)]
        runs = [Run(module, {**each, **args}) for each in options]
        killed = sum(run.kill(at=moment) for run, moment in zip(runs, moments, strict=True))
        assert killed > MOMENTS / 2, "most runs ended before they were killed"
        again = [Run(module, {**each, **args}) for each in options]
        results = [run.end() for run in again]
        for moment, each, result in zip(moments, options, results, strict=True):
            assert not result.get("failed"), (moment, result)
            left = picture(each)
            assert left == wanted, f"killed after {moment:.2f} of {seconds:.2f} s: {left - wanted} is left, {wanted - left} is missing"
        third = [Run(module, {**each, **args}) for each in options]
        assert [run.end()["changed"] for run in third] == [False] * MOMENTS
