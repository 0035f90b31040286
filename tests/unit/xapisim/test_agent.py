# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What guests' agents say, what a toolstack notes, and what a licence allows."""

from __future__ import annotations

from typing import Any

import pytest

from xapisim.control import set_guest_ip


def metrics(sim: Any, vm: str) -> dict[str, Any]:
    sim.pool.clock.advance(2)
    return sim.call("VM_guest_metrics.get_record", sim.call("VM.get_guest_metrics", vm))


def guest(guests: Any, system: str = "Debian Bookworm 12", vifs: int = 1) -> tuple[str, list[str]]:
    """A guest with an agent that runs, and its VIFs."""
    vm = guests.new(tools=True, other_config={"base_template_name": system})
    made = [guests.nic(vm, device=str(device)) for device in range(vifs)]
    guests.sim.call("VM.start", vm, False, False)
    return vm, made


def test_without_a_delay_the_agent_is_there_when_the_guest_has_started(
    sim: Any, guests: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    vm, _vifs = guest(guests)
    assert sim.call("VM.get_guest_metrics", vm) == "OpaqueRef:NULL"
    monkeypatch.setitem(sim.pool.durations, "guest_agent", 0)
    for method in ("VM.hard_reboot", "VM.clean_reboot"):
        sim.call(method, vm)
        assert sim.call("VM_guest_metrics.get_PV_drivers_detected", sim.call("VM.get_guest_metrics", vm))


@pytest.mark.parametrize(("system", "sets"), [("Debian Bookworm 12", False), ("Windows Server 2022", True)])
def test_only_windows_lets_its_address_be_set(sim: Any, guests: Any, system: str, sets: bool) -> None:
    vm, (vif,) = guest(guests, system)
    assert ("feature-static-ip-setting" in metrics(sim, vm)["other"]) == sets
    if not sets:
        assert sim.refused("VIF.configure_ipv4", vif, "Static", "10.9.9.9/24", "")[0] == "VM_LACKS_FEATURE"
        return
    before = metrics(sim, vm)["networks"]
    sim.call("VIF.configure_ipv4", vif, "Static", "10.9.9.9/24", "")
    assert sim.call("VM_guest_metrics.get_networks", sim.call("VM.get_guest_metrics", vm)) == before  # the guest has yet to apply it
    assert metrics(sim, vm)["networks"]["0/ip"] == "10.9.9.9"
    sim.call("VM.clean_reboot", vm)
    assert metrics(sim, vm)["networks"]["0/ipv4/0"] == "10.9.9.9"


def test_addresses_that_were_told_survive_a_reboot(sim: Any, guests: Any) -> None:
    """FreeBSD's agent has two in one key; and an agent may number what is no VIF."""
    vm, (first, _second) = guest(guests, vifs=2)
    own = metrics(sim, vm)["networks"]
    with sim.pool.lock:
        row = sim.pool.db.row("VM", vm)
        set_guest_ip(sim.pool, row, "10.1.0.1 10.1.0.2")
        set_guest_ip(sim.pool, row, "10.7.0.1", "7")
    sim.call("VM.clean_reboot", vm)
    said = metrics(sim, vm)["networks"]
    assert said["0/ip"] == said["0/ipv4/0"] == "10.1.0.1 10.1.0.2"
    assert said["7/ip"] == "10.7.0.1"
    assert said["1/ip"] == own["1/ip"]
    sim.call("VIF.unplug", first)
    assert "0/ip" not in metrics(sim, vm)["networks"]


def test_a_toolstack_that_restarts_says_when(sim: Any) -> None:
    host = sim.call("host.get_all")[0]
    before = sim.call("host.get_other_config", host)
    sim.pool.clock.advance(100)
    sim.call("host.restart_agent", host)
    assert sim.call("host.get_other_config", host) == before
    sim.pool.clock.advance(10)
    after = sim.call("host.get_other_config", host)
    assert float(after["agent_start_time"]) >= float(before["agent_start_time"]) + 100
    assert after["boot_time"] == before["boot_time"]


def test_every_restriction_is_known(sim: Any) -> None:
    restrictions = sim.call("pool.get_restrictions", sim.call("pool.get_all")[0])
    assert (restrictions["restrict_vtpm"], restrictions["restrict_zstd_export"], restrictions["enable_xha"]) == ("false", "false", "true")
    assert len(restrictions) == 54
    assert restrictions.items() <= sim.call("host.get_license_params", sim.call("host.get_all")[0]).items()


def test_the_mtu_of_a_pif_can_be_its_own(sim: Any) -> None:
    pif = next(ref for ref, record in sim.call("PIF.get_all_records").items() if record["device"] == "eth3" and int(record["VLAN"]) == -1)
    sim.call("PIF.add_to_other_config", pif, "mtu", "9000")
    sim.call("PIF.plug", pif)
    assert int(sim.call("PIF.get_MTU", pif)) == 9000
