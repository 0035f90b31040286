# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where an SR is attached: its PBDs, one for each host that may use it."""
from __future__ import annotations

from collections.abc import Iterable, Mapping

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet, ignore
from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.network.vlans import host_names
from ansible_collections.nobloat.xen.plugins.module_utils.storage.sr import Record, Records, host_view, pbds_of
from ansible_collections.nobloat.xen.plugins.module_utils.storage.types import without_secrets
from ansible_collections.nobloat.xen.plugins.module_utils.vm.read import select
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.records import records


def dead_hosts(module: XapiModule, hosts: Records, refs: Iterable[str]) -> list[str]:
    """References of those hosts that are not alive; XAPI would answer HOST_OFFLINE. One call, none for no hosts."""
    refs = list(refs)
    metrics = records(module.xapi, "host_metrics") if refs else {}
    return [ref for ref in refs if not metrics.get(hosts[ref]["metrics"], {}).get("live")]


def same_value(key: str, live: str | None, wanted: str) -> bool:
    """Whether a key of a device_config is as it is wanted; booleans, iSCSI names and SCSI identities are the same in any case."""
    if wanted.lower() in ("true", "false") or key.lower() in ("targetiqn", "scsiid"):
        return (live or "").lower() == wanted.lower()
    return live == wanted


