# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""host.call_plugin: programs of dom0, of which the simulated hosts have those that are written here."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import XapiError
from ..registry import message

if TYPE_CHECKING:
    from ..db import Row
    from ..registry import Context

Strings = dict[str, str]
Function = Callable[["Context", "Row", Strings], str]
PLUGINS: dict[str, dict[str, Function]] = {}


def plugin(name: str, function: str) -> Callable[[Function], Function]:
    """Register what a plugin does when this function of it is called."""

    def register(what: Function) -> Function:
        PLUGINS.setdefault(name, {})[function] = what
        return what

    return register


@message("host.call_plugin")
def call_plugin(ctx: Context, host: Row, name: str, function: str, args: Strings) -> str:
    """Hosts lack the plugins that other_config of the pool lists under `xapisim_missing_plugins`."""
    ctx.forward(host)
    missing = ctx.pool.pool_row.other_config.get("xapisim_missing_plugins", "").split()
    if name not in PLUGINS or name in missing:
        raise XapiError("XENAPI_MISSING_PLUGIN", name)
    if function not in PLUGINS[name]:
        raise XapiError("UNKNOWN_XENAPI_PLUGIN_FUNCTION", function)
    return PLUGINS[name][function](ctx, host, args)
