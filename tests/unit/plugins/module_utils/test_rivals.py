# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two clients write the maps and sets of one object: what the other one wrote after our reading is there in the end."""
from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
import XenAPI
from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.common import common_view, plan_common
from ansible_collections.nobloat.xen.plugins.module_utils.many import Lanes
from ansible_collections.nobloat.xen.plugins.module_utils.network.pif_plan import plan_pif
from ansible_collections.nobloat.xen.plugins.module_utils.network.rule_plan import plan_rules
from ansible_collections.nobloat.xen.plugins.module_utils.network.tunnel_plan import plan_tunnel
from ansible_collections.nobloat.xen.plugins.module_utils.vm.plan import plan_vm, read_for
from ansible_collections.nobloat.xen.plugins.module_utils.vm.spec import VM_SPEC
from ansible_collections.nobloat.xen.plugins.module_utils.xapi import records
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.session import Session
from ansible_collections.nobloat.xen.plugins.modules import network_rule, pif, tunnel

from xapisim.launcher import launch

WRITES = re.compile(r"(VM|VIF|VDI|SR|PIF|host|network|pool)\.(set|add|remove)_")
SCENARIO = {"pools": [{
    "name": "rivals", "templates": ["Debian Bookworm 12"],
    "srs": [{"name": "store", "type": "nfs", "size": "2TiB", "default": True, "device_config": {"server": "nas", "serverpath": "/vms"}}],
    "networks": [{"name": "backend"}],
    "vms": [{"name": "web", "template": "Debian Bookworm 12", "disks": [{"size": "2GiB"}], "nics": [{"network": "backend"}]}],
}]}


class Rival:
    """Another client, through the SDK alone: it writes when our first write is on its way, and reads in the end."""

    def __init__(self, info):
        session = XenAPI.Session(info["url"], ignore_ssl=True)
        session.xenapi.login_with_password(info["username"], info["password"], "2.0", "rival")
        self.api = session.xenapi
        self.todo = None

    def get(self, cls, field, ref):
        return getattr(getattr(self.api, cls), f"get_{field}")(ref)

    def write(self, cls, field, ref):
        """Add something to a map or a set."""
        kind, live = getattr(self.api, cls), self.get(cls, field, ref)
        if isinstance(live, dict):
            getattr(kind, f"add_to_{field}")(ref, "theirs", "1")
        else:
            getattr(kind, f"add_{field}")(ref, "theirs")


@pytest.fixture(scope="module")
def pool():
    with launch(SCENARIO) as info:
        found = info["pools"][0]
        ours = Session(found["url"], found["username"], found["password"], validate_certs=False)
        ours.login()
        plain, rival = ours.call, Rival(found)

        def call(method, *args):
            if rival.todo and WRITES.match(method):
                todo, rival.todo = rival.todo, None
                todo()
            return plain(method, *args)

        ours.call = call
        yield SimpleNamespace(session=ours, rival=rival)


def module(pool, spec, **given):
    params = {option: rule.get("default") for option, rule in spec.items()} | given

    def run(method, *args, last=False):
        return pool.session.call(method, *args)

    return SimpleNamespace(
        params=params, xapi=pool.session, check_mode=False, warn=pytest.fail, progress=lambda text: None,
        run=run,
    )


def race(pool, changes, cls, field, ref):
    """Apply a change set while the rival writes to the field; returns what is there then."""
    pool.rival.todo = lambda: pool.rival.write(cls, field, ref)
    changes.apply()
    assert pool.rival.todo is None, "nothing was written"
    return pool.rival.get(cls, field, ref)


@pytest.mark.parametrize("cls", ["pool", "host", "network", "SR", "VDI"])
def test_tags_and_other_config_of_all_kinds(pool, cls):
    ref, record = next(iter(records.records(pool.session, cls).items()))
    for option, wanted in (("tags", ["ours"]), ("other_config", {"ours": "2"})):
        changes = ChangeSet(cls, before=common_view(record))
        given = {"description": None, "tags": None, "other_config": None, "purge": True, option: wanted}
        plan_common(changes, module(pool, {}, **given), cls, record)
        found = race(pool, changes, cls, option, ref)
        assert {"ours", "theirs"} <= set(found)
        assert set(found) - set(record[option]) == {"ours", "theirs"}


