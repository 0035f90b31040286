# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several things in one run: entries laid over the options that they share, and an outcome for each.

A module that a user would call in a loop takes a list (`networks`), whose entries have the module's own options. What an entry leaves
out comes from the module. An entry that fails does not keep the others from being done; the module then fails in the end. Python 3.6
syntax and the standard library alone: it runs on nodes, too.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet

Options = Dict[str, Any]
# Gets what an entry says itself, and what it shares; returns all of it with its types, and what is wrong. See `checker` in discreet.py.
Check = Callable[[Options, Options], Tuple[Options, List[str]]]


class Item:
    """One entry while it is planned and done, and what became of it. `name` says which it is, `told` are the options that do."""

    def __init__(self, options: Options, identity: Sequence[str]) -> None:
        self.options = options
        self.told = {option: options[option] for option in identity if options.get(option) is not None}
        self.changes = ChangeSet("")
        self.error: Optional[Exception] = None
        self.thing: Any = None  # what else its plan has to hand on

    @property
    def name(self) -> str:
        return " ".join(str(value) for value in self.told.values()) or "nameless"

    @property
    def changed(self) -> bool:
        return self.changes.changed and not self.error


def entry_spec(spec: Mapping[str, Mapping[str, Any]], identity: Sequence[str]) -> Dict[str, Dict[str, Any]]:
    """What an entry may have: the module's options without their defaults, which only the module fills in. One option that names
    the thing is needed."""
    found = {option: {word: value for word, value in rule.items() if word != "default"} for option, rule in spec.items()}
    if len(identity) == 1:
        found[identity[0]]["required"] = True
    return found


def entries(
    params: Options, spec: Mapping[str, Any], option: str, identity: Sequence[str], check: Check, apart: Iterable[Sequence[str]] = ()
) -> List[Options]:
    """The options of each entry of the list `option`, laid over those of the module; those of the module, if there is no list.

    `spec`: the options of one. `apart`: options that exclude each other, so that an entry's replaces the module's.
    Raises ValueError for an entry that is wrong, and for two of the same thing.
    """
    shared = {name: params[name] for name in spec if params.get(name) is not None}
    if params[option] is None:
        return [_checked(params, {}, shared, check, "")]
    found = []
    for number, item in enumerate(params[option]):
        own = {name: value for name, value in item.items() if value is not None or name not in spec}
        replaced = {name for group in apart if set(group) & set(own) for name in group}
        base = {name: None if name in replaced else value for name, value in params.items()}
        common = {name: value for name, value in shared.items() if name not in replaced}
        said = dict(common, **item)
        label = " ".join(str(said[name]) for name in identity if said.get(name) is not None) or f"without {identity[0]}"
        found.append(_checked(base, own, common, check, f"{option}[{number}] ({label}): "))
    names = [Item(options, identity).name for options in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{option} has more than one item for {', '.join(twice)}.")
    return found


def _checked(base: Options, own: Options, shared: Options, check: Check, where: str) -> Options:
    options, errors = check(own, shared)
    if errors:
        raise ValueError(f"{where}{'; '.join(errors)}")
    return dict(base, **options)


def side_by_side(work: Callable[[Any], Any], things: Sequence[Any], parallel: int) -> None:
    """Call work(thing) for all, at most `parallel` at a time."""
    if len(things) < 2 or parallel < 2:
        for thing in things:
            work(thing)
        return
    with ThreadPoolExecutor(max_workers=min(parallel, len(things))) as pool:
        list(pool.map(work, things))


def outcome(
    items: Sequence[Item], option: str, key: str, explain: Callable[[Exception], Dict[str, Any]], noun: str = ""
) -> Dict[str, Any]:
    """The result of a list, under the name of its option; with `failed` and `msg` if any entry failed. `key`: where each one's object
    is; `explain` makes an error's `msg` and what goes with it; `noun` says what they are, in the plural."""
    told, failed = [], []
    for item in items:
        one = dict(item.told, changed=item.changed, failed=bool(item.error))
        if item.error:
            one.update(explain(item.error))
            failed.append(f"{item.name}: {one['msg'].rstrip('.')}")
        else:
            one.update(item.changes.facts, **{key: item.changes.after})
        told.append(one)
    result: Dict[str, Any] = {
        "changed": any(item.changed for item in items), "diff": [item.changes.diff() for item in items if item.changed], option: told,
    }
    if failed:
        result.update(failed=True, msg=f"{len(failed)} of {len(items)} {noun or option} failed. {'; '.join(failed)}.")
    return result