class Attachments:
    """The PBDs of an SR that is there (`sr`), or is yet to be introduced (then `sr["ref"]` is set by the step that does)."""

    def __init__(self, module: XapiModule, title: str, sr: Record, pbds: Iterable[Record], hosts: Records) -> None:
        self.module, self.title, self.sr, self.hosts = module, title, sr, hosts
        self.pbds = pbds_of(sr, pbds, hosts) if sr.get("ref") else []

    def compare(self, config: Mapping[str, str], secrets: Mapping[str, str]) -> None:
        """Raise ValueError where a key that the user gives is another one in a PBD; keys that the user leaves out may differ.

        A PBD's device_config cannot be changed (PBD.set_device_config is for the storage drivers only).
        """
        for pbd in self.pbds:
            live = pbd["device_config"]
            differing = [key for key, value in config.items() if not same_value(key, live.get(key), value) and not key.endswith("_secret")]
            if differing:
                raise self._differs(pbd, [f"{key} is {live.get(key)!r}, not {config[key]!r}" for key in differing])
        if secrets and self.pbds:
            uuids = [pbd["device_config"].get(f"{key}_secret") for pbd in self.pbds for key in secrets]
            kept = {item["uuid"]: item["value"] for item in select(self.module.xapi, "secret", uuid=filter(None, uuids)).values()}
            for pbd in self.pbds:
                differing = [key for key in secrets if kept.get(pbd["device_config"].get(f"{key}_secret")) != secrets[key]]
                if differing:
                    raise self._differs(pbd, [f"{key} is another one" for key in differing])

    def _differs(self, pbd: Record, differences: list[str]) -> ValueError:
        where = self.hosts[pbd["host"]]["name_label"]
        return ValueError(
            f"{self.title} ({self.sr['uuid']}) is there with another device_config on host {where}: {'; '.join(differences)}. "
            "XAPI cannot change that. Leave it out, or forget the SR (its data stays) and introduce it again by uuid."
        )

    def wanted(self, host: Record | None, *, shared: bool) -> list[str]:
        """References of the hosts that the SR has to be attached to: all if it is shared, else the one that it belongs to."""
        title, places = self.title, [pbd["host"] for pbd in self.pbds]
        if shared:
            if host:
                raise ValueError(f"{title} is shared by all hosts of the pool; leave host out.")
            return list(self.hosts)
        if host and places and host["ref"] not in places:
            raise ValueError(f"{title} is local to {', '.join(host_names(self.hosts, places))}, not to {host['name_label']}.")
        return places or [local_host(title, self.hosts, host)["ref"]]

    def attach(self, changes: ChangeSet, wanted: Iterable[str], config: Mapping[str, str]) -> None:
        """Plan the PBDs that are missing on `wanted` hosts, and plug those that are not. Dead hosts are left out with a warning."""
        there = {pbd["host"]: pbd for pbd in self.pbds}
        todo = [ref for ref in wanted if not there.get(ref, {}).get("currently_attached")]
        dead = dead_hosts(self.module, self.hosts, todo)
        if dead:
            self.module.warn(
                f"{', '.join(host_names(self.hosts, dead))} is not alive: {self.title} is not attached there. "
                "Run again when it is back."
            )
        # XAPI gives each PBD secrets of its own, also when it gets a copy of another PBD's configuration.
        config = self.pbds[0]["device_config"] if self.pbds else dict(config)
        todo = [ref for ref in todo if ref not in dead]
        if not config and any(ref not in there for ref in todo):
            raise ValueError(f"{self.title} is attached to no host; give its device_config, so that it can be.")
        for ref in todo:
            self._plan_plug(changes, ref, there.get(ref), config)
        if todo:
            attached = {ref: pbd["currently_attached"] for ref, pbd in there.items()} | dict.fromkeys(todo, True)
            self.show(changes, attached)
            changes.after["device_config"] = without_secrets(config)

    def show(self, changes: ChangeSet, attached: Mapping[str, bool]) -> None:
        """Put into the change set's view on which hosts the SR is attached ({reference: attached})."""
        ordered = sorted(attached, key=lambda ref: (self.hosts[ref]["name_label"], self.hosts[ref]["uuid"]))
        changes.after["hosts"] = [host_view(self.hosts[ref], attached[ref]) for ref in ordered]

    def _plan_plug(self, changes: ChangeSet, host: str, pbd: Record | None, config: Mapping[str, str]) -> None:
        call, run, name = self.module.xapi.call, self.module.run, self.hosts[host]["name_label"]
        made: dict[str, str] = {"ref": pbd["ref"]} if pbd else {}
        changes.making.add(f"SR {self.sr['uuid']}" if self.sr.get("ref") else self.title)

        def create() -> None:
            made["ref"] = call(
                "PBD.create", {"host": host, "SR": self.sr["ref"], "device_config": config, "other_config": {}}
            )

        if not pbd:
            changes.step(f"give {self.title} to host {name}", create, undo=lambda: call("PBD.destroy", made["ref"]))
        changes.step(
            f"attach {self.title} to host {name}", lambda: ignore(run("PBD.plug", made["ref"])),
            undo=lambda: run("PBD.unplug", made["ref"]),
        )

    def detach(self, changes: ChangeSet, *, completely: bool) -> None:
        """Plan to unplug the SR everywhere. On a dead host that is impossible: an error if it has to be `completely`.

        Raises ValueError where a running guest uses one of its VDIs: XAPI would refuse half way, and in references only.
        """
        plugged = [pbd for pbd in self.pbds if pbd["currently_attached"]]
        if not plugged:
            return
        dead = dead_hosts(self.module, self.hosts, (pbd["host"] for pbd in plugged))
        if dead:
            names = ", ".join(host_names(self.hosts, dead))
            if completely:
                raise ValueError(
                    f"{self.title} is still attached to {names}, which is not alive. "
                    "Bring the host back, or remove it from the pool first."
                )
            self.module.warn(f"{names} is not alive: {self.title} is not detached there. Run again when it is back.")
        self._refuse_in_use()
        run = self.module.run
        for pbd in (pbd for pbd in plugged if pbd["host"] not in dead):
            changes.step(
                f"detach {self.title} from host {self.hosts[pbd['host']]['name_label']}",
                lambda ref=pbd["ref"]: ignore(run("PBD.unplug", ref)), undo=lambda ref=pbd["ref"]: run("PBD.plug", ref),
            )
        self.show(changes, {pbd["host"]: pbd["currently_attached"] and pbd["host"] in dead for pbd in self.pbds})

    def _refuse_in_use(self) -> None:
        if not self.sr["VDIs"]:
            return
        vdis = set(self.sr["VDIs"])
        pool = next(iter(records(self.module.xapi, "pool").values()))
        if pool["ha_enabled"] and vdis & set(pool["ha_statefiles"]):
            raise ValueError(f"{self.title} holds the state file of high availability. Switch that off first, or move it (module pool_ha).")
        active = select(self.module.xapi, "VBD", currently_attached=["true"]).values()
        guests = {vbd["VM"] for vbd in active if vbd["VDI"] in vdis}
        if guests:
            named = sorted(vm["name_label"] for vm in select(self.module.xapi, "VM", refs=guests).values())
            more = f" and {len(named) - 10} more" if len(named) > 10 else ""
            raise ValueError(
                f"{self.title} is in use by {', '.join(named[:10])}{more}. Stop these guests or detach their disks first."
            )


def local_host(title: str, hosts: Records, host: Record | None) -> Record:
    """The host of a local SR: the given one, or the only one of the pool."""
    if host:
        return host
    if len(hosts) == 1:
        return next(iter(hosts.values()))
    raise ValueError(f"{title} is local to one host: say which ({', '.join(host_names(hosts, hosts))}) with host.")
