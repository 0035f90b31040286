# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each type of SR wants to know in its device_config, and what can be found wrong with it before any call.

Keys: the drivers of xapi-project/sm (drivers/*.py), and those that XCP-ng adds.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.change import xapi_text

_CHAP = "chapuser incoming_chapuser"
_CHAP_SECRETS = "chappassword incoming_chappassword"
_FORMATS = "preferred-image-formats"


@dataclass(frozen=True)
class SrType:
    """A type of SR. `required`, `optional`, `secret`: keys of device_config, apart by spaces; `secret` ones may be left out.

    `shared`: whether all hosts of the pool see the same medium; `either`: whether that depends on the medium, so that the
    user may say otherwise. `formats`: creating one overwrites what is on the medium, and the driver can tell what is there.
    """

    required: str
    optional: str = ""
    secret: str = ""
    shared: bool = False
    either: bool = False
    formats: bool = False

    @property
    def plain(self) -> list[str]:
        """All keys that are no secrets."""
        return [*self.required.split(), *self.optional.split()]


# What lies on these was not put there by XAPI, so XAPI cannot destroy it.
FOREIGN = ("iso", "udev")

TYPES = {
    "lvm": SrType("device", _FORMATS, formats=True),
    "ext": SrType("device", _FORMATS, formats=True),
    "nfs": SrType("server serverpath", f"nfsversion options useUDP {_FORMATS}", shared=True),
    "iso": SrType(
        "location", "type options nfsversion vers username iso_path legacy_mode", "cifspassword", shared=True, either=True
    ),
    "lvmoiscsi": SrType(
        "target targetIQN SCSIid",
        f"port LUNid {_CHAP} multihomed multiSession usediscoverynumber allocation {_FORMATS}",
        _CHAP_SECRETS, shared=True, formats=True,
    ),
    "lvmohba": SrType("SCSIid", f"allocation {_FORMATS}", shared=True, formats=True),
    "udev": SrType("location", either=True),
    "smb": SrType("server", f"username {_FORMATS}", "password", shared=True),
    "file": SrType("location", _FORMATS, either=True),
    # what XCP-ng adds
    "xfs": SrType("device", _FORMATS, formats=True),
    "largeblock": SrType("device", _FORMATS, formats=True),
    "zfs": SrType("location", _FORMATS),
    "zfs-vol": SrType("device"),
    "cephfs": SrType("server serverpath", f"serverport options {_FORMATS}", shared=True),
    "glusterfs": SrType("server", f"backupservers fetchattempts {_FORMATS}", shared=True),
    "moosefs": SrType("masterhost", f"masterport rootpath {_FORMATS}", shared=True),
    "linstor": SrType("group-name redundancy", "provisioning monitor-db-quorum", shared=True),
}

_PATHS = ("device", "serverpath")  # of these types and those whose location is a directory of the host
_DIRECTORIES = ("udev", "file", "zfs")


def as_text(config: Mapping[str, Any] | None) -> dict[str, str]:
    """A device_config as XAPI keeps it; keys with a null value are left out."""
    return {key: xapi_text(value) for key, value in (config or {}).items() if value is not None}


def check_config(sr_type: str, config: Mapping[str, str], secrets: Mapping[str, str], *, complete: bool) -> None:
    """Raise ValueError for keys that the type does not know, values that cannot work and, if `complete`, missing keys."""
    known = TYPES[sr_type]
    passwords = known.secret.split()
    for key in config:
        if key.removesuffix("_secret") in passwords and not key.endswith("_secret"):
            raise ValueError(f"{key} is a secret: give it in device_secrets, where it is kept out of logs, not in device_config.")
        if key.removesuffix("_secret") not in [*known.plain, *passwords]:
            raise ValueError(_unknown("device_config", sr_type, key, known.plain))
    for key in secrets:
        if key not in passwords:
            raise ValueError(_unknown("device_secrets", sr_type, key, passwords))
        if f"{key}_secret" in config:
            raise ValueError(f"Give either device_secrets.{key}, or the uuid of a secret in device_config.{key}_secret.")
    for key in known.required.split():
        if key in config and not config[key].strip():
            raise ValueError(f"device_config.{key} of an SR of type {sr_type} is empty.")
    missing = [key for key in known.required.split() if key not in config]
    if complete and missing:
        raise ValueError(
            f"An SR of type {sr_type} needs {', '.join(known.required.split())} in device_config; {', '.join(missing)} is missing."
        )
    _check_values(sr_type, config)


def _unknown(option: str, sr_type: str, key: str, keys: list[str]) -> str:
    by_lower = {known.lower(): known for known in keys}
    close = get_close_matches(key.lower(), by_lower, 1)
    text = f"An SR of type {sr_type} has no {key} in {option}"
    if close:
        return f"{text}. Did you mean {by_lower[close[0]]}?"
    return f"{text}; it takes {', '.join(keys)}." if keys else f"{text}; it takes none."


def _check_values(sr_type: str, config: Mapping[str, str]) -> None:
    paths = [*_PATHS, *(["location"] if sr_type in _DIRECTORIES else [])]
    for key in paths:
        for path in config.get(key, "/").split(","):
            if not path.startswith("/"):
                raise ValueError(f"device_config.{key} is {config[key]!r}, but it has to be an absolute path.")
    if sr_type == "iso" and "location" in config:
        location, local = config["location"], config.get("legacy_mode") == "true"
        if local and not location.startswith("/"):
            raise ValueError(f"With legacy_mode, device_config.location is a directory of the host, not {location!r}.")
        if not local and not (":/" in location or location.startswith(("\\\\", "//"))):
            raise ValueError(
                f"device_config.location is {location!r}; it has to look like server:/path (NFS) or \\\\server\\share (SMB), "
                "or be a directory of the host with legacy_mode: true."
            )


def is_shared(sr_type: str, config: Mapping[str, str], wanted: bool | None) -> bool:
    """Whether an SR is shared. Raises ValueError where the user wants what the type cannot be."""
    known = TYPES[sr_type]
    usual = known.shared and config.get("legacy_mode") != "true"
    if wanted is None or wanted == usual:
        return usual
    if not known.either:
        raise ValueError(f"SRs of type {sr_type} are always {'shared' if usual else 'local to a host'}; leave shared out.")
    return wanted


def without_secrets(config: Mapping[str, str]) -> dict[str, str]:
    """A device_config to be shown: neither passwords nor the uuids of secrets, which differ from PBD to PBD."""
    return {key: value for key, value in config.items() if not key.endswith(("password", "password_secret"))}
