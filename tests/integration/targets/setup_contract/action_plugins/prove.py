# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""prove: run a state module in check mode, for real and once more, and hold it against the pool as the plain SDK reads it.

    - prove:
        module: nobloat.xen.network
        args: {name: storage, mtu: 9000}
        changed: true             # false: already in that state
        reads: {network: {name_label: storage}}          # which records to hand back, as `records`
        fails: regular expression # instead: must fail so, in both modes, and leave the pool as it was
        foreseen: false           # only the pool knows that it fails: check mode is not asked
        again: false              # an action such as `restarted`, which is done again each time

Proven for each call:
  * check mode leaves every record of the pool as it was;
  * check mode predicts `changed` and the diff of the real run, and the real run leaves the pool as it was if `changed` is false;
  * the diff's "after" is what the module finds when it looks again, for each object of a list, too;
  * the second run changes nothing, in either mode;
  * what it returns is documented, by name and type.

A module that only looks (*_info) leaves the pool as it is, and what it returns is documented.

All runs are in a fork of Ansible's worker, as users have them; but the first of a module that changes something is in Ansible's own
way, as users have it in the background or on another machine.
"""
from __future__ import annotations

import json
import os
import re
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xmlrpc.client import DateTime

import XenAPI
import yaml
from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.nobloat.xen.plugins.plugin_utils import direct

CLASSES = ("pool", "host", "network", "PIF", "VLAN", "Bond", "SR", "PBD", "VDI", "VBD", "VIF", "VM", "secret", "subject",
           "role", "Certificate")
# What moves by itself: not part of a pool's configuration.
VOLATILE = {"allowed_operations", "current_operations", "guest_metrics", "last_updated", "memory_free", "network_utilisation_kbs"}


def read(login: dict[str, Any], classes: tuple[str, ...] = CLASSES) -> dict[str, dict[str, dict[str, Any]]]:
    """All records of a pool, {class: {ref: record}}, through the XenAPI SDK alone."""
    url, username, password = (str(login[key]) for key in ("hostname", "username", "password"))  # plain, not tagged
    session = XenAPI.Session(url, ignore_ssl=True)
    try:
        session.xenapi.login_with_password(username, password, "2.0", "integration tests")
    except XenAPI.Failure as error:  # the coordinator has changed
        if error.details[0] != "HOST_IS_SLAVE":
            raise
        parts = urlsplit(url)
        session = XenAPI.Session(f"{parts.scheme}://{error.details[1]}:{parts.port}", ignore_ssl=True)
        session.xenapi.login_with_password(username, password, "2.0", "integration tests")
    try:
        return {name: getattr(session.xenapi, name).get_all_records() for name in classes}
    finally:
        session.xenapi.session.logout()


def still(state: dict[str, dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """A state without what moves by itself, {class/ref: {field: value}}, sets in a stable order."""
    return {
        f"{name}/{ref}": {
            key: sorted(value, key=str) if isinstance(value, list) else str(value)
            for key, value in record.items() if key not in VOLATILE
        }
        for name, records in state.items() for ref, record in records.items()
    }


def moved(before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]) -> list[str]:
    """Fields that differ between two states, one line each."""
    lines = []
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if old is None or new is None:
            lines.append(f"{key}: {'appeared' if old is None else 'is gone'}")
        else:
            lines += [f"{key}.{name}: {old[name]} -> {new.get(name)}" for name in old if old[name] != new.get(name)]
    return lines


def foretold(predicted: Any, real: Any, path: str = "") -> list[str]:
    """Where `real` is not what was predicted; keys that only exist once an object is made (a uuid) may come on top."""
    if isinstance(predicted, dict) and isinstance(real, dict):
        missing = [f"{path}/{key} is missing" for key in predicted.keys() - real.keys()]
        return missing + [line for key in predicted.keys() & real.keys()
                          for line in foretold(predicted[key], real[key], f"{path}/{key}")]
    if isinstance(predicted, list) and isinstance(real, list) and len(predicted) == len(real):
        return [line for index, (old, new) in enumerate(zip(predicted, real, strict=True))
                for line in foretold(old, new, f"{path}/{index}")]
    return [] if predicted == real else [f"{path}: {predicted!r} became {real!r}"]


def sides(result: dict[str, Any], side: str) -> Any:
    """One side of a result's diff; a module for a list of objects returns a list of diffs, keyed here by its header."""
    diff = result.get("diff")
    if diff is None:
        raise AnsibleError("the module returned no diff")
    if isinstance(diff, list):
        return {part[f"{side}_header"]: part[side] for part in diff}
    return diff[side]


