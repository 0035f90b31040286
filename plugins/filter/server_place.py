# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: server_place
short_description: What the address of a server leads to
version_added: 1.0.0
description:
  - Takes apart what the modules take as C(hostname), an address (IPv6, too), a name or a URL. Two of them lead to the same server if their
    C(host) is the same; names are not resolved.
author: nobloat.xen contributors (@nobloat)
options:
  _input:
    description: The address, as in C(xapi_hostname).
    type: str
    required: true
"""

EXAMPLES = r"""
- name: The pool is not reached over the server that leaves it
  ansible.builtin.assert:
    that: (xapi_hostname | nobloat.xen.server_place).host != (address | nobloat.xen.server_place).host
"""

RETURN = r"""
_value:
  description: The C(host), a name in small letters or an IP address without brackets, and the C(url).
  type: dict
  sample: {host: "2001:db8::17", url: "https://[2001:db8::17]"}
"""

from collections.abc import Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import XapiError
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.wire import normal_url, place
from ansible_collections.nobloat.xen.plugins.plugin_utils.foreign import foreign


@foreign
def server_place(address: str) -> dict[str, str]:
    try:
        return {"host": place(f"{address}"), "url": normal_url(f"{address}")}
    except XapiError as error:
        raise AnsibleFilterError(f"nobloat.xen.server_place: {error}") from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., dict[str, str]]]:
        return {"server_place": server_place}
