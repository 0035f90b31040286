# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One pool with an SR of each kind, shared by the tests of a module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from unit.xapisim.storage.records import BACKENDS, SRS, vdi_record


@pytest.fixture(scope="module")
def sim(start: Callable[..., Any]) -> Any:
    return start({"pools": [{"name": "alpha", "templates": "none", "srs": SRS, "backends": BACKENDS}]})


@pytest.fixture
def sr(sim: Any) -> Callable[[str], str]:
    return lambda name: sim.call("SR.get_by_name_label", name)[0]


@pytest.fixture
def hosts(sim: Any) -> list[str]:
    return [sim.call("host.get_by_name_label", name)[0] for name in ("alpha-1", "alpha-2")]


@pytest.fixture
def vdi(sim: Any, sr: Any) -> str:
    return sim.call("VDI.create", vdi_record(sr("nfs")))


@pytest.fixture
def make_vm(sim: Any, hosts: list[str]) -> Callable[..., str]:
    """VM rows in any state, whatever it takes to bring a guest there."""

    def make(**fields: Any) -> str:
        with sim.pool.lock:
            values = {"name_label": "guest", "power_state": "Halted", "domain_type": "pv", **fields}
            if values["power_state"] == "Running":
                values.setdefault("resident_on", hosts[0])
            return sim.pool.db.create("VM", **values).ref

    return make
