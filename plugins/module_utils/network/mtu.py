# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MTUs of VLANs, and of the NICs and bonds that carry them, on plain records: the larger one does not get through."""
from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from ansible_collections.nobloat.xen.plugins.module_utils.network.vlans import Record, describe, host_names, pif_kind

Place = tuple[str, str]  # a host and the device there


def carriers(pifs: Iterable[Record], places: Collection[Place]) -> list[Record]:
    """The NICs and bonds at these places."""
    return [pif for pif in pifs if pif_kind(pif) in ("physical", "bond") and place(pif) in places]


def place(pif: Record) -> Place:
    return pif["host"], pif["device"]


def plugged_mtu(pif: Record, networks: Mapping[str, Record]) -> int:
    """What a PIF gets when it is plugged (determine_mtu in xapi's nm.ml)."""
    own = pif["other_config"].get("mtu", "")
    return int(own if own.isdecimal() else networks[pif["network"]]["MTU"])


def mtu_problems(
    title: str, mtu: int, bases: Iterable[Record], over: Iterable[Record], networks: Mapping[str, Record], hosts: Mapping[str, Record]
) -> Iterator[str]:
    """What does not get through a network that has this MTU. `bases`: what carries its VLANs; `over`: VLANs that it carries."""
    narrow = [pif for pif in bases if plugged_mtu(pif, networks) < mtu]
    for name in sorted({networks[pif["network"]]["name_label"] for pif in narrow}):
        found = [pif for pif in narrow if networks[pif["network"]]["name_label"] == name]
        least = min(plugged_mtu(pif, networks) for pif in found)
        where = ", ".join(host_names(hosts, [pif["host"] for pif in found]))
        yield (f"{title} has an MTU of {mtu}, but lies over {describe(found[0])} of {where} with {least}: larger packets are lost. "
               f"Give network {name} the larger MTU, or this one the smaller.")
    wide = {networks[pif["network"]]["name_label"] for pif in over if plugged_mtu(pif, networks) > mtu}
    if wide:
        yield (f"{title} has an MTU of {mtu}, and carries VLANs with a larger one ({', '.join(sorted(wide))}): larger packets are lost. "
               "Give it the larger MTU, or them the smaller.")
