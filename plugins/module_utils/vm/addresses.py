# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The addresses of a guest, as its agent reports them: one reader for modules, waiting and the inventory.

XAPI passes on what the guest writes. Its index is mostly the VIF's device, but some agents number as the guest does; one key
may hold several addresses, as FreeBSD's do; and nothing says that they are addresses at all.
"""
from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

# xen-api: ocaml/xapi/xapi_guest_agent.ml makes these keys: "0/ip", "0/ipv4/0", "0/ipv6/1".
_KEY = re.compile(r"([^/]+)/ip(?:v[46]/\d+)?")
_ODD = {0, 127, 169, *range(224, 256)}  # first octets of IPv4 addresses among which some are no good
NOWHERE = -1  # the index is no number


def agent_report(vm: Mapping[str, Any], reports: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a guest's agent says, of all VM_guest_metrics; None where it does not run: XAPI may keep what was said last."""
    return reports.get(vm["guest_metrics"]) if vm["power_state"] in ("Running", "Paused") else None


def addresses(report: Mapping[str, Any] | None) -> list[str]:
    """A guest's IP addresses, by index, IPv4 first; without those by which nobody else reaches it."""
    return [address for found in addresses_by_index(report).values() for address in found]


def addresses_by_index(report: Mapping[str, Any] | None) -> dict[int, list[str]]:
    """The same by index, which is the VIF's device where there is such a VIF."""
    found: dict[int, list[str]] = {}
    for key, text in (report["networks"] if report else {}).items():
        index = _index(key)
        if index is not None:
            found.setdefault(index, []).extend(text.replace(",", " ").split())
    usable = {index: _usable(found[index]) for index in sorted(found, key=lambda index: (index == NOWHERE, index))}
    return {index: some for index, some in usable.items() if some}


@lru_cache(maxsize=1024)
def _index(key: str) -> int | None:
    """Of an address, by its key; None where it is another key."""
    match = _KEY.fullmatch(key)
    return None if not match else int(match[1]) if match[1].isdecimal() else NOWHERE


def reachable(text: str, *, here: bool = False) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An address by which others reach a machine; None if it is none. `here`: loopback will do."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if address.version == 4 and int(address) >> 24 not in _ODD:
        return address  # most of them: the questions below take as long as all the rest
    plain = getattr(address, "ipv4_mapped", None) or address
    if getattr(address, "scope_id", None) or plain.is_link_local or plain.is_unspecified or plain.is_multicast:
        return None
    return address if here or not plain.is_loopback else None


def _usable(texts: list[str]) -> list[str]:
    """Each address once, IPv4 first."""
    found: dict[tuple[int, bytes], str] = {}
    for text in texts:
        ordinary = _ordinary(text)
        if ordinary:
            found[ordinary] = text
        elif ordinary is None and (address := reachable(text)):
            found[address.version, address.packed] = str(address)
    return [found[key] for key in sorted(found)]


def _ordinary(text: str) -> tuple[int, bytes] | tuple[()] | None:
    """Version and bytes of an address that others reach for certain, nothing of a link-local one; None where one has to look closer.

    Nearly all are one or the other, and `reachable` takes ten times as long, which counts for ten thousand guests.
    """
    version, family = (6, socket.AF_INET6) if ":" in text else (4, socket.AF_INET)
    try:
        packed = socket.inet_pton(family, text)
        if socket.inet_ntop(family, packed) != text:
            return None
    except (OSError, ValueError):
        return None
    if version == 4:
        return None if packed[0] in _ODD else (4, packed)
    if packed[0] == 0xFE and packed[1] >> 6 == 2:
        return ()
    # Loopback and mapped ones begin with zeros; multicast follows.
    return (6, packed) if 0x20 <= packed[0] <= 0xFD else None
