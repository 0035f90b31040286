# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What roles for nodes do where a node is not there any more."""
from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from playing import local, play


@pytest.mark.skipif(not shutil.which("ssh"), reason="there is no ssh")
@pytest.mark.parametrize("chap", ["nobloat", ""], ids=["secured", "open"])
def test_a_node_that_dies_before_its_secret_is_read_is_left_out(tmp_path: Path, chap: str) -> None:
    leg = {"guest": "web1", "disk": "data", "name": "web1-data", "vg": "vg0", "node": "dead", "size": 1 << 30, "exists": True}
    export = {"name": "web1-data", "iqn": "iqn.2026-11.test:dead:web1-data", "portals": ["127.0.0.1:1"], "enabled": True,
              "chap_username": chap}
    said: dict[str, Any] = {"legs": [], "exports": [], "imports": [], "names": [], "vgs": []}
    other = {**export, "name": "web1-log", "iqn": "iqn.2026-11.test:dead:web1-log", "chap_username": "nobloat"}
    inventory = local("pool")
    inventory["all"]["children"]["nodes"] = {"hosts": {
        "alive": {"xapi_pool": "hall", "mirror_facts_node": said},
        "dead": {"xapi_pool": "hall", "mirror_facts_node": {**said, "exports": [export, other]}, "ansible_connection": "ssh",
                 "ansible_host": "127.0.0.1", "ansible_port": 1}}}
    done = play(tmp_path, [{"hosts": "alive", "gather_facts": False, "tasks": [
        {"ansible.builtin.import_role": {"name": "nobloat.xen.mirror_import"},
         "vars": {"mirror_import_legs": [leg, {**leg, "disk": "log", "name": "web1-log"}]}},
        {"ansible.builtin.debug": {"msg": "It goes on, with {{ mirror_import_logins | length }} imports."}}]}], inventory, "--check")
    assert not done.returncode and "It goes on, with 0 imports." in done.stdout, done.stdout + done.stderr
    assert "dead does not answer any more, so its legs are not imported." in done.stdout
