# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the options of module tunnel to a change set."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet, ignore
from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.network.pifs import (
    Picture,
    dead_hosts,
    hosts_text,
    is_member,
    read_picture,
)
from ansible_collections.nobloat.xen.plugins.module_utils.network.plan import (
    refuse_running_guests,
)
from ansible_collections.nobloat.xen.plugins.module_utils.network.steps import put_back, refuse_fixed, step_network
from ansible_collections.nobloat.xen.plugins.module_utils.network.vlans import (
    Record,
    choose_hosts,
    describe,
    pif_kind,
)
from ansible_collections.nobloat.xen.plugins.module_utils.xapi import records
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import XapiError
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.keys import Keys
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.records import NULL

# What the SDN controller of Xen Orchestra reads of a network when it connects to the pool.
CONTROLLER = "xo:sdn-controller:"
VNIS = range(1, 1 << 24)  # RFC 7348; 0 would do, but is what switches take for none


def plan_tunnel(module: XapiModule) -> ChangeSet:
    """The change set of the tunnels of one network, one tunnel a host."""
    params, xapi = module.params, module.xapi
    if params["vni"] is not None and params["vni"] not in VNIS:
        raise ValueError(f"vni {params['vni']} is out of range; it goes from {VNIS[0]} to {VNIS[-1]}.")
    picture, networks = read_picture(xapi), records.records(xapi, "network")
    network = _find(networks, params["name"])
    changes = ChangeSet(f"tunnel {params['name']}", before=tunnel_view(picture, networks, network))
    own = _tunnels(picture, network)
    wanted = choose_hosts(picture.hosts, params["hosts"])
    if params["state"] == "absent":
        _remove(module, changes, picture, network, [own[host] for host in wanted if host in own])
        left = {host: tunnel for host, tunnel in own.items() if host not in wanted}
        _draw(changes, picture, networks, left, {})
        if network and not left:
            _forget_controller(module, changes, network)
        return changes
    _converge(module, changes, picture, networks, network, own, wanted)
    return changes


def _find(networks: Mapping[str, Record], name: str) -> Record | None:
    found = [each for each in networks.values() if name in (each["uuid"], each["name_label"])]
    found = [each for each in found if each["uuid"] == name] or found
    if len(found) > 1:
        raise ValueError(f"Several networks have the name {name}: {', '.join(each['uuid'] for each in found)}. Give a uuid.")
    return found[0] if found else None


def _tunnels(picture: Picture, network: Record | None) -> dict[str, Record]:
    """{host: tunnel} on a network. Raises ValueError where the network belongs to something else."""
    found = {}
    for pif in picture.pifs.values():
        if not network or pif["network"] != network["ref"]:
            continue
        tunnel = next((picture.tunnels[ref] for ref in pif["tunnel_access_PIF_of"] if ref in picture.tunnels), None)
        if tunnel is None:
            raise ValueError(
                f"This is the network of {describe(pif)} on {picture.name(pif['host'])}; a tunnel needs a network of its own."
            )
        found[pif["host"]] = tunnel
    return found


def tunnel_view(picture: Picture, networks: Mapping[str, Record], network: Record | None) -> dict[str, Any]:
    """A network of tunnels in the terms of the options; {} if there is none."""
    if not network:
        return {}
    vni = network["other_config"].get(f"{CONTROLLER}vni", "")
    return {
        "name": network["name_label"],
        "uuid": network["uuid"],
        "vni": int(vni) if vni.isdigit() else None,
        "hosts": {
            picture.name(host): _shown(tunnel["protocol"], picture.pifs.get(tunnel["transport_PIF"]), networks)
            for host, tunnel in sorted(_tunnels(picture, network).items(), key=lambda item: picture.name(item[0]))
        },
    }


def _shown(protocol: str, transport: Record | None, networks: Mapping[str, Record]) -> dict[str, Any]:
    network = networks.get(transport["network"]) if transport else None
    return {"protocol": protocol, "transport": network["name_label"] if network else None}


