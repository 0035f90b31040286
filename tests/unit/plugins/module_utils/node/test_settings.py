# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of a node that are files: those for legs, and the network of the SAN."""
from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.change import ApplyError
from ansible_collections.nobloat.xen.plugins.module_utils.node.block import Blocks
from ansible_collections.nobloat.xen.plugins.module_utils.node.legs import Legs
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import NodeError, Result
from ansible_collections.nobloat.xen.plugins.module_utils.node.san import San

PV = {"pv_size": "1", "pv_free": "1", "vg_size": "1", "vg_free": "1", "vg_extent_size": "1", "pv_count": "1",
      "pvseg_size": "1", "lv_name": "", "lv_tags": ""}


class Commands:
    """Commands of a node: `says` by the first words of a command, and what was run."""

    def __init__(self, **says: str) -> None:
        self.says = says
        self.calls: list[str] = []
        self.on: dict[str, Callable[[], Any]] = {}

    def __call__(self, *argv: str, **_options: Any) -> Result:
        text = " ".join(argv)
        self.calls.append(text)
        for words, act in self.on.items():
            if text.startswith(words):
                act()
        return Result(0, next((said for words, said in self.says.items() if text.startswith(words.replace("_", " "))), ""), "")


def put(root: Path, name: str, text: str = "") -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


# ---- legs


def legs(root: Path, *pvs: tuple[str, str], version: str = "2.03.16") -> tuple[Legs, Commands]:
    rows = [{**PV, "pv_name": name, "pv_uuid": f"uuid-of-{name[5:]}", "vg_name": group} for name, group in pvs]
    command = Commands(lvm_version=f"  LVM version:     {version}(2) (2022-05-18)\n", pvs=json.dumps({"report": [{"pv": rows}]}))
    return Legs(str(root), command), command


def options(**changes: Any) -> dict[str, Any]:
    return {"node": "node1", "vg": "vg0", "devices": ["/dev/disk/by-id/wwn-0x5+a"], "lvm_accept": [],
            "iqn_prefix": "iqn.2026-11.xen.nobloat", **changes}


def test_debian_and_then_nothing_to_do(tmp_path: Path) -> None:
    put(tmp_path, "etc/mdadm/mdadm.conf", "HOMEHOST <system>\nAUTO +1.x -all\nARRAY /dev/md0 UUID=x\n")
    put(tmp_path, "etc/lvm/lvmlocal.conf", "local {\n}\n")
    maker, command = legs(tmp_path, ("/dev/sda2", "system"))
    plan = maker.plan(options(lvm_accept=["^/dev/mapper/3600.*$"]))
    assert not (tmp_path / "etc/udev").exists()  # a plan is no deed
    plan.apply()
    assert (tmp_path / "etc/mdadm/mdadm.conf").read_text() == "HOMEHOST <system>\nARRAY /dev/md0 UUID=x\nAUTO -all\n"
    text = (tmp_path / "etc/lvm/lvmlocal.conf").read_text()
    assert text.startswith("local {\n}\n") and "use_devicesfile = 0" in text
    wanted = [r"a|^/dev/disk/by-id/wwn-0x5\+a$|", "a|^/dev/mapper/3600.*$|", "a|^/dev/disk/by-id/lvm-pv-uuid-uuid-of-sda2$|", "r|.*|"]
    assert "global_filter = [ " + ", ".join(f'"{pattern}"' for pattern in wanted) + " ]" in text
    assert os.readlink(tmp_path / "etc/udev/rules.d/64-md-raid-assembly.rules") == "/dev/null"
    assert stat.S_IMODE((tmp_path / "usr/local/lib/nobloat/leg-name").stat().st_mode) == 0o755
    assert "udevadm control --reload" in command.calls
    assert legs(tmp_path, ("/dev/sda2", "system"))[0].plan(options(lvm_accept=["^/dev/mapper/3600.*$"])).steps == []


def test_dom0_of_xcp_ng(tmp_path: Path) -> None:
    """CentOS 7's names and LVM, and the second folder of settings."""
    (tmp_path / "etc/lvm/master").mkdir(parents=True)
    legs(tmp_path, version="2.02.180")[0].plan(options()).apply()
    assert (tmp_path / "etc/mdadm.conf").read_text() == "AUTO -all\n"
    texts = [(tmp_path / folder / "lvmlocal.conf").read_text() for folder in ("etc/lvm", "etc/lvm/master")]
    assert texts[0] == texts[1] and "devicesfile" not in texts[0]
    assert os.readlink(tmp_path / "etc/udev/rules.d/65-md-incremental.rules") == "/dev/null"


