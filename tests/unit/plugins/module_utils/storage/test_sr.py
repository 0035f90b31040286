# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.storage.sr import choose, sr_facts, sr_view
from ansible_collections.nobloat.xen.plugins.module_utils.storage.sr_make import uuids_in
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import Ambiguous

HOSTS = {f"h{n}": {"ref": f"h{n}", "uuid": f"host{n}", "name_label": f"xcp{n}"} for n in (1, 2)}


def sr(ref, name="sr", **fields):
    return {
        "ref": ref, "uuid": f"uuid-{ref}", "name_label": name, "name_description": "", "tags": ["b", "a"], "other_config": {},
        "type": "nfs", "content_type": "user", "shared": True, "physical_size": 100, "physical_utilisation": 30,
        "virtual_allocation": 120, "VDIs": ["v1", "v2"], "sm_config": {}, **fields,
    }


def pbd(sr_ref, host, *, attached=True, **config):
    return {"ref": f"{sr_ref}-{host}", "uuid": f"pbd-{sr_ref}-{host}", "SR": sr_ref, "host": host, "currently_attached": attached,
            "device_config": config}


def test_the_view_has_the_hosts_in_order_and_no_secrets():
    pbds = [pbd("s1", "h2", attached=False, server="nas", password_secret="x"), pbd("s1", "h1", server="nas"), pbd("s2", "h1")]
    view = sr_view(sr("s1"), pbds, HOSTS)
    assert view["hosts"] == [{"name": "xcp1", "attached": True}, {"name": "xcp2", "attached": False}]
    assert view["device_config"] == {"server": "nas"}
    assert view["tags"] == ["a", "b"]
    assert sr_view(sr("s1"), [], HOSTS)["device_config"] is None


def test_facts_know_what_is_free_and_what_is_not_known():
    facts = sr_facts(sr("s1"), [pbd("s1", "h1", server="nas", password_secret="x")], HOSTS)
    assert (facts["size"], facts["used"], facts["free"], facts["allocated"], facts["vdi_count"]) == (100, 30, 70, 120, 2)
    assert facts["hosts"] == [{"name": "xcp1", "attached": True, "pbd": "pbd-s1-h1", "device_config": {"server": "nas"}}]
    never = sr_facts(sr("s1", physical_size=-1, physical_utilisation=-1), [], HOSTS)
    assert never["size"] is never["used"] is never["free"] is None


def test_a_host_tells_local_srs_of_one_name_apart():
    found = [sr("s1", "local"), sr("s2", "local")]
    pbds = [pbd("s1", "h1"), pbd("s2", "h2")]
    assert choose("local", found, pbds, "h2")["ref"] == "s2"
    assert choose("uuid-s1", found, pbds, "h2")["ref"] == "s1"
    assert choose("local", found[:1], pbds, "h2") is None
    with pytest.raises(Ambiguous) as error:
        choose("local", found, pbds, None)
    assert "uuid-s1" in str(error.value)
    assert "uuid-s2" in str(error.value)


def test_one_that_is_attached_nowhere_may_belong_to_any_host():
    assert choose("local", [sr("s1", "local")], [], "h2")["ref"] == "s1"


@pytest.mark.parametrize(("text", "uuids"), [
    ('<?xml version="1.0" ?>\n<SRlist>\n\t<SR>\n\t\t<UUID>\n\t\t\tabc\n\t\t</UUID>\n\t</SR>\n</SRlist>\n', ["abc"]),
    ('<?xml version="1.0" ?>\n<SRlist/>\n', []),
    ("", []),
])
def test_uuids_are_read_from_what_a_probe_returns(text, uuids):
    assert uuids_in(text) == uuids
