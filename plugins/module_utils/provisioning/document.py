# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The XML of answer files, read with line numbers, and written."""

from __future__ import annotations

from collections.abc import Iterator
from xml.parsers import expat


class Node:
    """An element. `line` is where it begins; `raw` its text with the blanks around it, which most of the installers' reading drops."""

    def __init__(self, name: str, attributes: dict[str, str] | None = None, raw: str = "", line: int = 0) -> None:
        self.name = name
        self.attributes = attributes or {}
        self.raw = raw
        self.line = line
        self.cdata = False
        self.comment = False  # or a processing instruction
        self.children: list[Node] = []

    @property
    def text(self) -> str:
        return self.raw.strip(" \t\r\n")

    def add(self, element: str, content: object = "", **attributes: object) -> Node:
        """A child; attributes that are None are left out, and _ stands for - in their names."""
        given = {key.replace("_", "-"): str(value) for key, value in attributes.items() if value is not None}
        child = Node(element, given, str(content))
        self.children.append(child)
        return child

    def all(self, *names: str) -> list[Node]:
        """The elements of these names below this one at any depth, as the installers look for them."""
        return [node for node in self._below() if node.name in names]

    def _below(self) -> Iterator[Node]:
        for child in self.children:
            yield child
            yield from child._below()


def parse(text: str) -> Node:
    """The root element. Raises ValueError with the line for what is not XML."""
    parser = expat.ParserCreate()
    top = Node("")
    stack = [top]

    def start(name: str, attributes: dict[str, str]) -> None:
        node = Node(name, dict(attributes), line=parser.CurrentLineNumber)
        stack[-1].children.append(node)
        stack.append(node)

    def end(_name: str) -> None:
        stack.pop()

    def data(more: str) -> None:
        stack[-1].raw += more

    def cdata() -> None:
        stack[-1].cdata = True

    def comment(*_args: object) -> None:
        stack[-1].comment = True

    def refuse(*_args: object) -> None:
        raise ValueError(f"line {parser.CurrentLineNumber}: a document type; an answer file has none")

    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, data
    parser.StartCdataSectionHandler, parser.StartDoctypeDeclHandler = cdata, refuse
    parser.CommentHandler = parser.ProcessingInstructionHandler = comment
    try:
        parser.Parse(text.encode("utf-8"), True)
    except expat.ExpatError as error:
        raise ValueError(f"line {error.lineno}: not valid XML: {expat.errors.messages[error.code]}") from None
    return top.children[0]


def rendered(root: Node) -> str:
    """XML text of an element with its children."""
    lines = ['<?xml version="1.0"?>']

    def write(node: Node, depth: int) -> None:
        words = "".join(f' {key}="{_escaped(value)}"' for key, value in node.attributes.items())
        head = f"{'  ' * depth}<{node.name}{words}"
        if node.children:
            lines.append(f"{head}>")
            for child in node.children:
                write(child, depth + 1)
            lines.append(f"{'  ' * depth}</{node.name}>")
        else:
            lines.append(f"{head}>{_escaped(node.text)}</{node.name}>" if node.text else f"{head}/>")

    write(root, 0)
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    for sign, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(sign, entity)
    return text
