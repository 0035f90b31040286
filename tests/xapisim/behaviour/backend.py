# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands behind the SRs: device_config checks, simulated servers, the errors of the storage manager.

Any server answers, except names under `.invalid`. What a server offers comes from `pool.backends`, which a
scenario may fill (all parts optional):

    nfs:   {server: [export path, ...]}                      default: every path
    iscsi: {server: {iqn: [{LUNid, size, SCSIid}, ...]}}     default: one target with one LUN of 1 TiB
    hba:   [{SCSIid, size, device}, ...]                     default: one LUN of 1 TiB
    iso:   {location: {file name: bytes}}                    default: {"installer.iso": 64 MiB} in an empty SR
    udev:  {location: {device path: bytes}}                  default: none
    directory: {user or group: {subject-sid, ...}}           users and groups of the directory service (see access.py)
    updates: [{id, name, version, release, reboot}, ...]      default: none (not storage: see updates.py)
           {command: [program, argument, ...]}               real devices: called with the host's name and the location,
                                                             it prints {device path: bytes} as JSON

Names, numbers and texts of the faults: libs/sm/core/XE_SR_ERRORCODES.xml of xapi-project/sm.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from typing import TYPE_CHECKING, Any

from ..errors import XapiError

if TYPE_CHECKING:
    from ..db import Row
    from ..pool import Pool
    from ..registry import Context

Config = dict[str, str]

_FAULTS = {
    "InvalidDev": (19, "No such device"),
    "SRScan": (40, "The SR scan failed "),
    "SRNoSpace": (44, "There is insufficient space"),
    "VDIUnavailable": (46, "The VDI is not available"),
    "SRUnavailable": (47, "The SR is not available"),
    "NFSVersion": (72, "Required NFS server version unsupported"),
    "NFSMount": (73, "NFS mount error"),
    "VDISize": (79, "VDI Invalid size"),
    "ConfigDeviceMissing": (90, "The request is missing the device parameter"),
    "ConfigDeviceInvalid": (91, "The device is not a valid path"),
    "ConfigLocationMissing": (94, "The request is missing the location parameter"),
    "ConfigTargetMissing": (95, "The request is missing the target parameter"),
    "ConfigTargetIQNMissing": (96, "The request is missing or has an incorrect target IQN parameter"),
    "ConfigServerPathMissing": (101, "The request is missing the serverpath parameter"),
    "ConfigServerMissing": (102, "The request is missing the server parameter"),
    "ConfigSCSIid": (107, "The SCSIid parameter is missing or incorrect"),
    "SMBMount": (111, "SMB mount error"),
    "ConfigParamsMissing": (115, "Not all required parameters specified."),
    "ISCSITarget": (141, "Unable to connect to ISCSI service on target"),
    "ISCSIPort": (142, "Incorrect value for iSCSI port, must be a number between 1 and 65535"),
    "ISOMountFailure": (222, "Could not mount the directory specified in Device Configuration"),
    "ISOLocationStringError": (
        225,
        (
            "Incorrect Location string format. String must be in the format SERVER:PATH for NFS targets, "
            "or \\\\SERVER\\PATH for CIFS targets"
        ),
    ),
    "ISOInvalidSMBversion": (227, "Given SMB version is not allowed. Choose either 1.0 or 3.0"),
    "CBTChangedBlocksError": (460, "Failed to calculate changed blocks for given VDIs."),
}

_PATIENCE = 60  # real seconds for the program that looks at devices

# (key, fault when it is missing) in the order in which the drivers look
_REQUIRED: dict[str, tuple[tuple[str, str], ...]] = {
    "lvm": (("device", "ConfigDeviceMissing"),),
    "ext": (("device", "ConfigDeviceMissing"),),
    "xfs": (("device", "ConfigDeviceMissing"),),
    "largeblock": (("device", "ConfigDeviceMissing"),),
    "zfs-vol": (("device", "ConfigDeviceMissing"),),
    "zfs": (("location", "ConfigLocationMissing"),),
    "file": (("location", "ConfigLocationMissing"),),
    "udev": (("location", "ConfigLocationMissing"),),
    "iso": (("location", "ConfigLocationMissing"),),
    "nfs": (("server", "ConfigServerMissing"), ("serverpath", "ConfigServerPathMissing")),
    "smb": (("server", "ConfigServerMissing"),),
    "lvmoiscsi": (
        ("target", "ConfigTargetMissing"),
        ("targetIQN", "ConfigTargetIQNMissing"),
        ("SCSIid", "ConfigSCSIid"),
    ),
    "iscsi": (("target", "ConfigTargetMissing"), ("targetIQN", "ConfigTargetIQNMissing")),
    "lvmohba": (("SCSIid", "ConfigSCSIid"),),
    "linstor": (("group-name", "ConfigParamsMissing"), ("redundancy", "ConfigParamsMissing")),
    "glusterfs": (("server", "ConfigServerMissing"),),
    "cephfs": (("server", "ConfigServerMissing"), ("serverpath", "ConfigServerPathMissing")),
    "moosefs": (("masterhost", "ConfigServerMissing"),),
}


