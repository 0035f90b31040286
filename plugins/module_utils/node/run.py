# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# pylint: disable=ansible-bad-function  # what stands below the modules knows none of them
"""Commands on a node: bounded in time, in the C locale, and with errors that a person can read. Python 3.6 syntax."""

import os
import subprocess
from typing import List, NamedTuple, Sequence

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class NodeError(Exception):
    """What went wrong on the node and what to do about it, in plain words."""


class CommandError(NodeError):
    """A command ended with a return code that means failure."""

    def __init__(self, argv: Sequence[str], code: int, text: str) -> None:
        super().__init__(f"{' '.join(argv)} failed with {code}: {' '.join(text.split()) or 'it says nothing'}")
        self.code = code
        self.text = text


class Result(NamedTuple):
    code: int
    out: str
    err: str


def run(*argv: str, timeout: float = 60, codes: Sequence[int] = (0,)) -> Result:
    """Run a command without a shell. `codes` are the return codes that are no failure.

    Raises CommandError; NodeError where the command is not installed or not done after `timeout` seconds.
    """
    environment = dict(os.environ, LC_ALL="C", LANG="C", PATH=SEARCH_PATH)
    try:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   universal_newlines=True, env=environment)
    except FileNotFoundError:
        raise NodeError(f"There is no command {argv[0]} on this machine; install it first.") from None
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        # A process that waits for a dead device cannot be killed; it must not keep the module waiting as well.
        process.kill()
        raise NodeError(f"{' '.join(argv)} was not done after {timeout:g} seconds.") from None
    if process.returncode not in codes:
        raise CommandError(argv, process.returncode, err.strip() or out.strip())
    return Result(process.returncode, out, err)


def read(*parts: str) -> str:
    """A small file without the white space around it; "" where it is not there or cannot be read."""
    try:
        with open(os.path.join(*parts), "rb", buffering=0) as stream:
            # Of sysfs in one call: a second one, for the end of it, may be of another moment, and find more there.
            content = stream.read(65536) or b""
            if len(content) > 2048:
                content += stream.readall()
    except OSError:
        return ""
    return content.decode("utf-8", "replace").strip("\0 \t\n")


def names(*parts: str) -> List[str]:
    """The entries of a folder, sorted; none where it is not there."""
    try:
        return sorted(os.listdir(os.path.join(*parts)))
    except OSError:
        return []
