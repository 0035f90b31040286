# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An inventory that other sources have filled already: what is theirs is not touched, unless option adopt names it.

Pools choose the names of guests and, by their tags, those of groups. Without this, a guest called as a host of another source
would take that host's place, and a tag would bring it into a group of another source.
"""
from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from typing import Any
from weakref import WeakKeyDictionary

from ansible_collections.nobloat.xen.plugins.module_utils.inventory.names import choose_names, fault

# Why there is a group: it says what XAPI says (DEFAULT), it was named by the file (NAMED), or by something in a pool (KEYED).
DEFAULT, NAMED, KEYED = "default", "named", "keyed"
OF_A_GROUP = "that a group has"
OF_ANOTHER = "that another source has given to a host (option adopt names hosts that get the variables of such a guest)"

# What this plugin made, whichever file was for: several files have their groups in common.
_groups: WeakKeyDictionary[Any, str] = WeakKeyDictionary()
_hosts: WeakKeyDictionary[Any, dict[str, tuple[str, str]]] = WeakKeyDictionary()  # by the group all of an inventory


class Recorder:
    """Stands for an inventory while Ansible constructs: what is wanted is looked through before it is done."""

    def __init__(self) -> None:
        self.variables: dict[str, dict[str, Any]] = {}
        self.members: list[tuple[str, str]] = []
        self.children: list[tuple[str, str]] = []

    def set_variable(self, host: str, name: str, value: Any) -> None:
        self.variables.setdefault(host, {})[name] = value

    def add_group(self, group: str) -> str:
        return group

    def add_host(self, host: str, group: str | None = None) -> None:
        if group:
            self.members.append((group, host))

    def add_child(self, group: str, child: str) -> None:
        self.children.append((group, child))


class Others:
    """The inventory as one file may fill it. `reserved`: groups that it is going to make. `said`: what is to be said."""

    def __init__(self, inventory: Any, source: str, adopt: Sequence[str], reserved: Collection[str] = ()) -> None:
        self.inventory, self.source, self.adopt, self.reserved = inventory, source, adopt, reserved
        self.hosts, self.groups = inventory.hosts, inventory.groups
        self._ours = _hosts.setdefault(self.groups["all"], {})
        self.said: list[str] = []
        self._origin: dict[str, Any] = {}  # what Ansible notes at each new host of this source
        self._places: dict[tuple[str, str], str] = {}
        self._renamed: dict[str, str] = {}

    def adopts(self, name: str) -> bool:
        return any(fnmatchcase(name, str(pattern)) for pattern in self.adopt)

    def taken(self, name: str, uuid: str) -> str:
        """Why an object may not be called so; empty if it may."""
        if name in self.groups or name in self.reserved:
            return OF_A_GROUP
        free = name not in self.hosts or self.adopts(name) or self._ours.get(name) == (self.source, uuid)
        return "" if free else OF_ANOTHER

    def add_host(self, name: str, uuid: str) -> tuple[Any, bool]:
        """The host of that name, and whether it is another source's."""
        theirs = name in self.hosts and self._ours.get(name) != (self.source, uuid)
        if name not in self.hosts:
            self._make(name)
        if not theirs:
            self._ours[name] = (self.source, uuid)
        return self.hosts[name], theirs

    def _make(self, name: str) -> None:
        """Add a new host. Ansible would look at the file system for each of them, to note where the source lies."""
        source = self.inventory.current_source
        if self._origin:
            self.inventory.current_source = None
        try:
            self.inventory.add_host(name)
        finally:
            self.inventory.current_source = source
        variables = self.hosts[name].vars
        variables.update(self._origin)
        self._origin = dict(variables)

    def add_group(self, name: str, kind: str) -> str:
        """The name of a group that may be used for `name`; made if there is none."""
        place = self._places.get((name, kind))
        if place is None:
            if name in self._ours:
                self._rename(name)
            good = name if kind == NAMED or not fault(name) else re.sub(r"\W", "_", name)
            place, count = good, 1
            while not self._free(place, kind):
                place, count = f"{good}_{count + 1}", count + 1
            if place != name:
                self.said.append(f"{self._why(name)}. What belongs to {name!r} is in group {place} instead.")
            if place not in self.groups:
                self.inventory.add_group(place)
                _groups[self.groups[place]] = kind
            self._places[name, kind] = place
        return place

    def current(self, name: str) -> str:
        """How a host is called that was added as `name`: it may have had to leave that to a group."""
        while name in self._renamed:
            name = self._renamed[name]
        return name

    def _rename(self, name: str) -> None:
        """A guest that is called as a group does not keep those who mean the group from its members, whichever was there first."""
        source, uuid = self._ours.pop(name)
        host, groups = self.hosts[name], [group.name for group in self.groups.values() if name in group.host_names]
        (new,), _twins, said = choose_names(
            [(name, uuid)], lambda wish, _uuid: OF_A_GROUP if wish in self.hosts else self.taken(wish, uuid)
        )
        self.inventory.remove_host(host)
        self.inventory.add_host(new)
        self.hosts[new].vars = host.vars
        for group in groups:
            self.inventory.add_child(group, new)
        self._ours[new], self._renamed[name] = (source, uuid), new
        self.said += said

    def _why(self, name: str) -> str:
        if fault(name):
            return f"No group gets a name {fault(name)}"
        if name in self.hosts:
            return f"A host is called {name}"
        if name in self.reserved or self.groups.get(name) in _groups:
            return f"Another option makes the group {name}"
        return f"Another source made the group {name}, and option adopt does not name it"

    def _free(self, name: str, kind: str) -> bool:
        if kind == NAMED:
            return True
        if fault(name) or name in self.hosts or (kind == KEYED and name in self.reserved):
            return False
        group = self.groups.get(name)
        if group is None or _groups.get(group) == kind:
            return True
        return group not in _groups and name not in ("all", "ungrouped") and self.adopts(name)

    def add_child(self, group: str, child: str) -> None:
        """A group below a group, unless that makes a circle."""
        if any(each.name == group for each in self.groups[child].get_descendants(include_self=True)):
            self.said.append(f"Group {child} is not put below group {group}, which is below it or is itself.")
        else:
            self.inventory.add_child(group, child)
