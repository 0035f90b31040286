# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: network_options
short_description: The networks of a description as options of module network
version_added: 1.0.0
description:
  - Turns the networks of role C(nobloat.xen.pool_network) into options of M(nobloat.xen.network).
author: nobloat.xen contributors (@nobloat)
options:
  _input:
    description: The networks, as the role's variable C(pool_network_networks) holds them.
    type: list
    elements: dict
    required: true
  bonds:
    description: What became of each bond, as M(nobloat.xen.bond) returns it for a list, for networks that lie over one.
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: VLANs
  nobloat.xen.network:
    networks: "{{ pool_network_networks | nobloat.xen.network_options(made.bonds) }}"
"""

RETURN = r"""
_value:
  description: For each network C(name), C(description), C(mtu), C(tags), C(vlan) and C(device). What is not said is null.
  type: list
  elements: dict
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.nobloat.xen.plugins.module_utils.network.description import options
from ansible_collections.nobloat.xen.plugins.plugin_utils.foreign import foreign


@foreign
def network_options(networks: list[Mapping[str, Any]], bonds: Sequence[Mapping[str, Any]] = ()) -> list[dict[str, Any]]:
    try:
        return options(networks, bonds)
    except (KeyError, TypeError, AttributeError) as error:
        raise AnsibleFilterError(f"nobloat.xen.network_options: this is no description of networks: {error!r}") from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"network_options": network_options}
