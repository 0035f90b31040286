# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SRs as modules sr and sr_info show them, and finding them: plain functions on plain records."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.common import common_view
from ansible_collections.nobloat.xen.plugins.module_utils.storage.types import without_secrets
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import Ambiguous

Record = dict[str, Any]
Records = Mapping[str, Record]


def pbds_of(sr: Record, pbds: Iterable[Record], hosts: Records) -> list[Record]:
    """The PBDs of an SR on hosts that are there, by name of the host."""
    own = [pbd for pbd in pbds if pbd["SR"] == sr["ref"] and pbd["host"] in hosts]
    return sorted(own, key=lambda pbd: (hosts[pbd["host"]]["name_label"], hosts[pbd["host"]]["uuid"]))


def sr_view(sr: Record, pbds: Iterable[Record], hosts: Records) -> Record:
    """An SR in the terms of the options of module sr. `pbds`: at least its own; `hosts`: by reference.

    `device_config` is that of its first host, without secrets; null where it is attached to no host.
    """
    own = pbds_of(sr, pbds, hosts)
    return {
        **common_view(sr),
        "type": sr["type"],
        "content_type": sr["content_type"],
        "shared": sr["shared"],
        "device_config": without_secrets(own[0]["device_config"]) if own else None,
        "hosts": [host_view(hosts[pbd["host"]], pbd["currently_attached"]) for pbd in own],
    }


def host_view(host: Record, attached: bool) -> Record:
    """A host of an SR, and whether the SR is attached to it."""
    return {"name": host["name_label"], "attached": attached}


def sr_facts(sr: Record, pbds: Iterable[Record], hosts: Records) -> Record:
    """An SR with its facts: sizes in bytes (null where they are not known because it is attached nowhere)."""
    own = pbds_of(sr, pbds, hosts)
    size, used = (None if sr[field] < 0 else sr[field] for field in ("physical_size", "physical_utilisation"))
    return {
        **sr_view(sr, own, hosts),
        "hosts": [
            {
                **host_view(hosts[pbd["host"]], pbd["currently_attached"]),
                "pbd": pbd["uuid"],
                "device_config": without_secrets(pbd["device_config"]),
            }
            for pbd in own
        ],
        "size": size,
        "used": used,
        "free": None if size is None or used is None else size - used,
        "allocated": sr["virtual_allocation"],
        "vdi_count": len(sr["VDIs"]),
        "sm_config": dict(sr["sm_config"]),
    }


def choose(name: str, found: Iterable[Record], pbds: Iterable[Record], host: str | None) -> Record | None:
    """The SR that `name` (name or uuid; uuid wins) means among those found, on the host with this reference if one is given.

    Local SRs of several hosts often have the same name. Raises Ambiguous.
    """
    named = [sr for sr in found if name in (sr["uuid"], sr["name_label"])]
    fitting = [sr for sr in named if sr["uuid"] == name] or named
    if host and not any(sr["uuid"] == name for sr in fitting):
        places: dict[str, set[str]] = {}
        for pbd in pbds:
            places.setdefault(pbd["SR"], set()).add(pbd["host"])
        # One that is attached nowhere may belong to any host.
        fitting = [sr for sr in fitting if host in places.get(sr["ref"], {host})]
    if len(fitting) > 1:
        raise Ambiguous("SR", name, sorted(fitting, key=lambda sr: str(sr["uuid"])))
    return fitting[0] if fitting else None
