# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pool.join: a host of its own becomes a member of another pool, with its storage, NICs and halted VMs (xapi_pool.ml).

The call runs on the host that joins. It answers before the host's toolstack restarts as a member; from then on its own pool
is no more. Objects keep their uuids and get new references.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from .. import installer
from ..errors import XapiError
from ..registry import NULL, Context, message, refresh
from .host import agent_started
from .pbd import attach_pbd, build_pbd
from .pif_rules import nics

if TYPE_CHECKING:
    from ..db import Row
    from ..pool import HostRuntime, Pool

FUSE = 1.0  # simulated seconds between the answer and the restart
RESTART = 5.0  # scenario `durations`: pool.join:restart
_JOINING = threading.Lock()
_BLOCK = 64 * 1024


@message("pool.join")
def join(ctx: Context, master_address: str, username: str, password: str) -> None:
    _join(ctx, master_address, username, password, force=False)


@message("pool.join_force")
def join_force(ctx: Context, master_address: str, username: str, password: str) -> None:
    """Hosts need not have the same CPUs and software."""
    _join(ctx, master_address, username, password, force=True)


def _join(ctx: Context, address: str, username: str, password: str, *, force: bool) -> None:
    me = ctx.pool

    def work() -> None:
        with _JOINING:
            runtime, remote = _find(me, address)
            first, second = sorted((me, remote), key=lambda pool: pool.name)
            with first.lock, second.lock:
                if runtime.row != remote.master:
                    raise XapiError("HOST_IS_SLAVE", remote.runtime(remote.master).address)
                remote.sessions.authenticate(username, password)
                _check(me, remote, force=force)
                _move(me, remote)

    ctx.outside(work)


def _find(me: Pool, address: str) -> tuple[HostRuntime, Pool]:
    """Who listens at an address, in any pool of this simulator."""
    for pool in list(me.site.pools.values()) if me.site is not None else [me]:
        for runtime in pool.hosts.values():
            if runtime.address == address and runtime.reachable:
                return runtime, pool
    raise XapiError("JOINING_HOST_CONNECTION_FAILED")


# -- the checks, in xapi's order


def _check(me: Pool, remote: Pool, *, force: bool) -> None:
    for pool in (me, remote):
        if pool.pool_row.ha_enabled:
            raise XapiError("HA_IS_ENABLED")
    mine = me.db.rows("host")
    if me is remote:
        text = "Host is already part of a pool" if len(mine) > 1 else "Host cannot become slave of itself"
        raise XapiError("OPERATION_NOT_ALLOWED", text)
    if len(mine) > 1:
        raise XapiError("JOINING_HOST_CANNOT_BE_MASTER_OF_OTHER_HOSTS")
    vms = [vm for vm in me.db.rows("VM") if not vm.is_control_domain]
    if any(vm.power_state == "Running" for vm in vms):
        raise XapiError("JOINING_HOST_CANNOT_HAVE_RUNNING_VMS")
    if any(vm.current_operations for vm in vms):
        raise XapiError("JOINING_HOST_CANNOT_HAVE_VMS_WITH_CURRENT_OPERATIONS")
    _check_versions(mine[0], remote.master, force=force)
    if any(sr.shared and not sr.is_tools_sr for sr in me.db.rows("SR")):
        raise XapiError("JOINING_HOST_CANNOT_CONTAIN_SHARED_SRS")
    _check_networks(me, remote)
    for field in ("external_auth_type", "external_auth_service_name"):
        if getattr(mine[0], field) != getattr(remote.master, field):
            raise XapiError("POOL_JOINING_EXTERNAL_AUTH_MISMATCH")
    if mine[0].edition != remote.master.edition:
        raise XapiError("LICENSE_HOST_POOL_MISMATCH", "host edition differs")
    if mine[0].software_version.get("network_backend") != remote.master.software_version.get("network_backend"):
        raise XapiError("OPERATION_NOT_ALLOWED", "Network backends differ")


def _check_versions(mine: Row, master: Row, *, force: bool) -> None:
    ours, theirs = mine.software_version, master.software_version
    if any(ours.get(key) != theirs.get(key) for key in ("platform_version", "product_brand")):
        raise XapiError("HOSTS_NOT_COMPATIBLE")
    schemas = ours.get("db_schema"), theirs.get("db_schema")
    if schemas[0] != schemas[1]:
        raise XapiError("POOL_JOINING_HOST_MUST_HAVE_SAME_DB_SCHEMA", *schemas)
    versions = [f"{host.API_version_major}.{host.API_version_minor}" for host in (mine, master)]
    if versions[0] != versions[1]:
        raise XapiError("POOL_JOINING_HOST_MUST_HAVE_SAME_API_VERSION", *versions)
    if force:
        return
    if any(ours.get(key) != theirs.get(key) for key in ("build_number", "xapi_build", "xen", "linux")):
        raise XapiError("HOSTS_NOT_HOMOGENEOUS", "Software version differs")
    if mine.cpu_info.get("vendor") != master.cpu_info.get("vendor"):
        raise XapiError("HOSTS_NOT_HOMOGENEOUS", "CPUs differ")


