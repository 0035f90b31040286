# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: mirror_guest_name
short_description: What the legs of a guest call it
version_added: 1.0.0
description:
  - Returns the name of a guest from its uuid, by the tags of its legs. Names stay as they are, and so does what no leg knows.
author: nobloat.xen contributors (@nobloat)
positional: legs
options:
  _input:
    description: Name or uuid of a guest, or several of them.
    type: raw
    required: true
  legs:
    description: Legs, as P(nobloat.xen.mirror_legs#filter) returns them.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: The legs of a guest
  ansible.builtin.debug:
    msg: "{{ mirror_legs | selectattr('guest', 'equalto', guest | nobloat.xen.mirror_guest_name(mirror_legs)) }}"
"""

RETURN = r"""
_value:
  description: The name, or a list of names for a list.
  type: raw
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.recovery import identity
from ansible_collections.nobloat.xen.plugins.plugin_utils.foreign import foreign


@foreign
def mirror_guest_name(guest: Any, legs: Any) -> Any:
    try:
        names = {uuid: name for name, uuid in identity(legs).items() if uuid}
        return [names.get(each, each) for each in guest] if isinstance(guest, list) else names.get(guest, guest)
    except (KeyError, TypeError, AttributeError) as error:
        raise AnsibleFilterError(f"nobloat.xen.mirror_guest_name: this is not what mirror_legs returns: {error!r}") from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"mirror_guest_name": mirror_guest_name}
