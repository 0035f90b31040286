# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action behind every module that runs on nodes and in guests: it checks the options here, and has the work done there by one program
(program.py) that needs nothing but Python 3.6. PRIVATE: may change at any time.

Each of them has an action of its own name, which is this one, as Ansible loads it in its main process then. Ansible's own way, with a
module that is zipped and sent for each task, is taken for `async` without `poll`, for connections that take no standard input, with `su`,
where files are to be kept on the machine, and where the variable nobloat_xen_direct is false.
"""
from __future__ import annotations

import json
import os
import secrets
import sys
import time
from contextlib import suppress
from importlib import import_module
from typing import Any

from ansible import constants
from ansible.errors import AnsibleConnectionFailure
from ansible.module_utils import basic
from ansible.module_utils.common import parameters
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible_collections.nobloat.xen.plugins.module_utils.node.module import NodeModule
from ansible_collections.nobloat.xen.plugins.plugin_utils import direct, program

for _name in program.modules():
    import_module(f"{program.OURS}modules.{_name}")
program.archive()


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _supports_async = True
    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        task_vars = dict(task_vars or {})
        if self._ordinary(task_vars):
            result.update(self._execute_module(task_vars=task_vars, wrap_async=self._task.async_val))
            return result
        found = self._shared_loader_obj.module_loader.find_plugin_with_context(
            self._task.action, collection_list=self._task.collections)
        self.limit, self.poll = self._task.async_val, self._task.poll
        self._task.async_val = 0  # what it says is awaited here; Ansible's own way would run modules of its own there
        talk = Talk(found.plugin_resolved_name)
        try:
            result.update(direct.execute(
                self, self._task.action, self._task.args, task_vars, talk.child, lambda: talk.parent(self, task_vars)))
        finally:
            talk.close()
        return result

    def _ordinary(self, task_vars: dict[str, Any]) -> bool:
        become = self._connection.become
        return bool(
            (self._task.async_val and not self._task.poll) or not boolean(self._templar.template(task_vars.get("nobloat_xen_direct", True)))
            or not self._connection.has_pipelining or (become and become.name.rpartition(".")[2] == "su")
            or constants.DEFAULT_KEEP_REMOTE_FILES or getattr(self._connection._shell, "SHELL_FAMILY", "") != "sh")

    def work(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Have the program do it: {"how", "result", "warnings"} as it says, or {"how": "fail_json", ...} where it says nothing."""
        names = task_vars["ansible_delegated_vars"][self._task.delegate_to] if self._task.delegate_to else task_vars
        interpreter = str(self._templar.template(names.get("ansible_python_interpreter") or ""))
        interpreter = "" if interpreter.startswith("auto") else interpreter
        job = secrets.token_hex(8) if self.limit else ""
        request = json.dumps({**asked, "job": job})
        for send in (False, True):
            data = (program.archive()[1] if send else b"") + request.encode()
            environment = self._compute_environment_string()
            said = self._low_level_execute_command(program.command(environment, interpreter, send), in_data=data)
            word, rest = told(said["stdout"])
            if word != "absent":
                break
        if word == "begun":
            said = self._await(job, int(rest))
            word, rest = told(said["stdout"])
        if word == "works":
            return {"how": "fail_json", "warnings": [], "result": {"msg": f"It was not done after {self.limit} seconds, and was ended."}}
        try:
            if word == "said":
                return json.loads(rest)
        except ValueError:
            word = ""
        return {"how": "fail_json", "warnings": [], "result": {"msg": trouble(word, rest, interpreter, said["rc"]), **(
            {} if word else {"rc": said["rc"], "module_stdout": said["stdout"], "module_stderr": said["stderr"]})}}

    def _await(self, job: str, pid: int) -> dict[str, Any]:
        """What it has said when it is done. A lost connection does not end it."""
        end = time.monotonic() + self.limit
        while True:
            time.sleep(self.poll)
            try:
                said = self._low_level_execute_command(program.look(job, pid), in_data=b"")
                if told(said["stdout"])[0] != "works":
                    return said
                if time.monotonic() > end:
                    self._low_level_execute_command(program.look(job, pid, end=True), in_data=b"")
                    return said
            except AnsibleConnectionFailure:
                if time.monotonic() > end:
                    raise
                with suppress(Exception):  # nothing may be there to be reset
                    self._connection.reset()


