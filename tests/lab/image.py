# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The root file system of all machines, built once.

Two steps, each under the hash of its recipe in the cache folder: tree-HASH is what mmdebstrap makes (a minute), with UML's
modules; image-HASH.ext4 is that with the files of rootfs/ and the settings below (seconds). Machines write to COW files of
their own. What has not been used for three days goes when another one is built.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import host
from .errors import LabError

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent.parent / ".work/lab-image"
PACKAGES = (  # those of a node, and those of a guest
    "systemd-sysv udev dbus openssh-server python3 kmod iproute2 iputils-ping procps psmisc util-linux lvm2 thin-provisioning-tools"
    " mdadm open-iscsi multipath-tools sg3-utils fio ethtool e2fsprogs xfsprogs rsync fdisk cloud-init"
).split()
UNWANTED = ("man", "doc", "locale", "info")  # below /usr/share
SIZE = 4 << 30  # sparse
KEEP = 3 * 86400.0  # seconds
WITHOUT = (  # services that say nothing to a lab, or take long in UML
    "apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer"
    " console-getty.service getty-static.service getty@tty1.service getty.target systemd-ask-password-console.path"
    " systemd-ask-password-wall.path dev-hugepages.mount dev-mqueue.mount sys-fs-fuse-connections.mount"
    " sys-kernel-debug.mount sys-kernel-tracing.mount kmod-static-nodes.service proc-sys-fs-binfmt_misc.automount"
    " systemd-binfmt.service systemd-firstboot.service systemd-machine-id-commit.service systemd-journal-flush.service"
    " systemd-pcrphase.service systemd-pcrphase-sysinit.service systemd-pstore.service systemd-random-seed.service"
    " systemd-repart.service systemd-sysusers.service systemd-tmpfiles-clean.timer systemd-update-utmp.service"
    " systemd-update-utmp-runlevel.service systemd-logind.service systemd-user-sessions.service"
    " systemd-tmpfiles-setup-dev.service systemd-remount-fs.service lvm2-monitor.service dm-event.socket lvm2-lvmpolld.socket"
    " blk-availability.service"
).split()
DISABLED = (  # multipathd: those who want it enable it, as on a dom0; dbus has a socket that starts it
    "multipathd.service", "multipathd.socket", "dbus.service", "cloud-init-hotplugd.socket",
)  # fmt: skip
GENERATORS = (  # all but systemd-fstab-generator
    "cryptsetup debug getty gpt-auto hibernate-resume integritysetup rc-local run system-update sysv veritysetup"
).split()
CLOUD_INIT = {  # its services, and the stages that each runs here
    "cloud-init-local": "/usr/bin/python3 -I /usr/lib/lab/cloud_init.py 'init --local' init",
    "cloud-init": "true",
    "cloud-config": "true",
    "cloud-final": "/usr/bin/python3 -I /usr/lib/lab/cloud_init.py 'modules --mode=config' 'modules --mode=final'",
}
FILES = {
    "etc/fstab": "",
    "etc/machine-id": "",  # the kernel's command line has it
    "etc/ssh/sshd_config.d/lab.conf": "UsePAM no\nUseDNS no\nPermitRootLogin prohibit-password\nMaxStartups 100\nMaxSessions 100\n",
    "etc/systemd/journald.conf.d/lab.conf": "[Journal]\nStorage=volatile\nRuntimeMaxUse=8M\n",
    # Only what machines have: a full coldplug takes UML six seconds.
    "etc/systemd/system/systemd-udev-trigger.service.d/lab.conf": "[Service]\nExecStart=\nExecStart=-udevadm trigger"
    " --action=add --subsystem-match=block --subsystem-match=net\n",
    "etc/systemd/system/ssh.service.d/lab.conf": "[Service]\nExecStartPre=\n",
    # Only in a guest that has a config drive, and only what one is for here. The generator, which would look for a source at
    # every boot, is masked; so what it does, to want cloud-init.target, is done once for all (see _build_image).
    **{
        f"etc/systemd/system/{name}.service.d/lab.conf": "[Unit]\nConditionKernelCommandLine=lab.cidata\n[Service]\nExecStart=\n"
        f"ExecStart={command}\n"
        for name, command in CLOUD_INIT.items()
    },
    "etc/cloud/cloud.cfg": "datasource_list: [NoCloud]\ndisable_root: false\npreserve_hostname: true\nssh_deletekeys: false\n"
    "network: {config: disabled}\nusers: []\ncloud_init_modules: [bootcmd, write-files]\ncloud_config_modules: [runcmd]\n"
    "cloud_final_modules: [scripts-user]\nsystem_info: {distro: debian}\n",
    # A guest with legs has an iscsid of its own.
    **{
        f"etc/systemd/system/{n}.d/lab.conf": "[Unit]\nConditionKernelCommandLine=!lab.legs\n"
        for n in ("iscsid.service", "iscsid.socket", "open-iscsi.service")
    },
    # UML's own disks lie under device-mapper ones: nobody is to look at them.
    "etc/udev/rules.d/00-lab.rules": 'KERNEL=="ubd[b-ik]", OPTIONS+="nowatch", ENV{UDEV_DISABLE_PERSISTENT_STORAGE_RULES_FLAG}="1"\n',
}


