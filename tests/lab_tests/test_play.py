# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks reach the lab's machines and its pools, also those that have no machines."""

from __future__ import annotations

from lab.lab import Lab
from lab_tests.helpers import play

PLAYBOOK = """
- hosts: nodes
  gather_facts: false
  tasks:
    - ansible.builtin.copy: {dest: /root/note, content: "{{ words }}", mode: "0600"}
- hosts: pools
  gather_facts: false
  tasks:
    - nobloat.xen.session: {hostname: "{{ xapi_hostname }}", username: "{{ xapi_username }}", password: "{{ xapi_password }}",
                            ca_path: "{{ xapi_ca_path }}"}
      delegate_to: localhost
"""


def test_a_playbook(lab: Lab) -> None:
    node = lab.box("node1")
    would = play(lab, PLAYBOOK, extra_vars={"words": "of a play"}, check=True).ok()
    assert would.recap["node1"]["changed"] == 1
    assert node.run("cat /root/note", check=False).stdout == ""
    done = play(lab, PLAYBOOK, extra_vars={"words": "of a play"}).ok()
    assert done.changed == 2 and set(done.recap) == {"node1", "node2", "lab", "other"}
    assert node.run("cat /root/note").stdout == "of a play"
    assert play(lab, "- hosts: nodes\n  gather_facts: false\n  tasks: [ansible.builtin.fail: ]\n").rc
