#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: guest_guard
short_description: Prove that a mirrored guest runs nowhere, before it is started
version_added: 1.0.0
description:
  - Decides whether a guest whose disks are mirrored over two nodes may be started, and from which halves. It fails with the
    reasons if it may not.
  - It takes what all nodes say (M(nobloat.xen.guest_lease)), and asks the pool, and other pools, for the guest by name and uuid.
  - It fails closed. A node or pool that does not answer may be running the guest, unless it is known to be off. A pool that does
    answer, but cannot be asked, is not off, whatever O(assume_dead) says. A half that may be older than one that cannot be
    looked at is not used.
  - It changes nothing. Role C(nobloat.xen.mirror_guard) asks the nodes, takes the lease, and asks this module before and after.
author:
  - nobloat.xen contributors (@nobloat)
options:
  name:
    description:
      - Name of the guest. One of O(name) and O(guests) is needed.
    type: str
  guests:
    description:
      - Several guests, each with its name, and with what is otherwise than O(uuid), O(legs), O(host), O(start_from) and O(order) say.
        Nodes and pools are asked once for all of them. The module fails if one of them must not be started, and returns what is to be
        done with the others.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the guest.
        type: str
        required: true
      uuid:
        description: As O(uuid).
        type: str
      legs:
        description: As O(legs).
        type: list
        elements: dict
        suboptions:
          disk:
            description: Name of the disk.
            type: str
            required: true
          name:
            description: Name of the leg.
            type: str
            required: true
          node:
            description: Node that it lies on.
            type: str
            required: true
          path:
            description: Its path on every node.
            type: path
            required: true
      host:
        description: As O(host).
        type: str
      start_from:
        description: As O(start_from).
        type: str
      order:
        description: As O(order).
        type: int
  uuid:
    description:
      - Uuid of the guest. If omitted, the one that its legs are tagged with, or else that of the guest with this name on the pool;
        there must not be two.
      - Where legs have such a tag, guests of the same name are other guests, and legs with the tag of another guest are not used.
    type: str
  legs:
    description:
      - The legs of the guest's disks on the nodes that have answered. Others are known from the disks that the guest has in the
        pool, by the path of their VDI, V(/dev/mirror/NODE/LEG).
    type: list
    elements: dict
    default: []
    suboptions:
      disk:
        description: Name of the disk.
        type: str
        required: true
      name:
        description: Name of the leg, that is, of its logical volume.
        type: str
        required: true
      node:
        description: Node that it lies on.
        type: str
        required: true
      path:
        description: Its path on every node.
        type: path
        required: true
  nodes:
    description:
      - What M(nobloat.xen.guest_lease) returned on each node that could run the guest, by the node's name; with or without its option
        C(guests). A result without C(evidence), as that of a node that was unreachable, is no answer.
    type: dict
    required: true
  hosts:
    description:
      - What XAPI calls the nodes, by the node's name, where it is another name.
    type: dict
    default: {}
  host:
    description:
      - Node that the guest shall start on. If omitted, it is not checked.
    type: str
  pool:
    description:
      - Name of the pool that O(hostname) leads to, for messages.
    type: str
    default: pool
  pools:
    description:
      - Other pools, which may have a guest of this name or uuid.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name, for messages and for O(assume_dead).
        type: str
        required: true
      hostname:
        description: As O(hostname).
        type: str
        required: true
      username:
        description: As O(username).
        type: str
        default: root
      password:
        description: As O(password).
        type: str
        required: true
      validate_certs:
        description: As O(validate_certs).
        type: bool
        default: true
      ca_path:
        description: As O(ca_path).
        type: path
  fenced:
    description:
      - Nodes that a fencing device has switched off.
    type: list
    elements: str
    default: []
  assume_dead:
    description:
      - Nodes, hosts and pools that a human knows to be off. A host of another pool is written as V(POOL/HOST). One that shows a sign
        of life is not believed to be. Such a sign is whoever takes a connection where XAPI listens, whatever comes of it, as an
        untrusted certificate; or answers by SSH.
    type: list
    elements: str
    default: []
  owner:
    description:
      - Owner of the lease that was taken, or will be.
    type: str
    default: ""
  generation:
    description:
      - Generation of the lease that O(owner) has taken; every node with a leg has to have it. If omitted, none was taken yet, and
        nobody else may be starting the guest. With O(guests), what O(taken) says counts.
    type: int
    default: 0
  taken:
    description:
      - For O(guests), what was taken of RV(leases), in the same form. In check mode nothing was.
    type: dict
    default: {}
  lost:
    description:
      - For O(guests), why the lease of a guest was not to be had on one of its nodes, by the guest's name. It must not be started then.
    type: dict
    default: {}
  order:
    description:
      - Guests are started in waves, those of the lowest order first.
    type: int
    default: 0
  lease_time:
    description:
      - Seconds for which the lease of another owner who is starting the guest is respected.
    type: int
    default: 120
  start_from:
    description:
      - Node whose halves are the right ones, where both went on without the other. With O(force=true), it may also be that of
        the older ones.
    type: str
  force:
    description:
      - Start from data that may be old, or from one of two halves that both went on alone. What only the other half has is lost.
      - It does not help against a guest that runs, or may run, somewhere.
    type: bool
    default: false
  overwrite:
    description:
      - The guest is not going to be started, but its data replaced as a whole. Only that it runs nowhere is asked then; what is on its
        legs is told, and no reason against it.
    type: bool
    default: false
