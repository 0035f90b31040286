# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A boot server installs a machine once, when it boots next, whatever pool it is in."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

SINGLE = {"name": "single", "hosts": [{"name": "lonely", "address": "127.77.88.1"}], "srs": [],
          "durations": {"host.reboot:boot": 0.1, "host.reboot:delay": 0.1}}  # fmt: skip


def until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < limit, "it does not happen"
        time.sleep(0.02)


def reboot(sim: Any, password: str) -> None:
    url = sim.server.info["pools"][0]["url"]
    session = sim.ok("session.login_with_password", "root", password, url=url)
    (host,) = sim.ok("host.get_all", session, url=url)
    sim.ok("host.disable", session, host, url=url)
    sim.ok("host.reboot", session, host, url=url)


def test_it_is_installed_once(start: Callable[..., Any]) -> None:
    from xapisim.installer import Netboot

    sim = start({"pools": [SINGLE]})
    first, pools = sim.pools["single"].master.uuid, sim.server.pools
    wanted = sim.server.netboot["127.77.88.1"] = Netboot("fresh password", seconds=0.1)
    reboot(sim, "simulator")
    until(lambda: wanted.state == "complete")
    second = pools["lonely"].master.uuid
    assert second != first
    assert "single" not in pools
    reboot(sim, "fresh password")
    pool = pools["lonely"]
    until(lambda: not pool.runtime(pool.master).alive)
    until(lambda: pool.runtime(pool.master).alive)
    assert pools["lonely"].master.uuid == second
    assert wanted.count == 1


def test_an_installation_that_fails_leaves_nothing_that_answers(start: Callable[..., Any]) -> None:
    from xapisim.installer import Netboot

    sim = start({"pools": [SINGLE]})
    wanted = sim.server.netboot["127.77.88.1"] = Netboot("any", seconds=0.1, fails=True)
    pool = sim.pools["single"]
    reboot(sim, "simulator")
    until(lambda: wanted.state == "failed")
    assert list(sim.server.pools) == ["single"]
    assert not pool.runtime(pool.master).alive
