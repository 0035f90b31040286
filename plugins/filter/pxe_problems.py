# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: pxe_problems
short_description: What is wrong with the description of a PXE server
version_added: 1.0.0
description:
  - Checks what role P(nobloat.xen.pxe_server#role) writes into scripts, units and settings. A quote, a semicolon or a new line there
    would be another command or another setting.
author: nobloat.xen contributors (@nobloat)
options:
  _input:
    description: The role's variables root, interface, address, dhcp_range and dhcp_options, without their prefix.
    type: dict
    required: true
  images:
    description: The images, as in C(pxe_server_images).
    type: list
    elements: dict
    default: []
  hosts:
    description: The hosts, as in C(pxe_server_hosts).
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: The values are plain ones
  ansible.builtin.assert:
    that: problems | length == 0
    fail_msg: "{{ problems | join(' ') }}"
  vars:
    problems: "{{ {'root': pxe_server_root} | nobloat.xen.pxe_problems(hosts=pxe_server_hosts) }}"
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
from ansible_collections.nobloat.xen.plugins.module_utils.provisioning.plain import problems
from ansible_collections.nobloat.xen.plugins.plugin_utils.foreign import foreign


@foreign
def pxe_problems(server: Mapping[str, Any], images: Any = (), hosts: Any = ()) -> list[str]:
    try:
        return problems(server, images, hosts)
    except (KeyError, TypeError, AttributeError) as error:
        raise AnsibleFilterError(f"nobloat.xen.pxe_problems: this is no description of a PXE server: {error!r}") from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"pxe_problems": pxe_problems}
