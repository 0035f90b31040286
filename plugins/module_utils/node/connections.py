# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The open TCP connections of a node, as the kernel lists them. Python 3.6 syntax."""

import os
import socket
import struct
from typing import List, NamedTuple, Tuple

ESTABLISHED = "01"


class Connection(NamedTuple):
    """`portal`: the local end as iSCSI writes it, address:port; `far`: the other one."""

    address: str
    portal: str
    peer: str
    far: str


def connections(root: str = "/") -> List[Connection]:
    """All that are established (proc(5), /proc/net/tcp)."""
    found = []
    for name, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in _lines(os.path.join(root, "proc/net", name))[1:]:
            fields = line.split()
            if len(fields) > 3 and fields[3] == ESTABLISHED:
                (address, portal), (peer, far) = (_end(text, family) for text in fields[1:3])
                found.append(Connection(address, portal, peer, far))
    return found


def _lines(path: str) -> List[str]:
    """All of them: the kernel hands out a page at a time. None where there is no IPv6."""
    if not os.path.exists(path):
        return []
    with open(path) as stream:
        return stream.readlines()


def _end(text: str, family: int) -> Tuple[str, str]:
    """(address, address:port) of 0202420A:0CBC: words of 32 bits in the byte order of the machine."""
    digits, _colon, port = text.partition(":")
    words = [int(digits[place:place + 8], 16) for place in range(0, len(digits), 8)]
    address = socket.inet_ntop(family, struct.pack(f"={len(words)}I", *words))
    return address, f"[{address}]:{int(port, 16)}" if ":" in address else f"{address}:{int(port, 16)}"
