# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host is known by its certificate, whatever the address it is reached at."""
from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.network.reach import (
    probe,
    reachable,
    try_address,
)
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import XapiError
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.session import Session

from xapisim.launcher import control, launch

NICS = [
    [{"device": "eth0", "ip": f"127.75.1.{n}", "management": True}, {"device": "eth1", "ip": f"127.75.2.{n}"}] for n in (1, 2)
]
HOSTS = [{"name": f"xcp{n}", "address": f"127.75.1.{n}", "nics": NICS[n - 1]} for n in (1, 2)]
SCENARIO = {"pools": [{"name": "alpha", "templates": "none", "srs": [], "local_sr": "none", "hosts": HOSTS}]}


@pytest.fixture(scope="module")
def info():
    with launch(SCENARIO, tls=True) as ready:
        yield ready


@pytest.fixture
def xapi(info):
    pool = info["pools"][0]
    with Session(pool["url"], pool["username"], pool["password"], ca_path=info["ca"]) as session:
        yield session


def test_the_certificate_tells_who_it_is(xapi):
    one, two = probe(xapi, "127.75.1.1"), probe(xapi, "127.75.1.2")
    assert one and two and one != two
    assert reachable(xapi, "127.75.2.1", one) and not reachable(xapi, "127.75.2.2", one)
    with pytest.raises(XapiError, match="another host than expected"):
        try_address(xapi, "127.75.2.2", one, 1)


def test_nobody_answers(info, xapi):
    assert not reachable(xapi, "127.75.9.9")
    control(info, "cut", network="Pool-wide network associated with eth1")
    assert not reachable(xapi, "127.75.2.1")
    control(info, "clear")
    try_address(xapi, "127.75.2.1", None, 5)


def test_a_session_goes_to_another_address_and_knows_the_host_there(xapi):
    assert xapi.peer() == "127.75.1.1"
    xapi.go_to("127.75.2.1")
    assert len(xapi.call("host.get_all")) == 2
    assert (xapi.peer(), xapi.server_name) == ("127.75.2.1", "127.75.1.1")
    assert urlsplit(xapi.url).hostname == "127.75.2.1"


def test_a_transfer_goes_there_too(xapi):
    xapi.go_to("127.75.2.1")
    wire = xapi.wire_to(f"{xapi.url}/")
    try:
        wire.connect()
    finally:
        wire.close()
