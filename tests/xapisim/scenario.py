# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pools from a description: what README.md documents, checked key by key.

Records are made by the builders of the behaviours, not by calls, so that ten thousand VMs load in seconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .behaviour import vm_agent, vm_state, vm_suspend
from .behaviour.host import build_host
from .behaviour.network import build_network
from .behaviour.pool import build_pool
from .behaviour.sm import build_sm
from .behaviour.sr import build_sr
from .behaviour.vbd import build_vbd
from .behaviour.vdi import build_vdi
from .behaviour.vif import build_vif
from .behaviour.vm import build_vm
from .control import set_guest_ip
from .db import Row, new_uuid
from .errors import XapiError
from .pool import Pool
from .registry import refresh, refreshing_once
from .schema import ROLES
from .sessions import User
from .templates import default_templates
from .types import NULL

MIB = 1 << 20
GIB = 1 << 30
PASSWORD = "simulator"
NICS = 4
DURATIONS = ("guest_agent",)  # what takes time beside messages: a guest's agent after boot
_UNITS = {"": 1, "B": 1, "KIB": 1 << 10, "MIB": MIB, "GIB": GIB, "TIB": 1 << 40}
_SIZE = re.compile(r"^(\d+(?:\.\d+)?)\s*([KMGT]iB|B)?$", re.IGNORECASE)
POOL_KEYS = (
    "name description password port users hosts local_sr networks bonds srs templates vms durations backends"
    " other_config tags"
)
HOST_KEYS = "name address nics cpus memory tags description other_config"
NIC_KEYS = "device mac ip netmask gateway dns management speed carrier"
NETWORK_KEYS = "name description nic vlan mtu tags other_config"
BOND_KEYS = "network nics mode"
SR_KEYS = "name description type shared host size device_config content_type default isos tags other_config"
VM_KEYS = (
    "name count description template memory vcpus power_state host disks nics cd tags other_config ip snapshots"
    " is_a_template fields affinity"
)
DISK_KEYS = "name sr size device bootable description"
VIF_KEYS = "network mac ip device"
USER_KEYS = "name password role"


class ScenarioError(Exception):
    """The scenario is wrong; the text says where and why."""


def load(path: Path | None) -> list[Pool]:
    """The pools of a scenario file, or the default: one pool `pool1` of two hosts."""
    if path is None:
        return build({"pools": [{"name": "pool1"}]})
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        with open(path, encoding="utf-8") as file:
            content = yaml.load(file, loader)
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    except yaml.YAMLError as error:
        raise ScenarioError(f"{path}: {' '.join(str(error).split())}") from None
    try:
        return build(content)
    except ScenarioError as error:
        raise ScenarioError(f"{path}: {error}") from None


def build(content: Any) -> list[Pool]:
    """The pools of a scenario's content."""
    top = _keys(content, "scenario", "pools durations")
    descriptions = _list(top.get("pools"), "pools")
    if not descriptions:
        raise ScenarioError("pools: there is none")
    pools: list[Pool] = []
    try:
        for number, description in enumerate(descriptions, 1):
            pools.append(
                _pool(number, _keys(description, f"pools[{number - 1}]", POOL_KEYS), top.get("durations") or {})
            )
            if pools[-1].name in [p.name for p in pools[:-1]]:
                raise ScenarioError(f"two pools are called {pools[-1].name}")
    except BaseException:
        for pool in pools:
            pool.close()
        raise
    return pools


# -- reading values


def _keys(content: Any, where: str, known: str) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise ScenarioError(f"{where}: a mapping is wanted, not {content!r}")
    for key in content:
        if key not in known.split():
            raise ScenarioError(f"{where}: unknown key {key!r}, known: {', '.join(sorted(known.split()))}")
    return content


def _list(content: Any, where: str) -> list[Any]:
    if content is None:
        return []
    if not isinstance(content, list):
        raise ScenarioError(f"{where}: a list is wanted, not {content!r}")
    return content


