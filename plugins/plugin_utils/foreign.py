# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Results of filters, which have names in them that a pool or a guest has chosen."""
from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from ansible import template
from ansible.utils.unsafe_proxy import wrap_var

Args = ParamSpec("Args")
Result = TypeVar("Result")


def foreign(function: Callable[Args, Result]) -> Callable[Args, Result]:
    """A filter whose result is never evaluated as a template. Before ansible-core 2.19, a text that is read through hostvars loses its mark
    when it is put into another one, and set_fact and loop have that evaluated. Newer ones evaluate only what is trusted, which a
    result is not, and their containers are not to be copied."""
    if hasattr(template, "trust_as_template"):
        return function

    @wraps(function)
    def marked(*args: Args.args, **options: Args.kwargs) -> Result:
        result: Result = wrap_var(function(*args, **options))
        return result

    return marked
