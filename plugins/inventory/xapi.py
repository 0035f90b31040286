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
      - So does, with a warning only, who is called as a group, as a host of another source (see O(adopt)), as the machine that
        Ansible runs on (C(localhost), loopback addresses), or has a name that Ansible would take for something else (a path, a
        pattern, an option). Whatever makes it so becomes an underscore.
      - What several pools claim to have by one uuid, but describe differently, is there several times. Where such have the same name,
        each gets the address of its pool as a suffix, and there is a warning. One pool that is given twice is there once.
      - Who has a name that Ansible might evaluate (see the notes) is called by its uuid.
    type: list
    elements: str
    default: [xapi_name]
  adopt:
    description:
      - Names or shell patterns (V(web*)) of hosts and groups of other sources that this one may touch. Without it, it touches none.
      - A guest or host that is called as such a host gets no suffix, and its variables are added to that host; what the other source
        says of it stays. If a tag, for example, has the name of such a group, the guest gets into it; else it gets into
        another one, whose name ends with a number, and there is a warning.
      - This is for those who describe a guest in a file and want what XAPI knows of it, too. Whoever may name guests or tag them
        in the pool decides what is adopted, so name no more than that.
    type: list
    elements: str
    default: []
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
      - A group that another source made is left alone unless O(adopt) names it, and no group is called as the machine that Ansible
        runs on. What belongs there is in a group whose name ends with a number.
      - If a guest or host of a pool is called as a group, the group keeps the name, whichever was there first. So with an empty
        prefix in O(keyed_groups), whoever may set tags decides what such names mean.
    type: list
    elements: str
    choices: [type, pool, host, power_state, tag]
    default: [type, pool, host, power_state, tag]
  group_prefix:
    description: What the names of these groups begin with.
    type: str
    default: xapi_
