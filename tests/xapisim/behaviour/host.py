# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""host: a new host's records, and what its allowed operations are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..db import new_uuid
from ..errors import XapiError
from ..registry import refresh, refresher
from .pif import network_for
from .pif_rules import new_metrics, new_pif, nics

if TYPE_CHECKING:
    from ..db import Database, Row
    from ..pool import Pool

GIB = 1 << 30
MIB = 1 << 20
API_VERSION = (2, 21)  # of XCP-ng 8.3
XEN_OVERHEAD = 760 * MIB
DOM0_MEMORY = 2 * GIB
RESTART = 5.0  # simulated seconds in which a toolstack restarts
_OPS = [
    "provision",
    "evacuate",
    "shutdown",
    "reboot",
    "power_on",
    "vm_start",
    "vm_resume",
    "vm_migrate",
    "apply_updates",
    "enable",
]
_CREATING = ("provision", "vm_resume", "vm_migrate")
_REMOVING = ("evacuate", "reboot", "shutdown")

_VERSION = {
    "product_brand": "XCP-ng",
    "product_version": "8.3.0",
    "product_version_text": "8.3",
    "product_version_text_short": "8.3",
    "platform_name": "XCP",
    "platform_version": "3.4.0",
    "build_number": "8.3.0",
    "date": "20240926T12:01:15Z",
    "dbv": "0.0.1",
    "db_schema": "5.784",
    "xapi": "24.19",
    "xapi_build": "24.19.2",
    "xen": "4.17.5-3",
    "linux": "4.19.0+1",
    "network_backend": "openvswitch",
    "xencenter_min": "2.21",
    "xencenter_max": "2.21",
}
_FEATURES = "1fcbfbff-f7fa3223-2d93fbff-00000523-00000001-000007ab-00000000-00000000-00001000-0c000000"
_CPU = {
    "vendor": "GenuineIntel",
    "speed": "2400.000",
    "modelname": "Intel(R) Xeon(R) Silver 4314 CPU @ 2.40GHz",
    "family": "6",
    "model": "106",
    "stepping": "6",
    "flags": "fpu de tsc msr pae mce cx8 apic sep mca cmov pat clflush mmx fxsr sse sse2 ht syscall nx lm aes avx avx2",
}
_CAPABILITIES = ["xen-3.0-x86_64", "hvm-3.0-x86_32", "hvm-3.0-x86_32p", "hvm-3.0-x86_64"]
# What a licence could forbid (features.ml): also `enable_xha`, `platform_filter` and `regular_nag_dialog`, by these very names.
_RESTRICTIONS = (
    "vlan qos pool_attached_storage netapp equalogic pooling marathon email_alerting historical_performance wlb rbac dmc checkpoint "
    "cpu_masking connection vmpr vmss intellicache gpu dr vif_locking storage_xen_motion vgpu integrated_gpu_passthrough vss "
    "guest_agent_auto_update pci_device_for_auto_update xen_motion guest_ip_setting ad nested_virt live_patching "
    "set_vcpus_number_live pvs_proxy igmp_snooping rpu pool_size cbt usb_passthrough network_sriov corosync cluster_address "
    "zstd_export pool_secret_rotation certificate_verification updates internal_repo_access vtpm vm_groups vm_start "
    "vm_appliance_start"
)
FEATURES = {"enable_xha": "true", "platform_filter": "false", "regular_nag_dialog": "false"} | {
    f"restrict_{feature}": "true" if feature == "corosync" else "false" for feature in _RESTRICTIONS.split()
}
_LICENSE = {"sku_type": "xcp-ng", "sku_marketing_name": "XCP-ng", "expiry": "20991231T00:00:00Z"} | FEATURES


def cpu_info(cpus: int) -> dict[str, str]:
    """host.cpu_info of a machine with two sockets (one for a single CPU)."""
    sockets = 2 if cpus % 2 == 0 else 1
    features = {f"features{suffix}": _FEATURES for suffix in ("", "_pv", "_hvm", "_pv_host", "_hvm_host")}
    counts = {"cpu_count": cpus, "socket_count": sockets, "threads_per_core": 1, "nr_nodes": sockets}
    return {**{key: str(value) for key, value in counts.items()}, **_CPU, **features}


