# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.network.mtu import carriers, mtu_problems, place

NULL = "OpaqueRef:NULL"
HOSTS = {f"h{n}": {"name_label": f"xcp{n}"} for n in (1, 2)}
NETWORKS = {"nic": {"name_label": "lan", "MTU": 1500}, "wide": {"name_label": "storage", "MTU": 9000}}
NARROW = ("network x has an MTU of {}, but lies over eth1 of {} with {}: larger packets are lost. "
          "Give network {} the larger MTU, or this one the smaller.")
WIDE = ("network x has an MTU of 1500, and carries VLANs with a larger one (storage): larger packets are lost. "
        "Give it the larger MTU, or them the smaller.")


def pif(host: str = "h1", device: str = "eth1", tag: int = -1, network: str = "nic", **more: Any) -> dict[str, Any]:
    return {"host": host, "device": device, "VLAN": tag, "network": network, "other_config": {}, "bond_master_of": [],
            "bond_slave_of": NULL, "tunnel_access_PIF_of": [], "sriov_logical_PIF_of": [], **more}


@pytest.mark.parametrize(("mtu", "bases", "over", "told"), [
    (1500, [pif(), pif("h2")], [], []),
    (9000, [pif(), pif("h2")], [], [NARROW.format(9000, "xcp1, xcp2", 1500, "lan")]),
    (9000, [pif(other_config={"mtu": "9000"})], [], []),  # of its own, beside the network
    (9000, [pif(network="wide", other_config={"mtu": "many"})], [], []),  # XAPI does not understand it either
    (1500, [pif(network="wide", other_config={"mtu": "1400"})], [],
     [NARROW.format(1500, "xcp1", 1400, "storage")]),
    (1500, [], [pif(tag=5, network="wide"), pif(tag=6)],
     [WIDE]),
])
def test_what_does_not_fit(mtu: int, bases: list[Any], over: list[Any], told: list[str]) -> None:
    assert list(mtu_problems("network x", mtu, bases, over, NETWORKS, HOSTS)) == told


def test_only_nics_and_bonds_carry() -> None:
    nic, bond, vlan, elsewhere = pif(), pif(device="bond0", bond_master_of=["b"]), pif(tag=5), pif("h2")
    assert carriers([nic, bond, vlan, elsewhere], {("h1", "eth1"), ("h1", "bond0")}) == [nic, bond]
    assert place(bond) == ("h1", "bond0")