def fault(name: str, detail: str = "", stderr: str = "") -> XapiError:
    """SR_BACKEND_FAILURE_<n> ["", message, stderr] of a storage manager fault, as xapi passes it on."""
    number, text = _FAULTS[name]
    return XapiError(f"SR_BACKEND_FAILURE_{number}", "", f"{text} [opterr={detail}]" if detail else text, stderr)


def offered(pool: Pool, kind: str) -> Any:
    """The scenario's part of `pool.backends`, an empty dict when it says nothing."""
    return getattr(pool, "backends", {}).get(kind) or {}


def reachable(server: str) -> bool:
    """True when a simulated server of this name or address answers."""
    return not server.rstrip(".").endswith(".invalid")


def luns(pool: Pool, target: str) -> dict[str, list[dict[str, str]]]:
    """LUNs by IQN that an iSCSI portal offers."""
    known = offered(pool, "iscsi")
    if target in known:
        return {iqn: [{k: str(v) for k, v in lun.items()} for lun in found] for iqn, found in known[target].items()}
    if known:
        return {}
    iqn = f"iqn.2026-11.test.xapisim:{target.replace(':', '.')}"
    scsi_id = "36001405" + hashlib.sha256(iqn.encode()).hexdigest()[:25]
    return {iqn: [{"LUNid": "0", "size": str(1 << 40), "SCSIid": scsi_id}]}


def hba_luns(pool: Pool) -> list[dict[str, str]]:
    """Fibre channel LUNs that every host of the pool sees."""
    known = offered(pool, "hba")
    if known:
        return [{k: str(v) for k, v in lun.items()} for lun in known]
    scsi_id = "360014380" + hashlib.sha256(pool.name.encode()).hexdigest()[:24]
    return [{"SCSIid": scsi_id, "size": str(1 << 40), "device": "/dev/sdb"}]


def images(ctx: Context, host: Row, sr_type: str, config: Config, *, blank: bool) -> dict[str, int]:
    """Files or devices, with their sizes, that a scan of an ISO or udev SR finds. `blank`: nothing is known yet."""
    if sr_type == "udev" and real_devices(ctx.pool):
        try:
            return _devices(ctx, host, config["location"])
        except OSError as error:
            raise fault("SRScan", str(error)) from None
    default = {"installer.iso": 64 << 20} if sr_type == "iso" and blank else {}
    return dict(offered(ctx.pool, sr_type).get(config.get("location", ""), default))


def real_devices(pool: Pool) -> bool:
    """True when a program, not the scenario, says which devices udev SRs have."""
    return "command" in offered(pool, "udev")


def assert_device(ctx: Context, host: Row, config: Config, path: str) -> None:
    """SR_BACKEND_FAILURE_46 unless the host has this device of a udev SR now."""
    if not real_devices(ctx.pool):
        return
    try:
        present = _devices(ctx, host, config["location"])
    except OSError as error:
        raise fault("VDIUnavailable", str(error)) from None
    if path not in present:
        raise fault("VDIUnavailable", f"{path} does not exist on {host.name_label}")


def _devices(ctx: Context, host: Row, location: str) -> dict[str, int]:
    """What the program finds below a directory on a host; OSError when it fails."""
    command = [*offered(ctx.pool, "udev")["command"], host.name_label, location]

    def run() -> dict[str, int]:
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
            if done.returncode:
                raise OSError(" ".join(done.stderr.split()) or f"{command[0]} ended with code {done.returncode}")
            return {str(path): int(size) for path, size in json.loads(done.stdout).items()}
        except subprocess.TimeoutExpired:
            raise OSError(f"no answer about {location} within {_PATIENCE} s") from None
        except (ValueError, AttributeError, TypeError):
            raise OSError(f"{command[0]} printed no JSON of paths and sizes") from None

    found: dict[str, int] = ctx.outside(run)
    return found


