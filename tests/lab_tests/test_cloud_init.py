# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cloud-init does in a guest what its config drive says: once, and in no other machine."""

from __future__ import annotations

from lab.lab import Lab
from lab_tests.helpers import Xapi, play, until

LAB = {
    "nodes": 1, "guests": ["web1"],
    "xapi": {"pool": "alpha", "scenario": {"srs": [{"name": "shared", "type": "nfs"}]}},
}  # fmt: skip
PLAYBOOK = """
- hosts: alpha
  gather_facts: false
  connection: local
  module_defaults:
    group/nobloat.xen.all: {hostname: "{{ xapi_hostname }}", username: "{{ xapi_username }}", password: "{{ xapi_password }}",
                            ca_path: "{{ xapi_ca_path }}"}
  tasks:
    - nobloat.xen.vm: {name: web1, template: Debian Bookworm 12, other_config: {lab_guest: web1}}
    - nobloat.xen.cloud_config:
        vm: web1
        sr: shared
        user_data:
          bootcmd: [echo bootcmd >>/root/done]
          write_files: [{path: /root/written, content: "of the drive"}]
          runcmd: [[sh, -c, "echo runcmd >>/root/done"]]
    - nobloat.xen.vm_power: {name: web1, state: running}
"""


def finished(lab: Lab) -> None:
    until(lambda: lab.box("web1").run("cat /run/cloud-init/result.json", check=False, timeout=10).returncode == 0, 90, "it has ended")


def test_a_config_drive(lab: Lab) -> None:
    play(lab, PLAYBOOK).ok()
    guest = lab.box("web1")
    finished(lab)
    assert '"errors": []' in guest.run("cat /run/cloud-init/result.json").stdout
    assert guest.run("cat /root/written").stdout == "of the drive"
    assert guest.run("cat /root/done").stdout == "bootcmd\nruncmd\n"
    assert guest.run("hostname; blkid -o value -s LABEL /dev/ubdj").stdout == "web1\ncidata\n"
    assert guest.run("dd if=/dev/zero of=/dev/ubdj count=1", check=False).returncode, "it is read-only"
    assert guest.run("systemctl --failed --plain --no-legend").stdout == ""
    assert lab.incidents == []


def test_the_next_boot_does_only_what_each_boot_does(lab: Lab) -> None:
    xapi, guest = Xapi(lab), lab.box("web1")
    boot = guest.run("sync; cat /proc/sys/kernel/random/boot_id").stdout
    (vm,) = xapi("VM.get_by_name_label", "web1")
    xapi("VM.hard_reboot", vm)
    until(lambda: guest.run("cat /proc/sys/kernel/random/boot_id", timeout=10).stdout != boot, 60, "it has booted again")
    finished(lab)
    assert guest.run("cat /root/done").stdout == "bootcmd\nruncmd\nbootcmd\n"


def test_nowhere_else(lab: Lab) -> None:
    assert lab.box("node1").run("ls /run/cloud-init /var/lib/cloud/instance 2>/dev/null", check=False).stdout == ""
    active = "systemctl is-active cloud-init-local cloud-init cloud-final"
    assert lab.box("node1").run(active, check=False).stdout.split() == ["inactive"] * 3
