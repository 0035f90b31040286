# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: xapi
short_description: Guests and hosts of XCP-ng and XenServer pools
version_added: 1.0.0
description:
  - Reads guests and hosts of one or more pools straight from XAPI, with six calls a pool (login and logout are two of them)
    however many guests there are. Several pools are read at the same time.
  - A fresh cache needs no call at all, and an expired one is brought up to date with what has changed since, by three
    calls. When there is doubt (the coordinator was restarted, or replaced), everything is read again.
  - Templates, snapshots and control domains are left out.
  - The file's name ends with C(xapi.yml) or C(xapi.yaml).
author:
  - nobloat.xen contributors (@nobloat)
extends_documentation_fragment:
  - nobloat.xen.inventory
  - ansible.builtin.constructed
  - ansible.builtin.inventory_cache
options:
  plugin:
    description: Says that the file is for this plugin.
    type: str
    required: true
    choices: [nobloat.xen.xapi]
  filters:
    description:
      - Take in only guests and hosts that meet all of these conditions. A list of values means any of them.
      - C(type) is V(vm) (a guest) or V(host). C(power_state) is V(running), V(halted), V(paused) or V(suspended); hosts have
        none. C(name), C(pool), C(host) (that it is, or that the guest is on) and C(tags) are names or shell patterns
        (V(web*)). C(uuid) is a unique identifier, C(other_config) a map of keys and their values.
      - They are applied before anything is worked out for a guest, so they make large inventories faster.
    type: dict
    default: {}
  exclude:
    description: Leave out guests and hosts that meet all of these conditions; the same ones as in O(filters).
    type: dict
    default: {}
  hostnames:
    description:
      - Jinja2 expressions (without braces) for the name in the inventory. The first one that gives a name is used, and the
        uuid if none does.
      - Several guests or hosts with one name each get the beginning of their uuid as a suffix, and there is a warning;
        with O(strict=true) it is an error.
    type: list
    elements: str
    default: [xapi_name]
  preferred_networks:
    description: Names or uuids of networks whose addresses become C(ansible_host), the best one first.
    type: list
    elements: str
    default: []
  prefer_ipv6:
    description: Prefer IPv6 to IPv4 addresses for C(ansible_host). Link-local addresses are never used.
    type: bool
    default: false
  default_groups:
    description:
      - Groups to make without being asked. V(type) makes C(xapi_vms) and C(xapi_hosts), V(pool) C(xapi_pool_NAME),
        V(host) C(xapi_host_NAME) of the guests on it, V(power_state) C(xapi_power_state_running) and so on,
        V(tag) C(xapi_tag_NAME). Characters that Ansible does not allow in names of groups become underscores.
    type: list
    elements: str
    choices: [type, pool, host, power_state, tag]
    default: [type, pool, host, power_state, tag]
  group_prefix:
    description: What the names of these groups begin with.
    type: str
    default: xapi_
