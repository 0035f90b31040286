# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    # What pools, hosts, networks, SRs, VDIs and VMs share.
    DOCUMENTATION = r"""
options:
  description:
    description:
      - Text that describes the object. If omitted, it is left alone; an empty text clears it.
    type: str
  tags:
    description:
      - Tags to add. An empty list removes all of them; with O(purge=true) the list is exact.
    type: list
    elements: str
  other_config:
    description:
      - Keys of C(other_config) to set. A null value removes a key, an empty map removes all,
        with O(purge=true) the map is exact. Both leave alone what this collection (C(nobloat.*)), XAPI, its storage drivers,
        Xen Orchestra (C(xo:*)) and XenCenter keep there, unless a key of theirs is named.
      - Keys are added and removed one by one, so that what others write at the same time stays.
    type: dict
  purge:
    description:
      - Make lists and maps exact, instead of adding to what is there.
    type: bool
    default: false
"""
