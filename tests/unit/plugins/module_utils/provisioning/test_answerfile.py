# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mistakes in answer files: each changes one line of a good one, and is told with that line. What is right is not refused."""

from __future__ import annotations

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.provisioning.answerfile import judged, mistakes
from ansible_collections.nobloat.xen.plugins.module_utils.provisioning.table import VERSIONS

from .installer_reading import read

HASH = f"$6$saltsalt${'0123456789' * 8}abcdef"
GOOD = f"""\
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
  <root-password type="hash">{HASH}</root-password>
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
XCP, EIGHT, XS8, XS9, XENSERVER = ALL[:2], ALL[:3], ALL[2:3], ALL[3:], ALL[2:]
RAID = '<raid device="md127"><disk>sda</disk><disk>sdc</disk></raid>'
# old text, new text, line, word of the reason, versions
MISTAKES = [
    ("<installation", "<instalation", 19, "not valid XML", ALL),
    ("hostname>", "host-name>", 13, "is hostname meant?", ALL),
    ("<timezone>", "<!DOCTYPE x><timezone>", 14, "not valid XML", ALL),
    ('<installation mode="fresh" sr-type="ext">', '<restore mode="fresh">', 19, "not valid XML", ALL),
    (' mode="fresh"', ' mode="frsh"', 2, "frsh", ALL),
    (' sr-type="ext"', "", 2, "sr-type= is missing", ALL),
    ('sr-type="ext"', 'sr-type="nfs"', 2, "nfs", ALL),
    ('guest-storage="true"', 'guest-storge="true"', 3, "is guest-storage meant?", ALL),
    ('guest-storage="true"', 'guest-storage="maybe"', 3, "maybe", ALL),
    (">sda<", "><", 3, "is not a valid name of a disk", ALL),
    (">sda<", ">sda,sdb<", 3, "only one disk", ALL),
    ('  <primary-disk guest-storage="true">sda</primary-disk>\n', "", 2, "needs <primary-disk>", ALL),
    ('type="url">http://10.0.0.1/xcp-ng/', 'type="http">http://10.0.0.1/xcp-ng/', 5, "http", ALL),
    ('type="url">http://10.0.0.1/xcp-ng/', 'type="url">10.0.0.1', 5, "address", ALL),
    ('type="url">http://10.0.0.1/xcp-ng/', 'type="local">http://10.0.0.1/', 5, "no address", ALL),
    ('<source type="url">', "<source>", 5, "needs type=", ALL),
    ('name="eth0" ', "", 6, "name= or hwaddr=", ALL),
    ('name="eth0"', 'hwaddr="02:66:00:00:01"', 6, "MAC", ALL),
    *(('name="eth0"', f'hwaddr="{mac}"', 6, "MAC", ALL) for mac in ("00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "03:66:00:00:01:00")),
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
    ('type="hash">' + HASH, 'type="plaintext">secret', 11, "plaintext", ALL),
    ('type="hash">' + HASH, 'type="hash">secret', 11, "crypt(3)", ALL),
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
    ("  <script", "  <network-backend>bridge</network-backend><script", 18, "xcp-ng-8.2, xcp-ng-8.3 and xenserver-8 read it", XS9),
    ("  <script", "  <network-backend>linux</network-backend><script", 18, "linux", EIGHT),
    ("  <script", '  <fcoe-interface name="eth1"/><script', 18, "fcoe-interface", XS9),
    ("  <script", "  <fcoe-interface/><script", 18, "name= or hwaddr=", EIGHT),
    ("  <script", "  <ssh-mode>on</ssh-mode><script", 18, "xenserver-9 reads it", EIGHT),
    ("  <script", "  <ssh-mode>yes</ssh-mode><script", 18, "yes", XS9),
    ("  <script", "  <selected-multiversion-drivers/><script", 18, "multiversion", EIGHT),
    ("  <script", '  <selected-multiversion-drivers><driver name="x"> 1</driver></selected-multiversion-drivers><script', 18,
     "blanks", XS9),
    ("  <script", '  <raid device="md127"><disk>sda</disk></raid><script', 18, "two different", XCP),
    ("  <script", f"  {RAID}<script", 3, "in array md127 already", XCP),
    ("  <script", f"  {RAID}<script", 18, "xcp-ng-8.2 and xcp-ng-8.3 read it", XENSERVER),
    ("  <script", '  <raid device="md127"><disk>sdc</disk><disk>sdd</disk></raid><script', 18, "nothing is installed to md127", XCP),
    ("sda</primary-disk>", f"md127</primary-disk>{RAID}".replace("sdc", "/dev/sda"), 3, "in array md127 already", XCP),
    ("sda</primary-disk>", f"md127</primary-disk>{RAID}".replace("sdc", "sdb"), 4, "in array md127 already", XCP),
    ("sda</primary-disk>", f"md127</primary-disk>{RAID}".replace("md127\"", "sdd\""), 3, "not a valid array", XCP),
    ('guest-storage="true">sda<', 'swraid="true">sda<', 3, "exactly two", XENSERVER),
    ('guest-storage="true">sda<', 'swraid="true">sda,/dev/sda<', 3, "already", XENSERVER),
    ('guest-storage="true">sda<', 'swraid="true">sda,sdb<', 4, "already", XENSERVER),
    ('guest-storage="true">sda<', 'swraid="true">missing,missing<', 3, "may be 'missing'", XENSERVER),
    ('guest-storage="true">sda<', 'swraid="true">sda, sdc<', 3, "is not a valid name of a disk", XENSERVER),
    ('guest-storage="true">sda<', 'swraid="true">sda,sdc<', 3, "only one disk", XCP),
    ('guest-storage="true">sda<', 'swraid="true">sda<', 3, "swraid", XCP),
    ('guest-storage="true">sda<', 'fs-type="ext3">sda<', 3, "fs-type", EIGHT),
    ('guest-storage="true">sda<', 'fs-type="xfs">sda<', 3, "xfs", XS9),
    ("<guest-disk>sdb<", "<guest-disk>/dev/sda<", 4, "already", ALL),
    ("<guest-disk>sdb</guest-disk>", "<guest-disk>sdb</guest-disk><guest-disk>/dev/sdb</guest-disk>", 4, "already", ALL),
    *((">sda<", f">{name}<", 3, "partition", ALL) for name in (
        "sda1", "/dev/nvme0n1p1", "mmcblk0p2", "disk/by-id/wwn-0x5000c500a1b2c3d4-part1", "disk/by-uuid/2f1a", "cciss/c0d0p1", "xvda2",
        "nbd0p1", "mapper/36001405a1b2c3d4p1", "mapper/36001405a1b2c3d4-part2", "mapper/mpatha1")),
    *((">sda<", f">{name}<", 3, "is not a valid name of a disk", ALL) for name in (
        "tty0", "sg0", "st0", "mem", "dvd", "eth0", "SDA", "dev/sda", "/dev/dev/sda", "nbd", "vg/lv", "mmcblk0gp0",
        "wwn-0x5000c500a1b2c3d4", "sd", "by-id/wwn-0x5", "disk/by-dname/x", "md", "0", "sda;sdb", "/sys/block/sda",
        "nvme0", "nvme0c0n1", "mmcblk0boot0", "sr0", "/dev/", "/dev/../sda", "disk/by-id/", "/dev/loop0", "a disk")),
    (">sda<", ">iscsi:10.0.0.9::3260:0:iqn.2026-01.x:y<", 3, "has lost", ALL),
    ("<guest-disk>sdb<", "<guest-disk>sdb1<", 4, "partition", ALL),
    *(("<guest-disk>sdb<", f"<guest-disk>{name}<", 4, "not a local disk", ALL) for name in ("mapper/36001405a1b2c3d4", "/dev/dm-1")),
    # what is read as something else
    *((">" + text + "<", "><![CDATA[" + text + "]]><", line, "CDATA", ALL) for text, line in (
        (HASH, 11), ("sda", 3), ("http://10.0.0.1/xcp-ng/", 5), ("node1", 13), ("10.0.0.5", 7))),
    *(('guest-storage="true"', f'guest-storage="{value}"', 3, f"'{value}'", ALL) for value in ("1", "0", "on", "")),
    *((' sr-type="ext"', f' sr-type="ext" {name}="1"', 2, "'1'", versions) for name, versions in (
        ("netinstall-gpg-check", ALL[:1]), ("gpgcheck", ALL[1:2]), ("repo-gpgcheck", ALL[1:2]))),
    (' sr-type="ext"', ' sr-type="ext" gpgcheck="true"', 2, "gpgcheck", (ALL[0], *XENSERVER)),
    (' sr-type="ext"', ' sr-type="largeblock"', 2, "largeblock", (ALL[0], *XENSERVER)),
    (' sr-type="ext"', ' sr-type="ext" srtype="lvm"', 2, "two names", ALL),
    ('guest-storage="true"', 'guest-storage="true" gueststorage="false"', 3, "two names", ALL),
    ('guest-storage="true"', 'preserve-first-partition="True"', 3, "True", ALL),
    ('<source type="url">', '<source type="url" gpgcheck="0">', 5, "gpgcheck", ALL),
    ('<source type="url">', '<source type="URL">', 5, "URL", ALL),
    ("<name-server>", "<nameserver>10.0.0.2</nameserver><name-server>", 12, "two names", ALL),
    ("<ipaddr>", "<ip>10.0.0.6</ip><ipaddr>", 7, "two names", ALL),
    # addresses
    *(('type="url">http://10.0.0.1/xcp-ng/', kind, 5, word, ALL) for kind, word in (
        ('type="url">nfs://10.0.0.1/export', "nfs://server:/path"), ('type="nfs">nfs://10.0.0.1:/export', 'type="nfs" and server:/path'),
        ('type="nfs">http://10.0.0.1/', "NFS"), ('type="nfs">nas/export', "NFS"), ('type="url">nas:/export', "address"),
        ('type="url">HTTP://10.0.0.1/', "address"), ('type="url">http:///x', "address"), ('type="url">file://x/y', "file:///path"),
        ('type="url">http://10.0.0.1:x/', "address"), ('type="url">smb://10.0.0.1/x', "address"), ('type="url">', "address"),
        ('type="url">http://10.0.0.1/a b', "address"))),
    *(('type="url">http://10.0.0.1/first-boot', kind, 18, word, ALL) for kind, word in (
        ('type="nfs">http://10.0.0.1/first-boot', "NFS"), ('type="url">nas:/first-boot', "address"), ('type="nfs">nas:/scripts/', "NFS"),
        ('type="url">nfs://nas/first-boot', "NFS"), ('type="nfs">nas:/a:b', "NFS"), ('type="local">x', "local"))),
    *((">255.255.255.0<", f">{mask}<", 8, "netmask", ALL) for mask in ("0.0.0.255", "0.0.0.0", "255.255.255", "ffffff00")),
    *(("<gateway>10.0.0.1<", f"<gateway>{gateway}<", 9, word, ALL) for gateway, word in (
        ("10.0.0.0", "not the address of a host"), ("10.0.0.255", "not the address of a host"), ("gw", "IPv4"), ("fd00::1", "IPv4"))),
    *((">10.0.0.5<", f">{own}<", 7, "one machine", ALL) for own in ("224.0.0.5", "127.0.0.1", "0.0.0.0", "255.255.255.255", "240.1.1.1")),
    (' proto="static"', ' proto="static" protov6="static"', 6, "each once", ALL),
    *((' proto="static" vlan="20">', f' proto="static" protov6="static"><ipv6>{own}</ipv6><gatewayv6>{gateway}</gatewayv6>', 6, word, ALL)
      for own, gateway, word in (
          ("fd00::5", "fd00::1", "has no prefix"), ("fd00::5/64", "fd01::1", "not in"), ("fd00::5/64", "fd00::5", "itself"),
          ("fd00::5/64", "fd00::", "not the address of a host"), ("fd00::/64", "fd00::1", "not the address of a host"),
          ("ff02::1/64", "fe80::1", "one machine"), ("fe80::5/64", "fe80::1", "link-local"),
          ("::ffff:10.0.0.5/96", "fe80::1", "machine"), ("fd00::5/64", "10.0.0.1", "IPv6"),
          ("fd00::5/200", "fd00::1", "not a valid IPv6"))),
    ('proto="static" vlan', 'proto="none" protov6="none" vlan', 6, "IPv4 or IPv6", ALL),
    ('vlan="20"', 'vlan=""', 6, "number", ALL),
    *(("<name-server>10.0.0.1<", f"<name-server>{name}<", 12, word, ALL) for name, word in (("0.0.0.0", "one machine"), ("", "address"))),
    # root's password
    *((HASH, text, 11, "crypt(3)", ALL) for text in (
        HASH[:-1], HASH + "a", "$2b$12$" + "a" * 53, "$y$j9T$abc$" + "a" * 43, "$5$salt$" + "a" * 42, "$1$salt$" + "a" * 21,
        "$6$rounds=5$salt$" + "a" * 86, "$6$" + "a" * 17 + "$" + "a" * 86, "!", "", "$6$$" + "a" * 86)),
    # names and lists
    *((">node1<", f">{name}<", 13, word, ALL) for name, word in (
        ("10.0.0.5", "address or a number"), ("node.1", "address or a number"), ("fd00::5", "host name"), ("n" * 64, "host name"),
        (".".join(["n" * 30] * 3), "longer than"), ("-n", "host name"), ("", "host name"), ("nödel", "ASCII"))),
    *((">Europe/Berlin<", f">{zone}<", 14, "time zone", ALL) for zone in (
        "Europe/Nowhere", "CET", "europe/berlin", "", "../../etc/passwd")),
    *((">de<", f">{name}<", 16, "keymap", ALL) for name in ("german", "US", "de.map.gz", "")),
    ("xcp-ng/<", "xcp-ng/\u00fc<", 5, "ASCII", ALL),
    (">node1<", ">node1\u00a0<", 13, "ASCII", ALL),
    ('name="sshd"', 'name="sshd.service"', 17, "without .service", ALL),
    ('name="sshd"', 'name="s\u00f6"', 17, "ASCII", ALL),
    (">ntp.example.com<", ">ntp.example.com 10.0.0.1<", 15, "host name", ALL),
    # stages that are never run
    ('stage="filesystem-populated"', 'stage="packages-installed"', 18, "packages-installed", EIGHT),
    ('stage="filesystem-populated"', 'stage="post-install"', 18, "post-install", ALL),
    ("  <script", '  <post-install-script>http://a/</post-install-script><post-install-script>http://b/</post-install-script><script', 18,
     "twice", ALL),
    ("  <hostname>node1</hostname>", "  <guest-disks><hostname>node1</hostname></guest-disks>", 13, "hostname", ALL),
    ("  <hostname>node1</hostname>", "  <initial-partitions/>", 13, "initial-partitions", ALL[1:]),
    ("  <hostname>node1</hostname>", "  <zap-utility-partitions/>", 13, "zap", ALL[1:]),
    ("  <hostname>node1</hostname>", "  <target-platform>sdx8900</target-platform>", 13, "target-platform", (*XCP, *XS9)),
    ("  <hostname>node1</hostname>", "  <existing-installation>sda</existing-installation>", 13, "fresh installation", ALL),
    # what the installers only seem to take
    (' mode="fresh"', ' mode="reinstall"', 2, "no installer makes one", ALL),
    *(('name="eth0"', f'name="{name}"', 6, "is not a NIC", ALL) for name in (
        "bond0", "eno1", "enp3s0", "eth0.20", "xenbr0", "lo", "eth", "eth00", "ETH0", "vlan20", "")),
    ("  <script", '  <fcoe-interface name="eno1"/><script', 18, "is not a NIC", EIGHT),
    *(("sda</primary-disk>\n  <guest-disk>sdb", f"{text}{RAID}\n  <guest-disk>{guest}", line, "before it has made", ALL[1:2])
      for text, guest, line in (
          ("md127</primary-disk>", "sdb", 3), ("/dev/md127</primary-disk>", "sdb", 3), ("sdd</primary-disk>", "md127", 4))),
    *((">sda<", f">{name}<", 3, "'missing' goes with", ALL) for name in ("missing", "/dev/missing")),
    ("<guest-disk>sdb<", "<guest-disk>missing<", 4, "'missing' goes with", ALL),
    ("sda</primary-disk>", f"md127</primary-disk>{RAID}".replace("sdc", "missing"), 3, "'missing' goes with", XCP),
    ("  <ntp-server>ntp.example.com</ntp-server>", '  <ntp source="none"/>', 15, "the installer would take the time", ALL[1:]),
    *(('name="sshd"', f'name="{name}"', 17, "another kind of unit", ALL) for name in ("sshd.socket", "fstrim.timer", "multi-user.target")),
    *(('type="url">http://10.0.0.1/xcp-ng/', f'type="{kind}">{text}', 5, word, ALL) for kind, text, word in (
        *(("url", f"http://{text}", "not an address") for text in (
            "http://10.0.0.1/", "https://10.0.0.1/", "10.0.0.256/", "10.0.0/", "foo..bar/", ".foo/", "foo./", "-foo/", "localhost/x",
            "LOCALHOST/x", "127.0.0.1/x", "127.1.2.3/", "0.0.0.0/x", "[::1]/", "[::]/", "me@h:/x", "me@:80/x", "10.0.0.1:/x",
            "224.0.0.1/")),
        *(("nfs", text, "not a folder of an NFS server") for text in (
            "10.0.0.256:/x", "me@nas:/x", "localhost:/x", "127.0.0.1:/x", "../x:/y", "-:/x", "a..b:/x", "[::1]:/x")),
        ("url", "nfs://localhost:/x", "not a folder of an NFS server"),
        ("url", "http://10.0.0.1/x?y=z", "query"), ("url", "http://10.0.0.1/x/?", "query"), ("url", "http://10.0.0.1/x/#y", "fragment"))),
    *(('type="url">http://10.0.0.1/first-boot', f'type="{kind}">{text}', 18, word, ALL) for kind, text, word in (
        *(("url", text, "does not name a file") for text in (
            "http://10.0.0.1", "http://10.0.0.1/", "http://10.0.0.1/scripts/", "http://10.0.0.1/?x=1", "file:///", "ftp://nas/x/")),
        ("url", "http://localhost/x", "not an address"), ("nfs", "127.0.0.1:/x/y", "not a file of an NFS server"))),
    ('type="hash">' + HASH, 'type="plaintext">secret', 11, "all who can fetch the file", ALL),
    *((">Europe/Berlin<", f">{zone}<", 14, "write Etc/UTC", ALL) for zone in ("UTC", "GMT", "utc")),
    ("  <hostname>node1</hostname>", "  <backup-disk>sda</backup-disk>", 13, "fresh installation", ALL),
    # what is a word for something else there
    *((">node1<", f">{name}<", 13, "every host calls itself", ALL) for name in (
        "localhost", "LocalHost", "localhost.localdomain", "node1.localhost", "localhost6.localdomain6")),
    *((">ntp.example.com<", f">{name}<", 15, "is not a server", ALL) for name in ("dhcp", "DHCP", "default", "manual", "none")),
    *((">ntp.example.com<", f">{name}<", 15, "not a valid host name or address", ALL) for name in ("localhost", "127.0.0.1", "")),
    *((' sr-type="ext"', f' sr-type="{kind}"', 2, f"'{kind}'", versions) for kind, versions in (
        ("xfs", XCP), ("largeblock", (ALL[0], *XENSERVER)), ("EXT", ALL), ("", ALL), ("zfs", ALL))),
    (' sr-type="ext"', ' srtype="xfs"', 2, "'xfs'", XCP),
    ("  <script", "  <ssh-mode>Off</ssh-mode><script", 18, "overrides that service sshd is enabled", XS9),
    ('state="enabled"/>', 'state="disabled"/><ssh-mode>on</ssh-mode>', 17, "overrides that service sshd is disabled", XS9),
    # numbers and texts that other parsers read in another way
    *(("  <hostname>node1</hostname>", f'  <initial-partitions><partition number="{number}" size="8" id="0xde"/></initial-partitions>', 13,
       "without zeros", ALL[:1]) for number in ("010", "1 ", "-1", "1e3", "0o7", "0x")),
    ("  <script", '  <selected-multiversion-drivers><driver name="x">1<?x y?>.2</driver></selected-multiversion-drivers><script', 18,
     "blanks and comments", XS9),
    # networks of one host
    (">255.255.255.0<", ">255.255.255.255<", 8, "without any other host", ALL),
    (' proto="static" vlan="20">', ' proto="static" protov6="static"><ipv6>fd00::5/128</ipv6><gatewayv6/>', 6, "any other host", ALL),
    (' proto="static" vlan="20">', ' proto="static" protov6="static"><ipv6>fd00::5/0</ipv6><gatewayv6/>', 6, "no prefix", ALL),
    # logins that the installers cannot make
    *(('type="url">http://10.0.0.1/first-boot', f'type="url">{kind}://me:secret@10.0.0.1/first-boot', 18, "cannot log in", (*ALL[:1], *XS9))
      for kind in ("http", "https")),
    *(('type="url">http://10.0.0.1/xcp-ng/', f'type="url">http://{who}@10.0.0.1/', 5, "would log in without", ALL)
      for who in ("me", "me:", ":secret")),
    # what systemctl and iproute2 read as something else
    ('name="sshd"', 'name="-f"', 17, "not a valid service", ALL), ('name="sshd"', 'name=".x"', 17, "not a valid service", ALL),
    *((' proto="static" vlan="20">', f' proto="static" protov6="static"><ipv6>fd00::5/{length}</ipv6><gatewayv6/>', 6, "valid IPv6", ALL)
      for length in ("064", "+64", "6 4", "0064")),
    # addresses that lead nowhere
    (">10.0.0.5<", ">169.254.7.5<", 7, "link-local", ALL), ("<name-server>10.0.0.1<", "<name-server>169.254.0.1<", 12, "address", ALL),
    ("<name-server>10.0.0.1<", "<name-server>10.0.0.5<", 12, "is the host itself", ALL),
    (">ntp.example.com<", ">10.0.0.5<", 15, "is the host itself", ALL),
    *(('type="url">http://10.0.0.1/xcp-ng/', f'type="url">http://10.0.0.1/{file}', 5, "is a file", ALL) for file in (
        "xcp-ng-8.3.iso", "XCP.ISO", "xcp-ng/.treeinfo")),
    # arrays of what is none of a host's own disks
    *(("sda</primary-disk>", f"md127</primary-disk>{RAID}".replace("sda", name), 3, word, XCP) for name, word in (
        ("md0", "is an array itself"), ("/dev/md/x", "is an array itself"), ("dm-0", "part of an array"),
        ("mapper/mpatha", "part of an array"))),
    *(('guest-storage="true">sda<', f'swraid="true">sdc,{name}<', 3, word, XENSERVER) for name, word in (
        ("md126", "is an array itself"), ("mapper/mpatha", "part of an array"))),
    *(('guest-storage="true">sda</primary-disk>', f'guest-storage="no" preserve-first-partition="{keep}">md127</primary-disk>{RAID}', 3,
       "wipes the disks", XCP) for keep in ("true", "yes")),
    # logins that would take minutes
    *((HASH, text, 11, "crypt(3)", ALL) for text in ("$6$rounds=99999999$salt$" + "a" * 86, "$5$rounds=999999999$salt$" + "a" * 43)),
]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_good_one(version: str) -> None:
    assert mistakes(GOOD, version) == []


RIGHT = [
    *(("<guest-disk>sdb<", f"<guest-disk>{name}<", ALL) for name in (
        "disk/by-id/ata-Disk_#1", "/dev/disk/by-id/nvme-eui.0025385b71b0a9c4", "cciss/c0d0", "mmcblk0", "sdaa", "md126", "nvme10n1")),
    *((">sda<", f">{name}<", ALL) for name in (
        "mapper/36001405a1b2c3d4", "mapper/mpatha", "dm-3", "disk/by-path/pci-0000:00:1f.2-ata-1.0")),
    ('name="eth0"', 'name="eth12"', ALL), ('name="sshd"', 'name="getty@tty1"', ALL),
    ('type="url">http://10.0.0.1/first-boot', 'type="url">http://10.0.0.1:8380/first-boot?x=1', ALL),
    ("sda</primary-disk>", f"md127</primary-disk>{RAID}", ALL[:1]),
    ('guest-storage="true">sda</primary-disk>', f'guest-storage="no">md127</primary-disk>{RAID}', XCP),
    ('guest-storage="true">sda<', 'swraid="true">sda,missing<', XENSERVER),
    ('guest-storage="true">sda<', 'swraid="TRUE" guest-storage="No">sda,sdc<', XENSERVER),
    ("  <ntp-server>", '  <ntp source="manual"/><ntp-server>', ALL[1:]),
    ('type="url">http://10.0.0.1/xcp-ng/', 'type="local">', ALL),
    ('type="url">http://10.0.0.1/xcp-ng/', 'type="nfs">nas:/export', ALL),
    ('type="url">http://10.0.0.1/xcp-ng/', 'type="url">nfs://nas:/export/', ALL),
    ('type="url">http://10.0.0.1/xcp-ng/', 'type="url">https://me:secret@mirror_1:8443/x/y', ALL),
    ("<guest-disk>sdb<", "<guest-disk>/dev/disk/by-id/wwn-0x5000c500a1b2c3d4<", ALL),
    ("<guest-disk>sdb</guest-disk>", "<guest-disks><guest-disk>sdb</guest-disk><guest-disk>sdc</guest-disk></guest-disks>", ALL),
    (HASH, "!!", ALL), (HASH, "$1$abcdefgh$" + "a" * 22, ALL), (HASH, "$5$rounds=1000$a.b$" + "a" * 43, ALL),
    ('guest-storage="true"', 'guest-storage="YES" sr-at-end="True"', ALL),
    ('stage="filesystem-populated" type="url"', 'stage="Filesystem-Populated" type="URL"', ALL),
    ('stage="filesystem-populated"', 'stage="packages-installed"', XS9),
    ("<gateway>10.0.0.1</gateway>", "<gateway/>", ALL), ("<gateway>10.0.0.1</gateway>", "<gateway></gateway>", ALL),
    ('  <root-password type="hash">' + HASH + "</root-password>\n", "", ALL),
    ("  <script", "  <network-backend>bridge</network-backend><script", EIGHT),
    ("  <script", '  <fcoe-interface hwaddr="02:66:00:00:01:00"/><script', EIGHT),
    ("  <script", "  <ssh-mode>ON</ssh-mode><script", XS9),
    ("  <script", '  <selected-multiversion-drivers><driver name="ice">2.1</driver></selected-multiversion-drivers><script', XS9),
    ("  <script", '  <bootloader location="partition" write-boot-entry="Yes">grub2</bootloader><script', ALL),
    (' sr-type="ext"', ' sr-type="largeblock"', ALL[1:2]),
    ("<hostname>node1<", "<hostname>no<!-- comments are left out -->de1<", ALL),
    ("<hostname>node1<", "<hostname>\n node1 \n<", ALL),
    (' proto="static" vlan="20">', ' proto="static" protov6="static"><ipv6>2001:db8::5/64</ipv6><gatewayv6>fe80::1</gatewayv6>', ALL),
    (' proto="static" vlan="20">', ' proto="static" protov6="static"><ipv6>2001:db8::5/64</ipv6><gatewayv6/>', ALL),
    ("<hostname>node1<", "<hostname>3com-1.example.com<", ALL), ("<hostname>node1<", "<hostname>localhost1<", ALL),
    *((">ntp.example.com<", f">{name}<", ALL) for name in ("dhcp.example.com", "default1", "fd00::9", "10.0.0.9")),
    (' sr-type="ext"', ' sr-type="xfs"', XENSERVER),
    ("  <script", "  <ssh-mode>Auto</ssh-mode><script", XS9), ('state="enabled"/>', 'state="disabled"/><ssh-mode>off</ssh-mode>', XS9),
    (">255.255.255.0<", ">255.255.255.248<", ALL),
    ('type="url">http://10.0.0.1/first-boot', 'type="url">http://me:secret@10.0.0.1/first-boot', ALL[1:3]),
    ('type="url">http://10.0.0.1/first-boot', 'type="url">ftp://me:secret@10.0.0.1/first-boot', ALL),
    (HASH, "$6$rounds=9999999$salt$" + "a" * 86, ALL),
    ("<name-server>10.0.0.1</name-server>", "".join(f"<name-server>10.0.0.{n}</name-server>" for n in (1, 2, 3)), ALL),
    ('guest-storage="true">sda</primary-disk>', f'guest-storage="no" preserve-first-partition="no">md127</primary-disk>{RAID}', XCP),
    ('guest-storage="true">sda<', 'swraid="true" preserve-first-partition="yes">sda,sdc<', XENSERVER),
]
# What is read as it says, and warned of.
WARNED = [
    ("  <script", "  <post-install-script>http://10.0.0.1/x</post-install-script><script", '<script stage="filesystem-populated">', ALL),
    ("  <script", '  <install-failed-script type="nfs">nas:/x</install-failed-script><script', "after a success, too", ALL),
    (' sr-type="ext"', ' srtype="ext"', "write sr-type", ALL),
    ('guest-storage="true"', 'gueststorage="true"', "write guest-storage", ALL),
    ("<ipaddr>10.0.0.5</ipaddr>", "<ip>10.0.0.5</ip>", "write ipaddr", ALL),
    ("<subnet>255.255.255.0</subnet>", "<subnet-mask>255.255.255.0</subnet-mask>", "write subnet", ALL),
    ("name-server>", "nameserver>", "write name-server", ALL),
    ("ntp-server>", "ntp-servers>", "write ntp-server", ALL),
    ("  <script", "  <zap-utility-partitions/><script", "preserve-first-partition", ALL[:1]),
    ("  <script", '  <initial-partitions><partition number="1" size="0x100" id="0xde"/></initial-partitions><script', "tests", ALL[:1]),
    ("  <script", "  <target-platform>sdx8900</target-platform><script", "SDX", XS8),
    ("  <script", "  <ui-confirmation-prompt>True</ui-confirmation-prompt><script", "waits", ALL),
    (' sr-type="ext"', ' sr-type="ext" netinstall-gpg-check="False"', "signatures", ALL[:1]),
    (' sr-type="ext"', ' sr-type="ext" gpgcheck="no"', "signatures", ALL[1:2]),
    ('<source type="url">', '<source type="url" repo-gpgcheck="false">', "signatures", ALL[1:2]),
    ('guest-storage="true">sda<', 'swraid="true">sda,missing<', "one disk", XENSERVER),
    ('guest-storage="true"', 'sr-at-end="false"', "comes first", ALL),
    ("  <script", '  <bootloader write-boot-entry="no"/><script', "firmware has to find", ALL),
    (' sr-type="ext"', ' sr-type="xfs"', "large-block-capable-sr-type", XENSERVER),
    ('guest-storage="true">sda</primary-disk>', f'guest-storage="no">md127</primary-disk>{RAID}', "installs to that one", XCP),
    ("<name-server>10.0.0.1</name-server>", "".join(f"<name-server>10.0.0.{n}</name-server>" for n in (1, 2, 3, 4)), "first three", ALL),
    (' sr-type="ext"', ' srtype="largeblock"', "write sr-type", ALL[1:2]), (' sr-type="ext"', ' srtype="xfs"', "write sr-type", XENSERVER),
]


@pytest.mark.parametrize(("old", "new", "version"), [(old, new, version) for old, new, versions in RIGHT for version in versions])
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
    assert any(each.line == line and word in each.text for each in found), found


@pytest.mark.parametrize(("old", "new", "word", "version"), [
    (old, new, word, version) for old, new, word, versions in WARNED for version in versions])
def test_what_is_warned_of(old: str, new: str, word: str, version: str) -> None:
    assert old in GOOD
    verdict = judged(GOOD.replace(old, new), version)
    assert verdict.mistakes == [] and word in " ".join(each.text for each in verdict.warnings)


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_accepted_is_read(version: str) -> None:
    """By the independent reading, which stops where the installer would."""
    for old, new, *_word, versions in [*RIGHT, *WARNED]:
        if version in versions:
            read(GOOD.replace(old, new), version)


@pytest.mark.parametrize(("written", "meant"), [(("1", "0x800", "0xDE"), (1, 2048, 222)), (("2", "0", "131"), (2, 0, 131))])
def test_initial_partitions_are_read_as_they_are_written(written: tuple[str, str, str], meant: tuple[int, ...]) -> None:
    number, size, kind = written
    text = GOOD.replace("  <script", f'  <initial-partitions><partition number="{number}" size="{size}" id="{kind}"/>'
                                     "</initial-partitions><script")
    assert mistakes(text, "xcp-ng-8.2") == [] and read(text, "xcp-ng-8.2")["partitions"] == [meant]
    octal = text.replace(f'number="{number}"', 'number="010"')
    assert mistakes(octal, "xcp-ng-8.2") and read(octal, "xcp-ng-8.2")["partitions"][0][0] == 8
    unread = text.replace(f'number="{number}"', 'number="one"')
    assert mistakes(unread, "xcp-ng-8.2") and read(unread, "xcp-ng-8.2")["partitions"] == []


UPGRADE = """<upgrade mode="upgrade">
  <existing-installation>sda</existing-installation>
  <source type="local"/>
