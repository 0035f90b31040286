# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of hosts in an inventory, for guests that are called as somebody in a pool pleases.

A name must mean one host to Ansible and nothing else: not the controller, not a group, not a host of another source, not a
path (host_vars, what playbooks write), not an option of ssh, not a pattern of hosts, not a template.
"""
from __future__ import annotations

import ipaddress
import re
import socket
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from stringprep import in_table_b1
from typing import Any

Named = Sequence[tuple[str, str]]  # (name, uuid)
SHOWN = 10

TEMPLATE = "that Ansible might evaluate"
LOCAL = "that means the machine Ansible runs on"
LOADED = "that means more than one host to Ansible: a path, a pattern, an option, or control characters"

# A template may begin without a brace: with this line, which says what its braces are.
_HEADER = "#jinja2:"
# In `when: "{{ xapi_description }}"` the text is an expression and needs no braces. One of these is in all that do something.
_LOOKUPS = ("lookup", "query", "q")
_MAY_CALL = re.compile(rf"\b(?:{'|'.join(_LOOKUPS)})\b|[_'\"\[|]|\)\s*[.(]")
# A colon alone is "host:port" to AWX. At the beginning: options of ssh, and of patterns.
_LOADED = re.compile(r"^[-~!&@.\s]+|\.\.+|[/\\:,*?\[\]]|\s+$")
_NUMBERS = re.compile(r"[0-9a-fx.:]+")
_LOCAL_NAMES = ("localhost", "localhost4", "localhost6", "ip6-localhost", "ip6-loopback", "localhost.localdomain",
                "localhost4.localdomain4", "localhost6.localdomain6")


def evaluates(text: str) -> bool:
    """Whether Ansible might find something to evaluate in a text: a template, or an expression that is a lookup or calls a method."""
    return "{" in text or text.startswith(_HEADER) or ("(" in text and _MAY_CALL.search(text) is not None and _calls(text))


@lru_cache(maxsize=1024)
def _calls(text: str) -> bool:
    from jinja2 import Environment, TemplateSyntaxError, nodes  # only Ansible itself is sure to have it

    def does_something(call: Any) -> bool:
        callee = call.node
        while isinstance(callee, nodes.Getattr) and "_" not in callee.attr:  # "mail.example.com (old)"
            callee = callee.node
        if isinstance(callee, (nodes.Const, nodes.List)):
            return isinstance(getattr(callee, "value", None), str)
        if not isinstance(callee, nodes.Name):
            return True
        if callee.name not in _LOOKUPS:
            return False
        more = call.kwargs or call.dyn_args or call.dyn_kwargs or len(call.args) > 1 or callee is not call.node
        return bool(more or any(isinstance(each.value, str) for each in call.find_all(nodes.Const)))  # "query (old)" is none

    for whole in (f"{{{{ {text} }}}}", f"{{% set x = {text} %}}"):  # the text may end either
        try:
            if any(map(does_something, Environment().parse(whole).find_all(nodes.Call))):
                return True
        except TemplateSyntaxError:
            continue
        except (RecursionError, ValueError):  # too deep, or a number too long
            return True
    return False


def is_local(name: str) -> bool:
    """Whether a name or address means the machine that asks: the controller."""
    if not name.isascii():  # as resolvers take it
        name = unicodedata.normalize("NFKC", "".join(char for char in name if not in_table_b1(char))).replace("\u3002", ".")
    name = name.strip().strip("[]").rstrip(".").partition("%")[0].lower()
    if name in _LOCAL_NAMES or name.endswith(".localhost"):
        return True
    if not _NUMBERS.fullmatch(name):
        return False
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        try:
            address = ipaddress.ip_address(socket.inet_aton(name))  # 127.1, 0x7f000001
        except OSError:
            return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified


def is_address(text: str) -> bool:
    """Whether a text is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def fault(name: str) -> str:
    """Why a name cannot be that of a host; empty if it can."""
    if evaluates(name):
        return TEMPLATE
    if is_local(name):
        return LOCAL
    return LOADED if cleaned(name) != name and not is_address(name) else ""


def cleaned(name: str) -> str:
    """A name with an underscore for each character that means something to Ansible, or cannot be seen."""
    seen = name if name.isprintable() else "".join(char if char.isprintable() else "_" for char in name)
    return _LOADED.sub(lambda match: "_" * len(match[0]), seen)


def choose_names(
    named: Named, taken: Callable[[str, str], str], claimed: Mapping[int, str] | None = None
) -> tuple[list[str], dict[str, list[str]], list[str]]:
    """Names for the inventory from (name, uuid) pairs, ``{name: uuids}`` of those that several had, and what is to be said.

    `taken` says why somebody else has a name that this uuid wants, or nothing. Who cannot have its name gets the beginning of
    its uuid as a suffix; of namesakes all do, the first one too: which is meant does not depend on XAPI's order. `claimed` has
    what those get instead whose uuid is not theirs alone, by their number.
    """
    claimed = claimed or {}
    faults = [fault(name) or taken(name, uuid) for name, uuid in named]
    good: dict[str, list[str]] = {}
    for (name, uuid), why in zip(named, faults, strict=True):
        if not why:
            good.setdefault(name, []).append(uuid)
    twins = {name: sorted(uuids) for name, uuids in good.items() if len(uuids) > 1}
    others = [(number, cleaned(name), uuid) for number, (name, uuid) in enumerate(named) if faults[number] or name in twins]
    short = Counter(f"{name}-{uuid[:8]}" for _number, name, uuid in others)
    result = [name for name, _uuid in named]
    used = set(good)
    for number, name, uuid in sorted(others, key=lambda other: other[2]):
        wishes: Iterable[str] = [f"{name}-{uuid[:8]}"] if short[f"{name}-{uuid[:8]}"] == 1 else []
        long = uuid if faults[number] == TEMPLATE else f"{name}-{uuid}"
        if number in claimed:
            long = f"{uuid if long == uuid else name}-{claimed[number]}"
            wishes = [long]
        else:
            wishes = [long] if long == uuid else [*wishes, long]
        more = (f"{long}-{count}" for count in range(2, len(named) + 99))
        result[number] = next(wish for each in (wishes, more) for wish in each if wish not in used and not taken(wish, uuid))
        used.add(result[number])
    said = [f"{len(uuids)} guests or hosts have the name {name}: {', '.join(uuids)}. Their names get a suffix."
            for name, uuids in sorted(twins.items())]
    for why in sorted(set(filter(None, faults))):
        pairs = sorted(f"{named[number][0]!r} is {result[number]}" for number, reason in enumerate(faults) if reason == why)
        more_of = f", and {len(pairs) - SHOWN} more" if len(pairs) > SHOWN else ""
        said.append(f"Guests or hosts have a name {why}. In the inventory, {', '.join(pairs[:SHOWN])}{more_of}.")
    return result, twins, said
