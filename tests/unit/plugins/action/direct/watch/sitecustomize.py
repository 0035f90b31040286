# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Loaded by every Python process of a play: notes who compiles or runs the code of modules."""
from __future__ import annotations

import os
import sys
from typing import Any


def watch(event: str, args: tuple[Any, ...]) -> None:
    if event == "exec" and args[0].co_filename.endswith("/plugins/modules/vm_info.py") and args[0].co_name == "<module>":
        with open(os.environ["DIRECT_COMPILED"], "a", encoding="utf-8") as stream:
            stream.write(f"{os.getpid()}\n")


if "DIRECT_COMPILED" in os.environ:
    sys.addaudithook(watch)
