# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils import host
from ansible_collections.nobloat.xen.plugins.module_utils.pool import pool_view
from ansible_collections.nobloat.xen.plugins.modules.host import check_options, wanted_iqn

NULL = "OpaqueRef:NULL"


def test_memory_that_is_not_reported_is_null():
    assert host.memory({"memory_overhead": 7}, {"memory_total": 100, "memory_free": 40}) == {
        "total": 100, "free": 40, "overhead": 7,
    }
    assert host.memory({"memory_overhead": 7}, {"memory_total": 100, "memory_free": 0})["free"] is None
    assert host.memory({"memory_overhead": 0}, None)["total"] is None


def test_cpu_facts_are_numbers_and_may_be_missing():
    info = {"cpu_count": "16", "socket_count": "2", "vendor": "v", "modelname": "m", "speed": "3000.5"}
    assert host.cpu(info) == {"count": 16, "sockets": 2, "vendor": "v", "model": "m", "speed_mhz": 3000.5}
    assert host.cpu({}) == {"count": None, "sockets": None, "vendor": None, "model": None, "speed_mhz": None}


@pytest.mark.parametrize(
    "name", ["iqn.2026-11.com.example:xcp1", "iqn.2001-04.com.acme", "eui.02004567A425678D", "naa.52004567BA64678D"]
)
def test_iscsi_names_pass(name):
    check_options({"iscsi_iqn": name, "other_config": None})


@pytest.mark.parametrize("name", ["", "xcp1", "iqn.com.example:x", "iqn.2026-11.com.example:with space", "eui.12"])
def test_what_is_no_iscsi_name_is_refused(name):
    with pytest.raises(ValueError, match="iscsi_iqn"):
        check_options({"iscsi_iqn": name, "other_config": None})


def test_an_iscsi_name_in_capitals_is_the_same():
    assert wanted_iqn("iqn.2026-11.com.Example:XCP1", "iqn.2026-11.com.example:xcp1") == "iqn.2026-11.com.Example:XCP1"
    assert wanted_iqn("iqn.2026-11.com.example:xcp1", "iqn.2026-11.com.example:xcp2") == "iqn.2026-11.com.example:xcp2"
    assert wanted_iqn("", "iqn.2026-11.com.example:xcp2") == "iqn.2026-11.com.example:xcp2"
    assert wanted_iqn("iqn.2026-11.com.example:xcp1", None) is None


def test_the_copy_of_the_iscsi_name_cannot_be_set():
    with pytest.raises(ValueError, match="Use the option iscsi_iqn"):
        check_options({"iscsi_iqn": None, "other_config": {"iscsi_iqn": "iqn.2026-11.com.example:xcp1"}})


def test_a_pool_shows_its_srs_and_what_its_xapi_does_not_know():
    record = {
        "name_label": "alpha", "uuid": "u", "name_description": "", "tags": [], "other_config": {},
        "default_SR": "sr1", "suspend_image_SR": "gone", "crash_dump_SR": NULL,
        "live_patching_disabled": False, "igmp_snooping_enabled": True, "migration_compression": False,
    }
    view = pool_view(record, {"sr1": {"name_label": "nfs1", "uuid": "u1"}})
    assert view["default_sr"] == {"name": "nfs1", "uuid": "u1"}
    assert view["suspend_sr"] is view["crash_dump_sr"] is view["coordinator_bias"] is None
    assert view["igmp_snooping_enabled"] is True
