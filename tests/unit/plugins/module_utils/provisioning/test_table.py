# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table has all that each version's parser reads, and no more; every row of it is walked: made, read, warned of, refused."""

from __future__ import annotations

import random
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.provisioning.answerfile import judged
from ansible_collections.nobloat.xen.plugins.module_utils.provisioning.answers import finished
from ansible_collections.nobloat.xen.plugins.module_utils.provisioning.table import (
    OPERATIONS,
    TABLE,
    VERSIONS,
    Row,
    rows,
)

from .installer_reading import X82, X83, XS8, XS9, printed
from .test_read_back import HASHES, SETS, options

EIGHT, ALL = (X82, X83, XS8), (X82, X83, XS8, XS9)
# What the parsers look for, from their sources: element@attributes, by versions and by what the file asks for. <guest-disks> is
# not looked for, but what is in it is.
READ = [
    (ALL, "fresh upgrade restore", "script@type,stage install-failed-script@type driver-source@type ui-confirmation-prompt"),
    (EIGHT, "fresh upgrade restore", "fcoe-interface@name,hwaddr"),
    ((XS9,), "fresh upgrade restore", "selected-multiversion-drivers selected-multiversion-drivers/driver@name"),
    (ALL, "fresh upgrade", "@mode source@type bootloader@location,write-boot-entry post-install-script@type"),
    ((X82,), "fresh upgrade", "@netinstall-gpg-check"),
    ((X83,), "fresh upgrade", "@repo-gpgcheck @gpgcheck source@repo-gpgcheck,gpgcheck"),
    (EIGHT, "fresh upgrade", "network-backend"),
    ((XS8,), "fresh upgrade", "target-platform"),
    (ALL, "fresh", ("@sr-type @srtype primary-disk@guest-storage,gueststorage,sr-at-end,preserve-first-partition "
                    "guest-disk guest-disks guest-disks/guest-disk admin-interface@name,hwaddr,proto,protov6,vlan "
                    "admin-interface/ip admin-interface/ipaddr "
                    "admin-interface/subnet-mask admin-interface/subnet admin-interface/gateway admin-interface/ipv6 "
                    "admin-interface/gatewayv6 root-password@type name-server nameserver hostname "
                    "timezone ntp-server ntp-servers keymap service@name,state")),
    ((X82, X83), "fresh", "raid@device raid/disk"),
    ((X82,), "fresh", "zap-utility-partitions initial-partitions initial-partitions/partition@number,size,id"),
    ((X83, XS8, XS9), "fresh", "ntp@source"),
    ((XS8, XS9), "fresh", "primary-disk@swraid"),
    ((XS9,), "fresh", "primary-disk@fs-type ssh-mode"),
    (ALL, "upgrade", "existing-installation"),
    ((XS9,), "upgrade", "existing-installation@fs-type"),
    (EIGHT, "upgrade", "primary-disk"),
    (ALL, "restore", "backup-disk"),
]

BASE = {
    "fresh": {"@mode": "fresh", "@sr-type": "ext", "primary-disk": "sda", "source@type": "url", "source": "http://10.0.0.1/x",
              "admin-interface@name": "eth0", "admin-interface@proto": "dhcp"},
    "upgrade": {"@mode": "upgrade", "existing-installation": "sda", "source@type": "url", "source": "http://10.0.0.1/x"},
    "restore": {},
}
SCRIPT = {"script@type": "url", "script@stage": "installation-complete", "script": "http://10.0.0.1/s"}
STATIC = {"admin-interface@proto": "static", "admin-interface/ipaddr": "10.0.0.5", "admin-interface/subnet": "255.255.255.0",
          "admin-interface/gateway": "10.0.0.1"}
