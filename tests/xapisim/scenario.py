# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pools from a description: what README.md documents, checked key by key.

Records are made by the builders of the behaviours, not by calls, so that ten thousand VMs load in seconds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .behaviour.host import build_host
from .behaviour.network import build_network
from .behaviour.pci import build_pci
from .behaviour.pool import build_pool
from .behaviour.sm import build_sm
from .behaviour.sr import build_sr
from .behaviour.vdi import build_vdi
from .db import Row
from .errors import XapiError
from .pool import Pool
from .registry import refresh, refreshing_once
from .scenario_values import GIB, MIB, ScenarioError, keys, listed, named, size, strings
from .scenario_vms import VM_KEYS, add_templates, add_vms
from .schema import ROLES
from .sessions import User
from .types import NULL

PASSWORD = "simulator"
NICS = 4
# what takes time beside messages: a guest's agent after boot, memory that migrates, data that is copied, a host's end and boot, a
# toolstack that restarts as a member's
DURATIONS = (
    "guest_agent", "VM.pool_migrate:data", "VDI.copy:data", "host.reboot:delay", "host.reboot:boot", "pool.join:restart",
)  # fmt: skip
POOL_KEYS = (
    "name description password port users hosts local_sr networks bonds srs templates vms durations backends"
    " other_config tags"
)
HOST_KEYS = "name address nics cpus memory tags description other_config pcis uuid"
PCI_KEYS = "pci_id class vendor device"
NIC_KEYS = "device mac ip netmask gateway dns management speed carrier"
NETWORK_KEYS = "name description nic vlan mtu tags other_config"
BOND_KEYS = "network nics mode"
SR_KEYS = "name description type shared host size device_config content_type default isos tags other_config"
USER_KEYS = "name password role"


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
    top = keys(content, "scenario", "pools durations")
    descriptions = listed(top.get("pools"), "pools")
    if not descriptions:
        raise ScenarioError("pools: there is none")
    pools: list[Pool] = []
    try:
        for number, description in enumerate(descriptions, 1):
            pools.append(
                _pool(number, keys(description, f"pools[{number - 1}]", POOL_KEYS), top.get("durations") or {})
            )
            if pools[-1].name in [p.name for p in pools[:-1]]:
                raise ScenarioError(f"two pools are called {pools[-1].name}")
    except BaseException:
        for pool in pools:
            pool.close()
        raise
    return pools


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

    hosts = listed(wanted.get("hosts"), f"{where}.hosts") or [{"name": f"{pool.name}-{n}"} for n in (1, 2)]
    made = [_host(pool, number, at, each, f"{where}.hosts[{at}]") for at, each in enumerate(hosts)]
    row = build_pool(pool, pool.name)
    row.name_description = str(wanted.get("description", ""))
    row.tags = [str(t) for t in wanted.get("tags") or []]
    row.other_config = {**row.other_config, **strings(wanted.get("other_config"))}
    build_sm(pool)
    for at, each in enumerate(listed(wanted.get("bonds"), f"{where}.bonds")):
        _bond(pool, keys(each, f"{where}.bonds[{at}]", BOND_KEYS), f"{where}.bonds[{at}]")
    for at, each in enumerate(listed(wanted.get("networks"), f"{where}.networks")):
        _network(pool, keys(each, f"{where}.networks[{at}]", NETWORK_KEYS), f"{where}.networks[{at}]")
    _storage(pool, made, wanted, where)
    add_templates(pool, wanted.get("templates", "default"), f"{where}.templates")
    for at, each in enumerate(listed(wanted.get("vms"), f"{where}.vms")):
        with refreshing_once():
            add_vms(pool, keys(each, f"{where}.vms[{at}]", VM_KEYS), f"{where}.vms[{at}]")
    for at, each in enumerate(listed(wanted.get("users"), f"{where}.users")):
        _user(pool, keys(each, f"{where}.users[{at}]", USER_KEYS), f"{where}.users[{at}]")


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

    wanted = keys(content, where, HOST_KEYS)
    name = str(wanted.get("name") or f"{pool.name}-{at + 1}")
    address = str(wanted.get("address") or f"127.77.{number % 256}.{at + 1}")
    nics = wanted.get("nics", NICS)
    if isinstance(nics, int):
        nics = [{"device": f"eth{n}"} for n in range(nics)]
    entries = [_nic(number, at, n, nic, address, f"{where}.nics[{n}]") for n, nic in enumerate(listed(nics, where))]
    if entries and not any(e["management"] for e in entries):
        entries[0] = _managed(entries[0], address)
    sizes: dict[str, Any] = {"uuid": str(wanted.get("uuid", ""))}
    if "cpus" in wanted:
        sizes["cpus"] = int(wanted["cpus"])
    if "memory" in wanted:
        sizes["memory"] = size(wanted["memory"], f"{where}.memory")
    host = build_host(pool, name, address, entries, **sizes)
    if host.uuid not in pool.hosts:
        pool.add_host(host, address)
    host.name_description = str(wanted.get("description", host.name_description))
    host.tags = [str(t) for t in wanted.get("tags") or []]
    host.other_config = {**host.other_config, **strings(wanted.get("other_config"))}
    for n, each in enumerate(listed(wanted.get("pcis"), f"{where}.pcis")):
        pci = keys(each, f"{where}.pcis[{n}]", PCI_KEYS)
        build_pci(
            pool.db, host, str(pci.get("pci_id", f"0000:0{n + 4}:00.0")), class_name=str(pci.get("class", "Controller")),
            vendor=str(pci.get("vendor", "xapisim")), device=str(pci.get("device", f"Card {n}")),
        )  # fmt: skip
    return host


def _nic(number: int, host: int, at: int, content: Any, address: str, where: str) -> dict[str, Any]:
    wanted = keys({"device": content} if isinstance(content, str) else content, where, NIC_KEYS)
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
        other_config=strings(wanted.get("other_config")),
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
    for device in listed(wanted.get("nics"), f"{where}.nics"):
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
    srs = listed(wanted["srs"], f"{where}.srs") if "srs" in wanted else [shared]
    default: Row | None = None
    for at, each in enumerate(srs):
        here = f"{where}.srs[{at}]"
        entry = keys(each, here, SR_KEYS)
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
    host = named(pool, "host", wanted["host"], where) if "host" in wanted else None
    sr = build_sr(
        pool,
        host,
        kind,
        strings(wanted.get("device_config")),
        shared,
        name_label=str(wanted.get("name", kind)),
        name_description=str(wanted.get("description", "")),
        content_type=str(wanted.get("content_type", "iso" if kind == "iso" else "user")),
        tags=[str(t) for t in wanted.get("tags") or []],
        other_config=strings(wanted.get("other_config")),
        physical_size=size(wanted.get("size", 100 * GIB if kind == "iso" else 1 << 40), f"{where}.size"),
    )
    for name in listed(wanted.get("isos"), f"{where}.isos"):
        build_vdi(pool, sr, 700 * MIB, name_label=str(name), location=str(name), read_only=True)
    refresh(sr)
    return sr