def test_what_lies_in_legs_is_not_the_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maker, _command = legs(tmp_path, ("/dev/sdb", "inner"), ("/dev/dm-3", "deep"), ("/dev/sda2", "system"), ("/dev/sdc", "vg0"))
    monkeypatch.setattr(maker.node.blocks, "folder", lambda path: str(tmp_path / "sys" / path[5:]))
    put(tmp_path, "sys/sdb/device/vendor", "LIO-ORG \n")
    put(tmp_path, "sys/dm-3/dm/name", "vg0-web1--data\n")
    assert maker.filter(["/dev/sdc"], [], "vg0") == ["a|^/dev/sdc$|", "a|^/dev/disk/by-id/lvm-pv-uuid-uuid-of-sda2$|", "r|.*|"]


@pytest.mark.parametrize(("changes", "words"), [
    ({"node": "Node 1"}, "no name for a node"), ({"vg": "mirror"}, "below /dev/mirror"), ({"vg": "a/b"}, "cannot be the volume group"),
    ({"iqn_prefix": "iqn.X"}, "no beginning of an iSCSI name"), ({"lvm_accept": ["a|b"]}, "lvm_accept"),
])
def test_bad_options_for_legs(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(NodeError, match=words):
        legs(tmp_path)[0].plan(options(**changes))


def test_an_error_puts_the_old_files_back(tmp_path: Path) -> None:
    put(tmp_path, "etc/mdadm.conf", "AUTO +1.x\n")
    put(tmp_path, "etc/udev/rules.d/64-md-raid-assembly.rules", "mine\n")
    maker, command = legs(tmp_path)

    def fail() -> None:
        raise NodeError("No udev.")

    command.on["udevadm control"] = fail
    with pytest.raises(ApplyError, match="No udev"):
        maker.plan(options()).apply()
    assert (tmp_path / "etc/mdadm.conf").read_text() == "AUTO +1.x\n"
    assert (tmp_path / "etc/udev/rules.d/64-md-raid-assembly.rules").read_text() == "mine\n"
    assert not (tmp_path / "usr/local/lib/nobloat/leg-name").exists()


@pytest.mark.parametrize(("target", "name"), [
    ("iqn.2026-11.xen.nobloat:node2:web1-data", "mirror/node2/web1-data\n"), ("iqn.2026-11.org.other:node2:web1-data", ""),
    ("iqn.2026-11.xen.nobloat:node2", ""),
])
def test_the_name_of_an_import(tmp_path: Path, target: str, name: str) -> None:
    """The script that udev runs, for a disk and for a multipath device over it."""
    legs(tmp_path)[0].plan(options()).apply()
    put(tmp_path, "sys/class/iscsi_session/session7/targetname", f"{target}\n")
    disk = tmp_path / "sys/devices/platform/host1/session7/target1:0:0/1:0:0:0/block/sda"
    disk.mkdir(parents=True)
    (tmp_path / "sys/devices/virtual/block/dm-1/slaves").mkdir(parents=True)
    (tmp_path / "sys/devices/virtual/block/dm-1/slaves/sda").symlink_to(disk)
    script = (tmp_path / "usr/local/lib/nobloat/leg-name").read_text().replace("/sys", str(tmp_path / "sys"))
    for path in ("/devices/platform/host1/session7/target1:0:0/1:0:0:0/block/sda", "/devices/virtual/block/dm-1"):
        done = subprocess.run(["sh", "-c", script, "leg-name", path], capture_output=True, text=True, check=False)
        assert (done.stdout, done.returncode) == (name, 0 if name else 1)


# ---- the SAN


SAN = {"nics": ["eth2", "eth3"], "addresses": ["10.0.2.1/24"], "mode": "active-backup", "bond": "san", "miimon": 100, "arp_targets": [],
       "arp_interval": 200, "lacp_rate": "fast", "xmit_hash_policy": "layer3+4", "vlan": 0, "mtu": 1500, "manager": "networkd", "keep": [],
       "force": False}
ADDRESSES = """\
1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever
2: eth0    inet 192.0.2.1/24 brd 192.0.2.255 scope global eth0\\       valid_lft forever preferred_lft forever
3: eth2    inet6 fe80::1/64 scope link \\       valid_lft forever preferred_lft forever
"""
READY = """\
4: san    inet 10.0.2.1/24 brd 10.0.2.255 scope global san\\       valid_lft forever preferred_lft forever
"""


@pytest.fixture
def node(tmp_path: Path) -> Path:
    for nic in ("lo", "eth0", "eth1", "eth2", "eth3"):
        put(tmp_path, f"sys/class/net/{nic}/flags", "0x1003\n")
        put(tmp_path, f"sys/class/net/{nic}/mtu", "1500\n")
    return tmp_path


def san(root: Path, addresses: str = ADDRESSES, routes: str = "default via 192.0.2.254 dev eth0 \n", **more: Any) -> tuple[San, Commands]:
    command = Commands(**{"ip_-o": addresses, "ip_-4": routes, "systemctl_is-active_systemd-networkd": "active\n",
                          "systemctl_is-enabled": "enabled\n"})
    return San(str(root), command, lambda _name: None, patience=0, **more), command


def make_bond(root: Path, **settings: str) -> None:
    for name, text in {"mode": "active-backup 1", "miimon": "100", "arp_interval": "0", "slaves": "eth2 eth3", **settings}.items():
        put(root, f"sys/class/net/san/bonding/{name}", f"{text}\n")
    put(root, "sys/class/net/san/flags", "0x1403\n")
    put(root, "sys/class/net/san/mtu", "1500\n")


def test_a_bond_with_networkd(node: Path) -> None:
    maker, command = san(node)

    def reload() -> None:
        make_bond(node)
        command.says["ip_-o"] = ADDRESSES + READY

    command.on["networkctl reload"] = reload
    plan = maker.plan(SAN)
    assert sorted(plan.after) == [f"/etc/systemd/network/10-nobloat-san-{name}" for name in (
        "eth2.network", "eth3.network", "san.netdev", "san.network")]
    assert not (node / "etc").exists()
    plan.apply()
    text = (node / "etc/systemd/network/10-nobloat-san-san.netdev").read_text()
    assert "Kind=bond\n" in text and "Mode=active-backup\nMIIMonitorSec=100ms\n" in text
    text = (node / "etc/systemd/network/10-nobloat-san-san.network").read_text()
    assert "Address=10.0.2.1/24\n" in text and "ConfigureWithoutCarrier=yes\n" in text
    assert "Bond=san\n" in (node / "etc/systemd/network/10-nobloat-san-eth3.network").read_text()
    assert maker.plan(SAN).steps == [] and not any("eth0" in call or "delete" in call for call in command.calls)


def test_what_the_kernel_has_counts(node: Path) -> None:
    """Files that are as they should be are not enough."""
    maker, command = san(node, ADDRESSES + READY)
    make_bond(node)
    for step in maker.plan(SAN).steps[1:-2]:
        step.do()
    assert maker.plan(SAN).steps == []
    make_bond(node, mode="balance-rr 0")
    assert [step.text for step in maker.plan(SAN).steps] == ["prepare", "bring up the SAN", "wait for the addresses"]
    with pytest.raises(ApplyError, match="san has mode balance-rr 0"):
        maker.plan(SAN).apply()
    assert "ip link delete san" in command.calls
    make_bond(node, slaves="eth2")
    assert maker.differences(SAN, [("san", "10.0.2.1/24")]) == ["san lacks eth3"]


@pytest.mark.parametrize("who", ["an initiator", "a disk"])
def test_the_work_of_others_is_not_interrupted(node: Path, connect: Any, monkeypatch: pytest.MonkeyPatch, who: str) -> None:
    """What others do with the node's exports, and what is done with imports here, goes over addresses that a new bond would lose."""
    maker, command = san(node, ADDRESSES + READY)
    make_bond(node)
    for nic in ("eth2", "eth3"):
        put(node, f"sys/class/net/{nic}/upper_san/ifindex")
    for step in maker.plan(SAN).steps[1:-2]:
        step.do()
    if who == "an initiator":
        put(node, "sys/kernel/config/target/iscsi/iqn.x:web1/tpgt_1/np/10.0.2.1:3260/iser")
        works = "10.0.2.2 is logged in to disks that this node exports at 10.0.2.1:3260"
        connection = ("10.0.2.1", 3260, "10.0.2.2", 50000)
    else:
        put(node, "sys/class/iscsi_session/session1/targetname", "iqn.x:web1")
        put(node, "sys/class/iscsi_connection/connection1:0/persistent_address", "10.0.2.2")
        put(node, "sys/class/iscsi_connection/connection1:0/persistent_port", "3260")
        put(node, "sys/class/iscsi_session/session1/device/target1:0:0/1:0:0:0/block/sda/size", "1")
        works = "the disk of iqn.x:web1 is used by device md0"
        connection = ("10.0.2.1", 50000, "10.0.2.2", 3260)
    connect("192.0.2.1", 22, "192.0.2.9")
    monkeypatch.setattr(Blocks, "users", lambda self, path: ["device md0"])
    assert maker.plan({**SAN, "miimon": 50}).steps  # nobody is there
    connect(*connection)
    assert maker.plan(SAN).steps == []
    with pytest.raises(NodeError, match=f"The SAN would be interrupted, .*: {works}"):
        maker.plan({**SAN, "miimon": 50})
    assert maker.plan({**SAN, "miimon": 50, "force": True}).steps
    assert not any("delete" in call for call in command.calls)


def test_a_san_that_does_not_come_up_leaves_the_old_settings(node: Path) -> None:
    put(node, "etc/systemd/network/10-nobloat-san-eth2.network", "old\n")
    put(node, "etc/systemd/network/10-nobloat-san-gone.network", "old\n")
    maker, command = san(node)
    with pytest.raises(ApplyError, match=r"did not come up.*san does not have the address 10\.0\.2\.1/24"):
        maker.plan(SAN).apply()
    folder = node / "etc/systemd/network"
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "10-nobloat-san-eth2.network": "old\n", "10-nobloat-san-gone.network": "old\n"}
    assert command.calls.count("networkctl reload") == 2  # and they count again


