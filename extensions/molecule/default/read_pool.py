# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pool as the XenAPI SDK reads it, for the verification: prints JSON.  read_pool.py URL USER PASSWORD"""
from __future__ import annotations

import json
import sys

import XenAPI

url, user, password = sys.argv[1:]
session = XenAPI.Session(url, ignore_ssl=True)
session.xenapi.login_with_password(user, password, "2.0", "molecule verify")
xapi = session.xenapi
try:
    (pool,) = xapi.pool.get_all_records().values()
    networks, srs = xapi.network.get_all_records(), xapi.SR.get_all_records()
    pifs, pbds, vifs = (getattr(xapi, name).get_all_records().values() for name in ("PIF", "PBD", "VIF"))
    plugged = [pbd for pbd in pbds if pbd["currently_attached"]]
    hosts = len(xapi.host.get_all())
    guests = {
        ref: vm for ref, vm in xapi.VM.get_all_records().items()
        if not (vm["is_a_template"] or vm["is_a_snapshot"] or vm["is_control_domain"])
    }
    print(json.dumps({
        "name": pool["name_label"],
        "tags": sorted(pool["tags"]),
        "default_sr": srs.get(pool["default_SR"], {}).get("name_label"),
        "vlans": {networks[pif["network"]]["name_label"]: int(pif["VLAN"]) for pif in pifs if int(pif["VLAN"]) >= 0},
        "attached": sorted(
            sr["name_label"] for ref, sr in srs.items()
            if sum(pbd["SR"] == ref for pbd in plugged) == (hosts if sr["shared"] else 1)
        ),
        "guests": [
            {"name": vm["name_label"], "power_state": vm["power_state"],
             "networks": sorted(networks[vif["network"]]["name_label"] for vif in vifs if vif["VM"] == ref)}
            for ref, vm in guests.items()
        ],
    }))
finally:
    xapi.session.logout()
