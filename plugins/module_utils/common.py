# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all kinds of objects share: name, description, tags and other_config (doc fragment nobloat.xen.common)."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet, merged
from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.xapi import records
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.keys import Keys
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.session import Session

COMMON_SPEC: dict[str, dict[str, Any]] = {
    "description": {"type": "str"},
    "tags": {"type": "list", "elements": "str"},
    "other_config": {"type": "dict"},
    "purge": {"type": "bool", "default": False},
}

# Keys of other_config that are somebody's note and no setting of the user's: purge leaves them alone unless they are named.
SPARED = frozenset({
    # XAPI's and its storage drivers' own (xen-api: ocaml/xapi/xapi_globs.ml and whatever calls add_to_other_config; sm: libs/sm)
    "mac_seed", "base_template_name", "default_template", "linux_template", "install-methods", "install-distro", "install-arch",
    "install-repository", "install_repository", "disks", "postinstall", "import_task", "xensource_internal", "xenserver_tools_sr",
    "maps_to", "content_id", "config-drive", "vhd-blocks", "agent_start_time", "boot_time", "rpm_patch_installation_time", "iscsi_iqn",
    "multipathing", "multipathhandle", "no_local_storage", "last_blob_sync_time", "rolling_upgrade_in_progress", "memory-ratio-hvm",
    "memory-ratio-pv", "cpuid_feature_mask", "is_guest_installer_network", "is_host_internal_management_network", "network-uuids",
    "dirty", "gc_no_space", "trim_last_triggered", "indestructible", "ShowInXenCenter", "applies_to",
    # what has an option of its own
    "auto_poweron", "management_purpose",
    # XenCenter's and XCP-ng Center's
    "folder", "EMPTY_FOLDERS", "HideFromXenCenter", "MAINTENANCE_MODE",
})
SPARED_PREFIXES = ("nobloat.", "xo:", "XenCenter.", "MAINTENANCE_MODE_", "i18n-", "mpath-")


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
    changes.merge("tags", params["tags"], Keys(call, cls, "tags", ref, record["tags"]), purge=params["purge"])
    live = record["other_config"]
    wanted = wanted_keys(live, params["other_config"], purge=params["purge"])
    changes.set("other_config", wanted, Keys(call, cls, "other_config", ref, live))


def wanted_keys(live: Mapping[str, str], desired: Mapping[str, Any] | None, *, purge: bool) -> Any:
    """The other_config that the option asks for, None where it was omitted. What it does not name and is spared stays."""
    if desired is None:
        return None
    kept = {key: live[key] for key in live if is_spared(key) and key not in desired}
    return kept | merged(live, desired, purge=purge)


def is_spared(key: str) -> bool:
    """Whether a key of other_config is left alone by purge."""
    return key in SPARED or key.startswith(SPARED_PREFIXES)


def find_named(session: Session, cls: str, params: dict[str, Any], *, required: bool) -> dict[str, Any] | None:
    """The object that the option `name` (name or uuid) means, under its name of old or, once renamed, its `new_name`.

    Raises NotFound, Ambiguous, or ValueError where another object has the new name already.
    """
    name, new_name = params["name"], params["new_name"]
    if not new_name:
        return records.find(session, cls, name, required=required)
    old = records.find(session, cls, name, required=False)
    if old and old["name_label"] == new_name:
        return old
    new = records.find(session, cls, new_name, required=required and not old)
    if old and new:
        raise ValueError(f"{cls} {name} cannot become {new_name}: there is one already ({new['uuid']}).")
    return old or new


def matching(session: Session, cls: str, name: str | None) -> list[dict[str, Any]]:
    """Records of a class, sorted by name: all of them, or those with this name or uuid."""
    where = ""
    quoted = records.quote(name) if name else None
    if quoted:
        where = f'field "name__label"={quoted} or field "uuid"={quoted}'
    found = records.records(session, cls, where).values()
    return sorted(
        (record for record in found if not name or name in (record["name_label"], record["uuid"])),
        key=lambda record: (record["name_label"], record["uuid"]),
    )
