# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the installers read in answer files that are made of options is what the options say: 60 sets of them for each version."""

from __future__ import annotations

import ipaddress
import random
from typing import Any

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.provisioning.answers import finished

from .installer_reading import X82, X83, XS8, XS9, printed, read

VERSIONS = (X82, X83, XS8, XS9)
SETS = 60
SR_TYPES = {X82: ["lvm", "ext"], X83: ["lvm", "ext", "largeblock"], XS8: ["lvm", "ext", "xfs"], XS9: ["lvm", "ext", "xfs"]}
HASHES = [f"$6$rounds=100000$0123456789abcdef${'Qx' * 43}", f"$6$saltsalt${'a/' * 43}", f"$5$salt${'.9z' * 14}Z", f"$1$salt${'0' * 22}",
          "!!", None]
SOURCES = [
    {"type": "url", "address": "http://10.0.0.1/xcp-ng/a&b/"}, {"type": "local", "address": None},
    {"type": "nfs", "address": "nas:/export/xcp-ng"}, {"type": "url", "address": "nfs://10.0.0.9:/export"},
    {"type": "url", "address": "https://me:secret@mirror.example.com:8443/a"}, {"type": "url", "address": "file:///mnt/packages"},
    {"type": "url", "address": "http://[fd00::1]:8080/x"},
]
SCRIPTS = [{"stage": "installation-start", "type": "url", "url": "http://10.0.0.1:8380/start/a?x=1&y=2"},
           {"stage": "filesystem-populated", "type": "nfs", "url": "nas:/scripts/populate"},
           {"stage": "filesystem-populated", "type": "url", "url": "nfs://nas:/scripts/populate.sh"},
           {"stage": "installation-complete", "type": "url", "url": "ftp://10.0.0.1/done"}]
LATER = {"stage": "packages-installed", "type": "url", "url": "http://10.0.0.1/packages"}
DISKS = ["sda", "/dev/sdb", "nvme0n1", "/dev/disk/by-id/wwn-0x5000c500a1b2c3d4", "disk/by-path/pci-0000:00:1f.2-ata-1", "cciss/c0d0",
         "mmcblk0", "xvda", "vda", "hda"]


def interface(dice: random.Random) -> dict[str, Any]:
    four: dict[str, Any] = dice.choice([
        {"ip_mode": "dhcp", "ip": None, "gateway": None}, {"ip_mode": "none", "ip": None, "gateway": None},
        {"ip_mode": "static", "ip": "10.0.0.5/24", "gateway": "10.0.0.1"},
        {"ip_mode": "static", "ip": "172.16.255.1/20", "gateway": ""},
        {"ip_mode": "static", "ip": "192.0.2.1/31", "gateway": "192.0.2.0"}])
    six: dict[str, Any] = dice.choice([
        {"ipv6_mode": None, "ipv6": None, "ipv6_gateway": None}, {"ipv6_mode": "dhcp", "ipv6": None, "ipv6_gateway": None},
        {"ipv6_mode": "autoconf", "ipv6": None, "ipv6_gateway": None},
        {"ipv6_mode": "static", "ipv6": "fd00::5/64", "ipv6_gateway": "fd00::1"},
        {"ipv6_mode": "static", "ipv6": "2001:db8::5/48", "ipv6_gateway": "fe80::1"},
        {"ipv6_mode": "static", "ipv6": "2001:db8::5/64", "ipv6_gateway": ""}])
    if four["ip_mode"] == "none" and six["ipv6_mode"] is None:
        six = {"ipv6_mode": "autoconf", "ipv6": None, "ipv6_gateway": None}
    card = dice.choice([{"name": "eth0", "mac": None}, {"name": None, "mac": "02:66:00:AA:bb:0C"}])
    return {**card, **four, **six, "vlan": dice.choice([None, None, 1, 4094])}


def options(version: str, dice: random.Random) -> dict[str, Any]:
    raid = dice.random() < 0.4
    names = dice.sample(DISKS, 5)
    scripts = SCRIPTS + ([LATER] if version == XS9 else [])
    return {
        "version": version, "content": None, "mode": "fresh", "sr_type": dice.choice(SR_TYPES[version]),
        "disk": {"names": names[: 2 if raid else 1], "rule": None, "raid": raid,
                 "guest_storage": dice.random() < 0.7 and not (raid and version == X83),
                 "preserve_first_partition": dice.choice(
                     [None, "false", "if-utility", *(() if raid and version in (X82, X83) else ("true",))])},
        "guest_disks": dice.choice([None, [], names[3:]]), "sources": dice.sample(SOURCES, dice.randint(1, 2)),
        "driver_sources": dice.choice([None, dice.sample(SOURCES, 1)]), "interface": interface(dice),
        "dns": dice.choice([None, ["10.0.0.1"], ["10.0.0.1", "fd00::53"]]),
        "hostname": dice.choice([None, "node1", "Node-2.example.com"]), "timezone": dice.choice([None, "Europe/Berlin", "Etc/GMT+3"]),
        "ntp_servers": dice.choice([None, ["10.0.0.1"], ["ntp1.example.com", "fd00::7"]]), "keymap": dice.choice([None, "us", "de-latin1"]),
        "services": dice.choice([None, {"sshd": "disabled", "snmpd": "enabled"}]),
        "scripts": dice.choice([None, dice.sample(scripts, dice.randint(1, len(scripts)))]),
    }


