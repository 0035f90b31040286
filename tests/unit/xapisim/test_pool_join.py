# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Joining a pool and leaving it, over the wire: the checks in xapi's order, what goes along, and the restart."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

ALPHA = {
    "name": "alpha", "templates": "none", "bonds": [{"network": "san", "nics": ["eth2", "eth3"]}],
    "networks": [{"name": "front", "nic": "eth1", "vlan": 10}], "durations": {"host.reboot:boot": 0.1},
}  # fmt: skip
SINGLE = {"name": "single", "hosts": [{"name": "newcomer"}], "srs": []}
VM = {"name": "guest", "disks": [{"sr": "Local storage", "size": "1GiB"}], "nics": ["Pool-wide network associated with eth0"]}


class Two:
    """A pool, and a host of its own that may join it."""

    def __init__(self, sim: Any) -> None:
        self.sim, self.alpha, self.single = sim, sim.pools["alpha"], sim.pools["single"]
        self.url = sim.server.info["pools"][1]["url"]
        self.session = sim.ok("session.login_with_password", "root", "simulator", url=self.url)

    def args(self, address: str = "", password: str = "simulator") -> list[str]:
        return [address or self.alpha.runtime(self.alpha.master).address, "root", password]

    def refused(self, *args: str, method: str = "pool.join") -> list[str]:
        error = self.sim.raw(method, self.session, *(args or self.args()), url=self.url)["error"]
        return [error["message"], *error["data"]]

    def join(self) -> None:
        self.sim.ok("pool.join", self.session, *self.args(), url=self.url)
        self.until(lambda: not self.single.hosts or not next(iter(self.single.hosts.values())).alive, self.single)
        self.until(lambda: all(host.enabled for host in self.alpha.db.rows("host")), self.alpha)

    def until(self, condition: Callable[[], bool], pool: Any) -> None:
        limit = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < limit, "it does not happen"
            pool.clock.advance(1)
            time.sleep(0.02)


@pytest.fixture
def two(start: Callable[..., Any]) -> Callable[..., Two]:
    return lambda **single: Two(start({"pools": [ALPHA, {**SINGLE, **single}]}))


def test_its_certificates_go_along_and_end_with_it(two: Callable[..., Two]) -> None:
    pools = two()
    alpha, uuid = pools.alpha, pools.single.master.uuid
    before = {row.uuid: row.fingerprint_sha256 for row in pools.single.db.rows("Certificate", host=pools.single.master)}
    presented = pools.single.hosts[uuid].certificate
    pools.join()
    host = alpha.db.by_uuid("host", uuid)
    assert {row.uuid: row.fingerprint_sha256 for row in alpha.db.rows("Certificate", host=host)} == before
    assert alpha.hosts[uuid].certificate == presented != ""
    pools.sim.call("pool.eject", host.ref)
    pools.until(lambda: not host.exists, alpha)
    assert {row.host for row in alpha.db.rows("Certificate", type="host")} == {row.ref for row in alpha.db.rows("host")}


def test_a_host_joins(two: Callable[..., Two]) -> None:
    pools = two(vms=[VM])
    (vdi,) = [row for row in pools.single.db.rows("VDI") if row.name_label == "guest 0"]
    pools.single.disks.write(vdi.uuid, 1 << 20, b"bytes go along")
    uuid = pools.single.master.uuid
    pools.join()
    call, alpha = pools.sim.call, pools.alpha
    host = call("host.get_by_uuid", uuid)
    record = call("host.get_record", host)
    assert record["enabled"]
    assert len(record["PIFs"]) == 4 + 1 + 1, "its NICs, and the pool's bond and VLAN"
    networks = {call("network.get_name_label", call("PIF.get_network", pif)) for pif in record["PIFs"]}
    assert {"san", "front"} < networks
    srs = {call("SR.get_name_label", call("PBD.get_SR", pbd)): call("PBD.get_currently_attached", pbd) for pbd in record["PBDs"]}
    assert srs == {"Local storage": True, "NFS storage": True}
    (guest,) = call("VM.get_by_name_label", "guest")
    (vbd,) = call("VM.get_VBDs", guest)
    moved = alpha.db.row("VDI", call("VBD.get_VDI", vbd))
    assert moved.uuid == vdi.uuid
    assert moved.ref != vdi.ref
    assert alpha.disks.read(moved.uuid, 1 << 20, 14) == b"bytes go along"
    dom0 = call("host.get_control_domain", host)
    assert call("VM.get_resident_on", dom0) == host
    # It answers as a member, on the pool's port, and works.
    address = alpha.runtime(alpha.db.row("host", host)).address
    reply = pools.sim.raw("session.login_with_password", "root", "simulator", url=f"http://{address}:{alpha.port}")
    assert reply["error"]["message"] == "HOST_IS_SLAVE"
    call("VM.start_on", guest, host, False, False)
    assert call("VM.get_resident_on", guest) == host


