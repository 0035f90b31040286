# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from types import SimpleNamespace

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.change import ApplyError, ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.storage import sr_pbds
from ansible_collections.nobloat.xen.plugins.module_utils.storage.sr_pbds import Attachments, local_host

HOSTS = {
    f"h{n}": {"ref": f"h{n}", "uuid": f"host{n}", "name_label": f"xcp{n}", "metrics": f"m{n}"} for n in (1, 2, 3)
}
CONFIG = {"server": "nas", "serverpath": "/x"}


class Module:
    """Stands for XapiModule: notes calls and warnings, and serves records."""

    def __init__(self, records=(), fail=""):
        self.calls, self.warnings, self.fail = [], [], fail
        self.records = {"host_metrics": {f"m{n}": {"live": True} for n in (1, 2, 3)}, **dict(records)}
        self.xapi = SimpleNamespace(call=self.run, bulk=self.bulk)

    def run(self, method, *args, last=False):
        self.calls.append((method, *args))
        if (method, *args) == self.fail:
            raise ValueError("fails")
        return f"made-{len(self.calls)}"

    def bulk(self, method, *args):
        return {ref: dict(record) for ref, record in self.records.get(method.partition(".")[0], {}).items()}

    def warn(self, text):
        self.warnings.append(text)


def pbd(host, *, attached=True, **config):
    return {"ref": f"pbd-{host}", "uuid": host, "SR": "s1", "host": host, "currently_attached": attached,
            "device_config": {**CONFIG, **config}}


def places(module, *pbds, vdis=()):
    return Attachments(module, "SR one", {"ref": "s1", "uuid": "uuid-s1", "VDIs": list(vdis)}, pbds, HOSTS)


def changes():
    return ChangeSet("SR one", before={"hosts": []})


def test_missing_pbds_are_created_and_all_are_plugged():
    module, planned = Module(), changes()
    places(module, pbd("h1"), pbd("h2", attached=False)).attach(planned, HOSTS, {})
    planned.apply()
    assert module.calls == [
        ("PBD.plug", "pbd-h2"),
        ("PBD.create", {"host": "h3", "SR": "s1", "device_config": CONFIG, "other_config": {}}),
        ("PBD.plug", "made-2"),
    ]
    assert planned.after["hosts"] == [{"name": f"xcp{n}", "attached": True} for n in (1, 2, 3)]


def test_what_was_attached_is_detached_when_one_host_fails():
    module, planned = Module(fail=("PBD.plug", "made-2")), changes()
    places(module, pbd("h1"), pbd("h2", attached=False)).attach(planned, HOSTS, {})
    with pytest.raises(ApplyError) as error:
        planned.apply()
    assert error.value.leftovers == []
    assert module.calls[-2:] == [("PBD.destroy", "made-2"), ("PBD.unplug", "pbd-h2")]


def test_dead_hosts_are_left_out_with_a_warning():
    module, planned = Module({"host_metrics": {"m1": {"live": True}, "m2": {"live": False}}}), changes()
    places(module, pbd("h1")).attach(planned, HOSTS, {})
    assert not planned.changed
    assert "xcp2, xcp3 is not alive" in module.warnings[0]


def test_nothing_is_read_when_nothing_is_to_be_done():
    planned = changes()
    places(Module(), *map(pbd, HOSTS)).attach(planned, HOSTS, {})
    assert not planned.changed


def test_without_pbds_a_configuration_is_needed():
    with pytest.raises(ValueError, match="device_config"):
        places(Module()).attach(changes(), HOSTS, {})


def test_what_the_user_gives_is_compared_on_every_host():
    given = places(Module(), pbd("h1"), pbd("h2", options="ro"))
    given.compare({"server": "nas"}, {})
    given.compare({}, {})
    with pytest.raises(ValueError, match="on host xcp1: options is None, not 'ro'"):
        given.compare({"options": "ro"}, {})


def test_what_means_the_same_is_the_same():
    given = places(Module(), pbd("h1", targetIQN="iqn.2026-11.test:Disk", multihomed="True", SCSIid="3600A"))
    given.compare({"targetIQN": "iqn.2026-11.test:disk", "multihomed": "true", "SCSIid": "3600a"}, {})
    for wrong in ({"server": "NAS"}, {"multihomed": "false"}, {"multiSession": "true"}):
        with pytest.raises(ValueError, match="another device_config"):
            given.compare(wrong, {})


def test_secrets_are_compared_by_what_they_hold():
    kept = {"secret": {"r1": {"uuid": "u1", "value": "right"}}}
    given = places(Module(kept), pbd("h1", password_secret="u1"))
    given.compare({}, {"password": "right"})
    with pytest.raises(ValueError, match="password is another one"):
        given.compare({}, {"password": "wrong"})


def test_detaching_can_be_taken_back():
    module, planned = Module(fail=("PBD.unplug", "pbd-h2")), changes()
    places(module, pbd("h1"), pbd("h2"), pbd("h3", attached=False)).detach(planned, completely=True)
    assert planned.after["hosts"] == [{"name": f"xcp{n}", "attached": False} for n in (1, 2, 3)]
    with pytest.raises(ApplyError):
        planned.apply()
    assert module.calls == [("PBD.unplug", "pbd-h1"), ("PBD.unplug", "pbd-h2"), ("PBD.plug", "pbd-h1")]


def test_a_dead_host_keeps_an_sr_from_being_forgotten():
    module = Module({"host_metrics": {"m1": {"live": True}, "m2": {"live": False}}})
    with pytest.raises(ValueError, match="still attached to xcp2"):
        places(module, pbd("h1"), pbd("h2")).detach(changes(), completely=True)
    planned = changes()
    places(module, pbd("h1"), pbd("h2")).detach(planned, completely=False)
    assert planned.after["hosts"] == [{"name": "xcp1", "attached": False}, {"name": "xcp2", "attached": True}]


def test_running_guests_are_named():
    pool = {"ha_enabled": False, "ha_statefiles": ["v2"]}
    used = {"VBD": {"b1": {"VM": "vm1", "VDI": "v1"}}, "VM": {"vm1": {"name_label": "web"}}, "pool": {"pool": pool}}
    with pytest.raises(ValueError, match="in use by web"):
        places(Module(used), pbd("h1"), vdis=["v1"]).detach(changes(), completely=False)
    places(Module(used), pbd("h1"), vdis=["v2"]).detach(changes(), completely=False)
    pool["ha_enabled"] = True
    with pytest.raises(ValueError, match="state file of high availability"):
        places(Module(used), pbd("h1"), vdis=["v2"]).detach(changes(), completely=False)


def test_a_local_sr_stays_on_its_host():
    given = places(Module(), pbd("h1"))
    assert given.wanted(None, shared=False) == ["h1"]
    assert given.wanted(None, shared=True) == list(HOSTS)
    with pytest.raises(ValueError, match="local to xcp1, not to xcp2"):
        given.wanted(HOSTS["h2"], shared=False)
    with pytest.raises(ValueError, match="leave host out"):
        given.wanted(HOSTS["h2"], shared=True)
    assert local_host("SR", {"h1": HOSTS["h1"]}, None) == HOSTS["h1"]
    with pytest.raises(ValueError, match="xcp1, xcp2, xcp3"):
        local_host("SR", HOSTS, None)


def test_no_call_for_no_hosts():
    assert sr_pbds.dead_hosts(SimpleNamespace(), HOSTS, []) == []