</upgrade>"""
RESTORE = "<restore>\n  <backup-disk>sda</backup-disk>\n</restore>"


@pytest.mark.parametrize("version", VERSIONS)
def test_upgrade_and_restore(version: str) -> None:
    complete = '<script stage="installation-complete" type="url">http://a/b</script>'
    for text in (UPGRADE, UPGRADE.replace("<upgrade", "<installation").replace("</upgrade", "</installation"), RESTORE, "<restore/>",
                 UPGRADE.replace("</upg", f"{complete}</upg"), RESTORE.replace("</res", f"{complete}</res")):
        assert judged(text, version) == ([], []), text


@pytest.mark.parametrize("version", EIGHT)
@pytest.mark.parametrize("name", ["sda", "/dev/sda"])
def test_an_upgrade_may_name_its_disk_twice_in_the_old_way(version: str, name: str) -> None:
    verdict = judged(UPGRADE.replace("<source", f"<primary-disk>{name}</primary-disk><source"), version)
    assert verdict.mistakes == [] and [each.text for each in verdict.warnings] == [
        "<primary-disk>: old; leave it out, <existing-installation> says it"]


@pytest.mark.parametrize(("text", "old", "new", "word", "versions"), [
    (UPGRADE, ' mode="upgrade"', "", "installs anew", ALL), (UPGRADE, '"upgrade"', '"fresh"', "installs anew", ALL),
    (UPGRADE, "<source", "<primary-disk>sdb</primary-disk><source", "in place of <existing-installation>", EIGHT),
    (UPGRADE, "<source", "<primary-disk>sdb</primary-disk><source", "not go with upgrade", XS9),
    (UPGRADE, "<source", "<hostname>a</hostname><source", "not go with upgrade", ALL),
    (UPGRADE, "<source", "<root-password/><source", "not go with upgrade", ALL),
    (UPGRADE, 'mode="upgrade"', 'mode="upgrade" sr-type="ext"', "not go with upgrade", ALL),
    (UPGRADE, ">sda<", ">sda1<", "partition", ALL),
    (UPGRADE, "  <existing-installation>sda</existing-installation>\n", "", "needs <existing-installation>", ALL),
    (UPGRADE, '  <source type="local"/>\n', "", "needs <source>", ALL),
    (UPGRADE, "<existing-installation>", '<existing-installation fs-type="ext4">', "fs-type", EIGHT),
    (RESTORE, "<restore>", '<restore mode="fresh">', "mode=", ALL),
    (RESTORE, "</res", '<script stage="filesystem-populated" type="url">http://a/b</script></res', "filesystem-populated", ALL),
    (RESTORE, "</res", "<post-install-script>http://a/b</post-install-script></res", "not go with restore", ALL),
    (RESTORE, "</res", '<source type="local"/></res', "not go with restore", ALL),
    (RESTORE, ">sda<", ">sda2<", "partition", ALL),
])
def test_mistakes_in_upgrades_and_restores(text: str, old: str, new: str, word: str, versions: tuple[str, ...]) -> None:
    assert old in text
    for version in versions:
        assert word in " ".join(each.text for each in mistakes(text.replace(old, new), version)), version


@pytest.mark.parametrize(("kind", "address"), [
    ("url", "smb://me:hidden@10.0.0.1/x"), ("nfs", "http://me:hid@den@10.0.0.1/x"), ("url", "file://me:hidden@10.0.0.1/x"),
    ("url", "http://me:hidden@10.0.0.1:x/"), ("local", "http://me:hidden@10.0.0.1/")])
def test_no_message_has_the_password_of_an_address(kind: str, address: str) -> None:
    for name in ("source", "script"):
        text = GOOD.replace('type="url">http://10.0.0.1/' + ("xcp-ng/" if name == "source" else "first-boot"), f'type="{kind}">{address}')
        found = mistakes(text, "xcp-ng-8.3")
        assert found and not any("hid" in each.text for each in found), found


def test_no_message_has_roots_password() -> None:
    found = mistakes(GOOD.replace('type="hash">' + HASH, 'type="plaintext">hidden'), "xcp-ng-8.3")
    assert found and "hidden" not in str(found)
