# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one exception that a call answers with."""

from __future__ import annotations


class XapiError(Exception):
    """An XAPI failure: an error code and its parameters, all strings, as they go over the wire."""

    def __init__(self, code: str, *params: object) -> None:
        self.code = code
        self.params = [_text(p) for p in params]
        super().__init__(code, *self.params)

    @property
    def description(self) -> list[str]:
        """The list that stands in ErrorDescription and in task.error_info."""
        return [self.code, *self.params]

    def __str__(self) -> str:
        return ", ".join(self.description)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    ref = getattr(value, "ref", None)
    return ref if isinstance(ref, str) else str(value)


def internal(text: str) -> XapiError:
    """INTERNAL_ERROR with the text that a real xapi prints for the exception."""
    return XapiError("INTERNAL_ERROR", text)
