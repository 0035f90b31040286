#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: pool_member
short_description: Join a host to a pool, or eject it
version_added: 1.0.0
description:
  - Joins a host to the pool that O(hostname) leads to, and waits until it is a working member; or ejects one.
  - All that XAPI would refuse is looked up before the join, and told as one list with the cures.
  - A host that leaves is reset to a pool of its own, its local storage is wiped, and it reboots.
author:
  - nobloat.xen contributors (@nobloat)
options:
  name:
    description:
      - Name or uuid of the host. To join, it is enough that it has the address O(address).
    type: str
    required: true
  state:
    description:
      - V(present) is a member of the pool. V(absent) is none.
    type: str
    choices: [present, absent]
    default: present
  address:
    description:
      - Where the host that joins answers, as a name, an address or a URL. If omitted, it is O(name).
      - Not used with O(state=absent).
    type: str
  host_username:
    description:
      - User of the host that joins, who may administrate it.
    type: str
    default: root
  host_password:
    description:
      - Password of O(host_username). If omitted, it is O(password). From then on the host has the pool's.
      - It has to be another one than O(password) if nothing proves who answers at O(address). That one is then not tried on whoever it
        is; but who takes O(host_password) still gets O(password) with the join.
    type: str
  host_validate_certs:
    description:
      - Whether the certificate of the host that joins is checked. A freshly installed host has one that it made itself, for
        which there is O(host_fingerprint).
      - If omitted, it is O(validate_certs). Not used with O(host_fingerprint).
    type: bool
  host_fingerprint:
    description:
      - SHA-256 fingerprint of the certificate of the host that joins. Only the host that has it is talked to.
      - On the host's console, C(openssl x509 -in /etc/xensource/xapi-ssl.pem -noout -fingerprint -sha256) prints it. A host that role
        P(nobloat.xen.pxe_server#role) has installed tells it by its check-in.
    type: str
  force:
    description:
      - Join although CPUs or the updates of the software differ. Guests may then not be able to migrate between the hosts.
    type: bool
    default: false
  allow_destroy_local_storage:
    description:
      - With O(state=absent), lose the disks that are on local SRs of the host. Without it, the module fails while there are any.
    type: bool
    default: false
extends_documentation_fragment:
  - nobloat.xen.xapi
  - nobloat.xen.xapi.wait
  - nobloat.xen.xapi.mirrors
  - nobloat.xen.attributes
notes:
  - XAPI gives the pool's password to the host that joins. So where the certificate of the pool's coordinator is checked, a host whose
    own is not, by O(host_validate_certs) or O(host_fingerprint), does not join; the refusal tells the fingerprint that was seen.
    Where neither is checked, whoever answers at O(address) and takes O(host_password) gets the pool's password.
  - To join, O(hostname) and O(password) of the pool are needed besides O(session), as the joining host logs in there itself.
  - Guests on a host that is ejected have to be moved away or shut down first, see M(nobloat.xen.host_maintenance). The
    coordinator cannot be ejected; make another host the coordinator first, with O(nobloat.xen.pool#module:coordinator).
seealso:
  - module: nobloat.xen.host_maintenance
  - module: nobloat.xen.pool
"""

EXAMPLES = r"""
- name: Join a freshly installed host
  nobloat.xen.pool_member:
    hostname: xcp1.example.com
    password: "{{ vault_pool_password }}"
    name: xcp3
    address: xcp3.example.com
    host_password: "{{ vault_install_password }}"
    host_fingerprint: "5F:0B:1E:63:9C:2A:D0:7E:41:B8:55:90:AA:13:C7:6D:22:F4:08:9B:3E:71:DD:C4:16:A9:60:85:E2:4B:37:FA"

- name: Let a host go, with all that is on its local disks
  nobloat.xen.pool_member:
    hostname: xcp1.example.com
    password: "{{ vault_pool_password }}"
    name: xcp3
    state: absent
    allow_destroy_local_storage: true
"""

RETURN = r"""
member:
  description: The host as a member of the pool, or as it would be in check mode. Empty when it is none.
  returned: success
  type: dict
  contains:
    name:
      description: Name.
      type: str
      sample: xcp3
    uuid:
      description: Unique identifier.
      type: str
      sample: 0a4f0d4e-5f7f-4ed7-9d1f-9f6f3a8a51c2
    address:
      description: Address of its management interface.
      type: str
      sample: 192.0.2.13
    coordinator:
      description: Whether it is the coordinator of the pool.
      type: bool
      sample: false
obstacles:
  description:
    - What keeps the host from joining (C(reason) and C(cure)), or would be lost with it (C(sr), C(uuid), C(vdis), C(vms)).
  returned: when that is why it failed
  type: list
  elements: dict
  sample:
    - {reason: "guests run on it: web1", cure: Shut them down.}
"""

import socket
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.hosts import joining
from ansible_collections.nobloat.xen.plugins.module_utils.hosts.evacuation import live_hosts, resident
from ansible_collections.nobloat.xen.plugins.module_utils.hosts.legs import MIRRORS_SPEC, refuse_any
from ansible_collections.nobloat.xen.plugins.module_utils.hosts.wait import passing, until
from ansible_collections.nobloat.xen.plugins.module_utils.module import Refused, XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.vm.read import Record, seek, select
from ansible_collections.nobloat.xen.plugins.module_utils.xapi import records, tasks
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import NotFound, XapiError, XapiUnreachable
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.fingerprint import COMMAND
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.refusal import refuse
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.session import Session
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.wire import normal_url

SPEC = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "address": {"type": "str"},
    "host_username": {"type": "str", "default": "root"},
    "host_password": {"type": "str", "no_log": True},
    "host_validate_certs": {"type": "bool"},
    "host_fingerprint": {"type": "str"},
    "force": {"type": "bool", "default": False},
    "allow_destroy_local_storage": {"type": "bool", "default": False},
    **MIRRORS_SPEC,
}


def member_view(host: Record, coordinator: str) -> Record:
    return {
        "name": host["name_label"], "uuid": host["uuid"], "address": host["address"], "coordinator": host["ref"] == coordinator,
    }


def plan(module: XapiModule) -> ChangeSet:
    params = module.params
    pool = joining.read_side(module.xapi, joining=False)
    host = seek(pool.hosts, "host", params["name"])
    if params["state"] == "absent":
        return plan_eject(module, pool, host)
    if host is None:
        known = addresses(params["address"] or params["name"])
        host = next((item for item in pool.hosts.values() if item["address"] in known), None)
    changes = ChangeSet(f"member {params['name']}", before=member_view(host, pool.pool["master"]) if host else {})
    if host is None:
        plan_join(module, changes, pool)
    return changes


# -- joining


def addresses(url: str) -> set[str]:
    """What a host's `address` may be when it answers at a name, an address or a URL."""
    name = urlsplit(normal_url(url)).hostname or ""
    try:
        return {name, *(str(entry[4][0]) for entry in socket.getaddrinfo(name, None))}
    except OSError:
        return {name}


def plan_join(module: XapiModule, changes: ChangeSet, pool: joining.Side) -> None:
    params = module.params
    if not params["password"]:
        raise ValueError("The joining host logs in to the pool itself: give password, and username if it is not root.")
    address = params["address"] or params["name"]
    host_session = first_contact(module, address)
    asked = host_session.url
    host_session.login()
    host = joining.read_side(host_session, joining=True)
    if host.pool["uuid"] == pool.pool["uuid"]:
        # The session followed it to the coordinator.
        raise ValueError(f"{address} belongs to this pool already, and none of its hosts is called {params['name']}.")
    if host_session.url != asked:
        raise ValueError(f"{address} is a member of another pool, whose coordinator is {host.coordinator['name_label']} "
                         f"({host.coordinator['address']}). Eject it there first.")
    found = joining.obstacles(host, pool, force=params["force"])
    if found:
        lines = "\n".join(f"- {item['reason']}. {item['cure']}" for item in found)
        raise Refused(f"{host.coordinator['name_label']} cannot join pool {pool.pool['name_label']}:\n{lines}", obstacles=found)
    changes.create(
        {**member_view(host.coordinator, ""), "coordinator": False}, lambda: join(module, host_session, host, pool))


def first_contact(module: XapiModule, address: str) -> Session:
    """A session with the host that joins, before the login. Raises ValueError where somebody else could get the pool's password.

    By the login, if it is the host's, too; and by the join, whose parameters hold it (XAPI's pool.join).
    """
    params = module.params
    checked = params["validate_certs"] if params["host_validate_certs"] is None else params["host_validate_certs"]
    session = Session(
        address, params["host_username"], params["host_password"] or params["password"], timeout=params["timeout"],
        validate_certs=checked, ca_path=params["ca_path"], fingerprint=params["host_fingerprint"] or "",
    )
    if session.verifies:
        try:
            session.peer()
        except XapiUnreachable as error:
            if error.code == "CERTIFICATE_INVALID":
                error.hint = f"Give host_fingerprint, as {COMMAND} prints it on the host's console; or host_validate_certs with ca_path."
            raise
        return session
    if params["host_fingerprint"]:
        raise ValueError(f"host_fingerprint is that of a certificate, and there is none at {session.url}. Use https.")
    if module.xapi.verifies:
        shown = session.fingerprint
        raise Refused(
            f"Nothing proves who answers at {session.url}, and with the join it gets the pool's password. Nothing was sent to it. Give "
            f"host_fingerprint, as {COMMAND} prints it on the host's console"
            + (f"; there answers one with {shown}." if shown else ", and an address with https.")
            + " Or check its certificate (host_validate_certs).")
    if params["host_password"] in (None, "", params["password"]):
        raise ValueError(
            f"Nothing proves who answers at {session.url}, so the pool's password is not tried on it. Nothing was sent to it. Give "
            f"host_fingerprint, as {COMMAND} prints it on the host's console, or check its certificate. In a laboratory, host_password, "
            "one that was set for the installation only, is enough; whoever takes it then gets the pool's password with the join.")
    return session


def join(module: XapiModule, session: Session, host: joining.Side, pool: joining.Side) -> None:
    params = module.params
    method = "pool.join_force" if params["force"] else "pool.join"
    try:
        tasks.run(session, method, pool.coordinator["address"], params["username"], params["password"],
                  timeout=params["wait_timeout"], on_progress=lambda fraction: module.progress(f"{method}: {fraction:.0%}"))
    except XapiError as error:
        # The host's toolstack restarts as that of a member, and forgets the task.
        if not passing(error):
            raise
    finally:
        session.close()
    uuid = host.coordinator["uuid"]
    until(module, f"{host.coordinator['name_label']} is a working member", lambda found: working(found, uuid))


def working(session: Session, uuid: str) -> bool:
    """Whether the host is in the pool, alive and enabled."""
    host = records.find(session, "host", uuid, required=False)
    return bool(host and host["enabled"] and live_hosts(session, {host["ref"]: host}))


# -- leaving


def plan_eject(module: XapiModule, pool: joining.Side, host: Record | None) -> ChangeSet:
    changes = ChangeSet(f"member {module.params['name']}", before=member_view(host, pool.pool["master"]) if host else {})
    if host is None:
        return changes
    name = host["name_label"]
    refuse_any(module, host, pool.hosts)
    if host["ref"] == pool.pool["master"]:
        raise ValueError(f"{name} is the coordinator. Make another host the coordinator first (module nobloat.xen.pool, coordinator).")
    if pool.pool["ha_enabled"]:
        raise ValueError(f"High availability is on, so {name} cannot leave. Disable it first.")
    if not live_hosts(module.xapi, {host["ref"]: host}):
        raise ValueError(f"{name} is not alive, so it cannot be ejected. Bring it back; or, if it is lost for good, remove it "
                         "with host.declare_dead and host.destroy.")
    guests = resident(host, select(module.xapi, "VM", refs=host["resident_VMs"]))
    if guests:
        named = ", ".join(vm["name_label"] for vm in guests)
        raise ValueError(f"Guests are on {name}: {named}. Move them away with nobloat.xen.host_maintenance, or shut them down.")
    refuse(pool.pool, "eject", f"Pool {pool.pool['name_label']}", now=False)
    if not module.params["allow_destroy_local_storage"]:
        refuse_loss(module, host)
    changes.delete(lambda: eject(module, host))
    return changes


def refuse_loss(module: XapiModule, host: Record) -> None:
    """Raise Refused where disks on local SRs would be lost."""
    pbds = select(module.xapi, "PBD", host=[host["ref"]])
    srs = select(module.xapi, "SR", refs={pbd["SR"] for pbd in pbds.values()})
    srs = {ref: sr for ref, sr in srs.items() if not sr["shared"]}
    vdis = select(module.xapi, "VDI", SR=srs)
    vbds = select(module.xapi, "VBD", VDI=vdis)
    lost = joining.precious(host, srs, select(module.xapi, "PBD", SR=srs), vdis,
                            select(module.xapi, "VM", refs={vbd["VM"] for vbd in vbds.values()}), vbds)
    if lost:
        def line(item: dict[str, Any]) -> str:
            whose = f", of {', '.join(item['vms'])}" if item["vms"] else ""
            return f"- SR {item['sr']} ({item['uuid']}) holds {item['vdis']} disks{whose}."

        raise Refused(
            f"When {host['name_label']} leaves, its local storage is wiped:\n" + "\n".join(map(line, lost))
            + "\nMove these disks to another SR, or allow it with allow_destroy_local_storage.", obstacles=lost)


def eject(module: XapiModule, host: Record) -> None:
    try:
        module.run("pool.eject", host["ref"])
    except XapiError as error:
        # The task may end with the host that runs it.
        if not passing(error) and error.code != "HANDLE_INVALID":
            raise
    until(module, f"{host['name_label']} has left the pool", lambda session: gone(session, host["uuid"]))


def gone(session: Session, uuid: str) -> bool:
    try:
        records.find(session, "host", uuid)
    except NotFound:
        return True
    return False


def main() -> None:
    XapiModule(SPEC, waits=True).converge("member", plan)


if __name__ == "__main__":
    main()
