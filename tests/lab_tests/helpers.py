# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the lab share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lab import description
from lab.errors import LabError
from lab.lab import Lab


@contextmanager
def booted(name: str, **content: Any) -> Iterator[Lab]:
    """A lab for the length of a with block; it also goes when this process is killed (with the next run)."""
    lab = Lab(name)
    lab.up(description.parse(content), owned=True)
    try:
        yield lab
    finally:
        lab.down()


def until(condition: Callable[[], Any], timeout: float, what: str) -> Any:
    """The first true answer; an assertion fails after timeout seconds."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            if found := condition():
                return found
        except LabError:
            pass
        assert time.monotonic() < deadline, f"after {timeout:g} s still not: {what}"
        time.sleep(0.1)


def bond(lab: Lab, name: str, options: str) -> None:
    """bond0 of the SAN NICs with the machine's SAN address, made anew."""
    machine = lab.box(name).machine
    lab.box(name).run(
        "ip link delete bond0 2>/dev/null; modprobe bonding; set -e; ip link set eth2 down; ip link set eth3 down;"
        f"ip link add bond0 type bond {options}; ip link set eth2 master bond0; ip link set eth3 master bond0;"
        f"ip addr add {machine.san_addresses[0]}/24 dev bond0; ip link set bond0 up"
    )