notes:
  - Only sources that were read before are known. Give this one after those that describe your hosts (files in a folder are read
    in the order of their names); else a guest that is called as one of them is there first.
  - A text that Ansible might evaluate is marked as unsafe, so that nothing of a pool is evaluated. These are texts with a C({), those
    that begin with C(#jinja2:), and those that are as a whole an expression with a lookup or a call of a method in it, which
    a condition such as C(when) would run. All others are plain, for AWX, too, also when the word lookup or query is in them.
  - Before ansible-core 2.19, Ansible loses this mark where a text is read through C(hostvars) and put into another one in the same
    expression, as in C(hostvars[name].xapi_name ~ '!'); C(set_fact) and C(loop) evaluate what comes of it. Take it as it is there.
  - For AWX, C(xapi_uuid) is the instance id variable; C(xapi_power_state) with the value C(running) can enable hosts.
  - Host variables of all are C(xapi_type) (V(vm) or V(host)), C(xapi_name), C(xapi_uuid), C(xapi_pool), C(xapi_host) (of a
    guest, the host that it is on, or empty), C(xapi_description), C(xapi_tags), C(xapi_other_config), C(xapi_memory)
    (bytes), C(xapi_ip_addresses), and C(ansible_host) if an address is known.
  - Guests have C(xapi_power_state), C(xapi_vcpus), C(xapi_nics) (a list with C(device), C(network), C(network_uuid),
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
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from ansible import template as ansible_template
from ansible.errors import AnsibleError, AnsibleParserError
from ansible.inventory.group import to_safe_group_name
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable
from ansible.utils.unsafe_proxy import wrap_var
from ansible.utils.vars import combine_vars
from ansible_collections.nobloat.xen.plugins.module_utils.inventory.facts import (
    Preferences,
    World,
    check_conditions,
    default_groups,
    matches,
)
from ansible_collections.nobloat.xen.plugins.module_utils.inventory.names import (
    SHOWN,
    choose_names,
    cleaned,
    evaluates,
    is_local,
)
from ansible_collections.nobloat.xen.plugins.module_utils.inventory.others import (
    DEFAULT,
    KEYED,
    NAMED,
    Others,
    Recorder,
)
from ansible_collections.nobloat.xen.plugins.module_utils.inventory.pools import (
    CONNECTION,
    Found,
    Kept,
    connections,
    look,
)
from ansible_collections.nobloat.xen.plugins.module_utils.inventory.read import State
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.session import undisturbed
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.wire import normal_url

FORMAT = 2  # of the cache
Facts = dict[str, Any]


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    """The inventory plugin; the thinking is in module_utils/inventory."""

    NAME = "nobloat.xen.xapi"

    def verify_file(self, path: str) -> bool:
        """Whether the file's name is one of ours."""
        return super().verify_file(path) and path.endswith(("xapi.yml", "xapi.yaml"))

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        """Fill the inventory; AnsibleParserError in plain words."""
        super().parse(inventory, loader, path, cache)
        try:
            unknown = self._read_config_data(path).keys() - {"plugin", *self.option_definitions}
            if unknown:
                raise ValueError(f"there is no option {', '.join(sorted(unknown))}")
            for option in ("filters", "exclude"):
                check_conditions(option, self.get_option(option))
            with undisturbed():
                self._populate(self._look(path, cache), path)
        except ValueError as error:
            raise AnsibleParserError(f"{path}: {error}") from None

    def set_options(self, task_keys: Any = None, var_options: Any = None, direct: Any = None) -> None:
        """Of the options of a connection, what stands in the file is a template. What comes from the environment is none."""
        given = {key: self._template(key, value) for key, value in (direct or {}).items() if key in CONNECTION}
        super().set_options(task_keys=task_keys, var_options=var_options, direct={**(direct or {}), **given})

    def _template(self, option: str, value: Any) -> Any:
        """What an option in the file comes to; ValueError, which never shows a password."""
        if value is None or isinstance(value, (bool, int)):
            return value
        if isinstance(value, (dict, list)):
            raise ValueError(f"option {option} must be a text")
        try:
            found = self.templar.template(value) if isinstance(value, str) else str(value)  # what is in a vault is no template
        except Exception as error:
            why = "" if option == "password" else f": {error}"
            raise ValueError(
                f"the template in option {option} cannot be worked out{why}. Check what it reads; where the text itself has "
                "braces, mark it with !unsafe, or keep it in a vault or in the environment."
            ) from error
        return None if found is None else str.__str__(str(found))

    def _look(self, path: str, cache: bool) -> Found:
        """What the pools have for this file, from the cache or from XAPI: host variables of guests and hosts."""
        folder = os.path.dirname(os.path.abspath(path))
        defaults = {key: self.get_option(key) for key in CONNECTION}
        wanted, wrong = connections(defaults, self.get_option("pools"), folder, self._template)
        max_age = self.get_option("cache_timeout") if cache else None
        kept = self._load_cache(path)
        filters, exclude = self.get_option("filters"), self.get_option("exclude")
        preferences = Preferences(self.get_option("preferred_networks"), self.get_option("prefer_ipv6"))

        def make(state: State, hostname: str) -> tuple[str, list[Facts]]:
            url = normal_url(hostname)
            world = World(state, here=is_local(urlsplit(url).hostname or ""))
            chosen = (item for item in world.items()
                      if matches(item.variables, filters) and not (exclude and matches(item.variables, exclude)))
            return url, [world.facts(item, preferences) for item in chosen]

        found = look(wanted, kept, max_age, make)
        fatal = self.get_option("broken_pools") == "fail" or not found.states
        for hostname, text in wrong.items():
            self._complain(hostname, text, fatal=fatal)
        for hostname, error in found.errors.items():
            self._complain(hostname, str(error) + (f" ({error.hint})" if error.hint else ""), fatal=fatal)
        if found.new and self.get_option("cache"):
            self._cache[self.get_cache_key(path)] = {"format": FORMAT, "pools": found.keep(kept)}
        return found

    def _complain(self, hostname: str, text: str, *, fatal: bool) -> None:
        message = f"Cannot read the pool of {hostname}: {text}"
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
        except KeyError:
            return {}
        except (AnsibleError, TypeError, ValueError):
            self.display.warning(f"The cache of {path} is damaged. The pools are read again.")
            return {}

    def _populate(self, found: Found, path: str) -> None:
        marks = Marks()
        plain, claimed = self._each_once(found)
        objects = [marks.of(facts) for facts in plain]
        composed, named = self.get_option("groups") or {}, self.get_option("keyed_groups") or []
        prefix = self.get_option("group_prefix")
        wanted, raw = self.get_option("default_groups"), defaultdict[str, list[int]](list)
        for number, facts in enumerate(objects):
            for group in default_groups(facts, wanted):
                raw[group].append(number)
        groups: dict[str, set[int]] = {}
        for group, members in raw.items():
            groups.setdefault(to_safe_group_name(prefix + group, force=True, silent=True), set()).update(members)
        chosen = {self._sanitize_group_name(name) for name in (*composed, *_parents(named))}
        others = Others(self.inventory, path, self.get_option("adopt"), {prefix + "vms", prefix + "hosts", *groups, *chosen})
        names, twins, said = choose_names([(self._name(facts), facts["xapi_uuid"]) for facts in objects], others.taken, claimed)
        if twins and self.get_option("strict"):
            raise AnsibleParserError(f"{said[0].partition('. Their')[0]}. Option hostnames can tell them apart.")
        for text in said:
            self.display.warning(text)
        self._add_hosts(sorted(zip(names, objects, strict=True), key=lambda pair: pair[0]), others, marks)
        for group in sorted(groups):
            place, add_child = others.add_group(group, DEFAULT), self.inventory.add_child
            for name in sorted(names[number] for number in groups[group]):
                add_child(place, others.current(name))
        if composed or named:
            self._construct(dict(zip(names, objects, strict=True)), others, chosen)
        for text in others.said:
            self.display.warning(text)

    def _each_once(self, found: Found) -> tuple[list[Facts], dict[int, str]]:
        """Guests and hosts of all pools, and, of those whose uuid several pools claim, what tells them apart, by their number.

        What several pools say in just the same words, or one pool that is given twice, is there once. Else anybody who has a pool
        could take the place of another one's guest, by its uuid, which is no secret.
        """
        objects: list[Facts] = []
        urls: list[str] = []
        first: dict[str, int] = {}
        rivals: dict[str, list[int]] = {}
        for pool, (url, made) in found.made.items():
            start = len(objects)
            for facts in made:
                uuid, number = facts["xapi_uuid"], len(objects)
                if first.setdefault(uuid, number) != number:
                    known = rivals.setdefault(uuid, [first[uuid]])
                    if any(urls[each] == url or objects[each] == facts for each in known if each < start):
                        continue
                    known.append(number)
                objects.append(facts)
                urls.append(url)
            again = len(made) - len(objects) + start
            if again:
                self.display.warning(f"{again} guests or hosts of {pool} are in a pool before it, too, by their uuids: taken from there.")
        claimed = {number: cleaned(urlsplit(urls[number]).netloc) for numbers in rivals.values() if len(numbers) > 1 for number in numbers}
        if claimed:
            which = sorted(f"{objects[number]['xapi_name']!r} ({objects[number]['xapi_uuid']}) of {urls[number]}" for number in claimed)
            more = f", and {len(which) - SHOWN} more" if len(which) > SHOWN else ""
            self.display.warning(
                f"Several pools claim the same uuid, and say different things of it: {', '.join(which[:SHOWN])}{more}. All are there. "
                "Where their names are the same, too, they get their pools as a suffix. Find out which pool is wrong."
            )
        return objects, claimed

    def _add_hosts(self, pairs: list[tuple[str, Facts]], others: Others, marks: Marks) -> None:
        """Hosts with their variables, those of compose among them. What another source says of a host stays."""
        compose, strict = self.get_option("compose"), self.get_option("strict")
        for name, facts in pairs:
            if compose:
                with self._recording() as wanted:
                    self._set_composite_vars(compose, facts, name, strict=strict)
                facts.update(marks.plain(wanted.variables.get(name, {})))
            host, theirs = others.add_host(name, facts["xapi_uuid"])
            # set_variable copies each value: slower than all the rest
            host.vars = combine_vars(facts, host.vars) if theirs else {**host.vars, **facts}

    def _construct(self, found: dict[str, Facts], others: Others, chosen: set[str]) -> None:
        """Groups that the file makes: those that it names itself, and those that something in a pool names."""
        groups, keyed, strict = (self.get_option(option) for option in ("groups", "keyed_groups", "strict"))
        variables = {name: combine_vars(facts, self.inventory.hosts[others.current(name)].get_vars()) for name, facts in found.items()}
        with self._recording() as wanted:
            for name in found:
                self._add_host_to_composed_groups(groups, variables[name], name, strict=strict, fetch_hostvars=False)
        for group, name in wanted.children:
            place = others.add_group(group, NAMED)
            self.inventory.add_child(place, others.current(name))
        with self._recording() as wanted:
            for name in found:
                self._add_host_to_keyed_groups(keyed, variables[name], name, strict=strict, fetch_hostvars=False)
        for group, name in wanted.members:
            place = others.add_group(group, KEYED)
            self.inventory.add_child(place, others.current(name))
        for parent, group in dict.fromkeys(wanted.children):
            above = others.add_group(parent, NAMED if parent in chosen else KEYED)
            others.add_child(above, others.add_group(group, KEYED))

    @contextmanager
    def _recording(self) -> Iterator[Recorder]:
        """What Constructable would do to the inventory."""
        inventory, recorder = self.inventory, Recorder()
        self.inventory = recorder
        try:
            yield recorder
        finally:
            self.inventory = inventory

    def _name(self, facts: Facts) -> str:
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
                return str.__str__(str(name))
        return str(facts["xapi_uuid"])


def _parents(keyed: list[Any]) -> Iterator[str]:
    """Groups above keyed ones, as far as the file names them itself."""
    for entry in keyed:
        parent = entry.get("parent_group") if isinstance(entry, dict) else None
        if isinstance(parent, str) and not evaluates(parent):
            yield parent


_trust = getattr(ansible_template, "trust_as_template", None)  # ansible-core 2.19
_NOTHING_IN_THEM = (int, bool, float, type(None))


class _Texts(dict[str, str]):
    """Texts, and the same ones with a mark where they need one. Most are those of many guests, and marking one takes a while."""

    def __missing__(self, text: str) -> str:
        mark = _trust if _trust and not evaluates(text) else wrap_var if not _trust and evaluates(text) else str
        self[text] = mark(text)
        return self[text]


class Marks:
    """Texts of pools as Ansible is to have them.

    ansible-core 2.19 and newer evaluate only what is trusted, and ansible-inventory prints everything else as a map, which AWX
    takes for the value. Older ones evaluate everything but what is marked, and print that so. For a text to be the same everywhere,
    those in which there is nothing to evaluate are as a file's would be, and only the others are marked.
    """

    def __init__(self) -> None:
        self._texts = _Texts()
        self._keys: set[str] = set()  # of maps, with nothing to evaluate in them

    def of(self, value: Any) -> Any:
        """A value of a pool, with marks where there is something to evaluate."""
        kind, texts = type(value), self._texts  # written for speed: this is called for everything that is known of every guest
        if kind is dict:
            if not _trust and not value.keys() <= self._keys:
                if any(map(evaluates, value)):
                    return wrap_var(value)  # a mark on a key alone is lost
                self._keys.update(value)
            return {key: texts[item] if isinstance(item, str) else item if isinstance(item, _NOTHING_IN_THEM) else self.of(item)
                    for key, item in value.items()}
        if kind is list:
            return [texts[item] if isinstance(item, str) else self.of(item) for item in value]
        return texts[value] if kind is str else value

    def plain(self, value: Any) -> Any:
        """What Ansible has composed of such values: the marks on it stay where there is something to evaluate."""
        if isinstance(value, str):
            if evaluates(value):
                return value
            return str.__str__(value) if _trust is None else _trust(value)
        if isinstance(value, dict):
            return {key: self.plain(item) for key, item in value.items()}
        return [self.plain(item) for item in value] if isinstance(value, list) else value
