# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Host plugin trim: free space of an SR on LVM is given back to the array (sm: drivers/trim)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from ..errors import XapiError
from .plugins import Strings, plugin
from .sm import has_feature

if TYPE_CHECKING:
    from ..db import Row
    from ..registry import Context


@plugin("trim", "do_trim")
def do_trim(ctx: Context, host: Row, args: Strings) -> str:
    """`True`, or XML that says why not."""
    if "sr_uuid" not in args:
        raise XapiError("XENAPI_PLUGIN_FAILURE", "do_trim", "KeyError", "'sr_uuid'")
    uuid = args["sr_uuid"]
    sr = next(iter(ctx.db.rows("SR", uuid=uuid)), None)
    if sr is None:
        raise XapiError("UUID_INVALID", "SR", uuid)
    if not has_feature(ctx.db, sr, "SR_TRIM"):
        return _refusal("UnsupportedSRForTrim", f"Trim on [{uuid}] not supported")
    sr.other_config = {**sr.other_config, "trim_last_triggered": f"{ctx.pool.clock.now():.2f}"}
    if not any(pbd.currently_attached for pbd in ctx.db.rows("PBD", SR=sr, host=host)):
        return _refusal("UnknownTrimException", f"Unknown Exception: trim failed on SR [{uuid}]")
    return "True"


def _refusal(code: str, text: str) -> str:
    pairs = "".join(
        f"<key_value_pair><key>{key}</key><value>{escape(value)}</value></key_value_pair>"
        for key, value in (("errcode", code), ("errmsg", text))
    )
    return f'<?xml version="1.0" ?><trim_response>{pairs}</trim_response>'
