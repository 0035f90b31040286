# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts in answer files: of each kind, why one is wrong, or "" if it is not.

The installers check few of them: what is none of the texts that they know is often read as the default, or as false.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from .zones import KEYMAPS, TIME_ZONES

Check = Callable[[str], str]

# Hashes that dom0's C library (glibc 2.17) can check: MD5, SHA-256 and SHA-512 of crypt(3), whole. It keeps `rounds` from 1000 on.
# More than ten million rounds would keep each login waiting for a minute and more.
HASH = re.compile(r"\$1\$[!-#%-9;-~]{1,8}\$[./0-9A-Za-z]{22}"
                  r"|\$5\$(rounds=[1-9]\d{3,6}\$)?[!-#%-9;-~]{1,16}\$[./0-9A-Za-z]{43}"
                  r"|\$6\$(rounds=[1-9]\d{3,6}\$)?[!-#%-9;-~]{1,16}\$[./0-9A-Za-z]{86}")
NO_PASSWORD_YET = "!!"  # it is asked for at the first boot
STAGES = ("installation-start", "packages-installed", "filesystem-populated", "installation-complete")
TRUE, FALSE = ("true", "yes"), ("false", "no")


def listed(words: Iterable[str], link: str) -> str:
    *first, last = (word or '""' for word in words)
    return f"{', '.join(first)} {link} {last}" if first else last


def one_of(*words: str) -> Check:
    return lambda text: "" if text in words else f"'{text}' is not valid; write {listed(words, 'or')}"


def any_case(*words: str) -> Check:
    return lambda text: one_of(*words)(text.lower()) and one_of(*words)(text)


def whole(first: int, last: int) -> Check:
    return lambda text: "" if re.fullmatch("[1-9][0-9]{0,8}", text) and first <= int(text) <= last \
        else f"'{text}' is not a number from {first} to {last}"


def like(pattern: str, what: str) -> Check:
    return lambda text: "" if re.fullmatch(pattern, text) else f"'{text}' is not {what}"


def either(*checks: Check) -> Check:
    return lambda text: "" if any(not check(text) for check in checks) else checks[0](text)


def both(*checks: Check) -> Check:
    return lambda text: next((why for check in checks if (why := check(text))), "")


def always(why: str) -> Check:
    return lambda _text: why


def when_false(why: str) -> Check:
    return lambda text: why if text.lower() in FALSE else ""


def anything(_text: str) -> str:
    """For texts that something else decides about, as an address's type."""
    return ""


boolean = any_case(*TRUE, *FALSE)
number = like(r"0[xX][0-9a-fA-F]+|0|[1-9][0-9]*", "a valid number; write for example 8 or 0xde, without zeros before it")
word = like(r"\S+( \S+)*", "a valid text; write one word, or words with one blank between them")
nic = like(r"eth(0|[1-9]\d*)", "a NIC as the installer names them; write for example eth0")
mac = like(r"(?i)(?!00(:00){5})[0-9a-f][02468ace](:[0-9a-f]{2}){5}", "a valid MAC address of a NIC; write for example 02:66:00:00:01:00")
array = like(r"(/dev/)?md\d+", "a valid array; write for example md127")
# What the installer puts .service behind.
service = like(r"(?!.*\.(service|socket|device|mount|automount|swap|target|path|timer|slice|scope)$)\w[\w@:.-]*",
               "a valid service; write for example sshd, without .service or another kind of unit")


# ---- disks

# Names of whole disks, those that udev links to them, and those of parts of them.
_NUMBERED = r"nvme\d+n\d+|mmcblk\d+|md_?d?\d+|(cciss|ida|rd)/c\d+d\d+|(nbd|rbd|drbd|pmem|zd)\d+"
_DISKS = re.compile(rf"(sd|hd|vd|xvd|rssd|fio)[a-z]+|{_NUMBERED}|dm-\d+|(md|mapper|disk/by-id|disk/by-path)/[A-Za-z0-9][\w:+@.=#-]*")
_PARTS = re.compile(
    rf"(sd|hd|vd|xvd)[a-z]+\d+|({_NUMBERED})p\d+|(disk|mapper)/.*-part\d+|mapper/mpath[a-z]+p?\d+|mapper/.*\dp\d+"
    r"|disk/by-(uuid|label|partuuid|partlabel)/.*")


def device(text: str) -> str:
    """A disk's name without /dev/, as two names are compared."""
    return text[5:] if text.startswith("/dev/") else text


