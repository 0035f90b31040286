# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SR.probe: the XML documents that drivers print for a half or a whole device_config."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from ..errors import XapiError
from ..registry import message
from . import backend
from .forwarding import forward_to
from .shelf import shelves
from .sm import driver

if TYPE_CHECKING:
    from ..pool import Pool
    from ..registry import Context

Config = dict[str, str]

# what says that two device_configs mean the same medium
IDENTITY = {
    "nfs": ("server", "serverpath"),
    "smb": ("server",),
    "lvmoiscsi": ("SCSIid",),
    "lvmohba": ("SCSIid",),
    "cephfs": ("server", "serverpath"),
    "glusterfs": ("server",),
    "moosefs": ("masterhost", "rootpath"),
    "linstor": ("group-name",),
    "file": ("location",),
    "zfs": ("location",),
}


def _xml(tag: str, items: list[tuple[str, dict[str, str]]]) -> str:
    """`<tag><item><key>value</key>..</item>..</tag>` with a declaration, as the drivers print it."""
    root = ElementTree.Element(tag)
    for name, values in items:
        child = ElementTree.SubElement(root, name)
        for key, value in values.items():
            ElementTree.SubElement(child, key).text = value
    ElementTree.indent(root, "\t")
    return '<?xml version="1.0" ?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def hint(pool: Pool, sr_type: str, missing: str, config: Config) -> str:
    """The choices for the missing key, empty when the driver has none to offer."""
    if missing == "ConfigTargetIQNMissing":
        return _targets(pool, config)
    if missing == "ConfigSCSIid" and sr_type == "lvmoiscsi":
        return _luns(pool, config)
    if missing == "ConfigSCSIid":
        devices = backend.hba_luns(pool)
        described = [
            {"path": lun.get("device", ""), "SCSIid": lun["SCSIid"], "vendor": "XAPISIM", "size": lun["size"]}
            for lun in devices
        ]
        return _xml("Devlist", [("BlockDevice", values) for values in described])
    if missing == "ConfigServerPathMissing" and sr_type == "nfs":
        if not backend.reachable(config["server"]):
            return ""
        paths = backend.offered(pool, "nfs").get(config["server"], ["/export"])
        described = [{"Target": config["server"], "Path": path, "Accesslist": "*"} for path in paths]
        return _xml("nfs-exports", [("Export", values) for values in described])
    return ""


def _portals(config: Config) -> list[str]:
    return [target for target in config["target"].split(",") if backend.reachable(target)]


def _targets(pool: Pool, config: Config) -> str:
    found: list[tuple[str, dict[str, str]]] = []
    for target in _portals(config):
        for iqn in backend.luns(pool, target):
            values = {
                "Index": str(len(found)),
                "IPAddress": target,
                "Port": config.get("port", "3260"),
                "TargetIQN": iqn,
            }
            found.append(("TGT", values))
    return _xml("iscsi-target-iqns", found)


def _luns(pool: Pool, config: Config) -> str:
    found = []
    for target in _portals(config):
        offered = backend.luns(pool, target)
        wanted = (
            list(offered) if config["targetIQN"] == "*" or not backend.offered(pool, "iscsi") else [config["targetIQN"]]
        )
        for iqn in wanted:
            for lun in offered.get(iqn, []):
                values = {
                    "vendor": "XAPISIM",
                    "serial": lun["SCSIid"][-12:],
                    "LUNid": lun["LUNid"],
                    "size": lun["size"],
                    "SCSIid": lun["SCSIid"],
                }
                found.append(("LUN", values))
    return _xml("iscsi-target", found)


def same_medium(sr_type: str, one: Config, other: Config) -> bool:
    """True when both device_configs lead to the same data, on whatever host."""
    keys = IDENTITY.get(sr_type)
    return keys is not None and all(one.get(k) == other.get(k) for k in keys)


@message("SR.probe")
def probe(ctx: Context, host: str, device_config: Config, sr_type: str, sm_config: Config) -> str:
    """An `SRlist` of the SRs on the medium, or the fault that carries the choices for the next key."""
    found = forward_to(ctx, host)
    known = driver(sr_type)
    if "SR_PROBE" not in known.features.split():
        raise XapiError("UNIMPLEMENTED_IN_SM_BACKEND", "SR.probe")
    backend.check(ctx.pool, known.type, device_config)
    srs: list[tuple[str, dict[str, str]]] = []
    for pbd in ctx.db.rows("PBD"):
        sr = ctx.db.maybe("SR", pbd.SR)
        if sr is None or sr.type != known.type:
            continue
        device = device_config.get("device")
        local = device is not None and pbd.host == found.ref and pbd.device_config.get("device") == device
        if local or same_medium(known.type, pbd.device_config, device_config):
            entry = (
                "SR",
                {"UUID": sr.uuid, "Devlist": device_config.get("device", "")} if local else {"UUID": sr.uuid},
            )
            if entry not in srs:
                srs.append(entry)
    for uuid, shelf in shelves(ctx.pool).items():
        if shelf.type == known.type and same_medium(known.type, shelf.device_config, device_config):
            srs.append(("SR", {"UUID": uuid}))
    return _xml("SRlist", srs)


@message("SR.probe_ext")
def probe_ext(ctx: Context, host: str, device_config: Config, sr_type: str, sm_config: Config) -> list[Any]:
    """None of the simulated drivers is of the third storage generation, which alone answers this."""
    forward_to(ctx, host)
    driver(sr_type)
    raise XapiError("SR_OPERATION_NOT_SUPPORTED")
