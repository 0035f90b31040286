# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dumps of a pool's database: what counts in them, and how two differ."""
from __future__ import annotations

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.hosts.database import count, differences, parse

HOST = "<table name='host'><row ref='h' __mtime='{n}' name__label='xcp1' other_config=\"(('boot_time'%.'{n}.')%.('a'%.'b'))\"/></table>"


def dump(rows: str = "", number: int = 1, **tables: str) -> bytes:
    more = "".join(f"<table name='{name}'>{text}</table>" for name, text in tables.items())
    return f"<database><manifest/>{HOST.format(n=number)}<table name='VM'>{rows}</table>{more}</database>".encode()


def vm(ref: str, name: str, **columns: str) -> str:
    extra = "".join(f' {key}="{value}"' for key, value in columns.items())
    return f"<row ref='{ref}' name__label='{name}'{extra}/>"


def test_what_moves_by_itself_does_not_count() -> None:
    old = dump(vm("v", "web", last_updated="1", allowed_operations="()"), 1, host_metrics="<row ref='m' live='true'/>")
    new = dump(vm("v", "web", last_updated="2", allowed_operations="('start')"), 2, session="<row ref='s'/>")
    assert differences(parse(old), parse(new)) == []


def test_what_comes_goes_and_changes() -> None:
    old, new = parse(dump(vm("a", "one") + vm("b", "two", tags="()"))), parse(dump(vm("b", "two", tags="('x')") + vm("c", "three")))
    assert differences(old, new) == ["VM one goes", "VM three appears", "VM two: tags"]
    assert count(new) == {"VM": 2, "host": 1}
    assert differences({}, new)[0] == "VM three appears"


def test_other_keys_of_other_config_count() -> None:
    old, new = dump(), dump().replace(b"'b'", b"'c'")
    assert differences(parse(old), parse(new)) == ["host xcp1: other_config"]


@pytest.mark.parametrize("data", [b"", b"root:x:0:0", b"<html/>", b"<database/>"])
def test_what_is_no_dump(data: bytes) -> None:
    with pytest.raises(ValueError, match="XML"):
        parse(data)
