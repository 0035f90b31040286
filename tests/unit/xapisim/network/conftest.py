# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pool of two hosts with four NICs each, new for each test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from unit.xapisim.network.objects import Net


@pytest.fixture
def net(start: Callable[..., Any]) -> Net:
    return Net(start({"pools": [{"name": "alpha", "templates": "none", "srs": [], "local_sr": "none"}]}))
