# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answer files from options, read back by another parser."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.provisioning.answers import finished
from ansible_collections.nobloat.xen.plugins.module_utils.provisioning.table import VERSIONS

from .installer_reading import printed

HASHED = f"$6$saltsalt${'0123456789' * 8}abcdef"
NOTHING: dict[str, Any] = dict.fromkeys(
    "content guest_disks driver_sources dns hostname timezone ntp_servers keymap services scripts".split())
INTERFACE: dict[str, Any] = {
    "name": "eth0", "mac": None, "ip_mode": "static", "ip": "10.0.0.5/24", "gateway": "10.0.0.1", "ipv6_mode": None,
    "ipv6": None, "ipv6_gateway": None, "vlan": 7}
RULE: dict[str, Any] = {"choose": "smallest", "transport": "any", "min_size": None}
DISK: dict[str, Any] = {
    "names": ["sda"], "rule": None, "raid": False, "guest_storage": True, "preserve_first_partition": None}


def options(**more: Any) -> dict[str, Any]:
    return {**NOTHING, "version": "xcp-ng-8.3", "mode": "fresh", "sr_type": "ext", "interface": INTERFACE, "disk": DISK,
            "sources": [{"type": "url", "address": "http://10.0.0.1/a&b/"}], **more}


@pytest.mark.parametrize("version", VERSIONS)
def test_everything(version: str) -> None:
    root = ET.fromstring(finished(options(
        version=version, hostname="node1", dns=["10.0.0.1", "fd00::1"], ntp_servers=["ntp1"], timezone="Etc/UTC",
        services={"sshd": "enabled"}, guest_disks=["sdc"],
        scripts=[{"stage": "filesystem-populated", "type": "url", "url": "http://10.0.0.1/first"}]), HASHED))
    assert root.findtext("source") == "http://10.0.0.1/a&b/"
    assert root.attrib == {"mode": "fresh", "sr-type": "ext"}
    interface = root.find("admin-interface")
    assert interface is not None and interface.attrib == {"name": "eth0", "proto": "static", "vlan": "7"}
    assert [interface.findtext(name) for name in ("ipaddr", "subnet", "gateway")] == ["10.0.0.5", "255.255.255.0", "10.0.0.1"]
    assert (root.find("ntp") is None) == (version == "xcp-ng-8.2")
    assert [each.text for each in root.findall("name-server")] == ["10.0.0.1", "fd00::1"]
    assert root.findtext("root-password") == HASHED


@pytest.mark.parametrize(("version", "expected"), [("xenserver-8", ("sda,sdb", [])), ("xcp-ng-8.2", ("md127", ["sda", "sdb"]))])
def test_raid(version: str, expected: tuple[str, list[str]]) -> None:
    made = finished(options(version=version, disk={**DISK, "raid": True, "names": ["sda", "sdb"]}), None)
    assert made.startswith("#!") == (version == "xcp-ng-8.2")
    root = ET.fromstring(printed(made))
    assert (root.findtext("primary-disk"), [each.text for each in root.findall("raid/disk")]) == expected


@pytest.mark.parametrize(("more", "word"), [
    ({"disk": {**DISK, "names": None}}, "a rule"),
    ({"disk": {**DISK, "raid": True}}, "two disks"),
    ({"disk": None}, "needs disk"),
    ({"interface": {**INTERFACE, "ip": "10.0.0.5/33"}}, "10.0.0.5/24"),
    *(({"interface": {**INTERFACE, "ip": ip}}, "interface.ip: .*10.0.0.5/24") for ip in (
        "10.0.0.5", "10.0.0.5/", "10.0.0.5/0.0.0.255", "10.0.0.5/255.0.255.0", "fd00::5/64", "10.0.0.5/24/24")),
    ({"interface": {**INTERFACE, "name": "bond0"}}, "'bond0' is not a NIC"),
    ({"mode": "reinstall"}, "no installer makes one"),
    ({"disk": {**DISK, "raid": True, "names": ["sda", "sdb"]}}, "before it has made the array"),
    ({"disk": {**DISK, "names": None, "raid": True, "rule": RULE}}, "before it has made the array"),
    ({"disk": {**DISK, "names": None, "rule": RULE}, "guest_disks": ["md126"]}, "that md126 is made of"),
    ({"disk": {**DISK, "names": None, "rule": RULE}, "guest_disks": ["sda", "/dev/sda"]}, "used already"),
    ({"version": "xcp-ng-8.2", "disk": {**DISK, "raid": True, "names": ["sda", "missing"]}}, "'missing' goes with"),
    ({"interface": {**INTERFACE, "gateway": "10.9.0.1"}}, "not in 10.0.0.0/24"),
    ({"interface": {**INTERFACE, "name": None}}, "interface: write its name or its mac"),
    ({"content": "<installation/>"}, "content is a whole answer file, beside which disk, interface, sources, sr_type would not count"),
    ({"hostname": ""}, "hostname is empty"), ({"timezone": ""}, "timezone is empty"), ({"keymap": ""}, "keymap is empty"),
    ({"sr_type": "xfs"}, "sr_type: 'xfs' is not valid; write lvm, ext or largeblock"),
    ({"sr_type": "largeblock", "version": "xcp-ng-8.2"}, "sr_type: 'largeblock' is not valid; write lvm or ext"),
])
def test_what_is_refused(more: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word.replace("/", ".")):
        finished(options(**more), None)


