# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""python -m bench [PART ...] [--guests N ...] [--rounds N] [--tiny]: tables in markdown, on standard output."""
from __future__ import annotations

import argparse
import os
import platform
import sys
from datetime import datetime, timezone
from importlib import import_module

from ansible.plugins.loader import init_plugin_loader
from ansible.release import __version__

init_plugin_loader()  # from here on ansible_collections can be imported, from where ANSIBLE_COLLECTIONS_PATH says

# A module each, with `main`, and its arguments for a whole measurement (FULL) and for seeing that it works (TINY).
PARTS = ("inventory", "guests", "tasks", "pool", "simulator")
LAB = ("mirrored", "mirror")  # which need a lab of real kernels, and pytest


def conditions() -> str:
    """Under which a figure was taken."""
    load = ", ".join(f"{average:.1f}" for average in os.getloadavg())
    return (f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC, load average {load}, {os.cpu_count()} CPUs, "
            f"Python {platform.python_version()}, ansible-core {__version__}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("parts", nargs="*", metavar="|".join([*PARTS, *LAB]), help="default: all")
    parser.add_argument("--guests", nargs="+", type=int, metavar="N", help="how many, one measurement for each number")
    parser.add_argument("--rounds", type=int, metavar="N", help="the best of how many")
    parser.add_argument("--tiny", action="store_true", help="do it all once and as small as can be: by default, what needs no lab")
    options = parser.parse_args()
    parts = options.parts or ([*PARTS] if options.tiny else [*PARTS, *LAB])
    unknown = [name for name in parts if name not in (*PARTS, *LAB)]
    if unknown:
        parser.error(f"there is no {unknown[0]}")
    modules = {name: import_module(f"bench.{name}") for name in parts}
    given = {name: value for name in ("guests", "rounds") if (value := getattr(options, name))}
    for name, module in modules.items():
        if missing := given.keys() - module.FULL.keys():
            parser.error(f"{name} has no --{min(missing)}")
    why = _no_lab() if {*LAB} & {*parts} else ""
    for name, module in modules.items():
        if why and name in LAB:
            print(f"\n{name} is left out: {why}", flush=True)
            continue
        print(f"\n{name}: {conditions()}", flush=True)
        module.main(**{**(module.TINY if options.tiny else module.FULL), **given})
        print(f"\n{name} is done: {conditions()}", flush=True)
    return bool(why and options.parts)  # who asks for a lab wants it


def _no_lab() -> str:
    """Why there can be no lab here; else "", and what it needs is installed."""
    from lab import host
    from lab.errors import CannotRun
    from lab.lab import reap

    try:
        host.provide()
    except CannotRun as error:
        return str(error)
    reap()
    return ""


if __name__ == "__main__":
    sys.exit(main())