def size(value: Any, where: str) -> int:
    """Bytes of a number or of `2GiB`, `512 MiB`."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    found = _SIZE.match(str(value).strip())
    if not found or isinstance(value, bool):
        raise ScenarioError(f"{where}: {value!r} is no size, write bytes or 512MiB, 20GiB")
    return int(float(found.group(1)) * _UNITS[(found.group(2) or "").upper()])


def _named(pool: Pool, cls: str, name: Any, where: str) -> Row:
    found = pool.db.rows(cls, name_label=name)
    if len(found) != 1:
        raise ScenarioError(f"{where}: {len(found)} {cls} named {name!r}")
    return found[0]


# -- pools


def _pool(number: int, wanted: dict[str, Any], durations: dict[str, float]) -> Pool:
    where = f"pools[{number - 1}]"
    if not wanted.get("name"):
        raise ScenarioError(f"{where}: name is missing")
    pool = Pool(str(wanted["name"]), password=str(wanted.get("password", PASSWORD)))
    pool.port = int(wanted.get("port", 0))
    pool.backends = wanted.get("backends") or {}
    pool.durations = {**durations, **(wanted.get("durations") or {})}
    for method in pool.durations:
        if method not in pool.schema.messages and method not in DURATIONS:
            raise ScenarioError(f"{where}.durations: no message {method}, and none of {', '.join(DURATIONS)}")
    try:
        with pool.lock:
            _fill(pool, number, wanted, where)
    except XapiError as error:
        pool.close()
        raise ScenarioError(f"{where}: {error}") from None
    except BaseException:
        pool.close()
        raise
    return pool


def _fill(pool: Pool, number: int, wanted: dict[str, Any], where: str) -> None:

    hosts = _list(wanted.get("hosts"), f"{where}.hosts") or [{"name": f"{pool.name}-{n}"} for n in (1, 2)]
    made = [_host(pool, number, at, each, f"{where}.hosts[{at}]") for at, each in enumerate(hosts)]
    row = build_pool(pool, pool.name)
    row.name_description = str(wanted.get("description", ""))
    row.tags = [str(t) for t in wanted.get("tags") or []]
    row.other_config = {**row.other_config, **_strings(wanted.get("other_config"))}
    build_sm(pool)
    for at, each in enumerate(_list(wanted.get("bonds"), f"{where}.bonds")):
        _bond(pool, _keys(each, f"{where}.bonds[{at}]", BOND_KEYS), f"{where}.bonds[{at}]")
    for at, each in enumerate(_list(wanted.get("networks"), f"{where}.networks")):
        _network(pool, _keys(each, f"{where}.networks[{at}]", NETWORK_KEYS), f"{where}.networks[{at}]")
    _storage(pool, made, wanted, where)
    _templates(pool, wanted.get("templates", "default"), f"{where}.templates")
    for at, each in enumerate(_list(wanted.get("vms"), f"{where}.vms")):
        with refreshing_once():
            _vms(pool, _keys(each, f"{where}.vms[{at}]", VM_KEYS), f"{where}.vms[{at}]")
    for at, each in enumerate(_list(wanted.get("users"), f"{where}.users")):
        _user(pool, _keys(each, f"{where}.users[{at}]", USER_KEYS), f"{where}.users[{at}]")


def _strings(content: Any) -> dict[str, str]:
    return {str(k): str(v) for k, v in (content or {}).items()}


def _user(pool: Pool, wanted: dict[str, Any], where: str) -> None:
    name, role = str(wanted.get("name", "")), wanted.get("role", "")
    if role and role not in ROLES:
        raise ScenarioError(f"{where}: unknown role {role!r}, known: {', '.join(ROLES)}")
    if not name or "password" not in wanted:
        raise ScenarioError(f"{where}: name and password are wanted")
    roles = [r.ref for r in pool.db.rows("role", name_label=role)]
    subject = pool.db.create(
        "subject", subject_identifier=f"u-{name}", other_config={"subject-name": name, "subject-upn": name}, roles=roles
    )
    for host in pool.db.rows("host"):
        host.external_auth_type = "AD"
        host.external_auth_service_name = "lab.test"
    pool.sessions.users[name] = User(name, str(wanted["password"]), str(role), subject.ref)


# -- hosts and networks


def _host(pool: Pool, number: int, at: int, content: Any, where: str) -> Row:

    wanted = _keys(content, where, HOST_KEYS)
    name = str(wanted.get("name") or f"{pool.name}-{at + 1}")
    address = str(wanted.get("address") or f"127.77.{number % 256}.{at + 1}")
    nics = wanted.get("nics", NICS)
    if isinstance(nics, int):
        nics = [{"device": f"eth{n}"} for n in range(nics)]
    entries = [_nic(number, at, n, nic, address, f"{where}.nics[{n}]") for n, nic in enumerate(_list(nics, where))]
    if entries and not any(e["management"] for e in entries):
        entries[0] = _managed(entries[0], address)
    sizes = {}
    if "cpus" in wanted:
        sizes["cpus"] = int(wanted["cpus"])
    if "memory" in wanted:
        sizes["memory"] = size(wanted["memory"], f"{where}.memory")
    host = build_host(pool, name, address, entries, **sizes)
    if host.uuid not in pool.hosts:
        pool.add_host(host, address)
    host.name_description = str(wanted.get("description", host.name_description))
    host.tags = [str(t) for t in wanted.get("tags") or []]
    host.other_config = {**host.other_config, **_strings(wanted.get("other_config"))}
    return host


def _nic(number: int, host: int, at: int, content: Any, address: str, where: str) -> dict[str, Any]:
    wanted = _keys({"device": content} if isinstance(content, str) else content, where, NIC_KEYS)
    entry = {
        "device": str(wanted.get("device") or f"eth{at}"),
        "MAC": str(wanted.get("mac") or f"0c:c4:7a:{number % 256:02x}:{host % 256:02x}:{at % 256:02x}"),
        "IP": str(wanted.get("ip") or ""),
        "netmask": str(wanted.get("netmask") or ("255.255.255.0" if wanted.get("ip") else "")),
        "gateway": str(wanted.get("gateway") or ""),
        "DNS": str(wanted.get("dns") or ""),
        "management": bool(wanted.get("management", False)),
        "speed": int(wanted.get("speed", 10000)),
        "carrier": bool(wanted.get("carrier", True)),
    }
    return _managed(entry, address) if entry["management"] else entry


def _managed(entry: dict[str, Any], address: str) -> dict[str, Any]:
    return {**entry, "management": True, "IP": entry["IP"] or address, "netmask": entry["netmask"] or "255.255.0.0"}


def _pifs(pool: Pool, device: str, where: str) -> list[Row]:
    found = [p for p in pool.db.rows("PIF", device=device) if p.VLAN == -1]
    if not found:
        raise ScenarioError(f"{where}: no host has a NIC {device!r}")
    return found


def _network(pool: Pool, wanted: dict[str, Any], where: str) -> None:

    network = build_network(
        pool,
        name_label=str(wanted.get("name", "")),
        name_description=str(wanted.get("description", "")),
        MTU=int(wanted.get("mtu", 1500)),
        tags=[str(t) for t in wanted.get("tags") or []],
        other_config=_strings(wanted.get("other_config")),
    )
    if "vlan" in wanted:
        ctx = pool.context()
        for pif in _pifs(pool, str(wanted.get("nic", "eth0")), where):
            ctx.call("VLAN.create", pif, int(wanted["vlan"]), network)
    elif "nic" in wanted:
        raise ScenarioError(f"{where}: nic is for a vlan; the network of a plain NIC exists already")


def _bond(pool: Pool, wanted: dict[str, Any], where: str) -> None:

    network = build_network(pool, name_label=str(wanted.get("network", "bond")))
    ctx = pool.context()
    by_host: dict[str, list[Row]] = {}
    for device in _list(wanted.get("nics"), f"{where}.nics"):
        for pif in _pifs(pool, str(device), where):
            by_host.setdefault(pif.host, []).append(pif)
    for members in by_host.values():
        ctx.call("Bond.create", network, members, "", str(wanted.get("mode", "balance-slb")), {})


# -- storage


def _storage(pool: Pool, hosts: list[Row], wanted: dict[str, Any], where: str) -> None:

    local = wanted.get("local_sr", "ext")
    if local not in ("ext", "lvm", "none", False):
        raise ScenarioError(f"{where}.local_sr: {local!r}, known: ext, lvm, none")
    if local in ("ext", "lvm"):
        for host in hosts:
            sr = build_sr(
                pool, host, local, {"device": "/dev/sda3"}, False,
                name_label="Local storage", content_type="user", physical_size=500 * GIB,
            )  # fmt: skip
            if host.suspend_image_sr == NULL:
                host.suspend_image_sr = sr
    shared = {"name": "NFS storage", "type": "nfs", "shared": True, "size": 2 << 40}
    shared["device_config"] = {"server": "nas.lab.test", "serverpath": f"/export/{pool.name}"}
    listed = _list(wanted["srs"], f"{where}.srs") if "srs" in wanted else [shared]
    default: Row | None = None
    for at, each in enumerate(listed):
        here = f"{where}.srs[{at}]"
        entry = _keys(each, here, SR_KEYS)
        sr = _sr(pool, entry, here)
        if entry.get("default") or (
            default is None and "default" not in entry and sr.shared and sr.content_type != "iso"
        ):
            default = sr
    if default is not None:
        pool.pool_row.default_SR = default
        pool.pool_row.suspend_image_SR = default
        pool.pool_row.crash_dump_SR = default


def _sr(pool: Pool, wanted: dict[str, Any], where: str) -> Row:

    kind = str(wanted.get("type", "nfs"))
    if not pool.db.rows("SM", type=kind):
        raise ScenarioError(
            f"{where}: unknown type {kind!r}, known: {', '.join(sorted(s.type for s in pool.db.rows('SM')))}"
        )
    shared = bool(wanted.get("shared", "host" not in wanted))
    host = _named(pool, "host", wanted["host"], where) if "host" in wanted else None
    sr = build_sr(
        pool,
        host,
        kind,
        _strings(wanted.get("device_config")),
        shared,
        name_label=str(wanted.get("name", kind)),
        name_description=str(wanted.get("description", "")),
        content_type=str(wanted.get("content_type", "iso" if kind == "iso" else "user")),
        tags=[str(t) for t in wanted.get("tags") or []],
        other_config=_strings(wanted.get("other_config")),
        physical_size=size(wanted.get("size", 100 * GIB if kind == "iso" else 1 << 40), f"{where}.size"),
    )
    for name in _list(wanted.get("isos"), f"{where}.isos"):
        build_vdi(pool, sr, 700 * MIB, name_label=str(name), location=str(name), read_only=True)
    refresh(sr)
    return sr


# -- templates and VMs


def _templates(pool: Pool, wanted: Any, where: str) -> None:
    if wanted not in ("default", "none"):
        raise ScenarioError(f"{where}: {wanted!r}, known: default, none (custom ones are VMs with is_a_template: true)")
    if wanted == "default":
        for record in default_templates():
            build_vm(pool, record)


def _vms(pool: Pool, wanted: dict[str, Any], where: str) -> None:

    base = _base_record(pool, wanted, where)
    host = _named(pool, "host", wanted["host"], where) if "host" in wanted else None
    nics = [
        _keys({"network": n} if isinstance(n, str) else n, f"{where}.nics", VIF_KEYS) for n in wanted.get("nics") or []
    ]
    networks = [_named(pool, "network", n.get("network"), f"{where}.nics") for n in nics]
    disks = [_keys(d, f"{where}.disks", DISK_KEYS) for d in _list(wanted.get("disks"), f"{where}.disks")]
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
        for snapshot in _list(wanted.get("snapshots"), f"{where}.snapshots"):
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
    template = _named(pool, "VM", wanted["template"], where) if "template" in wanted else None
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
    record["other_config"].update(_strings(wanted.get("other_config")))
    if "affinity" in wanted:
        record["affinity"] = _named(pool, "host", wanted["affinity"], where).ref
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
        return _named(pool, "SR", disk["sr"], where)
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
        vdi = _named(pool, "VDI", wanted["cd"], "cd").ref if wanted["cd"] else NULL
        build_vbd(pool, vm, VDI=vdi, type="CD", mode="RO", empty=vdi == NULL, userdevice="3")


def _vif(pool: Pool, vm: Row, at: int, nic: dict[str, Any], network: Row) -> None:

    fields = {"device": str(nic.get("device", at))}
    if nic.get("mac"):
        fields["MAC"] = str(nic["mac"])
    build_vif(pool, vm, network, **fields)


def _run(pool: Pool, vm: Row, host: Row, state: str) -> None:
    """Put a VM on a host as if it had been started there; its agent has reported already, if it has one."""
    vm_state.attach_devices(pool.context(), vm)
    vm_agent.booted(pool, vm)
    vm_state.settle(pool, vm, host, "Running" if state == "Suspended" else state)
    if state != "Paused" and vm_agent.has_tools(vm):
        vm_agent.report(pool, vm)
    if state == "Suspended":
        vm_suspend.save(pool.context(), vm)
