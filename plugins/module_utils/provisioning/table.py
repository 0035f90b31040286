# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every element and attribute that the installers read, by version: what is made of options, what is warned of, what is refused.

What is not here is not read, and refused. A path is element/child, element@attribute, or @attribute of the root.
Sources: answerfile.py of xcp-ng/host-installer (v8.2.1; 10.10.19.xcpng.5 for 8.3) and of xenserver/host-installer (branch
release/xs8; master for what comes after XenServer 8), with xcp/xmlunwrap.py of xenserver/python-libs.
"""

from __future__ import annotations

from typing import NamedTuple

from . import values as v
from .values import Check

VERSIONS = ("xcp-ng-8.2", "xcp-ng-8.3", "xenserver-8", "xenserver-9")
X82, X83, XS8, XS9 = VERSIONS
XCP, EIGHT, SWRAID = (X82, X83), (X82, X83, XS8), (XS8, XS9)
# What an answer file asks for.
OPERATIONS = ("fresh", "upgrade", "restore")
FRESH, UPGRADE, INSTALL, ALL = ("fresh",), ("upgrade",), ("fresh", "upgrade"), OPERATIONS


class Row(NamedTuple):
    path: str
    value: Check | None = None  # of its text; None: it has none
    versions: tuple[str, ...] = VERSIONS
    operations: tuple[str, ...] = FRESH
    made: bool = False  # of options; others are only read, from an answer file that is given
    required: bool = False
    many: bool = False
    warns: Check | None = None  # why it is read as it is meant, and yet may not be what is wanted
    unmade: str = ""  # why no option makes it, where it is neither warned of
    instead_of: str = ""  # the path's old name is this one; both at once are refused


def _old(now: str) -> Check:
    return v.always(f"an old name; write {now}")


def _xfs(text: str) -> str:
    """Beside lvm and ext, installers take the type that a file on their medium names (doc/features.txt): largeblock for XCP-ng 8.3."""
    if text != "xfs":
        return ""
    return "the installer takes xfs only if its medium names it in the file large-block-capable-sr-type; else it stops"


_OFF = v.when_false("signatures of packages are not checked; anybody between may give other ones")
_SCRIPT = v.any_case("url", "nfs")
# Why there is no option.
_PLAIN = "what the installer does without it is right for hosts of pools"
_AROUND = "<guest-disk> is read without it, too"
_TESTS = "they are for tests of the installer"
_SCRIPTS = "<script> has it"
_MEDIUM = "what can be chosen is known on the medium only"
_FCOE = "a host's own disks do not hang on Fibre Channel, and later versions have dropped it"
_RESTORE = "nothing is installed; write the file by hand"
_FIRST = "the installer stops there and waits for somebody at the console"
TABLE = (
    # ---- the root element
    Row("@mode", v.mode, operations=INSTALL, made=True),
    Row("@sr-type", v.one_of("lvm", "ext"), (X82,), made=True),
    Row("@sr-type", v.one_of("lvm", "ext", "largeblock"), (X83,), made=True),
    Row("@sr-type", v.one_of("lvm", "ext", "xfs"), SWRAID, made=True, warns=_xfs),
    Row("@srtype", v.one_of("lvm", "ext"), (X82,), warns=_old("sr-type"), instead_of="@sr-type"),
    Row("@srtype", v.one_of("lvm", "ext", "largeblock"), (X83,), warns=_old("sr-type"), instead_of="@sr-type"),
    Row("@srtype", v.one_of("lvm", "ext", "xfs"), SWRAID, warns=_old("sr-type"), instead_of="@sr-type"),
    Row("@netinstall-gpg-check", v.boolean, (X82,), INSTALL, warns=_OFF),
    Row("@repo-gpgcheck", v.boolean, (X83,), INSTALL, warns=_OFF),
    Row("@gpgcheck", v.boolean, (X83,), INSTALL, warns=_OFF),

    # ---- what is installed, and what is run
    Row("source", v.anything, operations=INSTALL, made=True, required=True, many=True),
    Row("source@type", v.one_of("local", "url", "nfs"), operations=INSTALL, made=True, required=True),
    Row("source@repo-gpgcheck", v.boolean, (X83,), INSTALL, warns=_OFF),
    Row("source@gpgcheck", v.boolean, (X83,), INSTALL, warns=_OFF),
    Row("driver-source", v.anything, operations=ALL, made=True, many=True),
    Row("driver-source@type", v.one_of("local", "url", "nfs"), operations=ALL, made=True, required=True),
    Row("selected-multiversion-drivers", None, (XS9,), ALL, unmade=_MEDIUM),
    Row("selected-multiversion-drivers/driver", v.word, (XS9,), ALL, many=True, unmade=_MEDIUM),
    Row("selected-multiversion-drivers/driver@name", v.word, (XS9,), ALL, required=True, unmade=_MEDIUM),
    Row("script", v.anything, operations=ALL, made=True, many=True),
    Row("script@type", _SCRIPT, operations=ALL, made=True, required=True),
    Row("script@stage", v.any_case("installation-start", "filesystem-populated", "installation-complete"), EIGHT, INSTALL,
        made=True, required=True),
    Row("script@stage", v.any_case(*v.STAGES), (XS9,), INSTALL, made=True, required=True),
    Row("script@stage", v.any_case("installation-start", "installation-complete"), operations=("restore",), required=True,
        unmade=_RESTORE),
    Row("post-install-script", v.anything, operations=INSTALL, warns=v.always('old; write <script stage="filesystem-populated">')),
    Row("post-install-script@type", _SCRIPT, operations=INSTALL, unmade=_SCRIPTS),
    Row("install-failed-script", v.anything, operations=ALL, warns=v.always(
        'old; write <script stage="installation-complete">. It is run with 0 after a success, too, not only with 1 after a failure')),
    Row("install-failed-script@type", _SCRIPT, operations=ALL, unmade=_SCRIPTS),
    Row("ui-confirmation-prompt", v.any_case(*v.TRUE), operations=ALL, warns=v.always(_FIRST)),
    Row("bootloader", v.one_of("", "grub2"), operations=INSTALL, unmade=_PLAIN),
    Row("bootloader@location", v.one_of("mbr", "partition"), operations=INSTALL, unmade=_PLAIN),
    Row("bootloader@write-boot-entry", v.boolean, operations=INSTALL,
        warns=v.when_false("the firmware has to find by itself what it shall boot")),
    Row("network-backend", v.one_of("bridge", "openvswitch", "vswitch"), EIGHT, INSTALL, unmade=_PLAIN),
    Row("fcoe-interface", None, EIGHT, ALL, many=True, unmade=_FCOE),
    Row("fcoe-interface@name", v.nic, EIGHT, ALL, unmade=_FCOE),
    Row("fcoe-interface@hwaddr", v.mac, EIGHT, ALL, unmade=_FCOE),
    Row("target-platform", v.one_of("sdx8900"), (XS8,), INSTALL, warns=v.always("the disk is cut as that of a Citrix SDX 8900")),

    # ---- disks
    Row("primary-disk", v.disk, XCP, made=True, required=True),
    Row("primary-disk", v.disk_pair, SWRAID, made=True, required=True),
    Row("primary-disk@guest-storage", v.boolean, made=True),
    Row("primary-disk@gueststorage", v.boolean, warns=_old("guest-storage"),
        instead_of="primary-disk@guest-storage"),
    Row("primary-disk@preserve-first-partition", v.one_of("true", "yes", "false", "no", "if-utility"), made=True),
    Row("primary-disk@sr-at-end", v.boolean, warns=v.when_false("the local SR comes first, as on old OEM disks")),
    Row("primary-disk@swraid", v.boolean, SWRAID, made=True),
    Row("primary-disk@fs-type", v.one_of("ext3", "ext4"), (XS9,), unmade=_PLAIN),
    Row("raid", None, XCP, made=True, many=True),
    Row("raid@device", v.array, XCP, made=True, required=True),
    Row("raid/disk", v.member, XCP, made=True, required=True, many=True),
    Row("guest-disk", v.local_disk, made=True, many=True),
    Row("guest-disks", None, many=True, unmade=_AROUND),
    Row("guest-disks/guest-disk", v.local_disk, many=True, unmade=_AROUND),
    Row("initial-partitions", None, (X82,), warns=v.always("partitions that were meant for tests of the installer")),
    Row("initial-partitions/partition", None, (X82,), many=True, unmade=_TESTS),
    Row("initial-partitions/partition@number", v.number, (X82,), required=True, unmade=_TESTS),
    Row("initial-partitions/partition@size", v.number, (X82,), required=True, unmade=_TESTS),
    Row("initial-partitions/partition@id", v.number, (X82,), required=True, unmade=_TESTS),
    Row("zap-utility-partitions", None, (X82,), warns=v.always('old; write preserve-first-partition="false" at <primary-disk>')),
    Row("existing-installation", v.disk, operations=UPGRADE, made=True, required=True),
    Row("existing-installation@fs-type", v.one_of("ext3", "ext4"), (XS9,), UPGRADE, unmade=_PLAIN),
    Row("primary-disk", v.disk, EIGHT, UPGRADE, warns=v.always("old; leave it out, <existing-installation> says it")),
    Row("backup-disk", v.disk, operations=("restore",), unmade=_RESTORE),

    # ---- the management interface
    Row("admin-interface", None, made=True, required=True),
    Row("admin-interface@name", v.nic, made=True),
    Row("admin-interface@hwaddr", v.mac, made=True),
    Row("admin-interface@proto", v.one_of("static", "dhcp", "none"), made=True, required=True),
    Row("admin-interface@protov6", v.one_of("static", "dhcp", "autoconf", "none"), made=True),
    Row("admin-interface@vlan", v.whole(1, 4094), made=True),
    Row("admin-interface/ipaddr", v.address(4), made=True),
    Row("admin-interface/ip", v.address(4), warns=_old("ipaddr"), instead_of="admin-interface/ipaddr"),
    Row("admin-interface/subnet", v.netmask, made=True),
    Row("admin-interface/subnet-mask", v.netmask, warns=_old("subnet"), instead_of="admin-interface/subnet"),
    Row("admin-interface/gateway", v.optional(v.address(4)), made=True),
    Row("admin-interface/ipv6", v.interface6, made=True),
    Row("admin-interface/gatewayv6", v.optional(v.address(6)), made=True),

    # ---- the host's settings
    Row("root-password", v.password_hash, made=True),
    Row("root-password@type", v.hashed_only, made=True, required=True),
    Row("name-server", v.either_address, made=True, many=True),
    Row("nameserver", v.either_address, many=True, warns=_old("name-server"), instead_of="name-server"),
    Row("hostname", v.host_name, made=True),
    Row("timezone", v.time_zone, made=True),
    Row("ntp", None, (X83, XS8, XS9), made=True),
    Row("ntp@source", v.time_source, (X83, XS8, XS9), made=True, required=True),
    Row("ntp-server", v.server, made=True, many=True),
    Row("ntp-servers", v.server, many=True, warns=_old("ntp-server"), instead_of="ntp-server"),
    Row("keymap", v.keymap, made=True),
    Row("ssh-mode", v.any_case("on", "off", "auto"), (XS9,), unmade="services can switch sshd off"),
    Row("service", None, made=True, many=True),
    Row("service@name", v.service, made=True, required=True),
    Row("service@state", v.one_of("enabled", "disabled"), made=True, required=True),
)


def rows(version: str, operation: str) -> dict[str, Row]:
    """What the installer of a version reads in an answer file for an operation, by path."""
    return {row.path: row for row in TABLE if version in row.versions and operation in row.operations}


def elsewhere(path: str) -> list[str]:
    """The versions that read a path, for whatever operation."""
    return [version for version in VERSIONS if any(row.path == path and version in row.versions for row in TABLE)]