extends_documentation_fragment:
  - nobloat.xen.xapi
  - nobloat.xen.attributes.info
seealso:
  - module: nobloat.xen.guest_lease
"""

EXAMPLES = r"""
- name: What do the nodes know?
  nobloat.xen.guest_lease:
    name: web1
    legs: [web1-data]
  delegate_to: "{{ item }}"
  ignore_unreachable: true
  loop: [node1, node2]
  register: known

- name: May the guest be started on node2, as node1 is off?
  nobloat.xen.guest_guard:
    name: web1
    legs:
      - {disk: data, name: web1-data, node: node1, path: /dev/mirror/node1/web1-data}
      - {disk: data, name: web1-data, node: node2, path: /dev/mirror/node2/web1-data}
    nodes: "{{ dict(['node1', 'node2'] | zip(known.results)) }}"
    host: node2
    assume_dead: [node1]
  register: web1

- name: May several guests be started?
  nobloat.xen.guest_guard:
    guests:
      - {name: web1, host: node2, legs: "{{ legs_of_web1 }}"}
      - {name: web2, host: node2, legs: "{{ legs_of_web2 }}"}
    nodes: "{{ dict(['node1', 'node2'] | zip(known.results)) }}"
    assume_dead: [node1]
    owner: operator/controller1/7d0c2f3b
"""

RETURN = r"""
guests:
  description: For each guest C(name), C(failed) (it must not be started), C(msg) (why) and RV(guard).
  returned: if O(guests) was given, unless the pool could not be asked
  type: list
  elements: dict
  sample: [{name: web1, failed: true, msg: "web1 must not be started. node1 does not answer, ..."}]
leases:
  description: Of the guests that may be started, what option C(guests) of M(nobloat.xen.guest_lease) is to be on each node; to take their
    leases, and once they are O(taken), to mark them as started or to give them back.
  returned: as RV(guests)
  type: dict
  sample: {node2: [{name: web1, legs: [web1-data], uuid: 8d7ac6a3-3b2c-4d55-8d4f-6a6b1a7c3f10, seen: 5, generation: 6, without: [node1],
    synced: true, host: node2}]}
start:
  description: How the guests that may be started are started.
  returned: as RV(guests)
  type: dict
  contains:
    reset:
      description: Guests that the pool has to be told about, as option C(vms) of M(nobloat.xen.vm_power). See RV(guard.reset).
      type: list
      elements: dict
      sample: [{name: 8d7ac6a3-3b2c-4d55-8d4f-6a6b1a7c3f10}]
    attach:
      description: Disks that they are given back, each with C(vm), and as in RV(guard.attach).
      type: list
      elements: dict
      sample: []
    detach:
      description: Disks that are taken from them, each with C(vm), and as in RV(guard.detach).
      type: list
      elements: dict
      sample: []
    waves:
      description: Guests by O(order), as option C(vms) of M(nobloat.xen.vm_power).
      type: list
      elements: list
      sample: [[{name: 8d7ac6a3-3b2c-4d55-8d4f-6a6b1a7c3f10, host: xcp2}]]
