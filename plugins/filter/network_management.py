# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: network_management
short_description: The interfaces of hosts that carry the management, by a description of networks
version_added: 1.0.0
description:
  - Lists the interfaces to which role C(nobloat.xen.pool_network) moves the management of hosts, as options of M(nobloat.xen.pif).
author: nobloat.xen contributors (@nobloat)
options:
  _input:
    description: The networks, as the role's variable C(pool_network_networks) holds them.
    type: list
    elements: dict
    required: true
  last:
    description: The host whose interface comes last, which is to be the coordinator.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Management interfaces, the coordinator's last
  nobloat.xen.pif:
    management: true
    pifs: "{{ pool_network_networks | nobloat.xen.network_management('xcp1') }}"
"""

RETURN = r"""
_value:
  description: For each interface C(network) and C(host).
  type: list
  elements: dict
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.nobloat.xen.plugins.module_utils.network.description import management
from ansible_collections.nobloat.xen.plugins.plugin_utils.foreign import foreign


@foreign
def network_management(networks: list[Mapping[str, Any]], last: str) -> list[dict[str, Any]]:
    try:
        return management(networks, last)
    except (KeyError, TypeError, AttributeError) as error:
        raise AnsibleFilterError(f"nobloat.xen.network_management: this is no description of networks: {error!r}") from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"network_management": network_management}