def test_it_is_ejected_and_is_a_pool_of_its_own_again(two: Callable[..., Two]) -> None:
    pools = two()
    uuid = pools.single.master.uuid
    pools.join()
    call = pools.sim.call
    call("pool.eject", call("host.get_by_uuid", uuid))
    assert uuid not in {host["uuid"] for host in call("host.get_all_records").values()}
    pools.until(lambda: "newcomer" in pools.sim.server.pools, pools.alpha)
    fresh = pools.sim.server.pools["newcomer"]
    session = pools.sim.ok("session.login_with_password", "root", "simulator", url=pools.url)
    (host,) = pools.sim.ok("host.get_all_records", session, url=pools.url).values()
    assert host["uuid"] == uuid
    assert fresh.db.rows("VDI") == [], "its local storage is empty"


def test_refused(two: Callable[..., Two]) -> None:
    pools = two()
    single, alpha = pools.single, pools.alpha
    slave = next(host for host in alpha.hosts.values() if host.row != alpha.master)
    mine = single.master
    assert pools.refused(*pools.args("192.0.2.1")) == ["JOINING_HOST_CONNECTION_FAILED"]
    assert pools.refused(*pools.args(slave.address)) == ["HOST_IS_SLAVE", alpha.runtime(alpha.master).address]
    assert pools.refused(*pools.args(password="wrong")) == ["SESSION_AUTHENTICATION_FAILED", "root", "Authentication failure"]
    assert pools.refused(*pools.args(single.runtime(mine).address)) == [
        "OPERATION_NOT_ALLOWED", "Host cannot become slave of itself"]
    for changes, error in (
        ({"cpu_info": {**mine.cpu_info, "vendor": "AuthenticAMD"}}, ["HOSTS_NOT_HOMOGENEOUS", "CPUs differ"]),
        ({"software_version": {**mine.software_version, "platform_version": "3.2.1"}}, ["HOSTS_NOT_COMPATIBLE"]),
        ({"software_version": {**mine.software_version, "xen": "4.13"}}, ["HOSTS_NOT_HOMOGENEOUS", "Software version differs"]),
        ({"software_version": {**mine.software_version, "db_schema": "5.1"}},
         ["POOL_JOINING_HOST_MUST_HAVE_SAME_DB_SCHEMA", "5.1", "5.784"]),
        ({"API_version_minor": 1}, ["POOL_JOINING_HOST_MUST_HAVE_SAME_API_VERSION", "2.1", "2.21"]),
        ({"external_auth_type": "AD"}, ["POOL_JOINING_EXTERNAL_AUTH_MISMATCH"]),
        ({"edition": "free"}, ["LICENSE_HOST_POOL_MISMATCH", "host edition differs"]),
        ({"software_version": {**mine.software_version, "network_backend": "bridge"}},
         ["OPERATION_NOT_ALLOWED", "Network backends differ"]),
    ):  # fmt: skip
        old = mine.record()
        with single.lock:
            for name, value in changes.items():
                setattr(mine, name, value)
        assert pools.refused() == error
        with single.lock:
            for name in changes:
                setattr(mine, name, old[name])
    for pool in (single, alpha):
        with pool.lock:
            pool.pool_row.ha_enabled = True
        assert pools.refused() == ["HA_IS_ENABLED"]
        with pool.lock:
            pool.pool_row.ha_enabled = False


@pytest.mark.parametrize(
    ("single", "error"),
    [
        ({"vms": [{**VM, "power_state": "Running"}]}, ["JOINING_HOST_CANNOT_HAVE_RUNNING_VMS"]),
        ({"hosts": [{"name": "a"}, {"name": "b"}]}, ["JOINING_HOST_CANNOT_BE_MASTER_OF_OTHER_HOSTS"]),
        ({"srs": [{"name": "nfs"}]}, ["JOINING_HOST_CANNOT_CONTAIN_SHARED_SRS"]),
        ({"bonds": [{"network": "b", "nics": ["eth2", "eth3"]}]}, ["POOL_JOINING_HOST_HAS_BONDS"]),
        ({"networks": [{"name": "v", "nic": "eth1", "vlan": 3}]}, ["POOL_JOINING_HOST_HAS_NON_MANAGEMENT_VLANS"]),
    ],
)
def test_refused_for_what_it_has(two: Callable[..., Two], single: dict[str, Any], error: list[str]) -> None:
    pools = two(**single)
    assert pools.refused() == error
    assert pools.refused(method="pool.join_force") == error


def test_force_ignores_differences(two: Callable[..., Two]) -> None:
    pools = two()
    with pools.single.lock:
        mine = pools.single.master
        mine.cpu_info = {**mine.cpu_info, "vendor": "AuthenticAMD"}
    assert pools.refused() == ["HOSTS_NOT_HOMOGENEOUS", "CPUs differ"]
    pools.sim.ok("pool.join_force", pools.session, *pools.args(), url=pools.url)