guard:
  description: The decision.
  returned: always, unless the pool could not be asked; with O(guests) in RV(guests)
  type: dict
  contains:
    allowed:
      description: Whether it may be started.
      type: bool
      sample: true
    reasons:
      description: Why it may not, in sentences.
      type: list
      elements: str
      sample: []
    overridden:
      description: Reasons against it that O(force=true) has set aside.
      type: list
      elements: str
      sample: []
    uuid:
      description: Uuid of the guest, empty if the pool does not have it.
      type: str
      sample: 8d7ac6a3-3b2c-4d55-8d4f-6a6b1a7c3f10
    reset:
      description: Whether the pool believes that the guest runs on a host that is dead, and has to be told
        (O(nobloat.xen.vm_power#module:assume_dead)).
      type: bool
      sample: false
    legs:
      description: All legs, each with C(disk), C(name), C(node), C(path), C(events) (null if unknown), C(updated) (when its
        superblock was written, seconds since 1970), C(state) and C(why) in words. The states are C(current), C(older), C(apart),
        C(incomplete), C(blank), C(restoring) (a restore of a backup to it has not ended), C(unreadable) and C(unreachable).
      type: list
      elements: dict
      sample:
        - {disk: data, name: web1-data, node: node2, path: /dev/mirror/node2/web1-data, events: 42, updated: 1795246320,
           state: current, why: ""}
    leave_out:
      description: Paths of the legs that the guest must not see when it starts.
      type: list
      elements: str
      sample: [/dev/mirror/node1/web1-data]
    attach:
      description: Current legs that the guest does not have, because it was started without them before. Each has C(vdi) (name), C(sr),
        C(path) and C(device) (position).
      type: list
      elements: dict
      sample: [{vdi: web1-data@node2, sr: mirror-node2, path: /dev/mirror/node2/web1-data, device: 5}]
    detach:
      description: Those of RV(guard.leave_out) that the guest has, each with C(vdi) (uuid), C(path) and C(device) (position).
      type: list
      elements: dict
      sample: [{vdi: 0c1d2e3f-7d0c-4d55-8d4f-6a6b1a7c3f10, path: /dev/mirror/node1/web1-data, device: 4}]
    without:
      description: Nodes of those legs.
      type: list
      elements: str
      sample: [node1]
    start_from:
      description: Nodes all of whose legs are current, or all nodes if all legs are blank.
      type: list
      elements: str
      sample: [node2]
    complete:
      description: Those of them whose legs are proven to be current, without O(force).
      type: list
      elements: str
      sample: [node2]
    sole:
      description: The node that has all legs that the guest will see, if there is one.
      type: list
      elements: str
      sample: [node2]
    seen:
      description: Generation of the lease on each node that has a leg and has answered, 0 where there is none.
      type: dict
      sample: {node2: 5}
    generation:
      description: Generation of the lease to take, or of the one that was taken.
      type: int
      sample: 6
"""

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.mirror.guarded import (
    Inquiry,
    decide,
    following,
    uuid_of,
)
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.names import from_path
from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.vm.read import GUEST, device_number, kind, select
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import XapiError
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.records import records
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.session import Session
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.silence import heard_by_ssh, signs_of_life, why_not_off
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.wire import normal_url

TEXT = {"type": "str", "required": True}
LEGS = {"type": "list", "elements": "dict",
        "options": {"disk": TEXT, "name": TEXT, "node": TEXT, "path": {"type": "path", "required": True}}}
SPEC: dict[str, dict[str, Any]] = {
    "name": {"type": "str"},
    "guests": {"type": "list", "elements": "dict", "options": {
        "name": TEXT, "uuid": {"type": "str"}, "legs": LEGS, "host": {"type": "str"}, "start_from": {"type": "str"},
        "order": {"type": "int"}}},
    "uuid": {"type": "str"},
    "legs": {**LEGS, "default": []},
    "nodes": {"type": "dict", "required": True},
    "hosts": {"type": "dict", "default": {}},
    "host": {"type": "str"},
    "pool": {"type": "str", "default": "pool"},
    "pools": {"type": "list", "elements": "dict", "default": [], "options": {
        "name": TEXT, "hostname": TEXT, "username": {"type": "str", "default": "root"},
        "password": {"type": "str", "required": True, "no_log": True}, "validate_certs": {"type": "bool", "default": True},
        "ca_path": {"type": "path"}}},
    "fenced": {"type": "list", "elements": "str", "default": []},
    "assume_dead": {"type": "list", "elements": "str", "default": []},
    "owner": {"type": "str", "default": ""},
    "generation": {"type": "int", "default": 0},
    "taken": {"type": "dict", "default": {}},
    "lost": {"type": "dict", "default": {}},
    "order": {"type": "int", "default": 0},
    "lease_time": {"type": "int", "default": 120},
    "start_from": {"type": "str"},
    "force": {"type": "bool", "default": False},
    "overwrite": {"type": "bool", "default": False},
}
# Seconds to wait for another pool.
PATIENCE = 15


def ask(session: Session, names: set[str]) -> dict[str, Any]:
    """Guests with one of the names or uuids, and the hosts of a pool: two calls."""
    hosts = records(session, "host")
    vms = [vm for vm in select(session, "VM", names=names).values() if kind(vm) == GUEST]
    return {
        "vms": [{"ref": vm["ref"], "uuid": vm["uuid"], "name": vm["name_label"], "power_state": vm["power_state"],
                 "host": hosts.get(vm["resident_on"], {}).get("name_label", ""),
                 "operations": sorted(set(vm["current_operations"].values()))} for vm in vms],
        "hosts": [{"name": host["name_label"], "address": host["address"]} for host in hosts.values()],
    }


def ask_other(pool: dict[str, Any], names: set[str], patience: float = PATIENCE) -> tuple[dict[str, Any] | None, str]:
    """The same of another pool; None if it cannot be asked, and why it is not off, "" if it is silent."""
    session = Session(pool["hostname"], pool["username"], pool["password"], validate_certs=pool["validate_certs"],
                      ca_path=pool["ca_path"], timeout=min(patience, PATIENCE), retry_for=0)
    try:
        with session:
            return ask(session, names), ""
    except XapiError as error:
        if session.url != normal_url(pool["hostname"]):
            return None, f"{pool['hostname']} answers, but cannot help: {error}"
        return None, why_not_off(error, session.url)


def life(module: XapiModule, pools: dict[str, dict[str, Any] | None]) -> dict[str, str]:
    """Who shows signs of life among those that are said to be off, and which."""
    params = module.params
    urls = {**{pool["name"]: normal_url(pool["hostname"]) for pool in params["pools"]}, params["pool"]: module.xapi.url}
    homes = {(pool, host["name"]): host["address"] for pool, said in pools.items() if said for host in said["hosts"]}
    found = {}
    for name in {*params["fenced"], *params["assume_dead"]}:
        node = params["nodes"].get(name) or {}
        host = params["hosts"].get(name, name)
        signs = [signs_of_life(urls[pool], address) for (pool, known), address in homes.items()
                 if address and (name == f"{pool}/{known}" or (pool == params["pool"] and known == host))]
        if node and not node.get("unreachable"):
            signs.append("it answers, though with an error")
        if node.get("unreachable") and heard_by_ssh(str(node.get("msg", ""))):
            signs.append("it answers by SSH, though it lets nobody in")
        if any(signs):
            found[name] = next(filter(None, signs))
    return found


def attached(session: Session, vms: Iterable[Mapping[str, Any]]) -> dict[str, tuple[list[dict[str, Any]], set[int]]]:
    """By uuid of a guest: the legs among its disks, each with vdi, path, device; and all positions that are taken. Two calls."""
    uuids = {vm["ref"]: vm["uuid"] for vm in vms}
    vbds = select(session, "VBD", VM=uuids) if uuids else {}
    vdis = select(session, "VDI", refs={vbd["VDI"] for vbd in vbds.values()})
    found: dict[str, tuple[list[dict[str, Any]], set[int]]] = {uuid: ([], set()) for uuid in uuids.values()}
    for vbd in sorted(vbds.values(), key=device_number):
        legs, positions = found[uuids[vbd["VM"]]]
        positions.add(device_number(vbd))
        vdi = vdis.get(vbd["VDI"])
        if vdi and from_path(vdi["location"]):
            legs.append({"vdi": vdi["uuid"], "path": vdi["location"], "device": device_number(vbd)})
    return found


def look(module: XapiModule) -> dict[str, Any]:
    params = module.params
    shared = {option: params[option] for option in ("name", "uuid", "legs", "host", "start_from", "order")}
    listed = params["guests"] is not None
    entries = [{**shared, **{option: value for option, value in guest.items() if value is not None}}
               for guest in (params["guests"] if listed else [shared])]
    tagged = {entry["name"]: uuid_of(entry, params["nodes"]) for entry in entries}
    own = ask(module.xapi, {*tagged, *tagged.values()} - {""})
    alone = {name: [vm["uuid"] for vm in own["vms"] if vm["name"] == name] for name in tagged}
    uuids = {name: uuid or (alone[name][0] if len(alone[name]) == 1 else "") for name, uuid in tagged.items()}
    names = {*uuids, *uuids.values()} - {""}
    asked = {pool["name"]: ask_other(pool, names, params["timeout"]) for pool in params["pools"] if pool["name"] != params["pool"]}
    pools = {**{name: said for name, (said, _why) in asked.items()}, params["pool"]: own}
    inquiry = Inquiry(
        nodes=params["nodes"], pools=pools, alive=life(module, pools), deaf={name: why for name, (_said, why) in asked.items() if why},
        disks=attached(module.xapi, [vm for vm in own["vms"] if vm["uuid"] in uuids.values()]),
        shared={key: params[key] for key in ("pool", "hosts", "fenced", "assume_dead", "owner", "lease_time", "force", "overwrite")},
    )
    taken = {} if module.check_mode else params["taken"]
    decided = [decide(inquiry, entry, uuids[entry["name"]], taken, params["lost"].get(entry["name"], ""),
                      0 if listed else params["generation"]) for entry in entries]
    result = {"guard": decided[0]["guard"]}
    if listed:
        result = {"guests": decided, **following(inquiry, entries, decided, bool(taken), module.check_mode)}
    wrong = " ".join(guest["msg"] for guest in decided if guest["failed"])
    if wrong:
        module.fail_json(msg=wrong, **result)
    return result


def main() -> None:
    XapiModule(SPEC, required_one_of=[("name", "guests")], mutually_exclusive=[("name", "guests")]).report(look)


if __name__ == "__main__":
    main()