def test_vlan_lacp_and_arp(node: Path) -> None:
    files = san(node)[0].plan({**SAN, "mode": "802.3ad", "vlan": 100, "mtu": 9000}).after
    prefix = "/etc/systemd/network/10-nobloat-san-"
    assert "LACPTransmitRate=fast\nTransmitHashPolicy=layer3+4\n" in files[f"{prefix}san.netdev"]
    assert "VLAN=san.100\n" in files[f"{prefix}san.network"] and "\nAddress=" not in files[f"{prefix}san.network"]
    assert "Id=100\n" in files[f"{prefix}san.100.netdev"] and "Address=10.0.2.1/24" in files[f"{prefix}san.100.network"]
    assert all("MTUBytes=9000" in text for text in files.values())
    files = san(node)[0].plan({**SAN, "arp_targets": ["10.0.2.8", "10.0.2.9"]}).after
    assert "ARPIntervalSec=200ms\nARPIPTargets=10.0.2.8 10.0.2.9\n" in files[f"{prefix}san.netdev"]
    assert "MIIMonitorSec" not in files[f"{prefix}san.netdev"]


def test_two_ways(node: Path) -> None:
    files = san(node)[0].plan({**SAN, "mode": "", "addresses": ["10.0.2.1/24", "10.0.3.1/24"]}).after
    assert sorted(files) == [f"/etc/systemd/network/10-nobloat-san-eth{number}.network" for number in (2, 3)]
    assert "Address=10.0.3.1/24\n" in files["/etc/systemd/network/10-nobloat-san-eth3.network"]


