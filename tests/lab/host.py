# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine that the lab runs on: what it must be, what it must have, and how it gets that."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from .errors import CannotRun

KERNEL = Path("/usr/bin/linux.uml")
MODULES = Path("/usr/lib/uml/modules")
COMMANDS = {  # and the Debian packages that have them
    str(KERNEL): "user-mode-linux",
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "ip": "iproute2",
    "unshare": "util-linux",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "sysctl": "procps",
    "cp": "coreutils",
}


def release() -> dict[str, str]:
    """/etc/os-release."""
    try:
        lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    return {key: value.strip('"') for key, _unused, value in (line.partition("=") for line in lines)}


def check() -> None:
    """CannotRun with a line that says why, where the lab cannot run. Changes nothing."""
    if os.geteuid() != 0:
        raise CannotRun("the lab needs root: namespaces, taps")
    if release().get("ID") != "debian" or os.uname().machine != "x86_64":
        raise CannotRun("the lab needs Debian on x86_64: User Mode Linux and the machines' image are Debian's")
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        raise CannotRun("the lab needs /dev/net/tun: modprobe tun, or give it to the container")
    if _options("/dev/shm") is None or "noexec" in (_options("/dev/shm") or []):
        raise CannotRun("the lab needs a tmpfs that may execute at /dev/shm: the memory of its machines lies there")
    if shutil.which("ip"):
        trial = f"lab-trial-{os.getpid()}"
        done = subprocess.run(["ip", "netns", "add", trial], capture_output=True, text=True, check=False)
        subprocess.run(["ip", "netns", "delete", trial], capture_output=True, check=False)
        if done.returncode:
            raise CannotRun(f"the lab may make no network namespace here: {done.stderr.strip()}")
    done = subprocess.run(["unshare", "--pid", "--fork", "true"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotRun(f"the lab may make no PID namespace here: {done.stderr.strip()}")


def provide() -> None:
    """Install what is missing. CannotRun as `check`, and if the installation fails."""
    check()
    missing = sorted({package for command, package in COMMANDS.items() if not shutil.which(command)})
    if not missing:
        return
    print(f"Installing {' '.join(missing)} ...", file=sys.stderr, flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-qq", "--no-install-recommends", *missing]):
        done = subprocess.run(
            ["apt-get", *command],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            said = " ".join((done.stderr or done.stdout).split())
            raise CannotRun(f"the lab needs {' '.join(missing)}: apt-get {command[0]}: {said}")


def _options(folder: str) -> list[str] | None:
    """Mount options of a tmpfs; None if no tmpfs is there."""
    found = None
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        _device, where, kind, options = line.split()[:4]
        if where == folder:
            found = options.split(",") if kind == "tmpfs" else None
    return found
