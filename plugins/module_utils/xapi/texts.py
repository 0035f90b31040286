# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts that XAPI cannot be sent: XML, which carries its calls, has no place for control characters.

https://www.w3.org/TR/xml/#charsets: all but tab, line feed and carriage return are missing; and so are halves of a
surrogate pair, as which Python has bytes that are no UTF-8.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from .errors import XapiError

_UNSENDABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def check_text(text: str, option: str = "") -> str:
    """The text, if it can be sent. Raises XapiError ``TEXT_INVALID``, which names the option and not the text, as it may be secret."""
    found = _UNSENDABLE.search(text)
    if not found:
        return text
    where = f"option {option}" if option else "a text for XAPI"
    code = ord(found[0])
    what = "bytes that are not UTF-8" if 0xD800 <= code <= 0xDFFF else f"the control character U+{code:04X}"
    raise XapiError(
        "TEXT_INVALID", (option,), f"{where} has {what} at position {found.start() + 1}, which XAPI cannot take",
        "Remove it.",
    )


def check_options(value: Any, option: str = "", spared: Collection[str] = ()) -> None:
    """Check all texts in the options of a module, however deep; ``spared`` are those that are not sent."""
    if isinstance(value, str):
        check_text(value, option)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            name = f"{option}.{key}" if option else str(key)
            if name not in spared:
                check_text(str(key), f"{option} (a key)")
                check_options(item, name, spared)
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            check_options(item, f"{option}[{number}]", spared)
