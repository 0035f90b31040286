# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulator as the network tests see it."""

from __future__ import annotations

from typing import Any

NULL = "OpaqueRef:NULL"
VIF = {"MTU": 1500, "other_config": {}, "qos_algorithm_type": "", "qos_algorithm_params": {}}


class Net:
    """The simulator, and short ways to its network objects."""

    def __init__(self, sim: Any) -> None:
        self.sim = sim
        self.call, self.refused = sim.call, sim.refused
        self.hosts = [self.call("host.get_by_name_label", name)[0] for name in ("alpha-1", "alpha-2")]

    def network(self, **fields: Any) -> str:
        return self.call("network.create", {"name_label": "net", "other_config": {}, "MTU": 1500, **fields})

    def pif(self, device: str, host: int = 0) -> str:
        (found,) = [
            ref
            for ref, pif in self.call("PIF.get_all_records").items()
            if pif["device"] == device and pif["VLAN"] == -1 and pif["host"] == self.hosts[host]
        ]
        return found

    def get(self, cls: str, ref: str, *names: str) -> Any:
        record = self.call(f"{cls}.get_record", ref)
        return record[names[0]] if len(names) == 1 else tuple(record[name] for name in names)

    def vm(self, **fields: Any) -> str:
        with self.sim.pool.lock:
            values = {"name_label": "guest", "power_state": "Halted", "domain_type": "pv", **fields}
            return self.sim.pool.db.create("VM", **values).ref

    def vif(self, vm: str, network: str, **fields: Any) -> str:
        record = {"device": "0", "VM": vm, "network": network, "MAC": "00:16:3e:00:00:01", **VIF, **fields}
        return self.call("VIF.create", record)
