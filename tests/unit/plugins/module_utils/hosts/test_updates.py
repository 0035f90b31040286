# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host lacks and whether it has to reboot, from what XAPI and updater.py say."""
from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.hosts.updates import NOTE, lacking, packages, reboot_required


def test_packages_of_both_ages_of_the_plugin() -> None:
    items = [{"name": "xen", "version": "4.17", "release": "2"}, {"name": "kernel", "version": "4.19", "release": "8", "size": 3}]
    expected = ["kernel-4.19-8", "xen-4.17-2"]
    assert packages(json.dumps(items)) == expected
    assert packages(json.dumps({"result": items})) == expected
    assert packages("[]") == []


@pytest.mark.parametrize(
    ("host", "updates", "reboot"),
    [
        ({"updates": ["b", "a"], "guidance": {"mandatory": ["RebootHost"]}}, ["a", "b"], True),
        ({"updates": ["a"], "guidance": {"mandatory": [], "full": ["RebootHost"]}}, ["a"], False),
        ({"updates": [], "RPMS": ["x-1"], "recommended-guidance": ["RebootHost"]}, ["x-1"], True),
        ({"updates": ["a"], "recommended-guidance": ["RestartToolstack"]}, ["a"], False),
        ({}, [], False),
    ],
)
def test_lacking(host: dict[str, Any], updates: list[str], reboot: bool) -> None:
    document = {"hosts": [{"ref": "other", "updates": ["z"]}, {"ref": "mine", **host}]}
    assert lacking(document, "mine") == (updates, reboot)


@pytest.mark.parametrize(
    ("host", "required"),
    [
        ({"other_config": {"boot_time": "100."}}, False),
        ({"other_config": {"boot_time": "100.", NOTE: "99"}}, False),
        ({"other_config": {"boot_time": "100.", NOTE: "101"}}, True),
        ({"other_config": {}, "pending_guidances": ["restart_toolstack"]}, False),
        ({"other_config": {}, "pending_guidances": ["reboot_host"]}, True),
        ({"other_config": {}, "pending_guidances_recommended": ["reboot_host"]}, True),
    ],
)
def test_reboot_required(host: dict[str, Any], required: bool) -> None:
    assert reboot_required(host) is required
