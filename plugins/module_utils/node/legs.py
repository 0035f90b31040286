# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Legs on a node: their names below /dev/mirror, and that the node keeps its hands off what is in them. Python 3.6 syntax.

What is in a leg belongs to a guest. The node must not assemble a guest's array, which would write to it, nor find volume
groups in it.
"""

import os
import re
from typing import Any, Callable, Dict, List, Optional

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.names import NO_LEGS
from ansible_collections.nobloat.xen.plugins.module_utils.node.files import NULL, FilesPlan, text
from ansible_collections.nobloat.xen.plugins.module_utils.node.info import Node
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import NodeError, Result, read, run

RULES = "etc/udev/rules.d/70-nobloat-mirror.rules"
RULES_TEXT = """\
# Written by nobloat.xen.node_legs: every leg has the same path on every node, /dev/mirror/<node>/<leg>.
SUBSYSTEM!="block", GOTO="nobloat_mirror_end"
ACTION=="remove", GOTO="nobloat_mirror_end"
ENV{{DEVTYPE}}!="disk", GOTO="nobloat_mirror_end"
# Those of this node: its logical volumes. Some names are not of legs, and a layer below a volume none either.
ENV{{DM_VG_NAME}}=="{vg}", ENV{{DM_LV_NAME}}=="?*", ENV{{DM_LV_NAME}}!="{no_legs}", ENV{{DM_LV_LAYER}}!="?*", \
SYMLINK+="mirror/{node}/$env{{DM_LV_NAME}}"
# Those of other nodes: disks of iSCSI sessions, or what multipath makes of them.
ENV{{DM_UUID}}=="mpath-*", PROGRAM="/{script} $devpath", SYMLINK+="%c", OPTIONS+="link_priority=60"
DEVPATH=="*/session*/target*", ENV{{DM_MULTIPATH_DEVICE_PATH}}!="1", PROGRAM="/{script} $devpath", SYMLINK+="%c"
LABEL="nobloat_mirror_end"
"""
SCRIPT = "usr/local/lib/nobloat/leg-name"
SCRIPT_TEXT = """\
#!/bin/sh
# Written by nobloat.xen.node_legs: tells udev the name of an imported leg, mirror/<node>/<leg>, by the iSCSI name of its target.
device=/sys$1
for path in "$device"/slaves/*; do
    [ -e "$path" ] && device=$(readlink -f "$path")
done
session=${{device#*/session}}
read -r target < "/sys/class/iscsi_session/session${{session%%/*}}/targetname" || exit 1
case $target in {prefix}:*:*) ;; *) exit 1 ;; esac
node=${{target%:*}}
echo "mirror/${{node##*:}}/${{target##*:}}"
"""
# What assembles arrays as soon as it sees a half: mdadm's rules have this name in Debian, and that one in CentOS.
MASKED = ("etc/udev/rules.d/64-md-raid-assembly.rules", "etc/udev/rules.d/65-md-incremental.rules")
# XCP-ng's dom0 has a second folder of settings, for those who change something.
LVM_FOLDERS = ("etc/lvm", "etc/lvm/master")
BEGIN, END = "# nobloat.xen: begin", "# nobloat.xen: end"
NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
GROUP = re.compile(r"[A-Za-z0-9+_.][A-Za-z0-9+_.-]*")
PREFIX = re.compile(r"iqn\.\d{4}-\d\d\.[a-z0-9.-]+(:[a-z0-9.-]+)*")


class Legs:
    """The node that the module runs on. `root` is another folder than / in tests, and `command` runs nothing there."""

    def __init__(self, root: str = "/", command: Callable[..., Result] = run) -> None:
        self.root = root
        self.run = command
        self.node = Node(root, command)

    def plan(self, params: Dict[str, Any]) -> ChangeSet:
        """What module node_legs does. The view is {path: text}, of a link {path: what it leads to}."""
        wanted = self._wanted(params)
        plan = FilesPlan("settings for legs", self.root, wanted, (SCRIPT,))
        if {RULES, SCRIPT, *MASKED} & set(plan.stale):
            plan.step("have udev name the legs", self._trigger)
        return plan

    def filter(self, devices: List[str], accept: List[str], group: str) -> List[str]:
        """LVM's filter: the node's own physical volumes, and nothing else."""
        own = {self.node.blocks.number(device) for device in devices} - {""}
        patterns = [f"^{re.escape(device)}$".replace("\\-", "-").replace("\\/", "/") for device in devices] + list(accept)
        for found in self.node.groups(None):
            for pv in found["pvs"]:
                if pv["device"] not in devices and self.node.blocks.number(pv["device"]) not in own and not self._foreign(
                        pv["device"], group):
                    patterns.append(f"^/dev/disk/by-id/lvm-pv-uuid-{pv['uuid']}$")
        return [f"a|{pattern}|" for pattern in patterns] + ["r|.*|"]

    # ---- parts of the plan

    def _wanted(self, params: Dict[str, Any]) -> Dict[str, Optional[str]]:
        node, group, prefix = params["node"], params["vg"], params["iqn_prefix"]
        if not NAME.fullmatch(node):
            raise NodeError(f"'{node}' is no name for a node; use lower case letters, digits and - only.")
        if not GROUP.fullmatch(group) or group == "mirror":
            raise NodeError(f"'{group}' cannot be the volume group of legs" + (
                ": LVM would put its own names below /dev/mirror." if group == "mirror" else "."))
        if not PREFIX.fullmatch(prefix):
            raise NodeError(f"'{prefix}' is no beginning of an iSCSI name; write it in lower case, as iqn.2026-11.com.example.")
        for pattern in params["lvm_accept"] or []:
            if "|" in pattern or '"' in pattern:
                raise NodeError(f"lvm_accept: '{pattern}' cannot have | or quotation marks in it.")
        script = SCRIPT_TEXT.format(prefix=prefix)
        wanted = {RULES: RULES_TEXT.format(
            vg=group, node=node, script=SCRIPT, no_legs="|".join(f"{start}*" for start in NO_LEGS)), SCRIPT: script}  # type: Dict[str, Optional[str]]
        wanted.update(dict.fromkeys(MASKED, NULL))
        path = "etc/mdadm/mdadm.conf" if os.path.isdir(os.path.join(self.root, "etc/mdadm")) else "etc/mdadm.conf"
        wanted[path] = self._md(text(self.root, path) or "")
        patterns = self.filter(params["devices"] or [], params["lvm_accept"] or [], group)
        for folder in LVM_FOLDERS:
            if folder == LVM_FOLDERS[0] or os.path.isdir(os.path.join(self.root, folder)):
                path = f"{folder}/lvmlocal.conf"
                wanted[path] = self._lvm(text(self.root, path) or "", patterns)
        return wanted

    @staticmethod
    def _md(old: str) -> str:
        """mdadm's settings with AUTO -all; the first line of that name counts."""
        lines = [line for line in old.splitlines() if not re.match(r"auto\s", line, re.I)]
        return "\n".join([*lines, "AUTO -all"]) + "\n"

    def _lvm(self, old: str, patterns: List[str]) -> str:
        """LVM's settings with our part in it."""
        listed = ", ".join(f'"{pattern}"' for pattern in patterns)
        lines = [BEGIN, "devices {", f"    global_filter = [ {listed} ]"]
        if self._version() >= (2, 3, 12):
            lines.append("    use_devicesfile = 0")
        block = "\n".join([*lines, "}", END]) + "\n"
        others = re.sub(f"^{BEGIN}\n.*?^{END}\n", "", old, flags=re.M | re.S)
        return (others + ("" if not others or others.endswith("\n") else "\n")) + block

    def _version(self) -> Any:
        match = re.search(r"LVM version:\s*(\d+)\.(\d+)\.(\d+)", self.run("lvm", "version").out)
        return tuple(int(part) for part in match.groups()) if match else (2, 2, 0)

    def _foreign(self, device: str, group: str) -> bool:
        """Whether a physical volume is in a leg: in a volume of the node, or on a disk of another node."""
        folder = self.node.blocks.folder(device)
        return (read(folder, "device/vendor") == "LIO-ORG" or read(folder, "dm/name").startswith(group.replace("-", "--") + "-")
                or read(folder, "dm/uuid").startswith("mpath-36001405"))

    def _trigger(self) -> None:
        self.run("udevadm", "control", "--reload")
        self.run("udevadm", "trigger", "--subsystem-match=block", "--action=change")
        self.run("udevadm", "settle", "--timeout=30", codes=(0, 1))