STATIC6 = {"admin-interface@protov6": "static", "admin-interface/ipv6": "fd00::5/64", "admin-interface/gatewayv6": "fd00::1"}
RAID = {"raid@device": "md127", "raid/disk": "sdb", "raid/disk#2": "sdc", "primary-disk": "md127", "primary-disk@guest-storage": "no"}
DRIVER = {"selected-multiversion-drivers/driver@name": "ice", "selected-multiversion-drivers/driver": "1.2"}
PASSWORD = {"root-password@type": "hash", "root-password": "!!"}
SERVICE = {"service@name": "sshd", "service@state": "enabled"}
PARTITION = {f"initial-partitions/partition@{name}": "1" for name in ("number", "size", "id")}
# Path: a text that is right (and warned of, where the row warns), one that is wrong, and what has to stand beside it.
SAMPLES: dict[str, tuple[str, str | None, dict[str, str]]] = {
    "@mode": ("", "anew", {}), "@sr-type": ("lvm", "nfs", {}), "@srtype": ("lvm", "nfs", {}),
    "@netinstall-gpg-check": ("no", "0", {}), "@repo-gpgcheck": ("False", "1", {}), "@gpgcheck": ("no", "off", {}),
    "source": ("http://10.0.0.1/y", "nas/x", {}), "source@type": ("url", "URL", {}),
    "source@repo-gpgcheck": ("no", "0", {}), "source@gpgcheck": ("NO", "0", {}),
    "driver-source": ("nfs://nas:/x", "nfs://nas/x", {"driver-source@type": "url"}),
    "driver-source@type": ("url", "disk", {"driver-source": "http://10.0.0.1/x"}),
    "selected-multiversion-drivers": ("", "x", DRIVER), "selected-multiversion-drivers/driver": ("2", " 2", DRIVER),
    "selected-multiversion-drivers/driver@name": ("ice", "", DRIVER),
    "script": ("http://10.0.0.1/s", "nfs://nas/s", SCRIPT), "script@type": ("URL", "http", SCRIPT),
    "script@stage": ("Installation-Start", "post-install", SCRIPT),
    "post-install-script": ("http://10.0.0.1/s", "s", {}),
    "post-install-script@type": ("nfs", "http", {"post-install-script": "nas:/s/x"}),
    "install-failed-script": ("http://10.0.0.1/s", "s", {}),
    "install-failed-script@type": ("Nfs", "http", {"install-failed-script": "nas:/s/x"}),
    "ui-confirmation-prompt": ("TRUE", "false", {}), "bootloader": ("grub2", "extlinux", {}),
    "bootloader@location": ("partition", "efi", {}), "bootloader@write-boot-entry": ("No", "0", {}),
    "network-backend": ("vswitch", "ovs", {}), "fcoe-interface": ("", "x", {"fcoe-interface@name": "eth1"}),
    "fcoe-interface@name": ("eth1", "1", {}), "fcoe-interface@hwaddr": ("02:66:00:00:01:00", "02-66-00-00-01-00", {}),
    "target-platform": ("sdx8900", "sdx", {}),
    "primary-disk": ("nvme0n1", "nvme0n1p1", {}), "primary-disk@guest-storage": ("Yes", "1", {}),
    "primary-disk@gueststorage": ("No", "0", {}), "primary-disk@preserve-first-partition": ("yes", "YES", {}),
    "primary-disk@sr-at-end": ("false", "0", {}), "primary-disk@swraid": ("true", "1", {"primary-disk": "sda,sdb"}),
    "primary-disk@fs-type": ("ext3", "xfs", {}), "raid": ("", "x", RAID), "raid@device": ("/dev/md127", "sdd", RAID),
    "raid/disk": ("sdd", "sdd1", RAID), "guest-disk": ("sdb", "sda", {}), "guest-disks": ("", "sdb", {}),
    "guest-disks/guest-disk": ("sdb", "sdb2", {}),
    "initial-partitions": ("", "1", {}), "initial-partitions/partition": ("", "1", PARTITION),
    "initial-partitions/partition@number": ("2", "two", PARTITION), "initial-partitions/partition@size": ("0x1000", "1G", PARTITION),
    "initial-partitions/partition@id": ("0xde", "de", PARTITION), "zap-utility-partitions": ("", "yes", {}),
    "existing-installation": ("md127", "sda1", {}), "existing-installation@fs-type": ("ext4", "xfs", {}),
    "backup-disk": ("sda", "sda9", {}),
    "admin-interface": ("", "eth0", {}), "admin-interface@name": ("eth1", "1", {}),
    "admin-interface@hwaddr": ("02:66:00:AA:01:00", "0266.00aa.0100", {}), "admin-interface@proto": ("dhcp", "bootp", {}),
    "admin-interface@protov6": ("autoconf", "slaac", {}), "admin-interface@vlan": ("4094", "4095", {}),
    "admin-interface/ipaddr": ("10.0.0.6", "10.0.0.0", STATIC), "admin-interface/ip": ("10.0.0.6", "node1", STATIC),
    "admin-interface/subnet": ("255.255.0.0", "0.0.0.255", STATIC), "admin-interface/subnet-mask": ("255.255.0.0", "24", STATIC),
    "admin-interface/gateway": ("", "10.0.1.1", STATIC), "admin-interface/ipv6": ("fd00::6/64", "fd00::6", STATIC6),
    "admin-interface/gatewayv6": ("fe80::1", "fd01::1", STATIC6),
    "root-password": (str(HASHES[0]), str(HASHES[0])[:-1], PASSWORD), "root-password@type": ("hash", "plaintext", PASSWORD),
    "name-server": ("10.0.0.9", "dns", STATIC), "nameserver": ("fd00::9", "dns", STATIC), "hostname": ("node1", "10.0.0.5", {}),
    "timezone": ("Europe/Berlin", "Europe/Bonn", {}), "ntp": ("", "x", {"ntp@source": "default"}), "ntp@source": ("default", "pool", {}),
    "ntp-server": ("10.0.0.9", "a b", {}), "ntp-servers": ("ntp1", "10.0.0.999", {}), "keymap": ("de-latin1", "german", {}),
    "ssh-mode": ("Auto", "yes", {}), "service": ("", "sshd", SERVICE), "service@name": ("snmpd", "sshd.service", SERVICE),
    "service@state": ("disabled", "on", SERVICE),
}
NAMES_OF_ONE = {"admin-interface@hwaddr": "admin-interface@name"}


