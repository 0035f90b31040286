# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong, in two kinds."""

from __future__ import annotations


class LabError(Exception):
    """Something failed; the text says what, in words for the user."""


class CannotRun(LabError):
    """The lab cannot run on this machine at all; what needs it is to be skipped."""
