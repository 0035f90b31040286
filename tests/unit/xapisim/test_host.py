# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts and pools over the wire: enabling, evacuating, rebooting, dying, leaving, changing the coordinator."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from xapisim.control import perform

NULL = "OpaqueRef:NULL"
GIB = 1 << 30
POOL = {"name": "alpha", "templates": "none", "local_sr": "ext"}
GUEST = {"name": "guest", "power_state": "Running", "host": "alpha-1", "memory": "4GiB", "nics": [], "ip": "10.0.0.1"}


class Hosts:
    """The simulator and its hosts."""

    def __init__(self, sim: Any) -> None:
        self.sim = sim
        self.call, self.refused, self.pool = sim.call, sim.refused, sim.pool
        names = [f"alpha-{n}" for n in range(1, 1 + len(self.pool.hosts))]
        self.hosts = [self.call("host.get_by_name_label", name)[0] for name in names]

    def row(self, cls: str, ref: str) -> Any:
        return self.pool.db.row(cls, ref)

    def advance(self, seconds: float) -> None:
        self.pool.clock.advance(seconds)

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for what the simulator does in a thread of its own."""
        limit = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < limit, "it does not happen"
            time.sleep(0.02)

    def login(self) -> None:
        self.sim.session = self.sim.ok("session.login_with_password", "root", "simulator", url=self.url())

    def url(self) -> str:
        with self.pool.lock:
            runtime = self.pool.runtime(self.pool.master)
        return f"http://{runtime.address}:{self.pool.port}"

    def guest(self, name: str = "guest") -> str:
        return self.call("VM.get_by_name_label", name)[0]


@pytest.fixture
def make(start: Callable[..., Any]) -> Callable[..., Hosts]:
    return lambda **more: Hosts(start({"pools": [{**POOL, **more}]}))


@pytest.fixture
def two(make: Callable[..., Hosts]) -> Hosts:
    return make()


def test_a_host_has_what_a_client_looks_for(two: Hosts) -> None:
    host = two.call("host.get_record", two.hosts[0])
    assert (host["hostname"], host["enabled"], host["edition"]) == ("alpha-1", True, "xcp-ng")
    assert (host["API_version_major"], host["API_version_minor"]) == (2, 21)
    version = host["software_version"]
    assert (version["product_brand"], version["product_version"]) == ("XCP-ng", "8.3.0")
    assert version["network_backend"] == "openvswitch"
    assert int(host["cpu_info"]["cpu_count"]) == len(host["host_CPUs"]) == 16
    domain = two.call("VM.get_record", host["control_domain"])
    assert (domain["is_control_domain"], domain["power_state"], domain["domid"]) == (True, "Running", 0)
    assert host["resident_VMs"] == [host["control_domain"]]
    metrics = two.call("host_metrics.get_record", host["metrics"])
    assert (metrics["live"], metrics["memory_total"]) == (True, 64 * GIB)
    allowed = {"provision", "evacuate", "vm_start", "vm_resume", "vm_migrate", "enable"}
    assert set(host["allowed_operations"]) == allowed
    pool = two.call("pool.get_all_records").popitem()[1]
    assert pool["master"] == two.hosts[0]
    assert "designate_new_master" in pool["allowed_operations"]


def test_free_memory(make: Callable[..., Hosts]) -> None:
    hosts = make(vms=[GUEST])
    record = hosts.call("host.get_record", hosts.hosts[0])
    used = 0
    for ref in record["resident_VMs"]:
        vm = hosts.call("VM.get_record", ref)
        used += vm["memory_dynamic_min"] + vm["memory_overhead"]
    assert used > 6 * GIB, "a guest of 4 GiB and a control domain of 2 GiB"
    free = hosts.call("host.compute_free_memory", hosts.hosts[0])
    assert free == 64 * GIB - record["memory_overhead"] - used
    assert hosts.call("host.compute_memory_overhead", hosts.hosts[0]) == record["memory_overhead"]


@pytest.mark.parametrize(
    ("method", "args", "error"),
    [
        # more facts, 1: a bad host reference is answered differently
        ("host.disable", ["OpaqueRef:no"], ["HANDLE_INVALID", "host", "OpaqueRef:no"]),
        ("host.evacuate", ["OpaqueRef:no"], ["HANDLE_INVALID", "host", "OpaqueRef:no"]),
        ("pool.eject", ["OpaqueRef:no"], ["HOST_OFFLINE", "OpaqueRef:no"]),
        ("PIF.scan", ["OpaqueRef:no"], ["HOST_OFFLINE", "OpaqueRef:no"]),
        ("pool.eject", ["MASTER"], ["INTERNAL_ERROR", "Xapi_pool.Cannot_eject_master"]),
        ("host.reboot", ["MASTER"], ["HOST_NOT_DISABLED"]),
        ("host.shutdown", ["MASTER"], ["HOST_NOT_DISABLED"]),
        ("host.power_on", ["MASTER"], ["HOST_IS_LIVE", "MASTER"]),
        ("host.destroy", ["MASTER"], ["HOST_IS_LIVE", "MASTER"]),
        ("host.declare_dead", ["MASTER"], ["HOST_IS_LIVE", "MASTER"]),
        ("host.call_plugin", ["MASTER", "noplug", "fn", {}], ["XENAPI_MISSING_PLUGIN", "noplug"]),
        ("host.set_iscsi_iqn", ["MASTER", ""], ["INVALID_VALUE", "value", ""]),
        ("host.set_hostname_live", ["MASTER", ""], ["HOST_NAME_INVALID", "hostname empty"]),
        ("host.set_hostname_live", ["MASTER", "-x"], ["HOST_NAME_INVALID", "hostname contains invalid characters"]),
        ("host.set_hostname_live", ["MASTER", "a" * 256], ["HOST_NAME_INVALID", "hostname is too long"]),
        ("host.list_methods", [], ["NOT_IMPLEMENTED", "list_method"]),
        ("host.dmesg_clear", ["MASTER"], ["NOT_IMPLEMENTED", "dmesg_clear"]),
        ("pool.disable_ha", [], ["HA_NOT_ENABLED"]),
        ("host.management_reconfigure", ["ETH1"], ["PIF_HAS_NO_NETWORK_CONFIGURATION", "ETH1"]),
    ],
)
def test_refused(sim: Any, method: str, args: list[Any], error: list[str]) -> None:
    master = sim.call("pool.get_all_records").popitem()[1]["master"]
    pifs = sim.call("PIF.get_all_records").items()
    (eth1,) = [ref for ref, pif in pifs if pif["device"] == "eth1" and pif["host"] == master]
    names = {"MASTER": master, "ETH1": eth1}
    plain = [names.get(arg, arg) if isinstance(arg, str) else arg for arg in args]
    assert sim.refused(method, *plain) == [names.get(word, word) for word in error]


def test_settings(two: Hosts) -> None:
    host = two.hosts[0]
    two.call("host.set_multipathing", host, True)
    two.call("host.set_iscsi_iqn", host, "iqn.2026-11.test:me")
    two.call("host.set_hostname_live", host, "node-1")
    two.call("host.set_power_on_mode", host, "IPMI", {"power_on_ip": "10.0.0.1"})
    record = two.call("host.get_record", host)
    assert (record["multipathing"], record["other_config"]["multipathing"]) == (True, "true")
    assert record["iscsi_iqn"] == record["other_config"]["iscsi_iqn"] == "iqn.2026-11.test:me"
    assert (record["hostname"], record["power_on_mode"]) == ("node-1", "IPMI")
    assert two.call("VM.get_name_label", record["control_domain"]) == "Control domain on host: node-1"
    assert two.call("host.get_servertime", host).startswith("20")


def test_disable_and_enable(two: Hosts) -> None:
    host = two.hosts[1]
    two.call("host.disable", host)
    record = two.call("host.get_record", host)
    assert (record["enabled"], {"reboot", "shutdown"} <= set(record["allowed_operations"])) == (False, True)
    two.call("host.enable", host)
    assert two.call("host.get_enabled", host)


def test_a_reboot_that_waits_for_power(make: Callable[..., Hosts]) -> None:
    """In a lab, a host is back when its machine is; it boots then as any other, with its storage."""
    hosts = make(durations={"host.reboot:boot": 1e9})
    host = hosts.hosts[1]
    metrics, pbds = hosts.call("host.get_metrics", host), hosts.call("host.get_PBDs", host)
    hosts.call("host.disable", host)
    hosts.call("host.reboot", host)
    hosts.advance(11)
    hosts.until(lambda: not hosts.call("host_metrics.get_live", metrics))
    hosts.advance(1000)
    assert not hosts.call("host_metrics.get_live", metrics)
    perform({hosts.pool.name: hosts.pool}, {"do": "restore_host", "host": "alpha-2"})
    assert hosts.call("host_metrics.get_live", metrics) and hosts.call("host.get_enabled", host)
    assert {hosts.call("PBD.get_currently_attached", pbd) for pbd in pbds} == {True}


def test_a_reboot(make: Callable[..., Hosts]) -> None:
    hosts = make(vms=[{**GUEST, "host": "alpha-2"}])
    host = hosts.hosts[1]
    hosts.call("host.disable", host)
    pbds = hosts.call("host.get_PBDs", host)
    hosts.call("host.reboot", host)
    assert hosts.call("host_metrics.get_live", hosts.call("host.get_metrics", host)), "it acts 10 s later"
    hosts.advance(11)
    metrics = hosts.call("host.get_metrics", host)
    hosts.until(lambda: not hosts.call("host_metrics.get_live", metrics))
    assert hosts.call("VM.get_resident_on", hosts.guest()) == hosts.hosts[0], "guests move away"
    assert {hosts.call("PBD.get_currently_attached", pbd) for pbd in pbds} == {False}
    assert hosts.refused("host.disable", host) == ["HOST_OFFLINE", host]
    hosts.advance(61)
    hosts.until(lambda: hosts.call("host_metrics.get_live", metrics))
    assert hosts.call("host.get_enabled", host), "a reboot enables a host that was disabled for it"
    assert {hosts.call("PBD.get_currently_attached", pbd) for pbd in pbds} == {True}
    assert hosts.call("host.get_current_operations", host) == {}


def test_guests_that_cannot_move_stop_with_their_host(make: Callable[..., Hosts]) -> None:
    hosts = make(srs=[{"name": "mine", "type": "ext", "host": "alpha-2"}],
                 vms=[{**GUEST, "host": "alpha-2", "disks": [{"sr": "mine"}]}])  # fmt: skip
    hosts.call("host.disable", hosts.hosts[1])
    hosts.call("host.shutdown", hosts.hosts[1])
    hosts.advance(11)
    hosts.until(lambda: hosts.call("VM.get_power_state", hosts.guest()) == "Halted")


def test_auto_enable_false_survives_a_reboot(two: Hosts) -> None:
    host = two.hosts[1]
    two.call("host.disable", host, False)
    two.call("host.reboot", host)
    two.advance(11)
    metrics = two.call("host.get_metrics", host)
    two.until(lambda: not two.call("host_metrics.get_live", metrics))
    two.advance(61)
    two.until(lambda: two.call("host_metrics.get_live", metrics))
    assert not two.call("host.get_enabled", host)
    two.call("host.enable", host)


def test_shutdown_and_power_on(two: Hosts) -> None:
    host = two.hosts[1]
    two.call("host.disable", host)
    two.call("host.shutdown", host)
    two.advance(11)
    metrics = two.call("host.get_metrics", host)
    two.until(lambda: not two.call("host_metrics.get_live", metrics))
    assert two.refused("host.power_on", host) == ["HOST_POWER_ON_MODE_DISABLED"]
    two.call("host.set_power_on_mode", host, "wake-on-lan", {})
    task = two.call("Async.host.power_on", host)
    two.until(lambda: two.call("task.get_status", task) == "pending")
    two.advance(61)
    two.until(lambda: two.call("task.get_status", task) == "success")
    assert two.call("host_metrics.get_live", metrics)


def test_evacuate(make: Callable[..., Hosts]) -> None:
    hosts = make(vms=[{**GUEST, "count": 3, "name": "guest-{n}"}])
    source, target = hosts.hosts
    assert hosts.call("host.get_vms_which_prevent_evacuation", source) == {}
    hosts.call("host.assert_can_evacuate", source)
    hosts.call("host.evacuate", source)
    assert {hosts.call("VM.get_resident_on", hosts.guest(f"guest-{n}")) for n in (1, 2, 3)} == {target}
    assert hosts.call("host.get_current_operations", source) == {}
    hosts.call("host.disable", source)
    vm = hosts.guest("guest-1")
    reasons = hosts.call("host.get_vms_which_prevent_evacuation", target)
    assert reasons[vm] == ["NO_HOSTS_AVAILABLE", vm]
    code, text = hosts.refused("host.assert_can_evacuate", target)
    assert code == "CANNOT_EVACUATE_HOST"
    assert f"NO_HOSTS_AVAILABLE,{vm}" in text.split("|")
    assert hosts.refused("host.evacuate", target)[0] == "NO_HOSTS_AVAILABLE"


def test_a_local_disk_prevents_evacuation(make: Callable[..., Hosts]) -> None:
    hosts = make(srs=[{"name": "mine", "type": "ext", "host": "alpha-1"}], vms=[{**GUEST, "disks": [{"sr": "mine"}]}])
    (sr,) = hosts.call("SR.get_by_name_label", "mine")
    vm = hosts.guest()
    expected = ["VM_REQUIRES_SR", vm, sr]
    assert hosts.call("host.get_vms_which_prevent_evacuation", hosts.hosts[0]) == {vm: expected}
    assert hosts.refused("host.evacuate", hosts.hosts[0]) == expected


def test_evacuation_needs_memory(make: Callable[..., Hosts]) -> None:
    machines = [{"name": "alpha-1", "memory": "64GiB"}, {"name": "alpha-2", "memory": "8GiB"}]
    hosts = make(hosts=machines, vms=[{**GUEST, "memory": "16GiB"}])
    vm = hosts.guest()
    assert hosts.refused("host.evacuate", hosts.hosts[0]) == ["HOST_NOT_ENOUGH_FREE_MEMORY", vm]


def test_a_dead_host(make: Callable[..., Hosts]) -> None:
    hosts = make(vms=[{**GUEST, "host": "alpha-2"}])
    host, vm = hosts.hosts[1], hosts.guest()
    assert hosts.refused("host.declare_dead", host) == ["HOST_IS_LIVE", host]
    with hosts.pool.lock:
        hosts.pool.crash(hosts.row("host", host))
    assert hosts.refused("host.disable", host) == ["CANNOT_CONTACT_HOST", host]
    assert hosts.refused("host.destroy", host) == ["HOST_HAS_RESIDENT_VMS", host]
    hosts.call("host.declare_dead", host)
    assert hosts.call("VM.get_power_state", vm) == "Halted"
    assert not hosts.call("host.get_enabled", host)
    hosts.call("host.destroy", host)
    for cls in ("host", "PIF", "PBD", "host_metrics", "host_cpu"):
        records = hosts.call(f"{cls}.get_all_records")
        assert host not in records
        assert all(record.get("host") != host for record in records.values())
    assert len([vm for vm in hosts.call("VM.get_all_records").values() if vm["is_control_domain"]]) == 1


def test_eject(make: Callable[..., Hosts]) -> None:
    hosts = make(vms=[{**GUEST, "host": "alpha-2"}])
    host, vm = hosts.hosts[1], hosts.guest()
    assert hosts.refused("pool.eject", host) == ["OPERATION_NOT_ALLOWED", "VM resident on host"]
    hosts.call("VM.hard_shutdown", vm)
    local = hosts.call("PBD.get_SR", hosts.call("host.get_PBDs", host)[0])
    before = len(hosts.call("SR.get_all"))
    hosts.call("pool.eject", host)
    assert hosts.call("host.get_all") == [hosts.hosts[0]]
    gone = before - len(hosts.call("SR.get_all"))
    assert gone == 1, "its local SR goes with it, shared ones stay"
    assert local not in hosts.call("SR.get_all")


def test_a_new_coordinator(two: Hosts) -> None:
    old, new = two.hosts
    address = two.call("host.get_address", new)
    old_url = two.url()
    session = two.sim.session
    two.call("pool.designate_new_master", new)
    two.advance(1)
    assert two.sim.error("host.get_all", session, url=two.url())[0] in ("HOST_STILL_BOOTING", "SESSION_INVALID")
    two.advance(6)
    assert two.sim.error("session.login_with_password", "root", "simulator", url=old_url) == ["HOST_IS_SLAVE", address]
    two.login()
    records = two.sim.ok("pool.get_all_records", two.sim.session, url=two.url())
    assert records.popitem()[1]["master"] == new
    recovered = two.sim.ok("pool.recover_slaves", two.sim.session, url=two.url())
    assert recovered == [old]


def test_no_new_coordinator_while_a_host_is_away(make: Callable[..., Hosts]) -> None:
    hosts = make(hosts=[{"name": f"alpha-{n}"} for n in (1, 2, 3)])
    with hosts.pool.lock:
        hosts.pool.isolate(hosts.row("host", hosts.hosts[2]))
    assert hosts.refused("pool.designate_new_master", hosts.hosts[1]) == ["CANNOT_CONTACT_HOST", hosts.hosts[2]]


def test_management_moves_to_another_address(two: Hosts) -> None:
    host = two.hosts[1]
    pifs = two.call("PIF.get_all_records")
    by_device = {pif["device"]: ref for ref, pif in pifs.items() if pif["host"] == host}
    eth0, eth1 = by_device["eth0"], by_device["eth1"]
    address = two.call("PIF.get_IP", eth0).rsplit(".", 1)[0] + ".77"
    two.call("PIF.reconfigure_ip", eth1, "Static", address, "255.255.255.0", "", "")
    assert two.call("host.get_management_interface", host) == eth0
    two.call("host.management_reconfigure", eth1)
    assert two.call("host.get_management_interface", host) == eth1
    assert two.call("host.get_address", host) == address
    two.advance(1)
    master = two.call("host.get_address", two.hosts[0])
    url = f"http://{address}:{two.pool.port}"
    assert two.sim.error("session.login_with_password", "root", "simulator", url=url) == ["HOST_IS_SLAVE", master]


def test_pool_management_reconfigure(two: Hosts) -> None:
    pifs = two.call("PIF.get_all_records")
    network = next(pif["network"] for pif in pifs.values() if pif["device"] == "eth1")
    on_it = [ref for ref, pif in pifs.items() if pif["network"] == network]
    assert two.refused("pool.management_reconfigure", network)[0] == "PIF_HAS_NO_NETWORK_CONFIGURATION"
    made = two.call("network.create", {"name_label": "empty", "other_config": {}})
    error = two.refused("pool.management_reconfigure", made)
    assert error == ["PIF_NOT_PRESENT", two.hosts[0], made]
    for ref in on_it:
        address = two.call("host.get_address", two.call("PIF.get_host", ref))
        two.call("PIF.reconfigure_ip", ref, "Static", address, "255.255.255.0", "", "")
    two.call("pool.management_reconfigure", network)
    assert {ref for ref in two.call("PIF.get_all") if two.call("PIF.get_management", ref)} == set(on_it)


def test_pool_settings(two: Hosts) -> None:
    (pool,) = two.call("pool.get_all")
    two.call("pool.set_igmp_snooping_enabled", pool, True)
    assert {pif["igmp_snooping_status"] for pif in two.call("PIF.get_all_records").values()} == {"enabled"}
    two.call("pool.add_to_guest_agent_config", pool, "k", "v")
    error = two.refused("pool.add_to_guest_agent_config", pool, "k", "v")
    assert error == ["MAP_DUPLICATE_KEY", "pool", "guest_agent_config", pool, "k"]
    two.call("pool.remove_from_guest_agent_config", pool, "k")
    assert two.call("pool.get_guest_agent_config", pool) == {}
    two.call("pool.set_default_SR", pool, "OpaqueRef:dangling")
    assert two.call("pool.get_default_SR", pool) == "OpaqueRef:dangling", "more facts, 2"


def test_a_pci_device_keeps_a_guest_at_home(make: Callable[..., Hosts]) -> None:
    machines = [{"name": "alpha-1", "pcis": [{"pci_id": "0000:04:00.0", "device": "T4"}]}, {"name": "alpha-2"}]
    hosts = make(hosts=machines, vms=[{**GUEST, "other_config": {"pci": "0/0000:04:00.0"}}])
    vm = hosts.guest()
    (pci,) = hosts.call("VM.get_attached_PCIs", vm)
    assert hosts.call("PCI.get_record", pci)["device_name"] == "T4"
    assert hosts.call("host.get_vms_which_prevent_evacuation", hosts.hosts[0]) == {vm: ["VM_HAS_PCI_ATTACHED", vm]}
    hosts.call("VM.hard_shutdown", vm)
    assert hosts.call("VM.get_attached_PCIs", vm) == []