@dataclass(frozen=True)
class Image:
    """What a machine boots from."""

    path: Path  # ext4, read-only
    key: Path  # of root's ssh
    kernel: Path = host.KERNEL


def ensure(cache: Path | None = None) -> Image:
    """The image, built if it is not there. The cache folder is `cache`, or $LAB_IMAGE, or .work/lab-image."""
    cache = (cache or Path(os.environ.get("LAB_IMAGE") or CACHE)).resolve()
    cache.mkdir(parents=True, exist_ok=True)
    key = cache / "id_ed25519"
    with _locked(cache / "lock"):
        if not key.exists():
            _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(key))
        tree = cache / f"tree-{_hash(_tree_recipe())}"
        image = cache / f"image-{_hash({'tree': tree.name, **_image_recipe(key)})}.ext4"
        if not image.exists():
            started = time.monotonic()
            print("Building the image of the lab's machines (about a minute, once) ...", flush=True)
            if not tree.exists():
                _build_tree(tree)
            _build_image(tree, image, key)
            print(f"{image}: {time.monotonic() - started:.0f} s", flush=True)
            _forget_old(cache, [tree, image])
        for used in (tree, image):
            if used.exists():
                # Not its time of change: UML refuses a COW file whose base has another than it had at first.
                os.utime(used, ns=(time.time_ns(), used.stat().st_mtime_ns))
    return Image(image, key)


# -- recipes


def _tree_recipe() -> dict[str, object]:
    return {
        "suite": host.release().get("VERSION_CODENAME"), "packages": PACKAGES, "unwanted": UNWANTED,
        "modules": sorted(path.name for path in host.MODULES.iterdir()),
    }  # fmt: skip


def _image_recipe(key: Path) -> dict[str, object]:
    return {
        "rootfs": {str(name): [path.read_text(encoding="utf-8"), path.stat().st_mode] for name, path in _rootfs()},
        "files": FILES, "without": WITHOUT, "disabled": DISABLED, "generators": GENERATORS, "size": SIZE,
        "key": key.with_suffix(".pub").read_text(encoding="ascii"),
    }  # fmt: skip


def _rootfs() -> Iterator[tuple[Path, Path]]:
    for path in sorted((HERE / "rootfs").rglob("*")):
        if path.is_file():
            yield path.relative_to(HERE / "rootfs"), path


def _hash(recipe: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]


# -- steps