def build_host(
    pool: Pool,
    name: str,
    address: str,
    cards: list[dict[str, Any]],
    *,
    cpus: int = 16,
    memory: int = 64 * GIB,
    uuid: str = "",
) -> Row:
    """A running, enabled host with metrics, CPUs, control domain and PIFs.

    `cards`: dicts of device and MAC, and optionally IP, netmask, gateway, DNS, management, speed (Mbit/s), carrier.
    PIFs join the pool-wide network of their device. memory in bytes.
    """
    db = pool.db
    now = pool.clock.datetime()
    metrics = db.create("host_metrics", memory_total=memory, live=True, last_updated=now)
    uuid = uuid or new_uuid()
    iqn = f"iqn.2026-11.test.xapisim:{uuid[:8]}"
    started = moment(pool)
    host = db.create(
        "host",
        uuid=uuid,
        name_label=name,
        name_description="Default install",
        hostname=name,
        address=address,
        metrics=metrics,
        enabled=True,
        API_version_major=API_VERSION[0],
        API_version_minor=API_VERSION[1],
        API_version_vendor="XenSource",
        API_version_vendor_implementation={},
        software_version={**_VERSION, "hostname": name},
        other_config={"agent_start_time": started, "boot_time": started, "iscsi_iqn": iqn},
        capabilities=_CAPABILITIES,
        cpu_info=cpu_info(cpus),
        cpu_configuration={},
        sched_policy="credit",
        supported_bootloaders=["pygrub", "eliloader"],
        memory_overhead=XEN_OVERHEAD,
        license_params=_LICENSE,
        edition="xcp-ng",
        editions=["xcp-ng"],
        bios_strings={"system-manufacturer": "xapisim", "system-product-name": "Virtual server"},
        chipset_info={"iommu": "true"},
        virtual_hardware_platform_versions=[0, 1, 2],
        iscsi_iqn=iqn,
        ssl_legacy=False,
        tls_verification_enabled=True,
    )
    for number in range(cpus):
        fields = {key: _CPU[key] for key in ("vendor", "modelname", "stepping", "flags")}
        db.create("host_cpu", host=host, number=number, speed=2400, family=6, model=106, features=_FEATURES, **fields)
    host.control_domain = _control_domain(pool, host, min(cpus, 8))
    nics(pool)[uuid] = {card["device"]: card["MAC"] for card in cards}
    for card in cards:
        _card(pool, host, card)
    pool.add_host(host, address)
    refresh(host)
    return host


def _control_domain(pool: Pool, host: Row, vcpus: int) -> Row:
    db = pool.db
    metrics = db.create(
        "VM_metrics",
        memory_actual=DOM0_MEMORY,
        VCPUs_number=vcpus,
        start_time=pool.clock.datetime(),
        current_domain_type="pv",
    )
    memory: dict[str, Any] = {
        f"memory_{kind}": DOM0_MEMORY for kind in ("static_max", "dynamic_max", "dynamic_min", "static_min", "target")
    }
    return db.create(
        "VM",
        name_label=f"Control domain on host: {host.name_label}",
        name_description="The domain which manages physical devices and manages other domains",
        is_control_domain=True,
        power_state="Running",
        resident_on=host,
        affinity=host,
        domid=0,
        metrics=metrics,
        VCPUs_max=vcpus,
        VCPUs_at_startup=vcpus,
        domain_type="pv",
        actions_after_shutdown="destroy",
        actions_after_reboot="destroy",
        actions_after_crash="destroy",
        PV_kernel="",
        HVM_boot_policy="",
        **memory,
    )


def _card(pool: Pool, host: Row, card: dict[str, Any]) -> None:
    device, carrier = card["device"], card.get("carrier", True)
    metrics = new_metrics(pool, device, carrier=carrier)
    metrics.speed = card.get("speed", 10000) if carrier else 0
    new_pif(
        pool.db,
        host,
        network_for(pool, device),
        device=device,
        MAC=card["MAC"],
        physical=True,
        currently_attached=True,
        metrics=metrics,
        properties={"gro": "on"},
        management=card.get("management", False),
        ip_configuration_mode="Static" if card.get("IP") else "None",
        IP=card.get("IP", ""),
        netmask=card.get("netmask", ""),
        gateway=card.get("gateway", ""),
        DNS=card.get("DNS", ""),
    )


def _error(db: Database, host: Row, op: str) -> XapiError | None:
    """Why the operation is not possible (xapi_host_helpers.ml), None if it is."""
    current = host.current_operations
    if op != "power_on":
        for task, other in current.items():
            excluded = (op in _CREATING and other in _REMOVING) or (op in _REMOVING and other in _CREATING)
            serial = {op, other} <= {"reboot", "shutdown", "apply_updates"} and op != other
            if excluded or serial or op == other == "provision":
                return XapiError("OTHER_OPERATION_IN_PROGRESS", "host", host, other, task)
    if host.enabled and op in ("reboot", "shutdown", "apply_updates"):
        return XapiError("HOST_NOT_DISABLED")
    if op == "power_on":
        metrics = db.maybe("host_metrics", host.metrics)
        if metrics is not None and metrics.live:
            return XapiError("HOST_IS_LIVE", host)
        if host.power_on_mode == "":
            return XapiError("HOST_POWER_ON_MODE_DISABLED")
    return None


def moment(pool: Pool) -> str:
    """Now, as other_config of a host writes it."""
    return f"{int(pool.clock.now())}."


def agent_started(pool: Pool, host: Row, *, booted: bool = False) -> None:
    """The host's toolstack has started, and the whole host if it has booted."""
    now = moment(pool)
    host.other_config = {**host.other_config, "agent_start_time": now, **({"boot_time": now} if booted else {})}


@refresher("host")
def allowed_operations(db: Database, host: Row) -> list[str]:
    """The operations that xapi lists for a host."""
    return [op for op in _OPS if _error(db, host, op) is None]


def assert_allowed(db: Database, host: Row, op: str) -> None:
    """Raise why the operation is not possible now."""
    error = _error(db, host, op)
    if error is not None:
        raise error
