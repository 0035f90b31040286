# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""dm-multipath over the disks of two iSCSI sessions. Python 3.6 syntax."""

import os
import time
from functools import partial
from typing import Any, Callable, List

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.node.exports import write_file
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import NodeError, names, read

SETTINGS = "etc/multipath/conf.d/nobloat-xen.conf"
# The tool's own settings for LIO keep requests for a minute when all paths are gone. A half of a mirror has to fail instead:
# whoever waits for it waits with the whole mirror.
SETTINGS_TEXT = """\
# Written by nobloat.xen.iscsi_import.
devices {{
    device {{
        vendor "LIO-ORG"
        product ".*"
        path_grouping_policy failover
        path_checker tur
        no_path_retry fail
        fast_io_fail_tmo {replacement}
        failback immediate
    }}
}}
"""


class Multipath:
    """The multipath devices of this machine."""

    def __init__(self, root: str, command: Callable[..., Any]) -> None:
        self.root = root
        self.run = command
        self.block = os.path.join(root, "sys/class/block")

    def map_of(self, disks: List[str]) -> str:
        """The name (below /dev/mapper) of the multipath device over one of the disks, "" if there is none."""
        for disk in disks:
            for holder in names(self.block, disk, "holders"):
                if read(self.block, holder, "dm/uuid").startswith("mpath-"):
                    return read(self.block, holder, "dm/name")
        return ""

    def kernel_name(self, found: str) -> str:
        return next((entry for entry in names(self.block) if read(self.block, entry, "dm/name") == found), "")

    def paths(self, found: str) -> List[str]:
        """The disks below a multipath device."""
        return names(self.block, self.kernel_name(found) or "-", "slaves")

    def queues(self, found: str) -> bool:
        """Whether the device keeps requests while no path works."""
        return "queue_if_no_path" in self.run("dmsetup", "table", found).out

    def plan(self, plan: ChangeSet, disks: List[str], paths: int, replacement: int, now: Callable[[], List[str]]) -> None:
        """Plan one device over all disks; `now` names them once the sessions are there."""
        text = SETTINGS_TEXT.format(replacement=replacement)
        path = os.path.join(self.root, SETTINGS)
        found = self.map_of(disks)
        stale = read(path) != text.strip()
        if stale:
            plan.step(f"write /{SETTINGS}", partial(write_file, path, text, 0o644))
        if stale or not found or len(self.paths(found)) < paths:
            plan.step("have one device over all paths", lambda: self.assemble(now, paths))
        elif self.queues(found):
            plan.step(f"let {found} fail", partial(self.run, "dmsetup", "message", found, "0", "fail_if_no_path"))

    def assemble(self, now: Callable[[], List[str]], paths: int) -> None:
        self.run("modprobe", "-a", "dm_multipath")
        if not any(read(self.root, "proc", pid, "comm") == "multipathd" for pid in names(self.root, "proc") if pid.isdigit()):
            if os.path.isdir(os.path.join(self.root, "run/systemd/system")):
                self.run("systemctl", "enable", "--now", "multipathd.service")
            else:
                self.run("multipathd")
            time.sleep(1)
        for disk in now():
            self.run("multipath", "-a", f"/dev/{disk}")
        self.run("multipathd", "reconfigure")
        end = time.monotonic() + 30
        while True:
            for disk in now():
                if not self.map_of([disk]):
                    self.run("multipathd", "add", "path", disk, codes=(0, 1))
            found = self.map_of(now())
            if found and len(self.paths(found)) >= paths:
                break
            if time.monotonic() > end:
                raise NodeError("multipathd does not make one device of the disks; see what `multipath -v3` says.")
            time.sleep(0.5)
        if self.queues(found):
            self.run("dmsetup", "message", found, "0", "fail_if_no_path")

    def resize(self, found: str) -> None:
        self.run("multipathd", "resize", "map", found)

    def remove(self, found: str) -> None:
        disks = self.paths(found)
        self.run("multipath", "-f", found)
        for disk in disks:
            self.run("multipath", "-w", f"/dev/{disk}", codes=(0, 1))
