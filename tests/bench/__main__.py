# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""python -m bench [inventory] [guests] [simulator] [mirror]: tables in markdown, on standard output."""
from __future__ import annotations

import argparse
import os
import platform
import sys

from ansible.plugins.loader import init_plugin_loader
from ansible.release import __version__

init_plugin_loader()  # from here on ansible_collections can be imported, from where ANSIBLE_COLLECTIONS_PATH says

from bench import guests, inventory, mirror, simulator  # noqa: E402

PARTS = {"inventory": inventory.main, "guests": guests.main, "simulator": simulator.main, "mirror": mirror.main}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("parts", nargs="*", metavar="|".join(PARTS), help="default: all")
    parts = parser.parse_args().parts or list(PARTS)
    unknown = [name for name in parts if name not in PARTS]
    if unknown:
        parser.error(f"there is no {unknown[0]}")
    print(f"Python {platform.python_version()}, ansible-core {__version__}, {os.cpu_count()} CPUs", flush=True)
    for name in parts:
        PARTS[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
