# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An AnsibleModule that keeps to itself what no_log alone does not hide. Python 3.6 syntax: it runs on nodes, too."""

import re
from typing import Any

from ansible.module_utils.basic import AnsibleModule

HIDDEN = "(not shown)"
_SECRET = re.compile("(password|passphrase|private_key)$")


class DiscreetModule(AnsibleModule):
    """`hidden` names options that hold secrets somewhere inside, as user data do: neither results nor the log have them. They would
    be useless as no_log: then each word in them is taken out of all results."""

    def __init__(self, *args: Any, hidden: Any = (), **rules: Any) -> None:
        self.hidden = tuple(hidden)
        super().__init__(*args, **rules)

    def log(self, msg: str, log_args: Any = None) -> None:
        """The system's log gets no dict and no list: in those, as Python writes them, a secret with a quote is not recognised."""
        if log_args:
            log_args = {name: HIDDEN if name in self.hidden or isinstance(self.params.get(name), (dict, list)) else value
                        for name, value in log_args.items()}
            msg = "Invoked with " + " ".join(f"{name}={value}" for name, value in log_args.items())
        self._mask()
        super().log(msg, log_args)

    def exit_json(self, **result: Any) -> Any:
        self._hide()
        super().exit_json(**result)

    def fail_json(self, msg: str, **result: Any) -> Any:
        self._hide()
        super().fail_json(msg, **result)

    def _hide(self) -> None:
        """Before the options become part of a result; also when they are refused, before anything else was looked at."""
        self._mask()
        for name in self.hidden:
            if self.params.get(name) is not None:
                self.params[name] = HIDDEN

    def _mask(self) -> None:
        """Passwords where they do not belong, as in device_config, are refused; but they must not be told for that."""
        for name, value in self.params.items():
            if name not in self.hidden:
                self.no_log_values.update(_secrets(value))


def _secrets(value: Any) -> Any:
    """Texts within dicts whose keys are called as secrets are."""
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, str) and item and _SECRET.search(str(key)):
                yield item
            else:
                yield from _secrets(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _secrets(item)
