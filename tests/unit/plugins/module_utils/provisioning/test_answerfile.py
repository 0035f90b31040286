# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mistakes in answer files: each changes one line of a good one, and is told with that line."""

from __future__ import annotations

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.provisioning.answerfile import VERSIONS, mistakes

GOOD = """\
<?xml version="1.0"?>
<installation mode="fresh" sr-type="ext">
  <primary-disk guest-storage="true">sda</primary-disk>
  <guest-disk>sdb</guest-disk>
  <source type="url">http://10.0.0.1/xcp-ng/</source>
  <admin-interface name="eth0" proto="static" vlan="20">
    <ipaddr>10.0.0.5</ipaddr>
    <subnet>255.255.255.0</subnet>
    <gateway>10.0.0.1</gateway>
  </admin-interface>
  <root-password type="hash">$6$saltsalt$0123456789abcdef</root-password>
  <name-server>10.0.0.1</name-server>
  <hostname>node1</hostname>
  <timezone>Europe/Berlin</timezone>
  <ntp-server>ntp.example.com</ntp-server>
  <keymap>de</keymap>
  <service name="sshd" state="enabled"/>
  <script stage="filesystem-populated" type="url">http://10.0.0.1/first-boot</script>
</installation>
"""
ALL = VERSIONS
# old text, new text, line, word of the reason, versions
MISTAKES = [
    ("<installation", "<instalation", 19, "no XML", ALL),
    ("hostname>", "host-name>", 13, "hostname?", ALL),
    ("<timezone>", "<!DOCTYPE x><timezone>", 14, "no XML", ALL),
    ('<installation mode="fresh" sr-type="ext">', '<restore mode="fresh">', 19, "no XML", ALL),
    (' mode="fresh"', ' mode="frsh"', 2, "frsh", ALL),
    (' sr-type="ext"', "", 2, "sr-type= is missing", ALL),
    ('sr-type="ext"', 'sr-type="nfs"', 2, "nfs", ALL),
    ('guest-storage="true"', 'guest-storge="true"', 3, "guest-storage?", ALL),
    ('guest-storage="true"', 'guest-storage="maybe"', 3, "maybe", ALL),
    (">sda<", "><", 3, "no disk", ALL),
    (">sda<", ">sda,sdb<", 3, "only one disk", ALL),
    ('  <primary-disk guest-storage="true">sda</primary-disk>\n', "", 2, "needs <primary-disk>", ALL),
    ('type="url">http://10.0.0.1/xcp-ng/', 'type="http">http://10.0.0.1/xcp-ng/', 5, "http", ALL),
    ('type="url">http://10.0.0.1/xcp-ng/', 'type="url">10.0.0.1', 5, "address", ALL),
    ('type="url">http://10.0.0.1/xcp-ng/', 'type="local">http://10.0.0.1/', 5, "no address", ALL),
    ('<source type="url">', "<source>", 5, "needs type=", ALL),
    ('name="eth0" ', "", 6, "name= or hwaddr=", ALL),
    ('name="eth0"', 'hwaddr="02:66:00:00:01"', 6, "MAC", ALL),
    ('name="eth0"', 'name="eth0" hwaddr="02:66:00:00:01:02"', 6, "only one of them", ALL),
    ('proto="static"', 'proto="sttic"', 6, "sttic", ALL),
    ('proto="static"', 'proto="dhcp"', 7, "static", ALL),
    ('vlan="20"', 'vlan="4095"', 6, "4095", ALL),
    ('    <gateway>10.0.0.1</gateway>\n', "", 6, "each once", ALL),
    (">10.0.0.5<", ">10.0.0.500<", 7, "IPv4", ALL),
    (">10.0.0.5<", ">10.0.0.255<", 7, "address of a host", ALL),
    (">255.255.255.0<", ">24<", 8, "netmask", ALL),
    (">255.255.255.0<", ">255.0.255.0<", 8, "netmask", ALL),
    ("<gateway>10.0.0.1<", "<gateway>10.0.1.1<", 9, "not in", ALL),
    ("<gateway>10.0.0.1<", "<gateway>10.0.0.5<", 9, "itself", ALL),
    ("<gateway>", "<dns>1.1.1.1</dns><gateway>", 9, "dns", ALL),
    ('type="hash">$6$saltsalt$0123456789abcdef', 'type="plaintext">secret', 11, "plaintext", ALL),
    ('type="hash">$6$saltsalt$0123456789abcdef', 'type="hash">secret', 11, "crypt(3)", ALL),
    ('<root-password type="hash">', "<root-password>", 11, "needs type=", ALL),
    ("<name-server>10.0.0.1<", "<name-server>dns1<", 12, "address", ALL),
    (">node1<", ">node_1<", 13, "host name", ALL),
    ("  <hostname>node1</hostname>\n", "  <hostname>node1</hostname><hostname>b</hostname>\n", 13, "twice", ALL),
    (">Europe/Berlin<", ">Berlin time<", 14, "time zone", ALL),
    ("  <ntp-server>", '  <ntp source="dhcp"/><ntp-server>', 15, "manual", ALL[1:]),
    ("  <ntp-server>ntp.example.com</ntp-server>", '  <ntp source="manual"/>', 15, "needs an <ntp-server>", ALL[1:]),
    ("  <ntp-server>", '  <ntp source="manual"/><ntp-server>', 15, "ntp", ALL[:1]),
    ('state="enabled"', 'state="on"', 17, "on", ALL),
    ('state="enabled"/>', 'state="enabled"/><service name="sshd" state="disabled"/>', 17, "twice", ALL),
    ('state="enabled"/>', 'state="enabled">yes</service>', 17, "not read", ALL),
    ('stage="filesystem-populated"', 'stage="filesystem-populate"', 18, "filesystem-populate", ALL),
    ('stage="filesystem-populated" ', "", 18, "needs stage=", ALL),
    ("  <script", "  <first-boot-script>x</first-boot-script><script", 18, "first-boot-script", ALL),
    ("  <script", "  <ui-confirmation-prompt>false</ui-confirmation-prompt><script", 18, "false", ALL),
    ("  <script", '  <bootloader location="mbr">extlinux</bootloader><script', 18, "extlinux", ALL),
    ("  <script", "  <network-backend>bridge</network-backend><script", 18, "network-backend", ALL[2:]),
    ("  <script", "  <ssh-mode>on</ssh-mode><script", 18, "ssh-mode", ALL[:2]),
    ("  <script", '  <raid device="md127"><disk>sda</disk></raid><script', 18, "two different", ALL[:2]),
    ("  <script", '  <raid device="md127"><disk>sda</disk><disk>sdb</disk></raid><script', 18, "raid", ALL[2:]),
    ('guest-storage="true">sda<', 'swraid="true">sda<', 3, "exactly two", ALL[2:]),
    ('guest-storage="true">sda<', 'swraid="true">sda,sdb<', 3, "swraid", ALL[:2]),
    ('guest-storage="true">sda<', 'fs-type="ext3">sda<', 3, "fs-type", ALL[:2]),
]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_good_one(version: str) -> None:
    assert mistakes(GOOD, version) == []