def device(name: str) -> str:
    return name if name.startswith("/dev/") else f"/dev/{name}"


def medium(each: dict[str, Any]) -> tuple[str, str]:
    nfs = (each["address"] or "").startswith("nfs://")
    return ("nfs", each["address"][6:]) if nfs else (each["type"], each["address"] or "")


def wanted(given: dict[str, Any], password: str | None) -> dict[str, Any]:
    """What the installer shall do."""
    disk, card, version = given["disk"], given["interface"], given["version"]
    names = [device(name) for name in disk["names"]]
    array = disk["raid"] and version in (X82, X83)
    four: tuple[str, ...] = (card["ip_mode"],)
    if card["ip"]:
        own = ipaddress.ip_interface(card["ip"])
        four = ("static", str(own.ip), str(own.netmask), card["gateway"])
    six = ("static", card["ipv6"], card["ipv6_gateway"]) if card["ipv6_mode"] == "static" else (card["ipv6_mode"] or "none",)
    servers = given["ntp_servers"] or []
    method = "manual" if servers else "dhcp" if card["ip_mode"] == "dhcp" and version != X82 else "default"
    primary = ["/dev/md127"] if array else names
    return {
        "mode": given["mode"], "sr": given["sr_type"], "sources": [medium(each) for each in given["sources"]],
        "drivers": [medium(each) for each in given["driver_sources"] or []],
        "primary": primary, "swraid": disk["raid"] and not array, "arrays": {"/dev/md127": names} if array else {},
        "local": set(primary if disk["guest_storage"] else []) | {device(name) for name in given["guest_disks"] or []},
        "keep": disk["preserve_first_partition"] or "if-utility", "card": card["name"] or card["mac"].lower(), "ipv4": four, "ipv6": six,
        "vlan": card["vlan"], "password": ("hash", password or "!!"), "dns": given["dns"] or [], "hostname": given["hostname"],
        "timezone": given["timezone"] or "Etc/UTC", "keymap": given["keymap"] or "us", "time": (method, servers),
        "services": given["services"] or {}, "asks": False,
        "scripts": [(each["stage"], f"nfs://{each['url']}" if each["type"] == "nfs" else each["url"]) for each in given["scripts"] or []],
    }


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("number", range(SETS))
def test_what_is_made_is_read_as_the_options_say(version: str, number: int) -> None:
    dice = random.Random(f"{version} {number}")
    given, password = options(version, dice), dice.choice(HASHES)
    seen = read(printed(finished(given, password)), version)
    expected = wanted(given, password)
    assert {key: seen[key] for key in expected} == expected


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("number", range(10))
def test_upgrades_are_read_as_the_options_say(version: str, number: int) -> None:
    dice = random.Random(f"upgrade {version} {number}")
    given = dict.fromkeys(options(version, dice))
    given |= {name: value for name, value in options(version, dice).items() if name in ("sources", "driver_sources", "scripts")}
    name = dice.choice([*DISKS, "md127", "/dev/md/xs-abcdef"])
    given |= {"version": version, "mode": "upgrade", "disk": {
        "names": [name], "rule": None, "raid": False, "guest_storage": True, "preserve_first_partition": None}}
    text = finished(given, None)
    seen = read(text, version)
    assert (seen["mode"], seen["upgraded"], seen["asks"]) == ("upgrade", device(name), False)
    assert seen["sources"] == [medium(each) for each in given["sources"]]
    assert [stage for stage, _url in seen["scripts"]] == [each["stage"] for each in given["scripts"] or []]
    assert "admin-interface" not in text and "primary-disk" not in text and "root-password" not in text


def test_the_sets_differ_and_cover_all_choices() -> None:
    for version in VERSIONS:
        sets = [options(version, random.Random(f"{version} {number}")) for number in range(SETS)]
        assert len({repr(each) for each in sets}) == SETS
        assert {each["disk"]["raid"] for each in sets} == {True, False}
        assert {each["sr_type"] for each in sets} == set(SR_TYPES[version])
        assert {each["interface"]["ip_mode"] for each in sets} == {"static", "dhcp", "none"}
        assert {each["interface"]["ipv6_mode"] for each in sets} == {"static", "dhcp", "autoconf", None}