def _check_networks(me: Pool, remote: Pool) -> None:
    if me.db.rows("Bond"):
        raise XapiError("POOL_JOINING_HOST_HAS_BONDS")
    if me.db.rows("tunnel"):
        raise XapiError("POOL_JOINING_HOST_HAS_TUNNELS")
    if me.db.rows("network_sriov"):
        raise XapiError("POOL_JOINING_HOST_HAS_NETWORK_SRIOVS")
    tags = [_management_vlan(pool) for pool in (me, remote)]
    if any(pif.VLAN >= 0 and not pif.management for pif in me.db.rows("PIF")):
        raise XapiError("POOL_JOINING_HOST_HAS_NON_MANAGEMENT_VLANS")
    if tags[0] != tags[1]:
        raise XapiError("POOL_JOINING_HOST_MANAGEMENT_VLAN_DOES_NOT_MATCH", *tags)


def _management_vlan(pool: Pool) -> int:
    return next((pif.VLAN for pif in pool.db.rows("PIF", host=pool.master) if pif.management), -1)


# -- what goes along


class _Mover:
    """Copies rows from one database to another: the same uuids, new references, references translated."""

    def __init__(self, source: Pool, target: Pool) -> None:
        self.source, self.target = source, target
        self.moved: dict[str, Row] = {}  # old reference -> new row
        self.known: dict[str, str] = {}  # old reference -> new reference

    def move(self, row: Row, **changed: Any) -> Row:
        relations = self.source.schema.relations
        fields = {
            name: self._translated(row.cls, name, value)
            for name, value in row.record().items()
            if relations.get((row.cls, name), ("", "", "one"))[2] == "one" and name not in changed
        }
        new = self.target.db.create(row.cls, **{**fields, **changed})
        self.moved[row.ref], self.known[row.ref] = new, new.ref
        return new

    def _translated(self, cls: str, name: str, value: Any) -> Any:
        """References of moved rows become the new ones, others NULL until `settle`."""
        if isinstance(value, str) and value.startswith("OpaqueRef:"):
            return self.known.get(value, NULL)
        if isinstance(value, list):
            found = [self.known.get(v, v) for v in value]
            return [v for v in found if not (isinstance(v, str) and v.startswith("OpaqueRef:")) or v in self.known.values()]
        return {} if name in ("current_operations", "blobs") else value

    def settle(self) -> None:
        """References that could not be translated when their row was moved."""
        for old, new in self.moved.items():
            row = self.source.db.row(new.cls, old)
            for name, value in row.record().items():
                one = self.source.schema.relations.get((row.cls, name), ("", "", "one"))[2] == "one"
                if one and isinstance(value, str) and value in self.known and getattr(new, name) == NULL:
                    setattr(new, name, self.known[value])


def _move(me: Pool, remote: Pool) -> None:
    mover, db = _Mover(me, remote), me.db
    old = me.master
    runtime = me.runtime(old)
    mover.move(db.row("host_metrics", old.metrics), live=False)
    host = mover.move(old, enabled=False)
    for cpu in db.rows("host_cpu"):
        mover.move(cpu)
    for secret in db.rows("secret"):
        mover.move(secret)
    _move_storage(me, remote, mover)
    _move_networks(me, remote, mover, host)
    for vm in db.rows("VM"):
        if vm.is_default_template:
            continue
        metrics = db.maybe("VM_metrics", vm.metrics)
        if metrics is not None:
            mover.move(metrics)
        mover.move(vm)
    for cls in ("VBD", "VIF"):
        for row in db.rows(cls):
            if row.VM in mover.known:
                mover.move(row)
    mover.settle()
    nics(remote)[host.uuid] = nics(me)[old.uuid]
    for certificate in db.rows("Certificate", host=old):
        mover.move(certificate)
    new = remote.enlist(host, runtime.address)
    new.certificate, new.private_key = runtime.certificate, runtime.private_key
    new.alive = False
    for row in mover.moved.values():
        refresh(row)
    refresh(remote.pool_row)
    me.clock.later(FUSE, lambda: _leave(me, runtime))
    remote.clock.later(FUSE + remote.durations.get("pool.join:restart", RESTART), lambda: _appear(remote, host))


def _move_storage(me: Pool, remote: Pool, mover: _Mover) -> None:
    for sr in me.db.rows("SR"):
        if sr.shared:
            mover.known[sr.ref] = next((r.ref for r in remote.db.rows("SR", is_tools_sr=True)), NULL)
        else:
            mover.move(sr)
    for pbd in me.db.rows("PBD"):
        if pbd.SR in mover.moved:
            mover.move(pbd, currently_attached=False)
    for vdi in me.db.rows("VDI"):
        if vdi.SR in mover.moved:
            mover.move(vdi)
            if vdi.uuid in me.disks:
                remote.disks.create(vdi.uuid, vdi.virtual_size)
                for block in me.disks.blocks(vdi.uuid):
                    length = min(_BLOCK, vdi.virtual_size - block * _BLOCK)
                    remote.disks.write(vdi.uuid, block * _BLOCK, me.disks.read(vdi.uuid, block * _BLOCK, length))