def found(result: dict[str, Any]) -> dict[str, Any]:
    """What a list says of every object, by what says which it is; its diff has those only that it changed."""
    listed = outcomes(result)
    return {identity(item): view(item) for item in listed or ()}


def outcomes(result: dict[str, Any]) -> list[dict[str, Any]] | None:
    """What became of each entry of a list; None where the module was given one object."""
    if not isinstance(result["diff"], list):
        return None
    for value in result.values():
        if isinstance(value, list) and value and all(isinstance(item, dict) and {"changed", "failed"} <= item.keys() for item in value):
            return value
    raise AnsibleError("the module returned a list of diffs, but no outcome of each entry")


def identity(item: dict[str, Any]) -> str:
    """Which entry an outcome is of: all that it says besides the object."""
    return json.dumps({key: value for key, value in item.items()
                       if key not in ("changed", "failed") and not isinstance(value, (dict, list))}, sort_keys=True, default=str)


def view(item: dict[str, Any]) -> dict[str, Any] | None:
    """The object in an outcome."""
    return next((value for value in item.values() if isinstance(value, dict)), None)


def consistent(result: dict[str, Any]) -> list[str]:
    """Where a list's diff is not what it says of the objects that it changed, in their order."""
    listed = outcomes(result)
    changed = [item for item in listed or () if item["changed"]]
    if listed is None:
        return []
    if len(changed) != len(result["diff"]):
        return [f"{len(changed)} objects changed, and {len(result['diff'])} diffs"]
    return [line for item, diff in zip(changed, result["diff"], strict=True)
            for line in foretold(diff["after"], view(item), identity(item))]


TYPES = {"bool": (bool,), "int": (int,), "float": (int, float), "str": (str,), "list": (list,), "dict": (dict,)}
GENERAL = {"changed", "diff", "failed", "invocation", "warnings", "deprecations"}


def undocumented(values: dict[str, Any], documented: dict[str, Any], path: str = "") -> list[str]:
    """Where return values are not as RETURN has them, which a `contains` goes into; null is any type's nothing."""
    lines = []
    for key, value in values.items():
        if key not in documented:
            lines.append(f"{path}{key} is not in RETURN")
            continue
        what = documented[key]
        # Texts of older cores are a subclass of str; and a bool is an int.
        fits = isinstance(value, TYPES[what["type"]]) and (what["type"] == "bool" or not isinstance(value, bool))
        if value is not None and not fits:
            lines.append(f"{path}{key} is {value!r}, and no {what['type']}")
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, dict) and "contains" in what:
                lines += undocumented(part, what["contains"], f"{path}{key}.")
    return lines


def source(name: str) -> Any:
    """A module's Python module."""
    namespace, _dot, short = name.rpartition(".")
    return import_module(f"ansible_collections.{namespace}.plugins.modules.{short}")


