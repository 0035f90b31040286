# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: network_addresses
short_description: The addresses of hosts in a description of networks, one by one
version_added: 1.0.0
description:
  - Lists the addresses that the networks of role C(nobloat.xen.pool_network) give to hosts, as options of M(nobloat.xen.pif).
author: nobloat.xen contributors (@nobloat)
options:
  _input:
    description: The networks, as the role's variable C(pool_network_networks) holds them.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Addresses
  nobloat.xen.pif:
    pifs: "{{ pool_network_networks | nobloat.xen.network_addresses }}"
"""

RETURN = r"""
_value:
  description:
    - For each address C(network), C(host), C(ip_mode), C(ip) (with the length of the network), C(gateway), C(dns), C(purpose),
      C(disallow_unplug). What is not said is null.
  type: list
  elements: dict
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.nobloat.xen.plugins.module_utils.network.description import addresses
from ansible_collections.nobloat.xen.plugins.plugin_utils.foreign import foreign


@foreign
def network_addresses(networks: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    try:
        return addresses(networks)
    except (KeyError, TypeError, AttributeError) as error:
        raise AnsibleFilterError(f"nobloat.xen.network_addresses: this is no description of networks: {error!r}") from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"network_addresses": network_addresses}