def test_links_of_an_earlier_description_go(node: Path) -> None:
    for name in ("san.netdev", "san.network", "eth2.network", "eth3.network"):
        put(node, f"etc/systemd/network/10-nobloat-san-{name}", "old\n")
    make_bond(node)
    maker, command = san(node)
    with pytest.raises(ApplyError, match="did not come up"):  # nothing here gives the NICs their addresses
        maker.plan({**SAN, "mode": "", "addresses": ["10.0.2.1/24", "10.0.3.1/24"]}).apply()
    assert "ip link delete san" in command.calls


def test_ifupdown(node: Path) -> None:
    maker, command = san(node)

    def reload() -> None:
        make_bond(node)
        command.says["ip_-o"] = ADDRESSES + READY

    command.on["ifup"] = reload
    plan = maker.plan({**SAN, "manager": "ifupdown"})
    plan.apply()
    text = (node / "etc/network/interfaces.d/10-nobloat-san-interfaces").read_text()
    assert "auto san\niface san inet static\n    address 10.0.2.1/24\n" in text
    assert "ip link add san type bond mode active-backup miimon 100" in text and "ip link set eth3 master san" in text
    assert "ifup --force san" in command.calls and maker.plan({**SAN, "manager": "ifupdown"}).steps == []


@pytest.mark.parametrize(("active", "ifup", "files", "expected"), [
    (["systemd-networkd"], True, [], "networkd"), ([], True, [], "ifupdown"), ([], False, [], "networkd"),
    (["NetworkManager"], True, [], "NetworkManager has the network"), ([], False, ["50-dhcp.network"], "would do more than the SAN"),
])
def test_who_manages_the_network(node: Path, active: list[str], ifup: bool, files: list[str], expected: str) -> None:
    maker, command = san(node)
    command.says = {f"systemctl_is-active_{unit}": "active\n" for unit in active}
    maker.which = lambda name: "/sbin/ifup" if ifup else None
    for name in files:
        put(node, f"etc/systemd/network/{name}")
    if " " in expected:
        with pytest.raises(NodeError, match=expected):
            maker.manager("auto")
    else:
        assert maker.manager("auto") == expected


