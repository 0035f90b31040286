# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Role pxe_server with real parts: its node runs dnsmasq, nginx and the check-in under systemd; bare machines boot from it.

Only the installer is a stand-in (installer.sh), on Debian's Xen and kernel. What is asserted comes from consoles, disks and the
server's own logs and files.
The tests follow each other: each finds what the one before it has left.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from lab.lab import Lab
from lab_tests.helpers import Played, play
from pxe.material import LOCAL_DISK, run
from pxe.server import Machine, Server, deliver

MACS = {"bios1": "52:54:00:00:01:0a", "uefi1": "52:54:00:00:01:0B"}
PLAY = """
- hosts: pxe1
  gather_facts: false
  vars:
    xen: {hypervisor_arguments: 'dom0_mem=512M,max:512M com1=115200,8n1 console=com1', kernel_arguments: console=hvc0 quiet install}
    answers:
      sr_type: ext
      disk: {names: [vda], guest_storage: false}
      root_password: $6$0123456789abcdef$QxQxQxQxQxQxQxQxQxQxQxQxQxQxQxQxQxQxQxQxQxQxQxQxQxQxQxQxQxQxQxQxQxQxQxQxQxQxQxQxQxQxQx
    pxe_server_interface: eth0
    pxe_server_address: 10.66.0.1
    pxe_server_dhcp_range: 10.66.0.200,10.66.0.209
    pxe_server_images:
      - {name: medium, version: xcp-ng-8.3, iso: /srv/stand-in.iso, boot: "{{ xen }}"}
      - {name: folder, version: xcp-ng-8.3, tree: /srv/stand-in, boot: "{{ xen }}"}
      - {name: linux, version: xcp-ng-8.3, tree: /srv/stand-in, boot: {hypervisor: '', kernel_arguments: console=ttyS0 quiet}}
    pxe_server_hosts:
      - name: bios1
        mac: '52:54:00:00:01:0a'
        image: "{{ image | default('medium') }}"
        answers: "{{ answers }}"
        kernel_arguments: marker=first
      - name: uefi1
        mac: '52:54:00:00:01:0B'
        image: folder
        answers: "{{ answers }}"
        first_boot: {hostname: uefi1.example.com, ntp_servers: [10.66.0.254], bond: {members: [eth0, eth1]}}
  tasks:
    - ansible.builtin.include_role: {name: nobloat.xen.pxe_server, tasks_from: "{{ entry | default('main') }}"}
"""
ARMED = """cd /srv/pxe; find http/hosts -type f; grep -l '"boot": {$' state/*.json || true"""
XE = """#!/bin/sh
# Stands in for xe: a host with two NICs. While /run/no-lacp is there, a bond cuts off the gateway.
echo "$*" >>/run/xe.log
case $1 in
pif-list) for word; do case $word in device=*) echo "pif-${word#device=}" ;; esac; done ;;
network-create) echo network-1 ;;
bond-list) cat /run/xe.bond 2>/dev/null ;;
bond-create) echo bond-1 | tee /run/xe.bond; [ ! -e /run/no-lacp ] || ip route add unreachable 10.66.0.254 ;;
bond-destroy) rm /run/xe.bond; ip route del unreachable 10.66.0.254 ;;
esac
"""