def paths(written: str) -> Iterator[str]:
    for each in written.split():
        element, at, names = each.partition("@")
        if element:
            yield element
        yield from (f"{element}@{name}" for name in names.split(",") if at)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_table_has_what_the_parser_reads(version: str, operation: str) -> None:
    expected = {path for versions, operations, written in READ if version in versions and operation in operations.split()
                for path in paths(written)}
    assert set(rows(version, operation)) == expected


def document(operation: str, texts: dict[str, str]) -> str:
    """An answer file that has these texts at their paths."""
    root = ET.Element("restore" if operation == "restore" else "installation")
    for path, text in texts.items():
        place, _at, name = path.partition("@")
        node = root
        for step in place.split("/") if place else []:
            found = node.find(step.partition("#")[0])
            node = ET.SubElement(node, step.partition("#")[0]) if found is None or "#" in step else found
        if name:
            node.set(name, text)
        else:
            node.text = text or None
    return ET.tostring(root, encoding="unicode")


def with_sample(row: Row, operation: str, text: str) -> str:
    gone = {row.instead_of, NAMES_OF_ONE.get(row.path)}
    texts = {**BASE[operation], **SAMPLES[row.path][2]}
    if row.path == "primary-disk" and operation == "upgrade":
        texts["existing-installation"] = text
    if row.path == "@mode":
        text = text or operation
    if row.path == "script@stage" and operation == "restore":
        text = text.replace("post-install", "filesystem-populated")
    return document(operation, {**{path: each for path, each in texts.items() if path not in gone}, row.path: text})


ROWS = [(row, version, operation) for row in TABLE for version in row.versions for operation in row.operations]


@pytest.mark.parametrize(("row", "version", "operation"), [
    pytest.param(*each, id=f"{each[0].path}-{each[1]}-{each[2]}") for each in ROWS])
def test_each_row(row: Row, version: str, operation: str) -> None:
    right, wrong, _beside = SAMPLES[row.path]
    if row.warns and row.path == "@sr-type":
        right = "xfs"
    verdict = judged(with_sample(row, operation, right), version)
    assert verdict.mistakes == []
    if row.warns:
        assert row.warns(right) and row.warns(right) in " ".join(each.text for each in verdict.warnings)
    if wrong is not None:
        assert judged(with_sample(row, operation, wrong), version).mistakes


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.path} {'+'.join(row.versions)} {'+'.join(row.operations)}")
def test_each_row_is_made_or_says_why_not(row: Row) -> None:
    assert bool(row.unmade) == (not row.made and not row.warns)


def made_paths(text: str) -> set[str]:
    def below(node: ET.Element, path: str) -> Iterator[str]:
        yield from (f"{path}@{name}" for name in node.attrib)
        for child in node:
            inner = f"{path}/{child.tag}".lstrip("/")
            yield inner
            yield from below(child, inner)

    return set(below(ET.fromstring(text), ""))


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_made_is_what_the_table_calls_made(version: str) -> None:
    made: set[str] = set()
    upgrade: set[str] = set()
    for number in range(SETS):
        dice = random.Random(f"{version} {number}")
        given: dict[str, Any] = options(version, dice)
        made |= made_paths(printed(finished(given, dice.choice(HASHES))))
        kept = {name: given[name] if name in ("version", "sources", "driver_sources", "scripts") else None for name in given}
        disk = {"names": ["sda"], "rule": None, "raid": False, "guest_storage": True, "preserve_first_partition": None}
        upgrade |= made_paths(finished({**kept, "mode": "upgrade", "disk": disk}, None))
    assert made == {row.path for row in rows(version, "fresh").values() if row.made}
    assert upgrade == {row.path for row in rows(version, "upgrade").values() if row.made}
