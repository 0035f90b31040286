# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Groups of an inventory that has hosts and groups already."""
from __future__ import annotations

import pytest
from ansible.inventory.data import InventoryData
from ansible_collections.nobloat.xen.plugins.module_utils.inventory.others import DEFAULT, KEYED, NAMED, Others

UUID = "0000000a-0000-4000-8000-00000000000a"


@pytest.mark.parametrize("kind", [DEFAULT, KEYED, NAMED])
def test_a_guest_that_was_there_first_leaves_its_name_to_a_group(kind):
    inventory = InventoryData()
    before = Others(inventory, "a.xapi.yml", [])
    host, _theirs = before.add_host("debian", UUID)
    host.vars = {"x": 1}
    inventory.add_child(before.add_group("xapi_vms", DEFAULT), "debian")
    others = Others(inventory, "b.xapi.yml", [])
    assert others.add_group("debian", kind) == "debian"
    assert others.current("debian") == "debian-0000000a"
    assert "debian" not in inventory.hosts
    assert inventory.hosts["debian-0000000a"].vars["x"] == 1
    assert [host.name for host in inventory.groups["xapi_vms"].hosts] == ["debian-0000000a"]
    assert others.said == ["Guests or hosts have a name that a group has. In the inventory, 'debian' is debian-0000000a."]
    assert Others(inventory, "c.xapi.yml", []).taken("debian-0000000a", "another")


def test_a_host_of_another_source_keeps_its_name():
    inventory = InventoryData()
    inventory.add_host("debian")
    assert Others(inventory, "b.xapi.yml", ["*"]).add_group("debian", KEYED) == "debian_2"
    assert "debian" in inventory.hosts


@pytest.mark.parametrize(("name", "place"), [
    ("localhost", "localhost_2"), ("\uff4cocalhost", "\uff4cocalhost_2"), ("0", "0_2"), ("127.0.0.1", "127_0_0_1"), ("../x", "___x"),
    ("{{ x }}", "___x___"),
])
def test_names_that_no_group_gets(name, place):
    for kind in (DEFAULT, KEYED):
        others = Others(InventoryData(), "b.xapi.yml", ["*"])
        assert others.add_group(name, kind) == place
        assert others.said[0].startswith("No group gets a name that")