def _build_tree(tree: Path) -> None:
    draft = tree.with_suffix(".new")
    shutil.rmtree(draft, ignore_errors=True)
    suite = host.release().get("VERSION_CODENAME", "")
    options = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in UNWANTED]
    _run(
        "mmdebstrap", "--quiet", "--variant=minbase", "--mode=root", f"--include={','.join(PACKAGES)}",
        "--aptopt=APT::Install-Recommends \"false\"", "--dpkgopt=force-unsafe-io", *options, *_proxies(), suite, str(draft),
        *_sources(suite),
    )  # fmt: skip
    _run("cp", "-a", *(str(path) for path in host.MODULES.iterdir()), str(_made(draft / "lib/modules")))
    for path in host.MODULES.iterdir():
        _run("chroot", str(draft), "depmod", path.name)
    draft.rename(tree)


def _build_image(tree: Path, image: Path, key: Path) -> None:
    stage, draft = image.with_suffix(".stage"), image.with_suffix(".new")
    for leftover in (stage, draft):
        shutil.rmtree(leftover, ignore_errors=True)
        leftover.unlink(missing_ok=True)
    _run("cp", "-al", str(tree), str(stage))  # hard links: from here on files are replaced, never written to
    for name, path in _rootfs():
        _write(stage / name, path.read_text(encoding="utf-8"), path.stat().st_mode & 0o777)
    for file_name, content in FILES.items():
        _write(stage / file_name, content)
    _made(stage / "root/.ssh").chmod(0o700)
    _write(stage / "root/.ssh/authorized_keys", key.with_suffix(".pub").read_text(encoding="ascii"), 0o600)
    for leftover in [*stage.glob("etc/iscsi/initiatorname.iscsi"), stage / "etc/hostname"]:
        leftover.unlink(missing_ok=True)
    units = stage / "etc/systemd/system"
    for unit in WITHOUT:
        _link(units / unit, "/dev/null")
    for generator in GENERATORS:
        _link(stage / f"etc/systemd/system-generators/systemd-{generator}-generator", "/dev/null")
    for folder in (units, stage / "usr/lib/systemd/system"):
        for wanted in folder.glob("*.wants/*"):
            if wanted.name in DISABLED or wanted.name in WITHOUT:
                wanted.unlink()
    _link(stage / "etc/systemd/system-generators/cloud-init-generator", "/dev/null")
    _link(units / "multi-user.target.wants/cloud-init.target", "/lib/systemd/system/cloud-init.target")
    for name, path in _rootfs():
        if path.suffix == ".service":
            _link(units / "sysinit.target.wants" / name.name, f"/{name}")
    with open(draft, "wb") as file:
        file.truncate(SIZE)
    _run(
        "mke2fs", "-q", "-t", "ext4", "-m0", "-J", "size=16", "-E", "lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0",
        "-d", str(stage), str(draft),
    )  # fmt: skip
    draft.chmod(0o444)  # COW files are stale when it changes
    shutil.rmtree(stage)
    draft.rename(image)


def _sources(suite: str) -> list[str]:
    """The machine's own files of apt sources that have the suite; none means mmdebstrap's default mirror."""
    found = []
    for path in [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]:
        if path.suffix in (".list", ".sources") and path.is_file():
            lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
            if any(word == suite for line in lines for word in line.split()) and "main" in " ".join(lines).split():
                found.append(str(path))
    return found


def _proxies() -> list[str]:
    """What the machine's own apt says of proxies."""
    done = subprocess.run(["apt-config", "dump", "Acquire"], capture_output=True, text=True, check=False)
    return [f"--aptopt={line}" for line in done.stdout.splitlines() if "::Proxy" in line and '""' not in line]


def _forget_old(cache: Path, keep: list[Path]) -> None:
    for path in [*cache.glob("tree-*"), *cache.glob("image-*")]:
        if path not in keep and path.stat().st_atime < time.time() - KEEP:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


# -- small things


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with open(path, "w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    _made(path.parent)
    path.unlink(missing_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def _link(path: Path, target: str) -> None:
    _made(path.parent)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-15:]
        raise LabError("\n".join([f"{command[0]} ended with code {done.returncode}:", *said]))
