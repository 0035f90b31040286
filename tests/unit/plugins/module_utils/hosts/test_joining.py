# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps a host from joining, and what would be lost when it leaves, on plain records."""
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.hosts.joining import Side, obstacles, precious

Record = dict[str, Any]
VERSION = {"product_brand": "XCP-ng", "platform_version": "3.4.0", "db_schema": "5.784", "build_number": "8.3.0",
           "xapi_build": "24.19.2", "xen": "4.17", "linux": "4.19", "network_backend": "openvswitch"}


def side(name: str, **more: Any) -> Side:
    """A pool of one host; `host` changes its record, other keywords are those of Side."""
    host = {"ref": f"ref-{name}", "name_label": name, "external_auth_type": "", "external_auth_service_name": "", "edition": "xcp-ng",
            "software_version": VERSION, "cpu_info": {"vendor": "GenuineIntel"}, "API_version_major": 2, "API_version_minor": 21,
            **more.pop("host", {})}
    pif = {"ref": f"pif-{name}", "host": host["ref"], "device": "eth0", "VLAN": -1, "management": True}
    pool = {"uuid": f"pool-{name}", "master": host["ref"], "ha_enabled": False, **more.pop("pool", {})}
    hosts = {host["ref"]: host, **more.pop("hosts", {})}
    return Side(pool, hosts, {pif["ref"]: pif, **more.pop("pifs", {})}, **more)


def vm(state: str = "Halted", **more: Any) -> Record:
    return {"name_label": "guest", "power_state": state, "is_control_domain": False, "current_operations": {}, **more}


def test_nothing_in_the_way() -> None:
    host = side("new", vms={"a": vm(), "b": vm("Running", is_control_domain=True), "c": vm("Suspended")},
                srs={"tools": {"name_label": "XCP-ng Tools", "is_tools_sr": True}})
    assert obstacles(host, side("pool")) == []


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ({"pool": {"ha_enabled": True}}, "high availability is on in the host"),
        ({"hosts": {"x": {"name_label": "other"}}}, "it has members of its own: other"),
        ({"vms": {"a": vm("Running")}}, "guests run on it: guest"),
        ({"vms": {"a": vm("Paused")}}, "guests run on it: guest"),
        ({"vms": {"a": vm(current_operations={"t": "copy"})}}, "operations are in progress on guest"),
        ({"srs": {"a": {"name_label": "nfs", "is_tools_sr": False}}}, "it has shared SRs: nfs"),
        ({"host": {"external_auth_type": "AD", "external_auth_service_name": "x.test"}},
         "its directory service is AD x.test, that of the pool none"),
        ({"host": {"edition": "free"}}, "its edition is 'free', that of the pool 'xcp-ng'"),
        ({"host": {"software_version": {**VERSION, "platform_version": "3.2.1", "xen": "4.13"}}},
         "its software is not the pool's: platform_version 3.2.1 and 3.4.0, xen 4.13 and 4.17"),
        ({"host": {"API_version_minor": 15}}, "its software is not the pool's: API 2.15 and 2.21"),
        ({"host": {"cpu_info": {"vendor": "AuthenticAMD"}}}, "its CPUs are of AuthenticAMD, those of the pool of GenuineIntel"),
        ({"host": {"software_version": {**VERSION, "network_backend": "bridge"}}},
         "its network backend is bridge, that of the pool openvswitch"),
        ({"bonds": {"b": {"master": "p"}}, "pifs": {"p": {"host": "", "device": "bond0", "VLAN": -1, "management": False}}},
         "it has bonds: bond0"),
        ({"tunnels": {"t": {}}}, "it has 1 tunnels"),
        ({"pifs": {"p": {"host": "ref-new", "device": "eth1", "VLAN": 7, "management": False}}}, "it has VLANs: eth1 VLAN 7"),
        ({"pifs": {"pif-new": {"host": "ref-new", "device": "eth0", "VLAN": 9, "management": True}}},
         "its management interface is on VLAN 9, those of the pool are on no VLAN"),
    ],
)
def test_each_reason(host: Record, reason: str) -> None:
    (found,) = obstacles(side("new", **host), side("pool"))
    assert found["reason"] == reason
    assert found["cure"].endswith(".") or ";" in found["cure"]


def test_force_lets_cpus_and_updates_differ_but_not_versions() -> None:
    amd = {"cpu_info": {"vendor": "AuthenticAMD"}, "software_version": {**VERSION, "xen": "4.13"}}
    assert len(obstacles(side("new", host=amd), side("pool"))) == 2
    assert obstacles(side("new", host=amd), side("pool"), force=True) == []
    old = {"software_version": {**VERSION, "platform_version": "3.2.1"}}
    assert len(obstacles(side("new", host=old), side("pool"), force=True)) == 1


def test_all_at_once() -> None:
    host = side("new", vms={"a": vm("Running")}, bonds={"b": {"master": "gone"}}, tunnels={"t": {}})
    assert len(obstacles(host, side("pool", pool={"ha_enabled": True}))) == 4


def test_what_is_lost_with_local_storage() -> None:
    def sr(ref: str, **more: Any) -> Record:
        return {"ref": ref, "name_label": ref, "uuid": f"uuid-{ref}", "shared": False, "content_type": "user", **more}

    def vdi(ref: str, where: str, **more: Any) -> Record:
        return {"ref": ref, "SR": where, "managed": True, "type": "user", **more}

    srs = {item["ref"]: item for item in (
        sr("full"), sr("empty"), sr("isos", content_type="iso"), sr("shared", shared=True), sr("elsewhere"), sr("rrd"))}
    pbds = {ref: {"SR": ref, "host": "other" if ref == "elsewhere" else "me"} for ref in srs}
    vdis = {item["ref"]: item for item in (
        vdi("1", "full"), vdi("2", "full"), vdi("3", "isos"), vdi("4", "shared"), vdi("5", "elsewhere"), vdi("6", "rrd", type="rrd"),
        vdi("7", "empty", managed=False))}
    vbds = {"b1": {"VDI": "1", "VM": "web"}, "b2": {"VDI": "2", "VM": "snap"}, "b3": {"VDI": "4", "VM": "web"}}
    vms = {"web": {"name_label": "web", "is_a_snapshot": False}, "snap": {"name_label": "before", "is_a_snapshot": True}}
    assert precious({"ref": "me"}, srs, pbds, vdis, vms, vbds) == [{"sr": "full", "uuid": "uuid-full", "vdis": 2, "vms": ["web"]}]
