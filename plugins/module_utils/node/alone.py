# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module finds in place of AnsibleModule where it runs in the program that the controller has sent: Python 3.6 and its standard
library. The controller has checked the options, and says in Ansible's way what came of it (plugin_utils/node.py)."""

import json
import os
import syslog
import time
from importlib import import_module
from typing import Any, Dict, List, NoReturn

MODULES = "ansible_collections.nobloat.xen.plugins.modules."
# They begin the lines that the controller looks for.
SAID, BEGUN = "nobloat.xen:said ", "nobloat.xen:begun "


class DiscreetModule:
    """Takes the place of the class of this name in the program."""

    given = {}  # type: Dict[str, Any]  # what the controller has sent

    def __init__(self, argument_spec: Dict[str, Any], **_rules: Any) -> None:
        self.argument_spec = argument_spec
        self.params = expanded(self.given["params"], argument_spec)
        self.check_mode = self.given["check_mode"]
        self.warnings = []  # type: List[str]

    def own_entries(self, _items: str, _identity: str) -> List[Dict[str, Any]]:
        return [expanded(entry, self.argument_spec) for entry in self.given["entries"]]

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def exit_json(self, **result: Any) -> NoReturn:
        self._say("exit_json", result)

    def fail_json(self, msg: str, **result: Any) -> NoReturn:
        self._say("fail_json", dict(result, msg=msg))

    def _say(self, how: str, result: Dict[str, Any]) -> NoReturn:
        text = json.dumps({"how": how, "result": result, "warnings": self.warnings}, default=list)
        tell(SAID + text)
        raise SystemExit(0)


def tell(text: str) -> None:
    line = f"\n{text}\n".encode()
    while line:
        line = line[os.write(1, line):]


def expanded(options: Dict[str, Any], spec: Dict[str, Any]) -> Dict[str, Any]:
    """Paths as they are on this machine."""
    found = dict(options)
    for option, rule in spec.items():
        value = found.get(option)
        if value is not None and rule["type"] == "path":
            found[option] = local(value)
        elif value is not None and rule.get("elements") == "path":
            found[option] = [local(path) for path in value]
    return found


def local(path: str) -> str:
    return os.path.expanduser(os.path.expandvars(path))


def main(folder: str) -> None:
    """Read what is to be done from standard input, and do it. `folder` is where the program is kept."""
    os.utime(folder, None)  # it is in use
    with open(0, "rb", closefd=False) as stream:
        given = json.loads(stream.read().decode())
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    time.tzset()
    if given["job"]:
        leave(os.path.join(os.path.dirname(folder), f"job-{given['job']}"))
    for text in given["log"]:
        syslog.openlog(f"ansible-{given['module']}", 0, getattr(syslog, given["facility"], syslog.LOG_USER))
        syslog.syslog(syslog.LOG_INFO, text)
    DiscreetModule.given = given
    import_module(MODULES + given["module"]).main()


def leave(path: str) -> None:
    """Go on in the background; what is said gets into a file."""
    output = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
    child = os.fork()
    if child:
        tell(f"{BEGUN}{child}")
        os._exit(0)
    os.setsid()
    for target in (1, 2):
        os.dup2(output, target)
