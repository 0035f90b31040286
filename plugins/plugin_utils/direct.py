# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a module that is imported already in a fork of this process, instead of a new interpreter: what it costs to start one and to
import all that the module needs is paid once a run, not once a task. PRIVATE: may change at any time."""
from __future__ import annotations

import atexit
import json
import os
import selectors
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, NoReturn

from ansible.module_utils import basic
from ansible.module_utils.common import json as encoders
from ansible.module_utils.common import warnings
from ansible.plugins.action import ActionBase
from ansible.utils.unsafe_proxy import wrap_var
from ansible.vars import clean

NEWER = hasattr(encoders, "get_module_encoder")  # ansible-core 2.19
PATIENCE = 5.0  # seconds that a module has to let go of what it holds, when it is broken off
# Variables that only a new process takes to heart.
AT_START = ("PYTHON", "LD_", "MALLOC_", "OPENSSL_")


def environment(action: ActionBase) -> dict[str, str]:
    """What `environment` says at the task and around it."""
    variables: dict[str, Any] = {}
    action._compute_environment_string(variables)
    return {str(name): str(value) for name, value in variables.items()}


def execute(
    action: ActionBase, module: str, arguments: Mapping[str, Any], task_vars: dict[str, Any], main: Callable[[], object],
    started: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """What ActionBase._execute_module would return for this module, whose function `main` is. `started`: see `forked`."""
    arguments = dict(arguments)
    action._update_module_args(module, arguments, task_vars)
    said = forked(main, _encode({"ANSIBLE_MODULE_ARGS": arguments}), environment(action), started)
    if said["rc"] < 0:
        name = signal.Signals(-said["rc"]).name
        return {"failed": True, "msg": f"The process of {module} was ended by {name} before it was done. Look at what is "
                "there, and run the task again.", "module_stderr": said["stderr"]}
    return _decode(action, said)


def _encode(arguments: dict[str, Any]) -> bytes:
    if NEWER:
        return json.dumps(arguments, cls=encoders.get_module_encoder("legacy", encoders.Direction.CONTROLLER_TO_MODULE)).encode()
    return json.dumps(arguments, cls=encoders.AnsibleJSONEncoder, vault_to_text=True).encode()


def _decode(action: ActionBase, said: dict[str, Any]) -> dict[str, Any]:
    """As ActionBase._execute_module ends: no internal keys, and nothing is evaluated as a template."""
    if NEWER:
        unified = action._parse_returned_data(said, "legacy")
        unified.remove_internal_keys()
        return unified.as_result_dict(for_round_trip=True)
    result = action._parse_returned_data(said)
    clean.remove_internal_keys(result)
    return wrap_var(result)


def forked(main: Callable[[], object], arguments: bytes, environment: Mapping[str, str], started: Callable[[], None]) -> dict[str, Any]:
    """Call `main` with these arguments (JSON) and variables, and return {"rc", "stdout", "stderr"}; rc is -N if signal N ended it.

    `started` is called when the child has been forked: threads begin no sooner. Whatever interrupts the waiting, interrupts
    the module as Ctrl-C does: it logs out and gives back its claims.
    """
    pipes = [os.pipe() for _each in range(2)]
    child = os.fork()
    if not child:
        for reader, _writer in pipes:  # whose end the child shall notice
            os.close(reader)
        become_module(main, arguments, environment, [writer for _reader, writer in pipes])
    for _reader, writer in pipes:
        os.close(writer)
    try:
        started()
        stdout, stderr = _read([reader for reader, _writer in pipes])
    except BaseException:
        _break_off(child)
        raise
    finally:
        for reader, _writer in pipes:
            os.close(reader)
    _pid, status = os.waitpid(child, 0)
    return {"rc": os.waitstatus_to_exitcode(status), "stdout": stdout, "stderr": stderr}


def _read(readers: list[int]) -> list[str]:
    """All that comes from each of them."""
    said = dict.fromkeys(readers, b"")
    with selectors.DefaultSelector() as selector:
        for reader in readers:
            selector.register(reader, selectors.EVENT_READ)
        while selector.get_map():
            for key, _events in selector.select():
                part = os.read(key.fd, 1 << 16)
                said[key.fd] += part
                if not part:
                    selector.unregister(key.fd)
    return [text.decode("utf-8", "surrogateescape") for text in said.values()]


def _break_off(child: int) -> None:
    """End it, and wait for its end."""
    os.kill(child, signal.SIGINT)
    deadline = time.monotonic() + PATIENCE
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return
        time.sleep(0.05)


def become_module(main: Callable[[], object], arguments: bytes, environment: Mapping[str, str], outputs: list[int]) -> NoReturn:
    """In a child: run `main`, and end. `outputs` become stdout and stderr; nothing of what the child was before is run at the end."""
    code = 1
    try:
        for number in (signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for target, source in enumerate([nothing, *outputs]):
            os.dup2(source, target)
        sys.stdin, sys.stdout, sys.stderr = (
            open(number, mode, encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115
            for number, mode in enumerate("rww"))
        atexit._clear()
        os.environ.update(environment)
        time.tzset()
        tempfile.tempdir = None
        if NEWER:
            import_module("ansible.module_utils._internal").is_controller = False
        for noted in (warnings._global_warnings, warnings._global_deprecations):
            noted.clear()
        basic._ANSIBLE_ARGS, basic._ANSIBLE_PROFILE = arguments, "legacy"
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else bool(end.code)
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        except BaseException:  # noqa: BLE001 - it is told as a new interpreter does
            traceback.print_exc()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)
