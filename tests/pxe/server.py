# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node of the lab as PXE server, and bare machines (QEMU) on its network."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
import time
from pathlib import Path

from lab.lab import Lab
from pxe import material

PACKAGES = "/srv/packages"
GREETING = "H. Peter Anvin et al"  # the end of PXELINUX's


def deliver(lab: Lab, node: str, source: Path, target: str) -> None:
    """A file, or a folder's content, to a node."""
    box = lab.box(node)
    packed = subprocess.Popen(
        ["tar", "-C", str(source if source.is_dir() else source.parent), "-c", "." if source.is_dir() else source.name],
        stdout=subprocess.PIPE)
    subprocess.run(box.ssh(f"mkdir -p {target} && tar -C {target} -x --no-same-owner"), cwd=box.folder, stdin=packed.stdout, check=True)
    assert packed.wait() == 0


def packages(lab: Lab, node: str, names: list[str], folder: Path) -> None:
    """The node has no way out: give it an apt repository with these packages and what they need."""
    status = lab.box(node).run("cat /var/lib/dpkg/status").stdout
    files = material.download_for(status, names, material.CACHE / "packages")
    material.repository(files, folder)
    deliver(lab, node, folder, PACKAGES)
    lab.box(node).run("rm -rf /etc/apt/sources.list.d/* /etc/apt/apt.conf.d/*roxy*;"
                      f"echo 'deb [trusted=yes] file:{PACKAGES} ./' >/etc/apt/sources.list")


class Machine:
    """A bare machine with an empty disk of 64 MiB, which boots from the network first."""

    def __init__(self, lab: Lab, folder: Path, name: str, mac: str, *, uefi: bool) -> None:
        self.lab = lab
        self.folder = folder / name
        self.mac = mac
        self.uefi = uefi
        self.tap = f"q{name}"[:15]
        self.folder.mkdir(parents=True)
        self.disk = self.folder / "disk.img"
        with open(self.disk, "wb") as file:
            file.truncate(64 << 20)
        shutil.copy("/usr/share/OVMF/OVMF_VARS_4M.fd", self.folder / "variables")
        inside = lab.network.inside
        for words in (["tuntap", "add", "dev", self.tap, "mode", "tap"], ["link", "set", self.tap, "master", "svc", "up"]):
            subprocess.run(inside("ip", *words), check=True)

    def boot(self, timeout: float = 240.0, *, until: str = "", cycle: bool = True) -> str:
        """Power on, and wait until it is off again, or its console has said something. What its console said.

        PXELINUX on QEMU's emulated ROM hangs after its greeting once in a while: then the power is cycled, once, as a BMC would.
        """
        command = ["qemu-system-x86_64", "-accel", "tcg", "-m", "1024", "-nographic", "-no-reboot", "-vga", "none"]
        if self.uefi:
            command += ["-drive", "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd",
                        "-drive", f"if=pflash,format=raw,file={self.folder / 'variables'}"]
        command += [
            "-netdev", f"tap,id=net,ifname={self.tap},script=no,downscript=no",
            "-device", f"virtio-net-pci,netdev=net,mac={self.mac},bootindex=1" + ",romfile=" * self.uefi,  # OVMF has PXE itself
            "-drive", f"if=none,id=disk,format=raw,file={self.disk}", "-device", "virtio-blk-pci,drive=disk,bootindex=2",
        ]
        log = self.folder / f"console-{time.time_ns()}"
        deadline = time.monotonic() + timeout
        with open(log, "wb") as file:
            process = subprocess.Popen(self.lab.network.inside(*command), stdin=subprocess.DEVNULL, stdout=file, stderr=file)
            try:
                while process.poll() is None and not (until and until in self.words(log)):
                    if time.monotonic() > deadline:
                        said = self.words(log)
                        assert cycle and said.rstrip().endswith(GREETING), f"still on after {timeout:g} s:\n{said[-3000:]}"
                        print(f"PXELINUX hangs on {self.folder.name}: its power is cycled")
                        break
                    time.sleep(0.1)
                else:
                    return self.words(log)
            finally:
                process.kill()
                process.wait()
        return self.boot(timeout, until=until, cycle=False)

    @staticmethod
    def words(log: Path) -> str:
        """A console's log without what moves the cursor."""
        return re.sub(r"\x1b\[[0-9;=?]*[A-Za-z]|\r", "", log.read_text(encoding="utf-8", errors="replace"))

    def blank(self) -> bool:
        """Whether its disk has never been written to."""
        return self.disk.stat().st_blocks == 0

    def populated(self, folder: Path) -> Path:
        """What the installed system's root has, unpacked."""
        with open(self.disk, "rb") as file:
            file.seek(8 << 20)
            with tarfile.open(fileobj=file, mode="r|") as archive:
                archive.extractall(folder, filter="tar")
        return folder


class Server:
    """What the node has served, from its own logs and files."""

    address = "10.66.0.1"

    def __init__(self, lab: Lab, node: str) -> None:
        self.lab = lab
        self.node = node

    def sh(self, command: str) -> str:
        return self.lab.box(self.node).run(command).stdout.strip()

    def mark(self) -> None:
        """From here on `fetched` counts."""
        self.sh("journalctl --sync; : >/var/log/nginx/pxe_server.log; date +%s.%N >/run/mark; sleep 0.1")

    def fetched(self) -> tuple[list[str], list[str]]:
        """Paths sent by TFTP, and by HTTP with success, since `mark`."""
        self.sh("journalctl --sync")
        tftp = re.findall(r"sent /srv/pxe/tftp/(\S+) to", self.sh('journalctl -o cat -u pxe-dhcp --since "@$(cat /run/mark)"'))
        http = re.findall(r'"GET (\S+) HTTP/1\.\d" 20[06] ', self.sh("cat /var/log/nginx/pxe_server.log"))
        return tftp, http

    def boots_here(self, loader: str) -> int:
        """The status of the answer to a machine in the network that asks for what boots the installer."""
        done = subprocess.run(self.lab.network.inside(
            "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"http://{self.address}/boot/{loader}"),
            capture_output=True, text=True, check=True)
        return int(done.stdout)

    def check_in(self, host: str, token: str, state: str) -> int:
        """The status of the answer to a check-in from the network."""
        body = f'{{"token": "{token}", "state": "{state}"}}'
        done = subprocess.run(self.lab.network.inside(
            "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-d", body, f"http://{self.address}:8380/checkin/{host}"),
            capture_output=True, text=True, check=True)
        return int(done.stdout)
