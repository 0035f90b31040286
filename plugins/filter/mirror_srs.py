# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: mirror_srs
short_description: The SRs of legs
version_added: 1.0.0
description:
  - Puts together the options that M(nobloat.xen.sr) wants for SRs that have legs as VDIs, one for each node.
author: nobloat.xen contributors (@nobloat)
options:
  _input:
    description: Legs as P(nobloat.xen.mirror_legs#filter) returns them.
    type: list
    elements: dict
    required: true
  sizes:
    description: Whether each VDI has to have the size of its leg.
    type: bool
    default: false
  hosts:
    description:
      - What XAPI calls nodes, by name of the node, where that is another name. It is noted in C(other_config) of the SR, so that a
        host is not taken away with the last half of a mirror.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: An SR of the legs of each node
  nobloat.xen.sr:
    srs: "{{ mirror_legs | nobloat.xen.mirror_srs }}"
"""

RETURN = r"""
_value:
  description: Options of M(nobloat.xen.sr), by node.
  type: list
  elements: dict
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.mirror.legs import srs
from ansible_collections.nobloat.xen.plugins.plugin_utils.foreign import foreign


@foreign
def mirror_srs(
    legs: Iterable[Mapping[str, Any]], sizes: bool = False, hosts: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """See DOCUMENTATION."""
    return srs(legs, sizes=sizes, hosts=hosts)


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"mirror_srs": mirror_srs}