NO_ADDRESS: dict[str, Any] = {**INTERFACE, "ip_mode": "dhcp", "ip": None, "gateway": None}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("more", "said"), [
    ({"hostname": "10.0.0.5"}, "hostname: '10.0.0.5' is an address or a number"),
    ({"timezone": "Berlin"}, "timezone: 'Berlin' is not a time zone"), ({"keymap": "german"}, "keymap: 'german' is not a keymap"),
    ({"dns": ["dns1"]}, "dns: 'dns1' is not a valid IPv4 address; write for example 10.0.0.1"),
    ({"ntp_servers": ["dhcp"]}, "ntp_servers: 'dhcp' is not a server"),
    ({"services": {"sshd.socket": "enabled"}}, "services: 'sshd.socket' is not a valid service; write for example sshd"),
    ({"services": {"sshd": "on"}}, "services: 'on' is not valid; write enabled or disabled"),
    ({"sources": [{"type": "url", "address": "10.0.0.1"}]}, "sources: '10.0.0.1' is not an address that the installer can fetch"),
    ({"sources": [{"type": "nfs", "address": "nas/x"}]},
     "sources: 'nas/x' is not a folder of an NFS server; write sources.type: nfs and server:/path, or sources.type: url and nfs://"),
    ({"sources": [{"type": "local", "address": "http://10.0.0.1"}]}, "sources: local media have no address"),
    ({"driver_sources": [{"type": "url", "address": None}]}, "driver_sources: '' is not an address"),
    ({"scripts": [{"stage": "filesystem-populated", "type": "url", "url": "http://10.0.0.1/"}]},
     "scripts: 'http://10.0.0.1/' does not name"),
    ({"interface": {**INTERFACE, "name": "bond0"}}, "interface.name: 'bond0' is not a NIC"),
    ({"interface": {**INTERFACE, "name": None, "mac": "x"}}, "interface.mac: 'x' is not a valid MAC"),
    ({"interface": {**INTERFACE, "vlan": 4095}}, "interface.vlan: '4095' is not a number from 1 to 4094"),
    ({"interface": {**INTERFACE, "ip": "10.0.0.0/24"}}, "interface.ip: 10.0.0.0 is not the address of a host in 10.0.0.0/24"),
    ({"interface": {**INTERFACE, "ip": "10.0.0.5/32", "gateway": ""}}, "interface.ip: '255.255.255.255' is a network without"),
    ({"interface": {**INTERFACE, "ip": "127.0.0.1/8", "gateway": ""}}, "interface.ip: '127.0.0.1' is not the address of one machine"),
    ({"interface": {**INTERFACE, "gateway": "10.9.0.1"}}, "interface.gateway: 10.9.0.1 is not in 10.0.0.0/24"),
    ({"interface": {**INTERFACE, "gateway": "10.0.0.5"}}, "interface.gateway: 10.0.0.5 is the host itself"),
    ({"interface": {**INTERFACE, "gateway": "x"}}, "interface.gateway: 'x' is not a valid IPv4 address"),
    ({"interface": {**INTERFACE, "ip": None}}, "interface: ip_mode static needs ip and gateway"),
    ({"interface": {**INTERFACE, "ip_mode": "dhcp"}}, "interface.ip goes with ip_mode static, and ip_mode is dhcp"),
    ({"interface": {**INTERFACE, "ip_mode": "none", "ip": None, "gateway": None}}, "interface needs IPv4 or IPv6"),
    ({"interface": {**INTERFACE, "ipv6": "fd00::5/64"}}, "interface.ipv6 goes with ipv6_mode static, and ipv6_mode is not given"),
    ({"interface": {**NO_ADDRESS, "ipv6_mode": "static", "ipv6": "fd00::5", "ipv6_gateway": ""}},
     "interface.ipv6: 'fd00::5' has no prefix"),
    ({"interface": {**NO_ADDRESS, "ipv6_mode": "static", "ipv6": "fd00::5/64", "ipv6_gateway": "fd01::1"}},
     "interface.ipv6_gateway: fd01::1"),
    ({"disk": {**DISK, "names": ["sda1"]}}, "disk.names: 'sda1' is a partition"),
    ({"disk": {**DISK, "names": ["sda", "sda"], "raid": True, "guest_storage": False}}, "disk.names: sda is"),
    ({"guest_disks": ["sda"]}, "guest_disks: sda is the disk that is installed to already"),
    ({"guest_disks": ["dm-1"]}, "guest_disks: 'dm-1' is not a local disk"),
])
def test_messages_have_the_names_of_options(version: str, more: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        finished(options(version=version, **more), None)
    told = str(caught.value)
    assert not any(sign in told.replace("10.0.0.1/</", "") for sign in ("<", "line ", "=")), told


def test_upgrades_are_told_by_options_too() -> None:
    with pytest.raises(ValueError, match=r"as it is meant: disk\.names: 'sda3' is a partition"):
        finished({**UPGRADE, "disk": {**DISK, "names": ["sda3"]}}, None)


def test_what_is_given_is_told_by_lines() -> None:
    with pytest.raises(ValueError, match="line 1: <installation> needs <source>"):
        finished({**dict.fromkeys(options()), "version": "xcp-ng-8.3", "content": "<installation/>", "mode": "fresh"}, None)


@pytest.mark.parametrize("ip", ["10.0.0.5/24", "10.0.0.5/255.255.255.0"])
def test_addresses_with_prefix_or_netmask(ip: str) -> None:
    root = ET.fromstring(finished(options(interface={**INTERFACE, "ip": ip}), None))
    assert root.findtext("admin-interface/subnet") == "255.255.255.0"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("raid", [False, True])
def test_a_rule_goes_with_any_guest_disks_and_leaves_them_out(version: str, raid: bool) -> None:
    guests = ["sda", "/dev/sdb", "nvme0n1", "nvme1n1", "disk/by-id/ata-Disk_#1"]
    disk = {**DISK, "names": None, "rule": RULE, "raid": raid, "guest_storage": not raid}
    script = finished(options(version=version, disk=disk, guest_disks=guests), None)
    assert "\nfor name in sda sdb nvme0n1 nvme1n1 'disk/by-id/ata-Disk_#1'; do\n" in script


def test_raid_of_8_3_without_guest_storage() -> None:
    root = ET.fromstring(printed(finished(options(
        disk={**DISK, "raid": True, "names": ["sda", "sdb"], "guest_storage": False}, guest_disks=["sdc"]), None)))
    assert (root.findtext("primary-disk"), [each.text for each in root.findall("raid/disk")]) == ("md127", ["sda", "sdb"])


def test_a_rule_chooses_the_disks_where_the_installer_runs() -> None:
    rule = RULE
    for version, place in (("xcp-ng-8.3", "<primary-disk guest-storage=\"true\">@disk1@<"), ("xenserver-8", "@disk1@,@disk2@<")):
        script = finished(options(version=version, disk={**DISK, "names": None, "rule": rule, "raid": version == "xenserver-8"}), HASHED)
        assert script.startswith("#!/bin/sh\n") and place in script


UPGRADE: dict[str, Any] = {**dict.fromkeys(options()), "version": "xcp-ng-8.3", "mode": "upgrade", "disk": DISK,
                           "sources": [{"type": "local", "address": None}]}


@pytest.mark.parametrize("version", VERSIONS)
def test_upgrade(version: str) -> None:
    root = ET.fromstring(finished({**UPGRADE, "version": version}, None))
    assert (root.tag, root.attrib) == ("upgrade", {"mode": "upgrade"})
    assert [(each.tag, each.text) for each in root] == [("existing-installation", "sda"), ("source", None)]


@pytest.mark.parametrize(("more", "word"), [
    ({"hostname": "node1", "interface": INTERFACE}, "would not read hostname, interface"),
    ({"sr_type": "ext"}, "sr_type"), ({"root_password": "x"}, "root_password"), ({"ntp_servers": ["a"]}, "ntp_servers"),
    ({"disk": {**DISK, "names": ["sda", "sdb"], "raid": True}}, "one disk"), ({"disk": {**DISK, "guest_storage": False}}, "one disk"),
    ({"disk": {**DISK, "names": None, "rule": {"choose": "smallest"}}}, "one disk"), ({"disk": None}, "needs disk"),
    ({"sources": None}, "needs sources"), ({"disk": {**DISK, "names": ["sda3"]}}, "partition"),
])
def test_what_is_refused_in_an_upgrade(more: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        finished({**UPGRADE, **more}, None)


def test_no_script_for_what_needs_no_look() -> None:
    for version in VERSIONS:
        assert finished(options(version=version), None).startswith("<?xml")
    told: list[str] = []
    finished(options(version="xcp-ng-8.2", disk={**DISK, "raid": True, "names": ["sda", "sdb"]}), None, told.append)
    assert told == []  # the script looks for another array


def test_warnings_are_told() -> None:
    told: list[str] = []
    interface = {**INTERFACE, "ip_mode": "dhcp", "ip": None, "gateway": None}
    finished(options(interface=interface, dns=["10.0.0.1"]), None, told.append)
    assert len(told) == 1 and "static IPv4 address" in told[0]