class ActionModule(ActionBase):
    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        self.task_vars = task_vars or {}
        self.login = self.task_vars["xapi"][self.task_vars["ansible_role_name"]]
        args = self._task.args
        self.module, self.args = args["module"], args.get("args", {})
        try:
            if "fails" in args:
                result = self.fails(args["fails"], args.get("foreseen", True))
            else:
                result = self.looks() if self.module.endswith("_info") else self.proven(args)
        except AnsibleError as error:
            return {"failed": True, "msg": f"{self.module} {json.dumps(self.args, default=str)}: {error}"}
        self.record()
        return result

    def call(self, *, check: bool, own: bool = False) -> dict[str, Any]:
        args = {**self.login, **self.args}
        self._task.check_mode, self._task.diff = check, True
        if own:
            return self._execute_module(module_name=self.module, module_args=args, task_vars=self.task_vars)
        return direct.execute(self, self.module, args, self.task_vars, source(self.module).main)

    def good(self, *, check: bool, own: bool = False) -> dict[str, Any]:
        result = self.call(check=check, own=own)
        if result.get("failed"):
            raise AnsibleError(f"{'check mode' if check else 'the run'} failed: {result}")
        return result

    def documented(self, result: dict[str, Any]) -> None:
        returned = {key: value for key, value in result.items() if key not in GENERAL and not key.startswith("_ansible")}
        lines = undocumented(returned, yaml.safe_load(source(self.module).RETURN))
        if lines:
            raise AnsibleError(f"what it returns is not as it is documented: {lines[:10]}")

    def looks(self) -> dict[str, Any]:
        before = still(read(self.login))
        result = self.good(check=False)
        self.unmoved(before, "looking")
        self.documented(result)
        return {"changed": False, "result": result}

    def unmoved(self, before: dict[str, dict[str, Any]], what: str) -> None:
        lines = moved(before, still(read(self.login)))
        if lines:
            raise AnsibleError(f"{what} changed the pool: {lines[:10]}")

    def fails(self, pattern: str, foreseen: bool) -> dict[str, Any]:
        before = still(read(self.login))
        for check in (True, False) if foreseen else (False,):
            result = self.call(check=check)
            mode = "check mode" if check else "the run"
            if not result.get("failed"):
                raise AnsibleError(f"{mode} was to fail, but returned {result}")
            if not re.search(pattern, result["msg"]) or "Traceback" in str(result):
                raise AnsibleError(f"{mode} failed otherwise than by {pattern!r}: {result}")
        self.unmoved(before, "the failed run")
        return {"changed": False, "result": result}

    def proven(self, args: dict[str, Any]) -> dict[str, Any]:
        changed = args.get("changed", True)
        before = still(read(self.login))
        predicted = self.good(check=True)
        self.unmoved(before, "check mode")
        real = self.good(check=False, own=changed and not self.proven_before())
        self.documented(real)
        for name, result in (("check mode", predicted), ("the run", real)):
            if result["changed"] is not changed:
                raise AnsibleError(f"{name} says changed={result['changed']}: {sides(result, 'before')} -> {sides(result, 'after')}")
        state = read(self.login)
        if changed and not moved(before, still(state)):
            raise AnsibleError("the run says changed, and the pool is as it was")
        if not changed:
            self.unmoved(before, "the run that says changed=false")
        for side in ("before", "after"):
            self.agree(predicted, real, side, side, "check mode predicted otherwise")
        if args.get("again", True):
            self.idempotent(real, still(state))
        return {"changed": changed, "result": real, "check": predicted, "records": self.pick(state, args.get("reads", {}))}

    def agree(self, first: dict[str, Any], second: dict[str, Any], side: str, other: str, complaint: str) -> None:
        lines = foretold(sides(first, side), sides(second, other))
        if lines:
            raise AnsibleError(f"{complaint}: {lines[:10]}")

    def idempotent(self, real: dict[str, Any], state: dict[str, dict[str, Any]]) -> None:
        for check in (False, True):
            again = self.good(check=check)
            if again["changed"]:
                raise AnsibleError(f"the second run changes again: {sides(again, 'before')} -> {sides(again, 'after')}")
            self.unmoved(state, "the second run")
        if not real["changed"]:
            return
        if outcomes(real) is None:
            self.agree(real, again, "after", "before", "the diff's after is not what is there now")
        else:
            lines = consistent(real) + foretold(found(real), found(again))
            if lines:
                raise AnsibleError(f"what became of the list is not what is there now: {lines[:10]}")

    @staticmethod
    def pick(state: dict[str, dict[str, dict[str, Any]]], wanted: dict[str, dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
        """The records that `reads` asks for: {class: {field: value}} -> {class: [record + its ref]}, dates as text."""
        picked = {
            name: [{"ref": ref, **{key: str(field) if isinstance(field, DateTime) else field for key, field in record.items()}}
                   for ref, record in state[name].items()
                   if all(str(record[key]) == str(value) for key, value in match.items())]
            for name, match in wanted.items()
        }
        return json.loads(json.dumps(picked, default=str))

    def proven_before(self) -> bool:
        """Whether a run that changes something has been seen of this module."""
        path = Path(self.task_vars.get("xapi_proven") or os.devnull)
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return any(entry["module"] == self.module and entry["changed"] and not entry["fails"] for entry in map(json.loads, lines))

    def record(self) -> None:
        """Note what was proven of which module; tests/integration/run.py asks for it in the end."""
        path = self.task_vars.get("xapi_proven")
        if path:
            entry = {"module": self.module, "fails": "fails" in self._task.args,
                     "changed": self._task.args.get("changed", True), "again": self._task.args.get("again", True)}
            with open(path, "a", encoding="utf-8") as stream:
                stream.write(json.dumps(entry) + "\n")
