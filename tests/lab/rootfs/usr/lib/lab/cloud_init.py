# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""STAGE...: stages of cloud-init in one process, as its newer versions have it. In UML most of its time is Python's start."""

import sys

from cloudinit.cmd.main import main

sys.exit(max(main(["cloud-init", *stage.split()]) or 0 for stage in sys.argv[1:]))
