# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Updates of a host, in the two ways that there are: XAPI's repositories, and XCP-ng's dom0 plugin updater.py (yum)."""
from __future__ import annotations

import io
import json
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet, ignore
from ansible_collections.nobloat.xen.plugins.module_utils.hosts.evacuation import live_hosts
from ansible_collections.nobloat.xen.plugins.module_utils.hosts.power import boot_time
from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.vm.read import Record, select
from ansible_collections.nobloat.xen.plugins.module_utils.xapi import records, transfer
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import XapiError
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.keys import write_key
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.wire import ANSWER_LIMIT

PLUGIN = "updater.py"
NOTE = "nobloat.xen.updated"  # in the host's other_config: when yum has updated it, seconds since the epoch
REBOOT = "reboot_host"


def packages(text: str) -> list[str]:
    """The answer of check_update, as name-version-release; older plugins wrap it in {"result": [...]}."""
    found = json.loads(text)
    items = found.get("result", []) if isinstance(found, dict) else found
    return sorted(f"{item['name']}-{item['version']}-{item['release']}" for item in items)


def lacking(document: dict[str, Any], ref: str) -> tuple[list[str], bool]:
    """What a host lacks and whether it has to reboot for that, from the document of GET /updates."""
    for host in document.get("hosts", []):
        if host.get("ref") == ref:
            guidance = host.get("guidance", {})
            names = [*guidance.get("mandatory", []), *guidance.get("recommended", []), *host.get("recommended-guidance", [])]
            return sorted(host.get("updates") or host.get("RPMS") or []), "RebootHost" in names
    return [], False


def reboot_required(host: Record) -> bool:
    """Whether the host has been updated since it booted, or XAPI says that it has to reboot."""
    pending = [*host.get("pending_guidances", ()), *host.get("pending_guidances_recommended", ())]
    updated = float(host["other_config"].get(NOTE) or 0)
    return REBOOT in pending or updated > boot_time(host)


class HostUpdate:
    """A host, and what it lacks."""

    def __init__(self, module: XapiModule) -> None:
        self.module, self.session = module, module.xapi
        self.pool = next(iter(records.records(self.session, "pool").values()))
        self.host = records.find(self.session, "host", module.params["name"])
        self.ref: str = self.host["ref"]
        self.name: str = self.host["name_label"]
        if not live_hosts(self.session, {self.ref: self.host}):
            raise ValueError(f"Host {self.name} is not alive.")
        wanted = module.params["method"]
        self.repositories = select(self.session, "Repository", refs=self.pool.get("repositories", ()))
        self.by_plugin = wanted == "plugin" or (wanted == "auto" and not self.repositories)

    def plan(self) -> ChangeSet:
        lacks, reboot = self._look_by_plugin() if self.by_plugin else self._look_by_repository()
        required = reboot_required(self.host)
        view = {"name": self.name, "uuid": self.host["uuid"], "method": "plugin" if self.by_plugin else "repository"}
        changes = ChangeSet(f"updates of host {self.name}", before={
            **view, "up_to_date": not lacks, "updates": lacks, "reboot_required": required})
        if not lacks:
            return changes
        if self.pool["ha_enabled"] and not self.by_plugin:
            raise ValueError("High availability is on, and XAPI updates no host then. Disable it meanwhile.")
        changes.after.update(up_to_date=True, updates=[], reboot_required=required or reboot)
        changes.step(f"install {len(lacks)} updates on {self.name}", self._by_plugin if self.by_plugin else self._by_repository)
        return changes

    # -- yum

    def _look_by_plugin(self) -> tuple[list[str], bool]:
        try:
            answer = self.module.run("host.call_plugin", self.ref, PLUGIN, "check_update", self._arguments())
            found = packages(answer)
        except XapiError as error:
            if error.code == "XENAPI_MISSING_PLUGIN":
                raise ValueError(
                    f"Host {self.name} has no plugin {PLUGIN}, which XCP-ng brings along, and its pool has no update repositories. "
                    "Give it one of the two.") from error
            raise
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"The answer of {PLUGIN} on {self.name} cannot be read: {error}") from error
        return found, bool(found)

    def _arguments(self) -> dict[str, str]:
        repos = self.module.params["repositories"]
        return {"repos": ",".join(repos)} if repos else {}

    def _by_plugin(self) -> None:
        answer = json.loads(self.module.run("host.call_plugin", self.ref, PLUGIN, "update", self._arguments()) or "null")
        code = answer.get("returncode", 0) if isinstance(answer, dict) else 0
        if code:
            said = str(answer.get("stderr") or answer.get("stdout") or "").strip().splitlines()
            raise ValueError(f"yum failed on {self.name} ({code}): {said[-1] if said else 'it said nothing'}")
        # XAPI does not know that yum was here; what the host runs until it reboots is the old software.
        now = records.date(str(self.session.call("host.get_servertime", self.ref)))
        write_key(self.session.call, "host", "other_config", self.ref, NOTE, f"{now.timestamp() + 1:.0f}")

    # -- XAPI's repositories

    def _look_by_repository(self) -> tuple[list[str], bool]:
        if not self.repositories:
            raise ValueError("The pool has no update repositories (pool.set_repositories).")
        if self.module.params["sync"] and not self.module.check_mode:
            self.module.run("pool.sync_updates", self.pool["ref"], False, "", "")
            self.repositories = select(self.session, "Repository", refs=self.repositories)
            self.host = records.record(self.session, "host", self.ref)
        state = self.host.get("latest_synced_updates_applied", "unknown")
        if state == "unknown" and not any(item["hash"] for item in self.repositories.values()):
            raise ValueError("Nobody knows what updates there are: the pool has never looked. Say sync=true.")
        if state == "yes":
            return [], False
        target = io.BytesIO()
        transfer.get(
            self.session, "/updates", {"host_refs": self.ref}, target, limit=ANSWER_LIMIT, timeout=self.module.params["wait_timeout"],
        )
        return lacking(json.loads(target.getvalue()), self.ref)

    def _by_repository(self) -> None:
        """host.apply_updates disables the host; it is enabled again where nothing has to follow."""
        digest = next(item["hash"] for item in self.repositories.values() if item["hash"])
        warnings = self.module.run("host.apply_updates", self.ref, digest)
        for warning in warnings or []:
            self.module.warn(f"{self.name}: {' '.join(map(str, warning))}")
        now = records.record(self.session, "host", self.ref)
        if self.host["enabled"] and not now["enabled"] and not now.get("pending_guidances"):
            ignore(self.session.call("host.enable", self.ref))