def told(text: str) -> tuple[str, str]:
    """The last line that means something: its word, and the rest of it."""
    lines = [line for line in text.splitlines() if line.startswith(program.MARK)]
    word, _space, rest = lines[-1].removeprefix(program.MARK).partition(" ") if lines else ("", "", "")
    return word, rest


def trouble(word: str, rest: str, interpreter: str, code: int) -> str:
    oldest = ".".join(map(str, program.OLDEST))
    if word == "python":
        wanted = f"no {interpreter}, which ansible_python_interpreter names," if interpreter else "no python3"
        return f"There is {wanted} on this machine. Install Python {oldest} or newer, or name it in ansible_python_interpreter."
    if word == "old":
        return f"The module needs Python {oldest} or newer; this is {rest}. Name a newer one in ansible_python_interpreter."
    if word == "place":
        return f"The program of this collection cannot be kept on this machine. {rest}"
    return (f"The program on the machine ended with {code} before it was done, and without an answer. Look at what is there, and run the "
            "task again.")


class Talk:
    """Between the child, which checks the options and says what came of it as every module does, and the worker, which has the
    connection."""

    def __init__(self, module: str) -> None:
        self.module = module
        self.pipes = [os.pipe(), os.pipe()]  # to the worker, to the child
        self.open = {end for pipe in self.pipes for end in pipe}

    def close(self, *ends: int) -> None:
        for end in ends or list(self.open):
            if end in self.open:
                self.open.remove(end)
                os.close(end)

    def parent(self, action: ActionModule, task_vars: dict[str, Any]) -> None:
        """Have done what the child asks for. It asks for nothing if the options are wrong."""
        (asked, its_end), (its_other_end, answer) = self.pipes
        self.close(its_end, its_other_end)
        with open(asked, encoding="utf-8", closefd=False) as stream:
            request = stream.read()
        if request:
            said = json.dumps(action.work(json.loads(request), task_vars))
            with suppress(BrokenPipeError), open(answer, "w", encoding="utf-8", closefd=False) as stream:  # its end tells of itself
                stream.write(said)
        self.close()

    def child(self) -> None:
        """The module's main, up to where its options have been checked."""
        its_end, its_other_end = self.pipes[0][0], self.pipes[1][1]
        self.close(its_end, its_other_end)
        module: Any = sys.modules[self.module]
        Asker.talk, module.NodeModule = self, Asker
        module.main()

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        ask, answered = self.pipes[0][1], self.pipes[1][0]
        with open(ask, "w", encoding="utf-8", closefd=False) as stream:
            stream.write(json.dumps({**request, "module": self.module.rpartition(".")[2]}))
        self.close(ask)
        with open(answered, encoding="utf-8", closefd=False) as stream:
            return json.loads(stream.read())


class Asker(NodeModule):
    """Checks the options, has the rest done on the machine, and tells of it."""

    talk: Talk

    def __init__(self, spec: dict[str, Any], *args: Any, **rules: Any) -> None:
        self.noted: list[str] = []
        basic.has_journal = False
        parameters.DEFAULT_TYPE_VALIDATORS["path"] = parameters.DEFAULT_TYPE_VALIDATORS["str"]  # ~ and variables are the machine's
        super().__init__(spec, *args, **rules)
        own = self.own_entries(self.items, self.identity) if self.entries is not None else []
        said = self.talk.ask({"params": self.params, "entries": own, "check_mode": self.check_mode, "log": self.noted,
                              "facility": self._syslog_facility})
        for text in said["warnings"]:
            self.warn(text)
        getattr(self, said["how"])(**said["result"])

    def fail_json(self, msg: str, **result: Any) -> Any:
        self.talk.close()  # nobody waits for a question any more
        super().fail_json(msg, **result)

    def _log_to_syslog(self, msg: str) -> None:
        """It belongs into the log of the machine."""
        self.noted.append(msg)
