# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where-expressions, held against records without a pool."""
from __future__ import annotations

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.where import condition

RECORD = {"_ref": "OpaqueRef:1", "name_label": "a (b) and c", "uuid": "u-1", "managed": True, "MTU": 1500, "VLAN": "-1", "tags": ["a"]}


@pytest.mark.parametrize(("text", "holds"), [
    ('field "name__label"="a (b) and c"', True),
    ('(field "uuid"="x") or (field "_ref"="OpaqueRef:1")', True),
    ('((field "uuid"="u-1") or (field "uuid"="x")) and (field "managed"="false")', False),
    ('field "uuid"="x" and field "managed"="true" or field "MTU"="1500"', True),
    ('field "uuid"="u-1" or field "managed"="true" and field "MTU"="9000"', False),  # from left to right
    ('field "VLAN"="-1" and true', True),
    ("false", False),
    ('field "nothing"="None"', False),
    ('field "tags"="[\'a\']"', False),
])
def test_fields_of_one_value(text, holds):
    found = condition(text)
    assert found and found(RECORD) is holds


@pytest.mark.parametrize("text", ['not field "uuid"="x"', 'field "uuid"', '(field "uuid"="x"', 'field "a"="b" field "c"="d"', "and", "())"])
def test_the_rest_is_asked_of_xapi(text):
    assert condition(text) is None