class Job:
    """The role on the node."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def run(self, entry: str = "main", *, check: bool = False, **variables: Any) -> Played:
        return play(self.lab, PLAY, extra_vars={"entry": entry, **variables}, check=check)


@pytest.fixture(scope="session")
def job(lab: Lab, server: Server) -> Job:
    return Job(lab)


@pytest.fixture(scope="session")
def machines(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Machine]:
    folder = tmp_path_factory.mktemp("machines")
    return {name: Machine(lab, folder, name, mac, uefi=name.startswith("uefi")) for name, mac in MACS.items()}


def state(server: Server, host: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(server.sh(f"cat /srv/pxe/state/{host}.json"))
    return found


def secrets(server: Server, host: str) -> tuple[str, str]:
    """Folder and token of an armed host, as its installer reads them."""
    folder = server.sh(f"ls /srv/pxe/http/hosts | grep ^{host}-")
    script = server.sh(f"cat /srv/pxe/http/hosts/{folder}/installation-start")
    return folder, re.findall(r'"token": "([A-Za-z0-9]+)"', script)[0]


def test_a_server_is_prepared(job: Job, server: Server) -> None:
    assert job.run(check=True).ok().changed and server.sh("ls -d /srv/pxe /etc/pxe-server 2>/dev/null || true") == ""
    assert job.run().ok().changed
    assert server.sh(ARMED) == ""
    assert server.sh("findmnt -no FSTYPE /srv/pxe/http/images/medium") == "iso9660"


def test_an_answer_file_that_would_not_be_read_is_refused(job: Job) -> None:
    interface = {"mac": MACS["bios1"], "ip_mode": "static", "ip": "10.66.0.5/24", "gateway": "10.66.1.1"}
    done = job.run(answers={"sr_type": "ext", "disk": {"names": ["vda"]}, "interface": interface})
    assert done.rc and "interface.gateway: 10.66.1.1 is not in 10.66.0.0/24" in done.stdout


def test_an_installer_whose_check_in_is_refused_installs_nothing(job: Job, machines: dict[str, Machine], server: Server) -> None:
    """As with a token that is not of this arming: it powers off before it has written anything. Here without Xen."""
    assert job.run("arm", pxe_server_arm=list(MACS), image="linux").ok().changed
    folder, token = secrets(server, "bios1")
    server.sh(f"sed -i s/{token}/another/ /srv/pxe/http/hosts/{folder}/installation-start")
    console = machines["bios1"].boot()
    assert "403" in console and "nothing is installed" in console and "INSTALLER: script of" not in console
    assert machines["bios1"].blank() and state(server, "bios1")["state"] == "armed"
    # Its script was given, so it would not even boot the installer again. uefi1 still is armed.
    assert "state/bios1.json" not in server.sh(ARMED) and "state/uefi1.json" in server.sh(ARMED)
    assert job.run("arm", pxe_server_arm=["bios1"]).ok().changed
    assert server.check_in("bios1", token, "started") == 403


def test_a_machine_without_the_disks_that_are_meant_tells_why(job: Job, machines: dict[str, Machine], server: Server) -> None:
    """Its disk is smaller than the installers need. Nothing is written, and it is not booted into the installer again."""
    answers = {"sr_type": "ext", "disk": {"rule": {"choose": "smallest"}}}
    assert job.run("arm", pxe_server_arm=["bios1"], image="linux", answers=answers).ok().changed
    console = machines["bios1"].boot()
    assert "of 1 disks that the answer file needs, only 0 are here" in console and "INSTALLER: no answer file was made" in console
    assert machines["bios1"].blank() and "bios1" not in server.sh(ARMED)
    assert [each["state"] for each in state(server, "bios1")["history"]] == ["armed", "failed"]
    done = job.run("wait", pxe_server_wait=["bios1"])
    assert done.rc and "bios1: the installer says that it failed: of 1 disks that the answer file needs, only 0 are here" in done.stdout
    job.run("arm", pxe_server_arm=["bios1"]).ok()


@pytest.mark.parametrize("name", MACS)
def test_a_machine_is_installed_once(name: str, job: Job, machines: dict[str, Machine], server: Server) -> None:
    machine = machines[name]
    folder, token = secrets(server, name)
    assert state(server, name)["state"] == "armed" and token not in server.sh(f"cat /srv/pxe/state/{name}.json")
    assert [server.boots_here(loader) for loader in ("pxelinux", "grub")] == [404, 404]  # it is for that machine only
    server.mark()
    console = machine.boot()
    tftp, http = server.fetched()
    image = "medium" if name == "bios1" else "folder"
    loader = {"grubx64.efi", "grub/grub.cfg"} if machine.uefi else {"lpxelinux.0", "pxelinux.cfg/default"}
    assert loader <= set(tftp)
    assert list(dict.fromkeys(http)) == [
        "/boot/grub" if machine.uefi else "/boot/pxelinux",
        f"/images/{image}/boot/xen.gz", f"/images/{image}/boot/vmlinuz", f"/images/{image}/install.img", f"/hosts/{folder}/answers",
        f"/images/{image}/system.img",
        f"/hosts/{folder}/filesystem-populated", f"/hosts/{folder}/installation-complete"]
    arguments = console.partition("INSTALLER: arguments: ")[2].splitlines()[0].split()
    assert f"answerfile=http://10.66.0.1/hosts/{folder}/answers" in arguments and "install" in arguments
    assert "dom0_mem=512M" in console.partition("(XEN) Command line: ")[2].splitlines()[0]
    assert ("marker=first" in arguments) == (name == "bios1")
    assert "INSTALLER: end: 0" in console
    assert [each["state"] for each in state(server, name)["history"]] == ["armed", "started", "complete"]
    # Nothing is left that could install it again, or tell a secret.
    assert name not in server.sh(ARMED)
    assert server.check_in(name, token, "started") == 409
    assert server.check_in(name, token, "complete") == 409
    boots_local(machine, server)


def boots_local(machine: Machine, server: Server) -> None:
    """The machine asks the network, and boots its own disk."""
    server.mark()
    console = machine.boot()
    tftp, http = server.fetched()
    assert LOCAL_DISK in console and "INSTALLER" not in console
    assert http == [] and ("grubx64.efi" if machine.uefi else "pxelinux.cfg/default") in tftp


def test_waiting_for_what_is_complete_and_for_what_is_not(job: Job) -> None:
    done = job.run("wait", pxe_server_wait=list(MACS), pxe_server_ready_timeout=5).ok()
    assert "bios1: armed, started, complete" in done.stdout and "bios1: it is installed, and has not checked in since" in done.stdout
    done = job.run("wait", pxe_server_wait=["bios2"])
    assert done.rc and "bios2: it was not armed" in done.stdout


def test_a_second_run_changes_nothing_and_arms_nothing(job: Job, server: Server) -> None:
    again = job.run().ok()
    assert again.changed == 0, again.stdout
    assert server.sh(ARMED) == ""


def test_disarmed_is_not_installed(job: Job, machines: dict[str, Machine], server: Server) -> None:
    job.run("arm", pxe_server_arm=["bios1"]).ok()
    _folder, token = secrets(server, "bios1")
    assert job.run("disarm", pxe_server_arm=["bios1"]).ok().changed
    assert job.run("disarm", pxe_server_arm=["bios1"]).ok().changed == 0
    assert server.sh(ARMED) == ""
    assert server.check_in("bios1", token, "started") == 403
    boots_local(machines["bios1"], server)


def test_first_boot(job: Job, lab: Lab, machines: dict[str, Machine], server: Server, tmp_path: Path) -> None:
    """What the installer was given for the installed system does its work, and takes back a bond that cuts it off.

    Before that it tells its certificate, once.
    """
    (tmp_path / "xensource").mkdir()
    certificate = tmp_path / "xensource/xapi-ssl.pem"
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=uefi1", "-keyout", tmp_path / "key", "-out", certificate)
    fingerprint = run("openssl", "x509", "-in", certificate, "-noout", "-fingerprint", "-sha256").strip().partition("=")[2]
    certificate.write_text((tmp_path / "key").read_text(encoding="ascii") + certificate.read_text(encoding="ascii"), encoding="ascii")
    deliver(lab, "pxe1", tmp_path / "xensource", "/etc/xensource")
    deliver(lab, "pxe1", machines["uefi1"].populated(tmp_path), "/")
    (tmp_path / "xe").write_text(XE, encoding="utf-8")
    deliver(lab, "pxe1", tmp_path / "xe", "/usr/local/bin")
    server.sh("command -v openssl || apt-get install -qqy openssl")
    server.sh("""
        chmod 755 /usr/local/bin/xe; printf '#!/bin/sh\n' >/usr/local/bin/sleep; chmod 755 /usr/local/bin/sleep
        echo "INSTALLATION_UUID='host-1'" >/etc/xensource-inventory
        printf 'pool 2.centos.pool.ntp.org iburst\ndriftfile /var/lib/chrony/drift\n' >/etc/chrony.conf
        printf '[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n' >/etc/systemd/system/chronyd.service
        systemctl daemon-reload; ip route add default via 10.66.0.254; touch /run/no-lacp""")
    assert server.sh("systemctl is-enabled first-boot-settings") == "enabled"
    assert server.sh("systemctl start first-boot-settings || echo failed") == "failed"
    assert "10.66.0.254 does not answer: without it" in server.sh("journalctl -o cat -u first-boot-settings")
    assert (state(server, "uefi1")["state"], state(server, "uefi1")["fingerprint"]) == ("ready", fingerprint)
    assert f"uefi1: its certificate has the fingerprint {fingerprint}" in job.run("wait", pxe_server_wait=["uefi1"]).ok().stdout
    calls = server.sh("cat /run/xe.log; rm /run/xe.log").splitlines()
    assert calls[-4:] == ["network-create name-label=Bond of eth0 and eth1",
                          "bond-create network-uuid=network-1 pif-uuids=pif-eth0,pif-eth1 mode=lacp",
                          "bond-destroy uuid=bond-1", "network-destroy uuid=network-1"]
    assert server.sh("rm /run/no-lacp; systemctl start first-boot-settings; cat /run/xe.bond") == "bond-1"
    calls = server.sh("cat /run/xe.log").splitlines()
    assert "host-set-hostname-live host-uuid=host-1 host-name=uefi1.example.com" in calls and not any("destroy" in each for each in calls)
    assert server.sh("cat /etc/chrony.conf").splitlines() == ["driftfile /var/lib/chrony/drift", "server 10.66.0.254 iburst"]
    assert server.sh("systemctl is-active chronyd; systemctl is-enabled first-boot-settings 2>/dev/null || true") == "active"
    assert server.sh("find /opt/pxe-server /etc/systemd/system -name 'first-boot*' 2>/dev/null || true") == ""
