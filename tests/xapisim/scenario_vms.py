# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The templates and VMs of a scenario."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .behaviour import vm_agent, vm_state, vm_suspend
from .behaviour.vbd import build_vbd
from .behaviour.vdi import build_vdi
from .behaviour.vif import build_vif
from .behaviour.vm import build_vm
from .control import set_guest_ip
from .db import Row, new_uuid
from .pool import Pool
from .scenario_values import GIB, ScenarioError, keys, listed, named, size, strings
from .templates import default_templates
from .types import NULL

VM_KEYS = (
    "name count description template memory vcpus power_state host disks nics cd tags other_config ip snapshots"
    " is_a_template fields affinity"
)
DISK_KEYS = "name sr size device bootable description"
VIF_KEYS = "network mac ip device"


def add_templates(pool: Pool, wanted: Any, where: str) -> None:
    """The default templates: all, none, or those named."""
    templates = {record["name_label"]: record for record in default_templates()}
    names = {"default": list(templates), "none": []}.get(wanted) if isinstance(wanted, str) else wanted
    if not isinstance(names, list) or not templates.keys() >= set(names):
        raise ScenarioError(f"{where}: {wanted!r}, known: default, none, or a list of names (custom ones are VMs with is_a_template: true)")
    for name in names:
        build_vm(pool, templates[name])


def add_vms(pool: Pool, wanted: dict[str, Any], where: str) -> None:
    """The VMs of one entry, with their disks, NICs and snapshots."""
    base = _base_record(pool, wanted, where)
    host = named(pool, "host", wanted["host"], where) if "host" in wanted else None
    nics = [
        keys({"network": n} if isinstance(n, str) else n, f"{where}.nics", VIF_KEYS) for n in wanted.get("nics") or []
    ]
    networks = [named(pool, "network", n.get("network"), f"{where}.nics") for n in nics]
    disks = [keys(d, f"{where}.disks", DISK_KEYS) for d in listed(wanted.get("disks"), f"{where}.disks")]
    srs = [_disk_sr(pool, d, f"{where}.disks") for d in disks]
    hosts = pool.db.rows("host")
    for n, name in _names(wanted, where):
        vm = build_vm(
            pool, {**base, "name_label": name, "uuid": new_uuid(), "other_config": dict(base["other_config"])}
        )
        _disks(pool, vm, disks, srs, wanted)
        for at, (nic, network) in enumerate(zip(nics, networks, strict=True)):
            _vif(pool, vm, at, nic, network)
        state = wanted.get("power_state", "Halted")
        if state != "Halted":
            _run(pool, vm, host or hosts[n % len(hosts)], state)
            for at, nic in enumerate(nics):
                if nic.get("ip"):
                    set_guest_ip(pool, vm, _address(str(nic["ip"]), n), str(nic.get("device", at)))
            if wanted.get("ip"):
                set_guest_ip(pool, vm, _address(str(wanted["ip"]), n))
        for snapshot in listed(wanted.get("snapshots"), f"{where}.snapshots"):
            pool.context().call("VM.snapshot", vm, str(snapshot))


def _names(wanted: dict[str, Any], where: str) -> Iterator[tuple[int, str]]:
    pattern, count = str(wanted.get("name") or ""), wanted.get("count")
    if not pattern:
        raise ScenarioError(f"{where}: name is missing")
    if count is None:
        yield 1, pattern
        return
    if "{" not in pattern:
        pattern += "-{n}"
    for n in range(1, int(count) + 1):
        try:
            yield n, pattern.format(n=n)
        except (KeyError, IndexError, ValueError):
            raise ScenarioError(f"{where}: name {pattern!r} is no pattern, write web-{{n}} or web-{{n:05}}") from None


