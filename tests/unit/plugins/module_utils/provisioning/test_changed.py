# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Right answer files with something changed at random: what is not refused then stops no installer, and is read as what it says."""

from __future__ import annotations

import random
import re

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.provisioning.answerfile import judged
from ansible_collections.nobloat.xen.plugins.module_utils.provisioning.table import VERSIONS

from .installer_reading import read
from .test_answerfile import GOOD, RIGHT, WARNED

TEXTS = ["", "1", "0", "yes", "TRUE", "no", "false", "local", "url", "nfs", "sda", "sdb", "md127", "missing", "static", "dhcp", "none",
         "10.0.0.1", "fd00::1", " ", "&#10;", "localhost", "eth0", "x", "ext3", "hash", "!!", "auto", "autoconf", "manual", "default",
         "enabled"]
VALUE = re.compile(r'="([^"]*)"|>([^<\n]+)<')
# What says the same: booleans in capitals, and the defaults.
SAME = re.compile(r' (mode="fresh"|(guest-?storage|sr-at-end|write-boot-entry)="(true|yes)"|location="mbr"|type="url")')


def changed(text: str, dice: random.Random) -> str:
    """One value, attribute or line is another one, is there twice or not at all."""
    lines = text.splitlines(keepends=True)
    line = dice.randrange(1, len(lines) - 1)
    found = dice.choice(list(VALUE.finditer(text, text.index("\n"))))
    start, end = found.span(found.lastindex or 0)
    value = text[start:end]
    cut = dice.randrange(len(value) + 1)
    put = dice.choice([
        dice.choice(TEXTS), value[:cut] + value[cut + 1:], value[:cut] + dice.choice("0aA.-_/: ,%\u00e9") + value[cut:],
        value.upper(), value * 2,
        *(() if found.lastindex == 1 else (
            f"<![CDATA[{value}]]>", f"<!--{value}-->", f"{value[:cut]}<!--x-->{value[cut:]}", f"<b>{value}</b>"))])
    attribute = dice.choice(list(re.finditer(r' [\w-]+="[^"]*"', text)))
    return dice.choice([
        text[:start] + put + text[end:], text[:start] + put + text[end:], text[:attribute.start()] + text[attribute.end():],
        "".join([*lines[:line], dice.choice(lines[1:-1]), *lines[line:]]), "".join(lines[:line] + lines[line + 1:]),
        "".join([*lines[:line], lines[line].replace("-", "_", 1), *lines[line + 1:]])])


def said(text: str) -> str:
    return SAME.sub("", re.sub(r"<!--.*?-->|\s+(?=<)|(?<=>)\s+", "", text).lower())


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_not_refused_is_read_as_what_it_says(version: str) -> None:
    dice = random.Random(version)
    right = [GOOD.replace(old, new) for old, new, *_word, versions in [*RIGHT, *WARNED] if version in versions]
    taken = 0
    for _number in range(1500):
        before = dice.choice(right)
        text = changed(before, dice)
        verdict = judged(text, version)
        if verdict.mistakes or verdict.warnings:
            continue
        taken += 1
        if read(text, version) == read(before, version):
            assert said(text) == said(before)
    assert 50 < taken < 750  # most changes are mistakes, and not all of them