def disk(text: str) -> str:
    name = device(text)
    if text.startswith("iscsi:"):
        return f"'{text}': the installer has lost what reads iscsi:; write the name that the disk gets, as sda"
    if name == "missing":
        return "'missing' goes with swraid= only, beside the name of a disk"
    if _PARTS.fullmatch(name):
        return f"'{text}' is a partition; the installer needs a whole disk"
    return "" if _DISKS.fullmatch(name) else \
        f"'{text}' is not a valid name of a disk; write for example sda or /dev/disk/by-id/wwn-0x5000c500a1b2c3d4"


def local_disk(text: str) -> str:
    """For the local SR: the installer makes none on what device mapper has put together, such as paths to a SAN."""
    if re.match("mapper/|dm-", device(text)):
        return f"'{text}' is not a local disk and cannot be part of the local SR; write for example sdb"
    return disk(text)


def member(text: str) -> str:
    """For an array: neither one itself, nor what device mapper has put together."""
    if re.match(r"md[/_\d]", device(text)):
        return f"'{text}' is an array itself; write the names of disks, for example sda"
    return local_disk(text).replace("part of the local SR", "part of an array")


def disk_pair(text: str) -> str:
    """One disk, or two for swraid= with a comma between, of which one may be missing."""
    parts = text.split(",")
    if len(parts) == 1:
        return disk(text)
    return next((why for part in parts if part != "missing" and (why := member(part))), "")


# ---- addresses

def address(version: int) -> Check:
    def check(text: str) -> str:
        wrong = f"'{text}' is not a valid IPv{version} address; write for example {'10.0.0.1' if version == 4 else 'fd00::1'}"
        try:
            given = ipaddress.ip_address(text)
        except ValueError:
            return wrong
        if given.version != version or "%" in text:
            return wrong
        if version == 4 and given.is_link_local:
            return f"'{text}' is link-local; hosts keep these addresses for themselves"
        reserved = given.is_reserved if version == 4 else text.lower().startswith("::ffff:")
        if given.is_multicast or given.is_unspecified or given.is_loopback or reserved:
            return f"'{text}' is not the address of one machine"
        return ""

    return check


def netmask(text: str) -> str:
    try:
        bits = int(ipaddress.IPv4Address(text))
    except ValueError:
        bits = 0
    rest = bits ^ 0xFFFFFFFF
    if bits and not rest:
        return f"'{text}' is a network without any other host; write for example 255.255.255.0"
    return "" if bits and not rest & (rest + 1) else f"'{text}' is not a valid netmask; write for example 255.255.255.0"


def interface6(text: str) -> str:
    bare, slash, length = text.partition("/")
    try:
        bits = ipaddress.IPv6Interface(text).network.prefixlen if slash else 0
        if slash and str(bits) != length:  # with a zero before it, it is octal for the host
            raise ValueError
    except ValueError:
        return f"'{text}' is not a valid IPv6 address with its prefix; write for example fd00::5/64"
    if not bits or bits == 128:
        return f"'{text}' has {'no prefix' if not bits else 'a network without any other host'}; write for example fd00::5/64"
    return address(6)(bare) or (f"'{bare}' is link-local; other hosts cannot reach it" if ipaddress.ip_address(bare).is_link_local else "")


def optional(check: Check) -> Check:
    return lambda text: check(text) if text else ""


def host_name(text: str) -> str:
    why = like(r"(?i)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*",
               "a valid host name; write for example node1")(text)
    if not why and len(text) > 64:
        return f"'{text}' is longer than the 64 characters that a host name may have"
    if not why and text.rpartition(".")[2].isdigit():
        return f"'{text}' is an address or a number, not a host name"
    if not why and _LOCALHOST.fullmatch(text):
        return f"'{text}' is what every host calls itself, and the host takes it for no name at all; write for example node1"
    return why


either_address = either(address(4), address(6))
_LOCALHOST = re.compile(r"(?i)(.+\.)?localhost(\.localdomain|[46]|[46]?\.localdomain[46])?")
_a_server = either(host_name, address(4), address(6))


def server(text: str) -> str:
    """For time: what other programs take as a word for a source of servers would be looked up as a name."""
    if text.lower() in ("dhcp", "default", "manual", "none"):
        return f"'{text}' is not a server; name one, or leave time servers out for those of DHCP"
    return "" if not _a_server(text) else f"'{text}' is not a valid host name or address; write for example ntp1 or 10.0.0.1"


