# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: network_problems
short_description: What is wrong with a description of networks
version_added: 1.0.0
description:
  - Checks the networks, bonds and tunnels that role C(nobloat.xen.pool_network) is to make, without asking a pool. Names and VLANs
    must be used once, addresses too, each in its subnet and none of them the gateway, subnets must not overlap, and each kind of
    traffic has its own network.
author: nobloat.xen contributors (@nobloat)
options:
  _input:
    description: The networks, as the role's variable C(pool_network_networks) holds them.
    type: list
    elements: dict
    required: true
  bonds:
    description: The bonds, as in C(pool_network_bonds).
    type: list
    elements: dict
    default: []
  tunnels:
    description: The tunnels, as in C(pool_network_tunnels).
    type: list
    elements: dict
    default: []
  own_carrier:
    description: Kinds of traffic that share their NIC or bond with no other one.
    type: list
    elements: str
    default: []
requirements:
  - netaddr (Python library) on the controller, if there are addresses
"""

EXAMPLES = r"""
- name: The networks make sense
  ansible.builtin.assert:
    that: problems | length == 0
    fail_msg: "{{ problems | join(' ') }}"
  vars:
    problems: "{{ pool_network_networks | nobloat.xen.network_problems(bonds=pool_network_bonds, own_carrier=['san']) }}"
"""

RETURN = r"""
_value:
  description: One sentence for each problem; empty if there is none.
  type: list
  elements: str
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.nobloat.xen.plugins.module_utils.network.description import problems
from ansible_collections.nobloat.xen.plugins.plugin_utils.foreign import foreign


@foreign
def network_problems(networks: list[Mapping[str, Any]], **others: Any) -> list[str]:
    try:
        return problems(networks, **others)
    except ImportError as error:
        raise AnsibleFilterError(f"nobloat.xen.network_problems needs the Python library {error}: pip install {error}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise AnsibleFilterError(f"nobloat.xen.network_problems: this is no description of networks: {error!r}") from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"network_problems": network_problems}
