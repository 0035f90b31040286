# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in for the bootstrap script that ansible-test would download: pip from this Python, then the asked packages."""
from __future__ import annotations

import ensurepip
import os
import subprocess
import sys

environment = dict(os.environ)  # ensurepip drops the user's pip settings
ensurepip.bootstrap()
arguments = [word for word in sys.argv[1:] if word not in ("--no-setuptools", "--no-wheel")]
sys.exit(subprocess.call([sys.executable, "-m", "pip", "install", *arguments], env=environment))
