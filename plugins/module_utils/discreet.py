# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An AnsibleModule that keeps to itself what no_log alone does not hide. Python 3.6 syntax: it runs on nodes, too."""

import re
from typing import Any, Dict, List

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

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

    def own_entries(self, items: str, identity: str) -> List[Dict[str, Any]]:
        """What each entry of the option `items` says itself, of the module's own options; `identity` is the one that names it.
        Fails for what is wrong with them."""
        # A secret in a list would get into the log of the machine.
        spec = {option: {word: value for word, value in rule.items() if word != "default"}
                for option, rule in self.argument_spec.items() if not rule.get("no_log") and option != items}
        spec[identity]["required"] = True
        validator = ArgumentSpecValidator(spec)
        found = []  # type: List[Dict[str, Any]]
        for number, item in enumerate(self.params[items]):
            checked = validator.validate(item)
            if checked.error_messages:
                self.fail_json(msg=f"{items}[{number}] ({item.get(identity, 'nameless')}): {'; '.join(checked.error_messages)}")
            found.append({option: value for option, value in checked.validated_parameters.items() if value is not None})
        names = [options[identity] for options in found]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            self.fail_json(msg=f"{items} has more than one item for {', '.join(twice)}.")
        return found

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
