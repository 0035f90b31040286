# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""where-queries as xapi's parser understands them."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(scope="module")
def networks(sim: Any) -> dict[str, str]:
    made = {}
    for name, mtu in (("one", 1500), ("two", 9000), ("three", 1500)):
        record = {"name_label": name, "name_description": "q", "MTU": mtu, "other_config": {}, "tags": ["t"]}
        made[name] = sim.call("network.create", record)
    return made


def _mine(sim: Any, networks: dict[str, str], query: str) -> set[str]:
    found = sim.call("network.get_all_records_where", query)
    assert set(sim.call("network.get_all_where", query)) == set(found)
    return {name for name, ref in networks.items() if ref in found}


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ('field "name__label" = "one"', {"one"}),
        ('"one" = field "name__label"', {"one"}),
        ('field "MTU" = "1500"', {"one", "three"}),
        ('field "managed" = "true" and field "MTU" = "9000"', {"two"}),
        ('field "name__label" = "one" or field "name__label" = "two"', {"one", "two"}),
        ('not field "name__label" = "one"', {"two", "three"}),
        # not takes everything to its right
        ('not field "name__label" = "one" and field "MTU" = "1500"', {"two", "three"}),
        ('(not field "name__label" = "one") and field "MTU" = "1500"', {"three"}),
        # and, or: the same precedence, from the left
        ('true or false and field "name__label" = "one"', {"one"}),
        ("true", {"one", "two", "three"}),
        ("false", set()),
        ('field "tags" = "(\'t\')"', {"one", "two", "three"}),
        ('field "other__config" = "()" or field "other_config" = "()"', None),
        ('field "other_config" = "()"', {"one", "two", "three"}),
        ("true true", None),
        ("field 'name__label' = 'one'", None),
        ('field "name_label" = "one"', None),
    ],
)
def test_queries(sim: Any, networks: dict[str, str], query: str, names: set[str] | None) -> None:
    if names is not None:
        assert _mine(sim, networks, query) == names
        return
    error = sim.refused("network.get_all_records_where", query)
    assert error[0] == ("INVALID_VALUE" if "'" in query or query == "true true" else "INTERNAL_ERROR")


def test_reference_column(sim: Any, networks: dict[str, str]) -> None:
    assert _mine(sim, networks, f'field "_ref" = "{networks["two"]}"') == {"two"}