def _move_networks(me: Pool, remote: Pool, mover: _Mover, host: Row) -> None:
    """Those of NICs, and the one for internal management, are joined by bridge name; others become new internal ones."""
    from .network import INTERNAL_MANAGEMENT, free_bridge

    for network in me.db.rows("network"):
        pifs = [me.db.row("PIF", ref) for ref in network.PIFs]
        joined = INTERNAL_MANAGEMENT in network.other_config or any(pif.physical for pif in pifs)
        same = remote.db.rows("network", bridge=network.bridge) if joined else []
        if same:
            mover.known[network.ref] = same[0].ref
        else:
            mover.move(network, bridge=network.bridge if joined else free_bridge(remote))
    for pif in me.db.rows("PIF"):
        if pif.physical:
            mover.move(me.db.row("PIF_metrics", pif.metrics))
            mover.move(pif)
    for pci in me.db.rows("PCI"):
        mover.move(pci)


# -- the restart


def _leave(me: Pool, runtime: HostRuntime) -> None:
    me.sessions.close_all()
    runtime.alive = False
    runtime.hang_up()
    if me.site is not None:
        me.site.retire(me)


def _appear(pool: Pool, host: Row) -> None:
    """The host's toolstack is up as a member: it gets the pool's bonds, VLANs and shared SRs, and enables itself."""
    if not host.exists:
        return
    runtime = pool.runtime(host)
    runtime.alive = True
    if pool.site is not None:
        pool.site.open(pool, runtime)
    pool.set_live(host, True)
    ctx = pool.context()
    _like_the_coordinator(ctx, host)
    db = pool.db
    for sr in db.rows("SR"):
        pbds = {pbd.host: pbd for pbd in db.rows("PBD", SR=sr)}
        if sr.shared and pbds and host.ref not in pbds:
            template = pbds.get(pool.master.ref) or next(iter(pbds.values()))
            build_pbd(db, host, sr, template.device_config)
    for pbd in db.rows("PBD", host=host):
        try:
            attach_pbd(ctx, pbd)
        except XapiError as error:
            pool.log(f"PBD {pbd.uuid} stays unplugged: {error}")
    host.enabled = True
    agent_started(pool, host)
    refresh(host)
    pool.lock.notify_all()


def _like_the_coordinator(ctx: Context, host: Row) -> None:
    """Bonds and VLANs as the coordinator has them, as far as the NICs are there (sync_networking.ml)."""
    db, master = ctx.db, ctx.pool.master
    for bond in db.rows("Bond"):
        pif = db.row("PIF", bond.master)
        if pif.host != master.ref:
            continue
        devices = {db.row("PIF", ref).device for ref in bond.slaves}
        mine = [p for p in db.rows("PIF", host=host) if p.device in devices and p.VLAN == -1 and p.physical]
        if mine:
            _best_effort(ctx, "Bond.create", pif.network, mine, "", bond.mode, bond.properties)
    for vlan in db.rows("VLAN"):
        tagged, untagged = db.row("PIF", vlan.tagged_PIF), db.row("PIF", vlan.untagged_PIF)
        if tagged.host != master.ref:
            continue
        below = [p for p in db.rows("PIF", host=host) if p.device == tagged.device and p.VLAN == -1]
        if below:
            _best_effort(ctx, "VLAN.create", below[0], vlan.tag, untagged.network)


def _best_effort(ctx: Context, method: str, *args: Any) -> None:
    try:
        ctx.call(method, *args)
    except XapiError as error:
        ctx.pool.log(f"{method}: {error}")


# -- leaving


def reborn(pool: Pool, host: Row, seconds: float) -> None:
    """An ejected host boots in a while as a pool of its own, reset: the same NICs and uuid, empty local storage.

    Or into the installer, if a boot server has that for it.
    """
    if pool.site is None or installer.takes(pool, host, seconds):
        return
    runtime, password = pool.runtime(host), pool.sessions.users["root"].password
    described = installer.machine(pool, host)
    cards = {card["device"]: card for card in described["nics"]}
    management = next((pif for pif in pool.db.rows("PIF", host=host, physical=True) if pif.management), None)
    if management is not None:
        cards[management.device].update(management=True, ip=management.IP, netmask=management.netmask)
    else:
        described["nics"][0].update(management=True, ip=runtime.address)
    described["uuid"] = host.uuid

    def boot() -> None:
        runtime.hang_up()
        installer.rise(pool, described, password)

    pool.clock.later(seconds, boot)