def _converge(
    module: XapiModule, changes: ChangeSet, picture: Picture, networks: Mapping[str, Record], network: Record | None,
    own: dict[str, Record], wanted: list[str],
) -> None:
    params = module.params
    create: dict[str, tuple[Record, str]] = {}
    replace = []
    for host in wanted:
        there = own.get(host)
        protocol = params["protocol"] or (there["protocol"] if there else "gre")
        transport = _transport(picture, networks, host, params["transport"]) if params["transport"] else None
        if there and (there["protocol"], there["transport_PIF"]) == (
            protocol, transport["ref"] if transport else there["transport_PIF"]
        ):
            continue
        if there:
            replace.append(there)
            transport = transport or picture.pifs[there["transport_PIF"]]
        if transport is None:
            raise ValueError("Say over which network the tunnels go: transport.")
        _check_transport(picture, transport)
        create[host] = (transport, protocol)
    surplus = [tunnel for host, tunnel in own.items() if host not in wanted] if params["purge"] else []
    gone = replace + surplus
    dead = dead_hosts(module.xapi, picture.hosts, {*create, *(_host(picture, tunnel) for tunnel in gone)})
    if dead:
        module.warn(f"{hosts_text(picture.hosts, dead)} is not alive: its tunnel is not changed. Run again when it is back.")
        create = {host: each for host, each in create.items() if host not in dead}
        gone = [tunnel for tunnel in gone if _host(picture, tunnel) not in dead]
        replace = [tunnel for tunnel in replace if _host(picture, tunnel) not in dead]
    if replace and not params["allow_recreate"]:
        raise ValueError(
            f"{changes.title} has another protocol or transport on {hosts_text(picture.hosts, (_host(picture, t) for t in replace))}. "
            "The tunnels have to be destroyed first: allow it with allow_recreate."
        )
    if create:
        _check_backend(picture)
        changes.making.add(f"network {network['uuid'] if network else params['name']}")
    made = {"ref": network["ref"], "uuid": network["uuid"]} if network else {}
    if not network:
        step_network(module, changes, made)
        changes.after["vni"] = None
    _remove(module, changes, picture, network, gone)
    for host, (transport, protocol) in create.items():
        _step_create(module, changes, picture, host, made, transport, protocol)
    kept = {host: tunnel for host, tunnel in own.items() if tunnel not in gone}
    _draw(changes, picture, networks, kept, create)
    transports = [each[0] for each in create.values()] or [picture.pifs[tunnel["transport_PIF"]] for tunnel in own.values()]
    if params["vni"] is not None and transports:
        _plan_controller(module, changes, network, made, transports[0], next(iter(changes.after["hosts"].values()))["protocol"])


def _draw(
    changes: ChangeSet, picture: Picture, networks: Mapping[str, Record], kept: Mapping[str, Record],
    create: Mapping[str, tuple[Record, str]],
) -> None:
    if not changes.steps:
        return
    hosts = {
        picture.name(host): _shown(tunnel["protocol"], picture.pifs.get(tunnel["transport_PIF"]), networks)
        for host, tunnel in kept.items()
    }
    hosts.update({picture.name(host): _shown(protocol, pif, networks) for host, (pif, protocol) in create.items()})
    changes.after["hosts"] = dict(sorted(hosts.items()))


def _host(picture: Picture, tunnel: Record) -> str:
    return str(picture.pifs[tunnel["access_PIF"]]["host"])


def _transport(picture: Picture, networks: Mapping[str, Record], host: str, name: str) -> Record:
    """The PIF of a host that is called so, by its network or its device. Raises ValueError."""
    for pif in picture.on(host):
        network = networks.get(pif["network"], {})
        if name in (network.get("name_label"), network.get("uuid")) or (pif["device"] == name and pif["VLAN"] == -1):
            return pif
    raise ValueError(f"Host {picture.name(host)} has no interface on {name} for the tunnel to go over.")


def _check_transport(picture: Picture, transport: Record) -> None:
    """Refuse what XAPI would refuse, partly after it has made the PIF of the tunnel (more facts, 14)."""
    what = f"{describe(transport)} of {picture.name(transport['host'])}"
    if transport["ip_configuration_mode"] == "None":
        raise ValueError(f"{what} has no address, which a tunnel needs. Give it one first (nobloat.xen.pif).")
    if is_member(transport):
        raise ValueError(f"{what} is a member of a bond; name the bond instead.")
    if pif_kind(transport) == "tunnel":
        raise ValueError(f"{what} is a tunnel itself.")


