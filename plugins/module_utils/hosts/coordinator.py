# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Making another host the coordinator of its pool."""
from __future__ import annotations

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.hosts.evacuation import live_hosts
from ansible_collections.nobloat.xen.plugins.module_utils.hosts.wait import can_log_in_again, passing, until
from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.network.vlans import host_names
from ansible_collections.nobloat.xen.plugins.module_utils.vm.read import Record, pick
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import XapiError
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.records import records
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.session import Session


def plan_coordinator(module: XapiModule, changes: ChangeSet, pool: Record) -> None:
    """Plan the change, if the option `coordinator` wants one; the last step of all, as it ends every session of the pool."""
    name = module.params["coordinator"]
    if name is None:
        return
    hosts = records(module.xapi, "host")
    host = pick(hosts, "host", name)
    changes.before["coordinator"] = _view(hosts[pool["master"]])
    changes.after["coordinator"] = _view(host)
    if host["ref"] == pool["master"]:
        return
    title = f"{host['name_label']} cannot become the coordinator"
    if pool["ha_enabled"]:
        raise ValueError(f"{title} while high availability is on, which chooses one by itself. Disable it first.")
    dead = set(hosts) - live_hosts(module.xapi, hosts)
    if dead:
        raise ValueError(f"{title}, because {', '.join(host_names(hosts, dead))} is not alive and all hosts have to agree. "
                         "Bring it back, or remove it from the pool first.")
    can_log_in_again(module, "The toolstacks restart when the coordinator changes")
    changes.step(f"make {host['name_label']} the coordinator", lambda: _designate(module, host))


def _view(host: Record) -> Record:
    return {"name": host["name_label"], "uuid": host["uuid"], "address": host["address"]}


def _designate(module: XapiModule, host: Record) -> None:
    try:
        module.run("pool.designate_new_master", host["ref"])
    except XapiError as error:
        # The coordinator that keeps the task is one no more when it ends.
        if not passing(error):
            raise

    def settled(session: Session) -> bool:
        return any(pool["master"] == host["ref"] for pool in records(session, "pool").values())

    until(module, f"{host['name_label']} is the coordinator", settled)