def _address(text: str, n: int) -> str:
    """An address, or with {n} (1, 2, ...), {hi} and {lo} (n divided by 256, and the rest) a pattern of one."""
    return text.format(n=n, hi=n // 256, lo=n % 256)


def _base_record(pool: Pool, wanted: dict[str, Any], where: str) -> dict[str, Any]:
    """The fields that all VMs of an entry share."""
    template = named(pool, "VM", wanted["template"], where) if "template" in wanted else None
    schema = pool.schema.classes["VM"].fields
    if template is not None:
        source = template.record()
        names = [n for n, f in schema.items() if f.qualifier != "RO/runtime" and n not in ("uuid", "affinity", "tags")]
        record = {n: source[n] for n in names}
        record["other_config"] = {
            k: v for k, v in source["other_config"].items() if k not in ("default_template", "disks", "mac_seed")
        }
        record["other_config"]["base_template_name"] = template.name_label
    else:
        source = default_templates()[-1]
        record = {n: v for n, v in source.items() if n in schema and n != "uuid"}
        record["other_config"] = {"base_template_name": source["name_label"]}
    memory = size(wanted.get("memory", record["memory_static_max"]), f"{where}.memory")
    vcpus = int(wanted.get("vcpus", record["VCPUs_max"]))
    record.update(
        name_description=str(wanted.get("description", "")),
        is_a_template=bool(wanted.get("is_a_template", False)),
        is_default_template=False,
        memory_static_max=memory,
        memory_dynamic_max=memory,
        memory_dynamic_min=memory,
        memory_static_min=min(record["memory_static_min"], memory),
        VCPUs_max=vcpus,
        VCPUs_at_startup=vcpus,
        tags=[str(t) for t in wanted.get("tags") or []],
    )
    record["other_config"].update(strings(wanted.get("other_config")))
    if "affinity" in wanted:
        record["affinity"] = named(pool, "host", wanted["affinity"], where).ref
    if wanted.get("power_state", "Halted") not in ("Halted", "Running", "Paused", "Suspended"):
        raise ScenarioError(
            f"{where}.power_state: {wanted['power_state']!r}, known: Halted, Running, Paused, Suspended"
        )
    for name, value in (wanted.get("fields") or {}).items():
        if name not in schema:
            raise ScenarioError(f"{where}.fields: a VM has no field {name!r}")
        record[name] = value
    return record


def _disk_sr(pool: Pool, disk: dict[str, Any], where: str) -> Row:
    if "sr" in disk:
        return named(pool, "SR", disk["sr"], where)
    sr = pool.db.maybe("SR", pool.pool_row.default_SR)
    if sr is None:
        raise ScenarioError(f"{where}: name an SR, the pool has no default")
    return sr


def _disks(pool: Pool, vm: Row, disks: list[dict[str, Any]], srs: list[Row], wanted: dict[str, Any]) -> None:

    for at, (disk, sr) in enumerate(zip(disks, srs, strict=True)):
        vdi = build_vdi(
            pool,
            sr,
            size(disk.get("size", 10 * GIB), "disks"),
            name_label=str(disk.get("name") or f"{vm.name_label} {at}"),
            name_description=str(disk.get("description", "")),
        )
        device = at if at < 3 else at + 1  # 3 is for the CD drive
        build_vbd(
            pool,
            vm,
            VDI=vdi,
            userdevice=str(disk.get("device", device)),
            bootable=bool(disk.get("bootable", at == 0)),
            other_config={"owner": ""},
        )
    if "cd" in wanted:
        medium = named(pool, "VDI", wanted["cd"], "cd").ref if wanted["cd"] else NULL
        build_vbd(pool, vm, VDI=medium, type="CD", mode="RO", empty=medium == NULL, userdevice="3")


def _vif(pool: Pool, vm: Row, at: int, nic: dict[str, Any], network: Row) -> None:

    fields = {"device": str(nic.get("device", at))}
    if nic.get("mac"):
        fields["MAC"] = str(nic["mac"])
    build_vif(pool, vm, network, **fields)


def _run(pool: Pool, vm: Row, host: Row, state: str) -> None:
    """Put a VM on a host as if it had been started there; its agent has reported already, if it has one."""
    vm_state.attach_devices(pool.context(), vm, host)
    vm_agent.booted(pool, vm)
    vm_state.settle(pool, vm, host, "Running" if state == "Suspended" else state)
    if state != "Paused" and vm_agent.has_tools(vm):
        vm_agent.report(pool, vm)
    if state == "Suspended":
        vm_suspend.save(pool.context(), vm)