def _check_backend(picture: Picture) -> None:
    others = [ref for ref, host in picture.hosts.items() if host["software_version"].get("network_backend") != "openvswitch"]
    if others:
        raise ValueError(f"Tunnels need Open vSwitch on all hosts; {hosts_text(picture.hosts, others)} has none.")


def _remove(module: XapiModule, changes: ChangeSet, picture: Picture, network: Record | None, gone: list[Record]) -> None:
    if not network or not gone:
        return
    where = {_host(picture, tunnel) for tunnel in gone}
    refuse_running_guests(module.xapi, changes.title, network["ref"], picture.hosts, where)
    refuse_fixed(changes.title, (picture.pifs[tunnel["access_PIF"]] for tunnel in gone), picture.hosts)
    call = module.xapi.call

    def again(tunnel: Record) -> None:
        made = call("tunnel.create", tunnel["transport_PIF"], network["ref"], tunnel["protocol"])
        put_back(module.xapi, call("tunnel.get_access_PIF", made), picture.pifs[tunnel["access_PIF"]])

    for tunnel in gone:
        changes.step(f"destroy the tunnel on {picture.name(_host(picture, tunnel))}", _destroyer(module, tunnel["ref"]),
                     undo=partial(again, tunnel))


def _destroyer(module: XapiModule, ref: str) -> Callable[[], None]:
    return lambda: ignore(module.xapi.call("tunnel.destroy", ref))


def _step_create(
    module: XapiModule, changes: ChangeSet, picture: Picture, host: str, network: dict[str, str], transport: Record, protocol: str
) -> None:
    call, made = module.xapi.call, []

    def create() -> None:
        try:
            made.append(call("tunnel.create", transport["ref"], network["ref"], protocol))
        except XapiError:
            _sweep(module, host, network["ref"])
            raise

    changes.step(
        f"create a tunnel by {protocol} over {describe(transport)} of {picture.name(host)}", create,
        undo=lambda: call("tunnel.destroy", made[0]),
    )


def _sweep(module: XapiModule, host: str, network: str) -> None:
    """Destroy what a tunnel.create that failed has left on the network (more facts, 14)."""
    where = f'field "network"="{network}" and field "host"="{host}"'
    for pif in records.records(module.xapi, "PIF", where).values():
        for tunnel in pif["tunnel_access_PIF_of"]:
            if tunnel != NULL:
                module.xapi.call("tunnel.destroy", tunnel)


def _forget_controller(module: XapiModule, changes: ChangeSet, network: Record) -> None:
    """A controller would make the tunnels anew."""
    live = network["other_config"]
    rest = {key: value for key, value in live.items() if not key.startswith(CONTROLLER)}
    if rest != live:
        keys = Keys(module.xapi.call, "network", "other_config", network["ref"], live)
        changes.after["vni"] = None
        changes.step(f"tell the SDN controller of {changes.title}", partial(keys, rest), undo=partial(keys, live))


def _plan_controller(
    module: XapiModule, changes: ChangeSet, network: Record | None, made: dict[str, str], transport: Record, protocol: str
) -> None:
    """Say in the network what the SDN controller of Xen Orchestra has to know to connect its tunnels."""
    live = network["other_config"] if network else {}
    known = {
        "encapsulation": protocol, "pif-device": transport["device"], "vlan": str(transport["VLAN"]),
        "vni": str(module.params["vni"]), "encrypted": live.get(f"{CONTROLLER}encrypted", "false"),
    }
    content = {f"{CONTROLLER}{key}": value for key, value in known.items()}
    uuid = f"{CONTROLLER}private-network-uuid"
    if uuid in live and all(live.get(key) == value for key, value in content.items()):
        return

    keys = Keys(module.xapi.call, "network", "other_config", lambda: made["ref"], live)

    def tell() -> None:
        content.setdefault(uuid, live.get(uuid, made["uuid"]))
        keys({**live, **content})

    changes.after["vni"] = module.params["vni"]
    changes.step(f"tell the SDN controller of {changes.title}", tell, undo=partial(keys, live))