def test_a_host_of_xapi_is_left_alone(node: Path) -> None:
    put(node, "etc/xensource-inventory")
    plan = san(node)[0].plan(SAN)
    assert plan.steps == [] and plan.facts["manager"] == "xapi"


OTHER = "5: eth3    inet 198.51.100.7/24 scope global eth3\\       valid_lft forever\n"
BRIDGE = "5: br0    inet 198.51.100.7/24 scope global br0\\       valid_lft forever\n"


@pytest.mark.parametrize(("changes", "more", "words"), [
    ({"nics": ["eth0", "eth2"]}, {}, "eth0 has the default route"),
    ({"nics": ["eth0", "eth2"]}, {"routes": "", "connection": "192.0.2.1"}, "by which Ansible reaches"),
    ({"nics": ["eth0", "eth2"], "keep": ["192.0.2.1"]}, {"routes": ""}, "by which Ansible reaches"),
    ({}, {"addresses": ADDRESSES + OTHER}, r"eth3 has the address 198\.51\.100\.7/24, which is not described"),
    ({}, {"upper": "br0", "addresses": ADDRESSES + BRIDGE}, r"eth3, on which br0 lies, has the address 198\.51\.100\.7/24"),
    ({}, {"upper": "br0", "routes": "default via 10.9.9.9 dev br0\n"}, "eth3, on which br0 lies, has the default route"),
    ({}, {"upper": "br0"}, "eth3 is part of br0"),
    ({"nics": ["eth2", "eth9"]}, {}, "has no NIC eth9"),
    ({"addresses": ["10.0.2.1"]}, {}, "no address with the length of its prefix"),
    ({"addresses": ["10.0.2.1/24", "10.0.3.1/24"]}, {}, "2 addresses for a bond"),
    ({"mode": "", "addresses": ["10.0.2.1/24"]}, {}, "1 addresses for 2 NICs"),
    ({"mode": "balance-alb", "arp_targets": ["10.0.2.9"]}, {}, "arp_targets does not go with"),
    ({"arp_targets": ["here"]}, {}, "no IPv4 address"), ({"vlan": 5000}, {}, "no VLAN"), ({"bond": "eth2"}, {}, "no name for a bond"),
    ({"bond": "sansansansan", "vlan": 100}, {}, "too long"),
])
def test_what_a_san_is_refused_for(node: Path, changes: dict[str, Any], more: dict[str, Any], words: str) -> None:
    if "upper" in more:
        (node / f"sys/class/net/eth3/upper_{more.pop('upper')}").mkdir()
    with pytest.raises(NodeError, match=words):
        san(node, **more)[0].plan({**SAN, **changes})
