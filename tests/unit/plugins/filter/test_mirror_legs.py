# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which legs nodes have, from what mirror_info says."""
from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.nobloat.xen.plugins.filter.mirror_legs import mirror_legs


def volume(name: str, *tags: str, **more: Any) -> dict[str, Any]:
    return {"vg": "vg0", "name": name, "size": 1 << 30, "tags": [f"nobloat.{tag}" for tag in tags], "lease": None, "snapshot_of": None,
            **more}


def test_legs_in_the_order_of_guest_disk_and_slot() -> None:
    export = {"name": "web1-data", "iqn": "iqn.2026-11.test:x", "portals": ["10.0.2.2:3260"], "initiators": ["iqn.2026-11.test:node1"]}
    found = mirror_legs({
        "node1": {"exports": [], "legs": [
            volume("web1-data", "guest=web1", "disk=data", "slot=1", "lease=3:1:held:x"), volume("root"), volume("backup-x", "other=1"),
            volume("db1-data", "guest=db1", "disk=data"), volume("backup-web1", "guest=web1", "disk=data", snapshot_of="web1-data")]},
        "node2": {"exports": [export], "legs": [volume("web1-data", "guest=web1", "disk=data", "slot=0")]},
        "node3": {},
    })
    assert [(leg["guest"], leg["node"], leg["slot"]) for leg in found] == [
        ("db1", "node1", None), ("web1", "node2", 0), ("web1", "node1", 1)]
    assert found[1] == {
        "guest": "web1", "disk": "data", "slot": 0, "name": "web1-data", "node": "node2", "vg": "vg0", "size": 1 << 30,
        "path": "/dev/mirror/node2/web1-data", "sr": "mirror-node2", "vdi": "web1-data@node2", "lease": None, "uuid": "",
        "iqn": "iqn.2026-11.test:x", "portals": ["10.0.2.2:3260"], "initiators": ["iqn.2026-11.test:node1"], "exists": True}
    assert (found[2]["iqn"], found[2]["portals"]) == ("iqn.2026-11.xen.nobloat:node1:web1-data", [])


def test_the_names_of_legs_that_are_not_exported() -> None:
    nodes = {"node1": {"exports": [], "legs": [volume("web1-data", "guest=web1", "disk=data")]}}
    assert mirror_legs(nodes, "iqn.2020-01.org.example:mirror")[0]["iqn"] == "iqn.2020-01.org.example:mirror:node1:web1-data"


def test_something_else_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="not what mirror_info returns"):
        mirror_legs({"node1": {"legs": [{"name": "x"}]}})
