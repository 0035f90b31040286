# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An AnsibleModule that keeps to itself what no_log alone does not hide, and options that are checked as it does. Python 3.6 syntax:
it runs on nodes, too."""

import re
from typing import Any, Dict, List, Tuple

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.nobloat.xen.plugins.module_utils.lists import Check, entries, entry_spec

HIDDEN = "(not shown)"
_SECRET = re.compile("(password|passphrase|private_key)$")


class DiscreetModule(AnsibleModule):
    """`hidden` names options that hold secrets somewhere inside, as user data do: neither results nor the log have them. They would
    be useless as no_log: then each word in them is taken out of all results. `secret`: options that are no_log, where entries of a
    list have them."""

    def __init__(self, *args: Any, hidden: Any = (), secret: Any = (), **rules: Any) -> None:
        self.hidden, self.secret = tuple(hidden), frozenset(secret)
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
        spec = {option: rule for option, rule in self.argument_spec.items() if not rule.get("no_log") and option != items}
        found: List[Dict[str, Any]] = []
        try:
            found = entries(self.params, spec, items, [identity], checker(entry_spec(spec, [identity])))
        except ValueError as error:
            self.fail_json(msg=str(error))
        return [{option: found[number][option] for option in own if found[number][option] is not None}
                for number, own in enumerate(self.params[items])]

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
                self.no_log_values.update(_secrets(value, self.secret))


def _secrets(value: Any, names: Any) -> Any:
    """Texts within dicts whose keys are called as secrets are, or are among `names`."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key in names:
                yield from _texts(item)
            elif isinstance(item, str) and item and _SECRET.search(str(key)):
                yield item
            else:
                yield from _secrets(item, names)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _secrets(item, names)


def _texts(value: Any) -> Any:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)
    elif value not in (None, ""):
        yield str(value)


def checker(spec: Dict[str, Any], **rules: Any) -> Check:
    """What holds an entry of a list against a spec and its rules (required_together ...), see lists.py."""
    typed = ArgumentSpecValidator({option: {word: value for word, value in rule.items() if word != "required"}
                                   for option, rule in spec.items()})
    # The options that it shares have been checked. Once more they would not pass: what they leave out inside has become None.
    whole = ArgumentSpecValidator({option: {"type": "raw", "required": rule.get("required", False)}
                                   for option, rule in spec.items()}, **rules)

    def check(own: Dict[str, Any], shared: Dict[str, Any]) -> Tuple[Dict[str, Any], List[str]]:
        found = typed.validate(own)
        options = dict(shared, **{option: value for option, value in found.validated_parameters.items() if value is not None})
        return options, found.error_messages or whole.validate(options).error_messages

    return check
