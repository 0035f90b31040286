# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is installed, and what with: Debian's packages, the stand-in for an installer, and a disk that tells that it was booted."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from lab import host
from lab.errors import CannotRun

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent.parent / ".work/pxe"
NEEDED = {  # on the machine that the tests run on, and the Debian packages that have it
    "/usr/bin/qemu-system-x86_64": "qemu-system-x86",
    "/usr/share/OVMF/OVMF_CODE_4M.fd": "ovmf",
    "/usr/lib/ipxe/qemu/pxe-virtio.rom": "ipxe-qemu",
    "/usr/bin/busybox": "busybox-static",
    "/usr/bin/cpio": "cpio",
    "/usr/bin/curl": "curl",
    "/usr/bin/mcopy": "mtools",
    "/usr/bin/xorriso": "xorriso",
    "/usr/bin/grub-mkimage": "grub-common",
    "/usr/lib/grub/x86_64-efi/moddep.lst": "grub-efi-amd64-bin",
}
KERNEL = ("linux-image-amd64", r"linux-image-\S+")  # what depends on the newest one, and what that is called
HYPERVISOR = ("xen-system-amd64", r"xen-hypervisor-\S+")
MODULES = ("virtio_pci", "virtio_net", "virtio_blk")
LOCAL_DISK = "THIS IS THE LOCAL DISK"


def provide() -> None:
    """Install what the lab needs. CannotRun with the reason where that, or bare machines, cannot be."""
    host.provide()
    if missing := sorted({package for path, package in NEEDED.items() if not Path(path).exists()}):
        raise CannotRun(f"a bare machine needs {' '.join(missing)} (Debian packages)")


def run(*command: str | Path, **options: str | Path) -> str:
    """Standard output of a command that has to succeed."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.strip() or done.stdout.strip()}")
    return str(done.stdout)


# ---- packages


def download(name: str, folder: Path) -> Path:
    """A package of the machine's own release as a file in a folder; not fetched again if it is there."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / run("apt-get", "download", "--print-uris", name).split()[1]
    if not file.exists():
        run("apt-get", "download", "-o", "APT::Sandbox::User=root", name, cwd=folder)
    return file


def download_for(status: str, names: Iterable[str], folder: Path) -> list[Path]:
    """What has to be installed on a machine with this dpkg status to have these packages, as files."""
    (folder / "partial").mkdir(parents=True, exist_ok=True)
    (folder / "status").write_text(status, encoding="utf-8")
    run("apt-get", "install", "-qq", "--yes", "--download-only", "--no-install-recommends", "-o", f"Dir::State::status={folder / 'status'}",
        "-o", f"Dir::Cache::archives={folder}", "-o", "APT::Sandbox::User=root", "-o", "Debug::NoLocking=true", *names)
    return sorted(folder.glob("*.deb"))