notes:
  - Host variables of all are C(xapi_type) (V(vm) or V(host)), C(xapi_name), C(xapi_uuid), C(xapi_pool), C(xapi_host) (of a
    guest, the host that it is on, or empty), C(xapi_description), C(xapi_tags), C(xapi_other_config), C(xapi_memory)
    (bytes), C(xapi_ip_addresses), and C(ansible_host) if an address is known.
  - Guests have C(xapi_power_state), C(xapi_vcpus), C(xapi_networks) (a list with C(device), C(network), C(network_uuid),
    C(mac), C(ip_addresses)), C(xapi_os) and C(xapi_tools) (as the guest's agent reports them).
  - Hosts have C(xapi_coordinator), C(xapi_enabled), C(xapi_live), C(xapi_cpus), C(xapi_version).
  - The cache holds what was read, not what this file makes of it; filters and groups can be changed at any time. It needs a
    cache plugin that keeps things, such as C(ansible.builtin.jsonfile).
  - A refresh that is asked for (by the C(refresh_inventory) meta task, or C(--flush-cache)) fetches changes only, too. Remove the cache
    to read everything again.
"""

EXAMPLES = r"""
# production.xapi.yml: one pool, with the password from the environment variable XENSERVER_PASSWORD
#
# plugin: nobloat.xen.xapi
# hostname: pool.example.com

# several pools, read at the same time
plugin: nobloat.xen.xapi
username: inventory
password: "{{ lookup('ansible.builtin.file', '~/.xen-password') }}"
pools:
  - hostname: berlin.example.com
  - hostname: https://paris.example.com:8443
    password: !vault |
      $ANSIBLE_VAULT;1.1;AES256
      ...
broken_pools: warn
# running guests with one of these tags
filters:
  type: vm
  power_state: running
  tags: [web, "db*"]
exclude:
  name: "*-old"
# web1.berlin
hostnames:
  - xapi_name ~ '.' ~ xapi_pool
preferred_networks: [management, internal]
compose:
  ansible_user: "'admin' if xapi_os.distro | default('') == 'debian' else 'root'"
groups:
  small: xapi_type == 'vm' and xapi_memory < 2 * 1024 ** 3
keyed_groups:
  - prefix: os
    key: xapi_os.distro | default('')
# keep it for ten minutes; then fetch what has changed
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: ~/.cache/ansible/xapi
cache_timeout: 600
"""

import os
from typing import Any

from ansible.errors import AnsibleParserError
from ansible.inventory.group import to_safe_group_name
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable
from ansible.utils.unsafe_proxy import wrap_var
from ansible.utils.vars import combine_vars
from ansible_collections.nobloat.xen.plugins.module_utils.inventory.facts import (
    Item,
    Preferences,
    World,
    check_conditions,
    default_groups,
    matches,
    unique_names,
)
from ansible_collections.nobloat.xen.plugins.module_utils.inventory.pools import CONNECTION, Kept, connections, look
from ansible_collections.nobloat.xen.plugins.module_utils.inventory.read import State
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import XapiError
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.session import undisturbed

FORMAT = 1  # of the cache
# Older ansible-core takes every text that it is not warned of for a template, be it written by a guest's agent.
MARKS_TEMPLATES = hasattr(BaseInventoryPlugin, "trusted_by_default")


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    """The inventory plugin; the thinking is in module_utils/inventory."""

    NAME = "nobloat.xen.xapi"

    def verify_file(self, path: str) -> bool:
        """Whether the file's name is one of ours."""
        return super().verify_file(path) and path.endswith(("xapi.yml", "xapi.yaml"))

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        """Fill the inventory; AnsibleParserError in plain words."""
        super().parse(inventory, loader, path, cache)
        unknown = self._read_config_data(path).keys() - {"plugin", *self.option_definitions}
        try:
            if unknown:
                raise ValueError(f"there is no option {', '.join(sorted(unknown))}")
            for option in ("filters", "exclude"):
                check_conditions(option, self.get_option(option))
            with undisturbed():
                self._populate(self._states(path, cache))
        except ValueError as error:
            raise AnsibleParserError(f"{path}: {error}") from error

    def _states(self, path: str, cache: bool) -> list[State]:
        """The pools as the cache or XAPI has them."""
        wanted = connections(
            {key: self.get_option(key) for key in CONNECTION}, self.get_option("pools"),
            os.path.dirname(os.path.abspath(path)), lambda text: str.__str__(str(self.templar.template(text))),
        )
        max_age = self.get_option("cache_timeout") if cache else None
        kept = self._load_cache(path)
        found = look(wanted, kept, max_age)
        fatal = self.get_option("broken_pools") == "fail" or not found.states
        for hostname, error in found.errors.items():
            self._complain(hostname, error, fatal=fatal)
        if found.new and self.get_option("cache"):
            self._cache[self.get_cache_key(path)] = {"format": FORMAT, "pools": found.keep(kept)}
        return list(found.states.values())

    def _complain(self, hostname: str, error: XapiError, *, fatal: bool) -> None:
        message = f"Cannot read the pool of {hostname}: {error}" + (f" ({error.hint})" if error.hint else "")
        if fatal:
            raise AnsibleParserError(message) from None  # ansible-core would say it twice
        self.display.warning(f"{message} - going on without it")

    def _load_cache(self, path: str) -> Kept:
        """What the cache has of each pool, however old."""
        if not self.get_option("cache"):
            return {}
        self.set_option("cache_timeout", 0)  # an expired entry is what the next one starts from
        self.load_cache_plugin()
        try:
            entry = self._cache[self.get_cache_key(path)]
            return dict(entry["pools"]) if entry["format"] == FORMAT else {}
        except (KeyError, TypeError):
            return {}

    def _populate(self, states: list[State]) -> None:
        filters, exclude = self.get_option("filters"), self.get_option("exclude")
        preferences = Preferences(self.get_option("preferred_networks"), self.get_option("prefer_ipv6"))
        chosen: list[tuple[World, Item]] = []
        for world in map(World, states):
            for item in world.items():
                if matches(item.variables, filters) and not (exclude and matches(item.variables, exclude)):
                    chosen.append((world, item))
        found = [_plain(world.facts(item, preferences)) for world, item in chosen]
        names, duplicates = unique_names([(self._name(facts), facts["xapi_uuid"]) for facts in found])
        for name, uuids in sorted(duplicates.items()):
            message = f"{len(uuids)} guests or hosts have the name {name}: {', '.join(uuids)}"
            if self.get_option("strict"):
                raise AnsibleParserError(f"{message}. Option hostnames can tell them apart.")
            self.display.warning(f"{message}. Their names get a suffix.")
        wanted, prefix = self.get_option("default_groups"), self.get_option("group_prefix")
        members: dict[str, list[str]] = {}
        for name, facts in sorted(zip(names, found, strict=True), key=lambda pair: pair[0]):
            self.inventory.add_host(name)
            host = self.inventory.hosts[name]
            host.vars = combine_vars(host.vars, facts)  # set_variable copies each value: slower than all the rest
            for group in default_groups(facts, wanted):
                members.setdefault(group, []).append(name)
        for group in sorted(members):
            safe = self.inventory.add_group(to_safe_group_name(prefix + group, force=True, silent=True))
            for name in members[group]:
                self.inventory.add_child(safe, name)
        self._construct(dict(zip(names, found, strict=True)))

    def _construct(self, found: dict[str, dict[str, Any]]) -> None:
        """What the file makes of them: compose, groups, keyed_groups."""
        compose, groups, keyed = (self.get_option(option) for option in ("compose", "groups", "keyed_groups"))
        strict = self.get_option("strict")
        if not (compose or groups or keyed):
            return
        for name, facts in found.items():
            self._set_composite_vars(compose, facts, name, strict=strict)
            variables = combine_vars(facts, self.inventory.hosts[name].get_vars())
            self._add_host_to_composed_groups(groups, variables, name, strict=strict, fetch_hostvars=False)
            self._add_host_to_keyed_groups(keyed, variables, name, strict=strict, fetch_hostvars=False)

    def _name(self, facts: dict[str, Any]) -> str:
        for expression in self.get_option("hostnames"):
            if expression in facts:  # just a variable, the usual case
                name = facts[expression]
            else:
                try:
                    name = self._compose(expression, facts)
                except Exception as error:
                    if self.get_option("strict"):
                        raise AnsibleParserError(f"hostnames: {expression}: {error}") from error
                    continue
            if name:
                return str(name)
        return str(facts["xapi_uuid"])


def _plain(facts: dict[str, Any]) -> dict[str, Any]:
    """The same, with nothing in it that Ansible would take for a template."""
    return facts if MARKS_TEMPLATES else {key: wrap_var(value) if _braces(value) else value for key, value in facts.items()}


def _braces(value: Any) -> bool:
    if isinstance(value, str):
        return "{" in value
    if isinstance(value, dict):
        return any(map(_braces, value.values())) or any(map(_braces, value))
    return isinstance(value, list) and any(map(_braces, value))