def locations(kind: str, *, script: bool, login: bool = True) -> Check:
    """Addresses of a type=: of what is installed, or of one script, which the installer fetches in another way.

    `login`: whether it can log in where it fetches scripts.
    """
    nfs = _nfs_file if script else _nfs_folder
    if kind == "nfs":
        return lambda text: nfs(text.removeprefix("nfs://") if script else text)
    return lambda text: nfs(text[6:]) if text.startswith("nfs://") else _url(text, script=script) or _login(text, login or not script)


def _shown(text: str) -> str:
    """An address in a message, without the password that may be in it."""
    return "'" + re.sub("//.*@", "//***@", text) + "'"


def _machine(text: str) -> bool:
    """Whether a text names a machine that is not the installer's own: by IPv4, IPv6 or name (some have _ in it)."""
    if ":" in text or text.rpartition(".")[2].isdigit():
        return not either_address(text)
    label = r"\w([\w-]{0,61}\w)?"
    return bool(re.fullmatch(rf"{label}(\.{label})*", text)) and not re.fullmatch(r"(?i)localhost(\..*)?|https?|ftp|nfs|file", text)


def _nfs_folder(text: str) -> str:
    found = re.fullmatch(r"([\w.-]+|\[[0-9a-fA-F:]+\]):/(?!/)\S*", text)
    return "" if found and _machine(found[1].strip("[]")) else \
        f"{_shown(text)} is not a folder of an NFS server; write type=\"nfs\" and server:/path, or type=\"url\" and nfs://server:/path"


def _nfs_file(text: str) -> str:
    found = re.fullmatch(r"([\w.-]+):/(?!/)([^\s:]*/)?[^\s:/]+", text)
    return "" if found and _machine(found[1]) else \
        f"{_shown(text)} is not a file of an NFS server; write server:/path/file, or nfs://server:/path/file"


def _login(text: str, can: bool) -> str:
    parts = urlsplit(text)
    if parts.scheme in ("http", "https") and "@" in parts.netloc:
        if not can:
            return f"{_shown(text)}: the installer cannot log in to fetch a script; offer it without a password"
        if not parts.username or not parts.password:
            return f"{_shown(text)} has a user or a password alone; the installer would log in without. Write user:password@server"
    return ""


def _url(text: str, *, script: bool) -> str:
    why = f"{_shown(text)} is not an address that the installer can fetch; write for example http://server/path"
    if not re.fullmatch(r"(https?|ftp|file)://[^\s\\<>\"]+", text):
        return why
    try:
        parts = urlsplit(text)
        if parts.scheme == "file":
            if parts.netloc or not parts.path.startswith("/"):
                return f"{_shown(text)} is not a file; write for example file:///path"
        elif not _machine(parts.hostname or "") or parts.port == 0 or parts.netloc.endswith(":"):
            return why
    except ValueError:
        return why
    if script and parts.path[-1:] in ("", "/"):
        return f"{_shown(text)} does not name a file; write the address of the script"
    if not script and parts.path.lower().endswith((".iso", "/.treeinfo")):
        return f"{_shown(text)} is a file; write the folder that has the content of the ISO, with .treeinfo in it"
    if not script and ("?" in text or "#" in text):
        return f"{_shown(text)} has a query or a fragment; the installer puts names of files behind it. Write it without"
    return ""


# ---- the rest

def password_hash(text: str) -> str:
    return "" if text == NO_PASSWORD_YET or HASH.fullmatch(text) else \
        "the text is not a whole hash of crypt(3) that the host can check; make one of SHA-512 with: openssl passwd -6"


def hashed_only(text: str) -> str:
    return "'plaintext': all who can fetch the file would read the password; write type=\"hash\" and what openssl passwd -6 prints" \
        if text == "plaintext" else one_of("hash")(text)


def mode(text: str) -> str:
    if text == "reinstall":
        return "'reinstall' shall keep a copy of what was installed, but no installer makes one; write fresh"
    return one_of("fresh", "upgrade")(text)


def time_source(text: str) -> str:
    if text == "none":
        return "'none': the installer would take the time from what was set at its console, and stops; leave it out"
    return one_of("dhcp", "default", "manual")(text)


def time_zone(text: str) -> str:
    example = "Etc/UTC" if text.upper() in ("UTC", "GMT", "Z", "ZULU", "UCT", "ETC/GMT", "ETC/UTC") else "for example Europe/Berlin"
    return "" if text in TIME_ZONES else f"'{text}' is not a time zone that the installer has; write {example}"


def keymap(text: str) -> str:
    return "" if text in KEYMAPS else f"'{text}' is not a keymap that the installer has; write for example us or de-latin1"
