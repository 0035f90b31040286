# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a PXE server writes into scripts, units and settings: values that are only what they seem to be there.

A quote, a semicolon or a new line in one would be another command, or another setting. No format that they get into has a way to quote
them that all the others have, so what does not belong into such a value is refused.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

_FOLDER = (re.compile(r"(/[A-Za-z0-9._+@-]+)+"), "an absolute path of letters, digits and ._+@-")
_FILE = (re.compile(r"([A-Za-z0-9._+@-]+(/[A-Za-z0-9._+@-]+)*)?"), "a path in the image, of letters, digits and ._+@-")
_NAME = (re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?"), "a name of small letters, digits, dots and dashes, as the check-in has it")
_FOLDER_NAME = (re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"), "a name of letters, digits, dots, dashes and underscores")
_HOST = (re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?"), "a host name")
_WHERE = (re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|[0-9A-Fa-f:.]+"), "a host name or an address")
_MAC = (re.compile(r"([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}"), "a MAC, as 02:66:00:00:01:00")
_NIC = (re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,14}"), "the name of a NIC")
_ADDRESS = (re.compile(r"(\d{1,3}\.){3}\d{1,3}"), "an IPv4 address")
_RANGE = (re.compile(r"[0-9a-z.,]+"), "addresses with commas between them, and proxy or a time")
_ARGUMENTS = (re.compile(r"(?!.*(^| )---( |$))[A-Za-z0-9 ._,:=/@%+*!?~()\[\]-]*"), "arguments without quotes, lines, commands and ---")
_LINE = (re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\"'`\\]*"), "one line without quotes and backslashes")

_BOOT = {"hypervisor": _FILE, "kernel": _FILE, "initrd": _FILE, "hypervisor_arguments": _ARGUMENTS, "kernel_arguments": _ARGUMENTS}
_SERVER = {"root": _FOLDER, "interface": _NIC, "address": _ADDRESS, "dhcp_range": _RANGE, "dhcp_options": _LINE}
_IMAGE = {"name": _FOLDER_NAME, "iso": _FOLDER, "tree": _FOLDER}
_HOSTS = {"name": _NAME, "mac": _MAC, "kernel_arguments": _ARGUMENTS}
_FIRST = {"hostname": _HOST, "ntp_servers": _WHERE}
_BOND = {"members": _NIC, "network": _LINE}
# Options of module answerfile that the role hands on; and those that it refuses itself, with the reason.
ANSWERS = ("mode", "sr_type", "disk", "guest_disks", "sources", "driver_sources", "interface", "root_password", "dns", "hostname",
           "timezone", "ntp_servers", "keymap", "services")
OWN = ("version", "content", "scripts")


def problems(server: Mapping[str, Any], images: list[Mapping[str, Any]], hosts: list[Mapping[str, Any]]) -> list[str]:
    """One sentence for each value that is not what it has to be; it names the option, and the value as Python writes it."""
    found = list(_wrong("pxe_server_", server, _SERVER))
    for image in images:
        where = f"pxe_server_images, {image.get('name')!r}: "
        found += [*_wrong(where, image, _IMAGE), *_wrong(f"{where}boot.", image.get("boot") or {}, _BOOT)]
    for host in hosts:
        where, first = f"pxe_server_hosts, {host.get('name')!r}: ", host.get("first_boot") or {}
        found += [*_wrong(where, host, _HOSTS), *_unknown(where, host.get("answers")), *_wrong(f"{where}first_boot.", first, _FIRST),
                  *_wrong(f"{where}first_boot.bond.", first.get("bond") or {}, _BOND)]
    return found


def _unknown(where: str, answers: Any) -> Iterator[str]:
    """Misspelt options, by name alone: what they hold may be a password."""
    if not isinstance(answers, Mapping):
        yield f"{where}answers has to be a dictionary of options of module answerfile."
        return
    for name in answers:
        if name not in (*ANSWERS, *OWN):
            close = difflib.get_close_matches(str(name), ANSWERS, 1)
            yield f"{where}answers has {name!r}, which is not an option of module answerfile that can be given here{_maybe(close)}."


def _maybe(close: list[str]) -> str:
    return f" (is {close[0]} meant?)" if close else ""


def _wrong(where: str, values: Mapping[str, Any], rules: Mapping[str, tuple[re.Pattern[str], str]]) -> Iterator[str]:
    for option, (pattern, what) in rules.items():
        value = values.get(option)
        for text in value if isinstance(value, list) else [] if value is None else [value]:
            if not pattern.fullmatch(str(text)):
                yield f"{where}{option} is {str(text)!r}, and has to be {what}."
