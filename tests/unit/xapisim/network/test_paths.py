# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where hosts can be found: all their addresses, as long as the network lets them through."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from unit.xapisim.network.objects import Net
from xapisim import control

MASK = "255.255.255.0"


@pytest.fixture
def net(start: Callable[..., Any]) -> Net:
    """eth1 of both hosts has a second address."""
    hosts = [
        {
            "name": f"alpha-{n}",
            "address": f"127.76.1.{n}",
            "nics": ["eth0", {"device": "eth1", "ip": f"127.76.2.{n}"}, "eth2"],
        }
        for n in (1, 2)
    ]
    return Net(
        start({"pools": [{"name": "alpha", "templates": "none", "srs": [], "local_sr": "none", "hosts": hosts}]})
    )


def ask(net: Net, do: str, **args: Any) -> None:
    control.perform(net.sim.pools, {"do": do, **args})


def answers(net: Net, address: str) -> bool:
    try:
        port = urlsplit(net.sim.url).port
        return net.sim.post("/RPC2", b"", url=f"http://{address}:{port}")[0] > 0
    except OSError:
        return False


def settled(net: Net) -> None:
    time.sleep(0.4)


def test_a_host_serves_at_all_its_addresses(net: Net) -> None:
    assert all(answers(net, f"127.76.{a}.{n}") for a in (1, 2) for n in (1, 2))
    net.call("PIF.reconfigure_ip", net.pif("eth2"), "Static", "127.76.3.1", MASK, "", "")
    settled(net)
    assert answers(net, "127.76.3.1")
    net.call("PIF.unplug", net.pif("eth2"))
    settled(net)
    assert not answers(net, "127.76.3.1") and answers(net, "127.76.1.1")


def test_a_switch_without_the_vlan(net: Net) -> None:
    vlan = net.call("VLAN.create", net.pif("eth2", 1), 5, net.network())
    pif = net.get("VLAN", vlan, "untagged_PIF")
    net.call("PIF.reconfigure_ip", pif, "Static", "127.76.5.2", MASK, "", "")
    settled(net)
    assert answers(net, "127.76.5.2")
    ask(net, "cut", vlan=5)
    assert not answers(net, "127.76.5.2") and answers(net, "127.76.1.2")
    net.call("host.management_reconfigure", pif)
    settled(net)
    assert answers(net, "127.76.1.2"), "the old address is served as long as it is there"
    assert net.refused("PIF.plug", net.pif("eth2", 1)) == ["CANNOT_CONTACT_HOST", net.hosts[1]]
    ask(net, "cut", vlan=5, cut=False)
    net.call("PIF.plug", net.pif("eth2", 1))


def test_the_coordinator_behind_a_cut_is_found_at_its_other_address(net: Net) -> None:
    network = net.get("PIF", net.pif("eth0"), "network")
    ask(net, "cut", network=network, host="alpha-1")
    assert not answers(net, "127.76.1.1")
    net.sim.url = net.sim.url.replace("127.76.1.1", "127.76.2.1")
    net.call("host.management_reconfigure", net.pif("eth1"))
    settled(net)
    slave = net.sim.url.replace("127.76.2.1", "127.76.1.2")
    assert net.sim.error("VM.get_all", net.sim.session, url=slave) == ["HOST_IS_SLAVE", "127.76.1.1"]
    assert net.call("pool.recover_slaves") == [net.hosts[1]]
    assert net.sim.error("VM.get_all", net.sim.session, url=slave) == ["HOST_IS_SLAVE", "127.76.2.1"]
    ask(net, "clear")
    assert answers(net, "127.76.1.1")


def test_cuts_for_clients_and_for_the_management(net: Net) -> None:
    eth0 = net.get("PIF", net.pif("eth0", 1), "network")
    ask(net, "cut", network=eth0, host="alpha-2", clients=True)
    assert not answers(net, "127.76.1.2")
    net.call("PIF.plug", net.pif("eth2", 1))
    ask(net, "clear")
    ask(net, "cut", network=net.get("PIF", net.pif("eth1", 1), "network"), management=True)
    assert answers(net, "127.76.2.2")
    net.call("host.management_reconfigure", net.pif("eth1", 1))
    settled(net)
    assert not answers(net, "127.76.2.2") and answers(net, "127.76.1.2")