def repository(packages: Iterable[Path], folder: Path) -> None:
    """A flat apt repository of these packages."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    index = []
    for package in packages:
        name = package.name.replace("%3a", "_")
        os.link(package, folder / name)
        checksum = hashlib.sha256(package.read_bytes()).hexdigest()
        index.append(run("dpkg-deb", "--field", package).strip()
                     + f"\nFilename: ./{name}\nSize: {package.stat().st_size}\nSHA256: {checksum}\n")
    (folder / "Packages").write_text("\n".join(index), encoding="utf-8")


# ---- an image to install from


def tree(folder: Path) -> None:
    """What an ISO of ours has, as those of XCP-ng: boot/xen.gz, boot/vmlinuz, install.img; and system.img, which is installed."""
    packages = [download(newest(*names), CACHE / "system") for names in (KERNEL, HYPERVISOR)]
    made_of = "\n".join([*(package.name for package in packages),
                         *((HERE / name).read_text(encoding="utf-8") for name in ("material.py", "installer.sh", "lease.sh"))])
    stamp = folder.with_suffix(".made-of")
    if stamp.exists() and stamp.read_text(encoding="utf-8") == made_of:
        return
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "boot").mkdir(parents=True)
    unpacked = folder.with_suffix(".unpacked")
    shutil.rmtree(unpacked, ignore_errors=True)
    for package in packages:
        run("dpkg-deb", "--extract", package, unpacked)
    shutil.copy(next((unpacked / "boot").glob("vmlinuz-*")), folder / "boot/vmlinuz")
    shutil.copy(next((unpacked / "boot").glob("xen-*.gz")), folder / "boot/xen.gz")
    initrd(unpacked, folder / "install.img")
    system(folder / "system.img")
    shutil.rmtree(unpacked)
    stamp.write_text(made_of, encoding="utf-8")


def newest(meta: str, pattern: str) -> str:
    """What a package that always depends on the newest one depends on."""
    return re.findall(rf"Depends: ({pattern})", run("apt-cache", "depends", meta))[0]


def initrd(kernel: Path, path: Path) -> None:
    """The stand-in with busybox and the modules that it needs."""
    root = path.with_suffix(".root")
    for name in ("bin", "modules"):
        (root / name).mkdir(parents=True)
    for source, target in ((HERE / "installer.sh", "init"), (HERE / "lease.sh", "bin/lease"), (Path("/usr/bin/busybox"), "bin/busybox")):
        shutil.copy(source, root / target)
        (root / target).chmod(0o755)
    (root / "bin/sh").symlink_to("busybox")
    modules = {file.stem: file for file in kernel.glob("lib/modules/*/kernel/**/*.ko")}
    order: list[str] = []

    def take(name: str) -> None:
        for needed in re.findall(rb"\0depends=([^\0]*)\0", modules[name].read_bytes())[0].decode().split(","):
            if needed:
                take(needed)
        if f"{name}.ko" not in order:
            shutil.copy(modules[name], root / "modules")
            order.append(f"{name}.ko")

    for module in MODULES:
        take(module)
    (root / "modules/order").write_text("".join(f"{name}\n" for name in order), encoding="ascii")
    with open(path, "wb") as file:
        archive = subprocess.run(["sh", "-c", "find . | cpio --quiet -o -H newc | gzip -1"], cwd=root, stdout=file, check=False)
    assert archive.returncode == 0
    shutil.rmtree(root)


def system(path: Path) -> None:
    """What is installed: four MiB that boot with BIOS and with UEFI, tell so on the serial line, and power off."""
    run("mformat", "-C", "-i", path, "-T", "8192", "-h", "2", "-s", "32", "::")
    # mov dx, COM1: the text that begins after these 27 bytes, byte by byte; then QEMU's power off (0x2000 to port 0x604).
    code = bytes.fromhex("31c08ed8 be597c ac84c07406 baf803 ee ebf5 ba0406 b80020 ef ebfe")
    with open(path, "r+b") as file:
        file.write(b"\xeb\x3c\x90")  # to offset 62, after what describes the file system
        file.seek(62)
        file.write(code + LOCAL_DISK.encode() + b"\r\n\0")
        file.seek(510)
        file.write(b"\x55\xaa")
    loader, settings = path.with_suffix(".efi"), path.with_suffix(".cfg")
    settings.write_text(f"echo {LOCAL_DISK}\nhalt\n", encoding="ascii")
    run("grub-mkimage", "--format=x86_64-efi", "--prefix=/", f"--config={settings}", f"--output={loader}", "echo", "halt")
    run("mmd", "-i", path, "::/EFI", "::/EFI/BOOT")
    run("mcopy", "-i", path, loader, "::/EFI/BOOT/BOOTX64.EFI")
    loader.unlink()
    settings.unlink()


def iso(folder: Path, path: Path) -> None:
    """The tree as a medium."""
    path.unlink(missing_ok=True)
    run("xorriso", "-outdev", path, "-map", folder, "/", "-rockridge", "on", "-end")


def main() -> int:
    """Say why the tests cannot run here, with code 3; otherwise nothing."""
    try:
        with contextlib.redirect_stderr(None):
            provide()
    except CannotRun as error:
        print(f"cannot run: {error}")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
