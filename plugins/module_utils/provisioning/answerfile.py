# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with an answer file for the installer of a version of XCP-ng or XenServer.

The installers take what they know and ignore the rest, so that a misspelt element installs something else. Here everything
that the installer would not read, or would read as something else than it says, is a mistake (table.py, together.py).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from . import values as v
from .document import Node, parse
from .table import Row, elsewhere, rows
from .together import Found, together

ROOTS = {"installation": "fresh", "upgrade": "upgrade", "restore": "restore"}


class Mistake(NamedTuple):
    line: int
    text: str
    element: str = ""  # where it is


class Verdict(NamedTuple):
    """`mistakes` are refused; with `warnings`, the installer does what is written, which may not be what is wanted."""

    mistakes: list[Mistake]
    warnings: list[Mistake]


def judged(text: str, version: str) -> Verdict:
    """All that is to be said of an answer file for the installer of a version, by line."""
    try:
        root = parse(text)
    except ValueError as error:
        line, _colon, why = str(error).partition(": ")
        return Verdict([Mistake(int(line.split()[1]), why)], [])
    if root.name not in ROOTS:
        return Verdict([Mistake(root.line, f"<{root.name}> is not the root of an answer file; write {v.listed(ROOTS, 'or')}")], [])
    operation, wrong = _operation(root)
    judge = _Judge(version, operation)
    judge.mistakes += wrong
    judge.element(root, "")
    for each in together(root, version, operation):
        judge.note(each)
    return Verdict(sorted(judge.mistakes), sorted(judge.warnings))


def mistakes(text: str, version: str) -> list[Mistake]:
    return judged(text, version).mistakes


def _operation(root: Node) -> tuple[str, list[Mistake]]:
    mode = root.attributes.get("mode")
    if root.name == "restore":
        return "restore", []
    if root.name == "upgrade" and mode != "upgrade":
        return "upgrade", [Mistake(root.line, '<upgrade> needs mode="upgrade": without it, the installer installs anew')]
    return ("upgrade" if mode == "upgrade" else "fresh"), []


class _Judge:
    """Goes through a document with the table of a version and an operation."""

    def __init__(self, version: str, operation: str) -> None:
        self.version, self.operation = version, operation
        self.rows = rows(version, operation)
        self.mistakes: list[Mistake] = []
        self.warnings: list[Mistake] = []

    def note(self, found: Found) -> None:
        (self.warnings if found.warning else self.mistakes).append(Mistake(found.node.line, found.text, found.node.name))

    def wrong(self, node: Node, text: str) -> None:
        self.mistakes.append(Mistake(node.line, text, node.name))

    def element(self, node: Node, path: str) -> None:
        """An element that is known, with its attributes, its text and what is in it."""
        row = self.rows.get(path)
        self._attributes(node, path)
        self._text(node, row)
        inside = {key: each for key, each in self.rows.items() if "@" not in key and key.rpartition("/")[0] == path and key != path}
        for key, each in inside.items():
            name = key.rpartition("/")[2]
            here = node.all(name)
            if each.required and not here:
                self.wrong(node, f"<{node.name}> needs <{name}>")
            if each.instead_of and here and node.all(each.instead_of.rpartition("/")[2]):
                self._twice(here[0], each)
        seen = set()
        for child in node.children:
            below = f"{path}/{child.name}".lstrip("/")
            if below not in inside:
                self.wrong(child, f"the installer of {self.version} does not read <{child.name}> there"
                                  f"{self._hint(below, inside)}")
                continue
            if child.name in seen and not inside[below].many:
                self.wrong(child, f"<{child.name}> is there twice; only one would count")
            seen.add(child.name)
            self.element(child, below)

    def _attributes(self, node: Node, path: str) -> None:
        known = {key.rpartition("@")[2]: row for key, row in self.rows.items() if "@" in key and key.rpartition("@")[0] == path}
        for name, row in known.items():
            if row.required and name not in node.attributes:
                self.wrong(node, f"<{node.name}> needs {name}=")
            if name in node.attributes and row.instead_of.rpartition("@")[2] in node.attributes:
                self._twice(node, row)
        for name, value in node.attributes.items():
            if name not in known:
                self.wrong(node, f"the installer of {self.version} does not read {name}= of <{node.name}>"
                                 f"{self._hint(f'{path}@{name}', known)}")
            else:
                self._value(node, known[name], value, f"{name}= of <{node.name}>")

    def _twice(self, node: Node, row: Row) -> None:
        self.wrong(node, f"{row.path} and {row.instead_of} are two names of one thing; write only the latter")

    def _text(self, node: Node, row: Row | None) -> None:
        if node.cdata:
            self.wrong(node, f"<{node.name}>: the installer reads nothing that is in CDATA; write it without")
        elif row and row.value:
            if row.path.endswith("/driver") and (node.comment or node.raw != node.text):
                self.wrong(node, f"<{node.name}>: blanks and comments would be part of the text")
            self._value(node, row, node.text, f"<{node.name}>")
        else:
            if node.text:
                self.wrong(node, f"<{node.name}>: it has a text, which is not read")
            if row:
                self._warn(node, row, "", f"<{node.name}>")

    def _value(self, node: Node, row: Row, value: str, what: str) -> None:
        strange = [sign for sign in value if not " " <= sign <= "~"]
        if strange:
            self.wrong(node, f"{what}: the installer cannot read {strange[0]!r}; write letters, digits and signs of ASCII only")
        elif row.value and (why := row.value(value)):
            self.wrong(node, f"{what}: {why}")
        else:
            self._warn(node, row, value, what)

    def _warn(self, node: Node, row: Row, value: str, what: str) -> None:
        if row.warns and (why := row.warns(value)):
            self.warnings.append(Mistake(node.line, f"{what}: {why}", node.name))

    def _hint(self, path: str, known: Iterable[str]) -> str:
        others = elsewhere(path)
        if self.version in others:
            return f"; it does not go with {'a fresh installation' if self.operation == 'fresh' else self.operation}"
        if others:
            return f"; {v.listed(others, 'and')} {'read' if len(others) > 1 else 'reads'} it"
        name = path.rpartition("/")[2].rpartition("@")[2]
        close = difflib.get_close_matches(name, [each.rpartition("/")[2] for each in known], 1)
        return f"; is {close[0]} meant?" if close else ""


def lines(found: Iterable[Mistake]) -> Iterator[str]:
    return (f"line {each.line}: {each.text}" for each in found)
