# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab whose machines are prepared for the node modules, and Ansible's view of it."""
from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab.inventory import inventory
from lab.lab import Lab
from lab_tests.helpers import booted

CONFIGFS = "/sys/kernel/config/target"
# What roles do: addresses in the SAN, also after a boot; two striped volumes; no array of guests opened here.
PREPARE = """set -e
cat > /etc/systemd/system/test-san.service <<'END'
[Unit]
Before=network-online.target nobloat-exports.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'for n in 2 3; do ip link set eth$n up; ip addr add 10.66.$n.{number}/24 dev eth$n; done'
[Install]
WantedBy=multi-user.target
END
systemctl daemon-reload; systemctl enable -q --now test-san
for r in 63-md-raid-arrays 64-md-raid-assembly; do ln -sf /dev/null /etc/udev/rules.d/$r.rules; done
udevadm control --reload; pvcreate -q /dev/mapper/disk1 /dev/mapper/disk2; vgcreate -q vg0 /dev/mapper/disk1 /dev/mapper/disk2
for v in web1 web2; do lvcreate -qy -i2 -I64k -L128m -n $v vg0; done"""


@contextmanager
def prepared(name: str, folder: Path) -> Iterator[Machines]:
    """Two nodes and a guest for the length of a with block."""
    with booted(name, nodes=2, guests=1, xapi=False) as lab:
        found = Machines(lab, folder)
        for node in ("node1", "node2"):
            found.sh(node, PREPARE.replace("{number}", node[-1]))
        yield found


class Machines:
    """The machines of a lab, and Ansible's view of them."""

    def __init__(self, lab: Lab, folder: Path, programs: Path = Path(sys.executable).parent) -> None:
        """`programs`: where ansible is."""
        self.lab = lab
        self.programs = programs
        self.inventory = folder / "inventory.json"
        self.inventory.write_text(json.dumps(inventory(lab)), encoding="utf-8")

    def sh(self, machine: str, command: str, check: bool = True) -> str:
        """What a command says, out of band."""
        return self.lab.box(machine).run(command, check=check).stdout.strip()

    def command(self, machine: str, module: str, /, check: bool = False, **options: Any) -> tuple[list[str], dict[str, str]]:
        """What `module` runs, and its environment."""
        command = [str(self.programs / "ansible"), "-i", str(self.inventory), machine, "-m", f"nobloat.xen.{module}",
                   *(["-a", json.dumps(options)] if options else []), *(["--check"] if check else [])]
        return command, {**os.environ, "ANSIBLE_CALLBACK_RESULT_FORMAT": "json", "ANSIBLE_NOCOLOR": "1",
                         "ANSIBLE_HOST_KEY_CHECKING": "False"}

    def module(self, machine: str, module: str, /, check: bool = False, **options: Any) -> dict[str, Any]:
        """The result of a module of ours, run by Ansible."""
        command, environment = self.command(machine, module, check, **options)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        found = re.search(rf"^{machine} \| \S+ => ", done.stdout, re.M)
        assert found, done.stdout + done.stderr
        result: dict[str, Any] = json.JSONDecoder().raw_decode(done.stdout, found.end())[0]
        result["failed"] = "FAILED" in found[0]
        assert "defect" not in str(result.get("msg")), result
        return result

    def ok(self, machine: str, module: str, /, **options: Any) -> dict[str, Any]:
        """As `module`, but in check mode first, and a second time: the one must change nothing, the other find nothing to do."""
        would = self.module(machine, module, check=True, **options)
        result = self.module(machine, module, **options)
        assert not result["failed"], result
        assert would["changed"] == result["changed"], (would, result)
        again = self.module(machine, module, **options)
        assert not again["changed"], again
        return result

    def fails(self, machine: str, module: str, words: str, /, **options: Any) -> str:
        result = self.module(machine, module, **options)
        assert result["failed"], result
        assert words in result["msg"], result["msg"]
        assert not result.get("leftovers"), result
        return str(result["msg"])

    def tree(self, machine: str) -> str:
        """The target's whole configuration, without numbers that count."""
        return self.sh(machine, f"cd {CONFIGFS} 2>/dev/null && find core iscsi loopback 2>/dev/null | grep -v statistics | sort; true")
