# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a host is powered on and when it booted, from its record."""
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.hosts.power import boot_time, power_on_view


@pytest.mark.parametrize(
    ("mode", "config", "view"),
    [
        ("", {}, {"mode": "none"}),
        ("wake-on-lan", {}, {"mode": "wake-on-lan"}),
        ("IPMI", {"power_on_ip": "192.0.2.9", "power_on_user": "xapi", "power_on_password_secret": "uuid"},
         {"mode": "ipmi", "address": "192.0.2.9", "username": "xapi"}),
        ("mine", {"key": "value"}, {"mode": "mine"}),
    ],
)
def test_power_on_view(mode: str, config: dict[str, str], view: dict[str, Any]) -> None:
    assert power_on_view({"power_on_mode": mode, "power_on_config": config}) == view


@pytest.mark.parametrize(("told", "seconds"), [({"boot_time": "1763712000."}, 1763712000.0), ({"boot_time": ""}, 0), ({}, 0)])
def test_boot_time(told: dict[str, str], seconds: float) -> None:
    assert boot_time({"other_config": told}) == seconds
