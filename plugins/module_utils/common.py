# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pools, hosts, networks, SRs, VDIs and VMs share: description, tags and other_config (doc fragment nobloat.xen.common)."""
from __future__ import annotations

from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet, merged
from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule

COMMON_SPEC: dict[str, dict[str, Any]] = {
    "description": {"type": "str"},
    "tags": {"type": "list", "elements": "str"},
    "other_config": {"type": "dict"},
    "purge": {"type": "bool", "default": False},
}

# Keys of other_config that XAPI keeps for itself: never purged.
XAPI_KEYS = frozenset({"mac_seed", "base_template_name", "default_template", "import_task", "install_repository", "memory-ratio-hvm"})


def common_view(record: dict[str, Any]) -> dict[str, Any]:
    """The shared part of an object's view, from its record."""
    return {
        "name": record["name_label"],
        "uuid": record["uuid"],
        "description": record["name_description"],
        "tags": sorted(record["tags"]),
        "other_config": dict(record["other_config"]),
    }


def common_fields(params: dict[str, Any]) -> dict[str, Any]:
    """The shared fields of a record to create, from the module's options."""
    return {
        "name_description": params["description"] or "",
        "tags": merged([], params["tags"] or []),
        "other_config": merged({}, params["other_config"] or {}),
    }


def plan_common(changes: ChangeSet, module: XapiModule, cls: str, record: dict[str, Any]) -> None:
    """Plan the changes of the shared fields of an object that is there; its name only when it was found by uuid."""
    params, ref, call = module.params, record["ref"], module.xapi.call
    changes.set("description", params["description"], lambda value: call(f"{cls}.set_name_description", ref, value))
    changes.merge("tags", params["tags"], lambda value: call(f"{cls}.set_tags", ref, value), purge=params["purge"])
    wanted = params["other_config"]
    if wanted is not None:
        live = record["other_config"]
        kept = {key: live[key] for key in XAPI_KEYS & live.keys()}
        exact = kept | merged(live, wanted, purge=params["purge"])
        changes.set("other_config", exact, lambda value: call(f"{cls}.set_other_config", ref, value))