def check(pool: Pool, sr_type: str, config: Config) -> None:
    """Raise what the driver would raise for this device_config, on create, attach and probe alike."""
    for key, missing in _REQUIRED.get(sr_type, ()):
        if not config.get(key):
            raise fault(missing, stderr=_hint(pool, sr_type, missing, config))
        if key == "target":
            _check_portal(config)
    _MORE.get(sr_type, lambda _pool, _config: None)(pool, config)


def _hint(pool: Pool, sr_type: str, missing: str, config: Config) -> str:
    """The XML on the driver's stderr that tells what could be chosen."""
    from . import probe  # it needs this module's data

    return probe.hint(pool, sr_type, missing, config)


def _check_portal(config: Config) -> None:
    port = config.get("port", "3260")
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise fault("ISCSIPort")
    if not any(reachable(target) for target in config["target"].split(",")):
        raise fault("ISCSITarget")


def _check_device(_pool: Pool, config: Config) -> None:
    for device in config["device"].split(","):
        if not device.startswith("/"):
            raise fault("ConfigDeviceInvalid", f"path is {device}")
        if device.endswith(".invalid"):
            raise fault("InvalidDev", f"Device {device} does not exist")


def _check_nfs(pool: Pool, config: Config) -> None:
    version = config.get("nfsversion", "3")
    if version not in ("3", "4", "4.0", "4.1"):
        raise fault("NFSVersion", f"Unsupported NFS version: {version}")
    exports = offered(pool, "nfs").get(config["server"])
    if not reachable(config["server"]) or (exports is not None and config["serverpath"] not in exports):
        raise fault("NFSMount", "mount failed with return code 32")


def _check_smb(_pool: Pool, config: Config) -> None:
    server = config["server"].replace("/", "\\").strip("\\")
    if "\\" not in server or not reachable(server.split("\\")[0]):
        raise fault("SMBMount", "mount failed with return code 32")


def _check_iso(_pool: Pool, config: Config) -> None:
    location = config["location"]
    if config.get("legacy_mode") == "true":
        return
    cifs = config.get("type", "") in ("cifs", "smb") or location.startswith(("\\\\", "//"))
    if cifs:
        server, _unused, path = location.replace("/", "\\").strip("\\").partition("\\")
        if config.get("vers", "3.0") not in ("1.0", "3.0"):
            raise fault("ISOInvalidSMBversion")
    else:
        server, _unused, path = location.partition(":")
    if not server or not path:
        raise fault("ISOLocationStringError")
    if not reachable(server):
        raise fault("ISOMountFailure", "mount failed with return code 32")


def _check_iscsi(pool: Pool, config: Config) -> None:
    found = {}
    for target in config["target"].split(","):
        if reachable(target):
            found.update(luns(pool, target))
    if not offered(pool, "iscsi"):
        return  # the default portal plays whatever target and LUN it is asked for
    wanted = list(found) if config["targetIQN"] == "*" else config["targetIQN"].split(",")
    if not set(wanted) & set(found):
        raise fault("ConfigTargetIQNMissing")
    ids = {lun["SCSIid"] for iqn in wanted for lun in found.get(iqn, [])}
    if "SCSIid" in config and config["SCSIid"] not in ids:
        raise fault("ConfigSCSIid")


def _check_hba(pool: Pool, config: Config) -> None:
    if offered(pool, "hba") and config["SCSIid"] not in {lun["SCSIid"] for lun in hba_luns(pool)}:
        raise fault("InvalidDev", f"No LUN with SCSIid {config['SCSIid']}")


def _check_server(_pool: Pool, config: Config) -> None:
    server = config.get("server") or config.get("masterhost", "")
    if not reachable(server.split(":")[0]):
        raise fault("SRUnavailable", f"cannot mount from {server}")


_MORE = {
    "lvm": _check_device,
    "ext": _check_device,
    "xfs": _check_device,
    "largeblock": _check_device,
    "zfs-vol": _check_device,
    "nfs": _check_nfs,
    "smb": _check_smb,
    "iso": _check_iso,
    "lvmoiscsi": _check_iscsi,
    "iscsi": _check_iscsi,
    "lvmohba": _check_hba,
    "glusterfs": _check_server,
    "cephfs": _check_server,
    "moosefs": _check_server,
}