@pytest.mark.parametrize(("old", "new", "version"), [
    ('guest-storage="true">sda<', 'swraid="true">sda,missing<', "xenserver-8"),
    ("  <script", '  <raid device="md127"><disk>sda</disk><disk>sdb</disk></raid><script', "xcp-ng-8.3"),
    ("  <ntp-server>", '  <ntp source="manual"/><ntp-server>', "xcp-ng-8.3"),
    ('type="url">http://10.0.0.1/xcp-ng/', 'type="local">', "xcp-ng-8.2"),
    ("<guest-disk>sdb<", "<guest-disk>/dev/disk/by-id/wwn-0x5000c500a1b2c3d4<", "xcp-ng-8.3"),
])
def test_more_good_ones(old: str, new: str, version: str) -> None:
    assert old in GOOD
    assert mistakes(GOOD.replace(old, new), version) == []


@pytest.mark.parametrize(("old", "new", "line", "word", "version"), [
    pytest.param(*mistake[:4], version, id=f"{mistake[3]}-{version}-{number}")
    for number, mistake in enumerate(MISTAKES) for version in mistake[4]
])
def test_a_mistake(old: str, new: str, line: int, word: str, version: str) -> None:
    assert old in GOOD
    found = mistakes(GOOD.replace(old, new), version)
    assert [(each.line, word in each.text) for each in found[:1]] == [(line, True)], found