@pytest.mark.parametrize(("field", "given"), [
    ("other_config", {"other_config": {"ours": "2"}}),
    ("platform", {"platform": {"ours": True}}),
    ("HVM_boot_params", {"boot_order": ["network"]}),
    ("tags", {"tags": ["ours"]}),
])
def test_a_guest(pool, field, given):
    entry = {option: rule.get("default") for option, rule in VM_SPEC.items()} | {"name": "web", **given}
    lanes = Lanes(module(pool, {}, wait_timeout=60))
    ref = pool.rival.api.VM.get_by_name_label("web")[0]
    before = pool.rival.get("VM", field, ref)
    changes, _guest = plan_vm(entry, lanes, read_for(pool.session, [entry]))
    found = race(pool, changes, "VM", field, ref)
    assert set(before) | {"theirs"} <= set(found)
    assert found["order"] == "n" if field == "HVM_boot_params" else "ours" in found


def test_the_rate_of_a_nic(pool):
    vif = pool.rival.api.VM.get_VIFs(pool.rival.api.VM.get_by_name_label("web")[0])[0]
    entry = {option: rule.get("default") for option, rule in VM_SPEC.items()}
    entry |= {"name": "web", "nics": [{**dict.fromkeys(VM_SPEC["nics"]["options"]), "rate": 100, "mtu": 1400}]}
    for field in ("other_config", "qos_algorithm_params"):
        changes, _guest = plan_vm(entry, Lanes(module(pool, {}, wait_timeout=60)), read_for(pool.session, [entry]))
        assert "theirs" in race(pool, changes, "VIF", field, vif)
        assert pool.rival.get("VIF", "other_config", vif)["mtu"] == "1400"
        assert pool.rival.get("VIF", "qos_algorithm_params", vif)["kbps"] == "100"
        entry["nics"][0] |= {"mtu": 0}
        plan_vm(entry, Lanes(module(pool, {}, wait_timeout=60)), read_for(pool.session, [entry]))[0].apply()
        assert "mtu" not in pool.rival.get("VIF", "other_config", vif)
        entry["nics"][0] |= {"mtu": 1400}


def test_a_pif(pool):
    ref, record = next(iter(records.records(pool.session, "PIF").items()))
    given = module(pool, pif.SPEC, uuid=record["uuid"], purpose="san", other_config={"ours": "2"}, purge=True)
    found = race(pool, plan_pif(given), "PIF", "other_config", ref)
    assert {**found, "ours": "2", "theirs": "1", "management_purpose": "san"} == found


def test_rules_and_a_tunnel(pool):
    network = pool.rival.api.network.get_by_name_label("backend")[0]
    rule = {"allow": False, "protocol": "ip", "port": None, "ip_range": "0.0.0.0/0", "direction": "from/to", "priority": 32768}
    found = race(pool, plan_rules(module(pool, network_rule.SPEC, network="backend", rules=[rule])), "network", "other_config", network)
    assert {"theirs", "xo:sdn-controller:of-rules"} <= set(found)
    pool.rival.api.network.remove_from_other_config(network, "theirs")
    management = next(item for item in records.records(pool.session, "PIF").values() if item["management"])
    given = {"name": "private", "transport": management["device"]}
    plan_tunnel(module(pool, tunnel.SPEC, **given)).apply()
    private = pool.rival.api.network.get_by_name_label("private")[0]
    found = race(pool, plan_tunnel(module(pool, tunnel.SPEC, vni=7, **given)), "network", "other_config", private)
    assert {"theirs", "xo:sdn-controller:vni"} <= set(found)
    found = race_again(pool, plan_tunnel(module(pool, tunnel.SPEC, state="absent", name="private")), private)
    assert found == {"theirs": "1", "late": "1"}


def race_again(pool, changes, network):
    pool.rival.todo = lambda: pool.rival.api.network.add_to_other_config(network, "late", "1")
    changes.apply()
    return pool.rival.get("network", "other_config", network)


def test_a_clone_keeps_the_mac_seed_that_xapi_gave_it(pool):
    """And so does what another client, which looks for new guests, writes into it between its cloning and its provisioning."""
    entry = {option: rule.get("default") for option, rule in VM_SPEC.items()} | {"name": "new", "template": "Debian Bookworm 12"}
    seen = {}

    def look():
        made = [ref for ref, vm in pool.rival.api.VM.get_all_records().items() if vm["name_label"] == "nobloat.xen.making:new"]
        seen.update(pool.rival.api.VM.get_other_config(made[0]))
        pool.rival.write("VM", "other_config", made[0])

    changes, _guest = plan_vm(entry, Lanes(module(pool, {}, wait_timeout=60)), read_for(pool.session, [entry]))
    pool.rival.todo = look
    changes.apply()
    other_config = pool.rival.api.VM.get_other_config(pool.rival.api.VM.get_by_name_label("new")[0])
    assert other_config["mac_seed"] == seen["mac_seed"]
    assert other_config["theirs"] == "1"
    assert "disks" in seen and "disks" not in other_config
