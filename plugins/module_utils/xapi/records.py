# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records of XAPI with Python's types, and finding them by name or uuid in one call.

A record is a dict of the class's fields plus ``ref``. Whatever the wire sent, an integer is an ``int``, a float is a
``float``, a date is an aware ``datetime`` in UTC (XAPI's "never" is 1970-01-01: see ``never``), a set is a list in no
particular order. Keys of maps are always text. References and enumerations are text.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any, Literal, overload

from .errors import Ambiguous, NotFound, XapiError
from .session import Session

NULL = "OpaqueRef:NULL"
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

# Every class of the XenServer API, with its fields that are (sets of, or maps to) i: integers, f: floats, d: dates.
_FIELDS = """
blob i: size d: last_updated
Bond i: links_up
Caller d: last_access
Certificate d: not_before not_after
Cluster i: cluster_stack_version quorum live_hosts expected_hosts f: token_timeout token_timeout_coefficient
Cluster_host d: last_update_live
data_source f: min max value
Driver_variant f: priority
host i: memory_overhead API_version_major API_version_minor virtual_hardware_platform_versions ssh_enabled_timeout \
  console_idle_timeout d: last_software_update ssh_expiry
host_cpu i: number speed family model f: utilisation
host_crashdump i: size d: timestamp
host_metrics i: memory_total memory_free d: last_updated
host_patch i: size d: timestamp_applied
message i: priority d: timestamp
network i: MTU
PGPU i: supported_VGPU_max_capacities
PIF i: MTU VLAN
PIF_metrics i: speed f: io_read_kbs io_write_kbs d: last_updated
pool i: ha_host_failures_to_tolerate ha_plan_exists_for local_auth_max_threads ext_auth_max_threads \
  ext_auth_cache_size ext_auth_cache_expiry update_sync_day vm_console_idle_timeout \
  d: telemetry_next_collection last_update_sync
pool_patch i: size
pool_update i: installation_size
PUSB f: speed
PVS_cache_storage i: size
PVS_server i: first_port last_port
Rate_limit f: burst_size fill_rate
SDN_controller i: port
session d: last_active validation_time
SM i: features
SR i: virtual_allocation physical_utilisation physical_size
sr_stat i: free_space total_space
task f: progress d: created finished
VBD i: status_code
VBD_metrics f: io_read_kbs io_write_kbs d: last_updated
VDI i: virtual_size physical_utilisation d: snapshot_time
vdi_nbd_server_info i: port
VGPU_type i: framebuffer_size max_heads max_resolution_x max_resolution_y
VIF i: MTU status_code trunks
VIF_metrics f: io_read_kbs io_write_kbs d: last_updated
VLAN i: tag
VM i: user_version memory_overhead memory_target memory_static_max memory_dynamic_max memory_dynamic_min \
  memory_static_min VCPUs_max VCPUs_at_startup domid start_delay shutdown_delay order version \
  hardware_platform_version f: HVM_shadow_multiplier d: snapshot_time
VM_guest_metrics d: last_updated
VM_metrics i: memory_actual VCPUs_number VCPUs_CPU numa_nodes numa_node_memory f: VCPUs_utilisation \
  d: start_time install_time last_updated
VMPP i: backup_retention_value d: backup_last_run_time archive_last_run_time
VMSS i: retained_snapshots d: last_run_time
"""
_OTHERS = """auth console crashdump DR_task event Feature GPU_group Host_driver LVHD network_sriov Observer PBD PCI
probe_result PVS_proxy PVS_site Repository role secret subject tunnel USB_group user VGPU VM_appliance VM_group VTPM
VUSB"""
_WITH_NAME_LABEL = """blob Caller data_source Feature GPU_group host host_patch network Observer pool pool_patch
pool_update PVS_site Rate_limit Repository role SM SR sr_stat task USB_group VDI VM VM_appliance VM_group VMPP VMSS"""
# The names of fields in a where-expression are those of database columns: "memory__static_max", "name__label".
_COLUMN_PREFIXES = {
    "VM": ("memory_", "VCPUs_", "actions_", "PV_", "HVM_"),
    "VM_metrics": ("memory_", "VCPUs_"),
    "host": ("memory_", "API_version_"),
    "host_metrics": ("memory_",),
    "VIF": ("qos_",),
    "VBD": ("qos_",),
    "PIF_metrics": ("io_",),
    "VIF_metrics": ("io_",),
    "VBD_metrics": ("io_",),
}


def never(moment: datetime) -> bool:
    """Whether XAPI means "never" by this date."""
    return moment == EPOCH


@lru_cache(maxsize=4096)
def date(text: str) -> datetime:
    """A date as XAPI writes it (``20251121T01:00:00Z``, dashes and zone optional; no zone means UTC)."""
    compact = text.replace("-", "")
    moment = datetime.strptime(compact[:17], "%Y%m%dT%H:%M:%S")
    return moment.replace(tzinfo=timezone.utc)


def _table() -> dict[str, dict[str, Callable[[Any], Any]]]:
    converters: dict[str, Callable[[Any], Any]] = {"i:": int, "f:": float, "d:": lambda value: date(str(value))}
    table: dict[str, dict[str, Callable[[Any], Any]]] = {cls: {} for cls in _OTHERS.split()}
    for line in _FIELDS.replace("\\\n", "").strip().splitlines():
        cls, *words = line.split()
        table[cls] = {}
        for word in words:
            if word in converters:
                convert = converters[word]
            else:
                table[cls][word] = convert
    return table


TYPES = _table()
NAMED = frozenset(_WITH_NAME_LABEL.split())
_CLASSES = {cls.lower(): cls for cls in TYPES}


def class_name(text: str) -> str:
    """The class as the API spells it (``VM``), from the lower-case form in events (``vm``)."""
    return _CLASSES.get(text.lower(), text)


def typed(cls: str, ref: str, raw: dict[str, Any]) -> dict[str, Any]:
    """Give the fields of ``raw`` their types, in place, and add ``ref``; unknown classes and fields stay as is."""
    types = TYPES.get(cls, {})
    for field in types.keys() & raw.keys():
        value, convert = raw[field], types[field]
        if value is None:
            continue
        if isinstance(value, dict):
            raw[field] = {key: convert(item) for key, item in value.items()}
        elif isinstance(value, list):
            raw[field] = [convert(item) for item in value]
        else:
            raw[field] = convert(value)
    raw["ref"] = ref
    return raw


def quote(value: object) -> str | None:
    """``value`` as a literal of a where-expression; None when it holds a double quote, for which there is no escape."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return None if '"' in text else f'"{text}"'


def column(cls: str, field: str) -> str:
    """The name of a field in a where-expression: ``field "name__label"``."""
    for prefix in ("name_", *_COLUMN_PREFIXES.get(cls, ())):
        if field.startswith(prefix):
            field = f"{prefix}_{field[len(prefix) :]}"
            break
    return f'field "{field}"'


def where(cls: str, **equal: object) -> str:
    """An expression that is true where every field equals its value: ``where("VM", is_a_template=False)``."""
    terms = []
    for field, value in equal.items():
        literal = quote(value)
        if literal is None:
            raise ValueError(f"XAPI cannot search for a value with a double quote in it: {value}")
        terms.append(f"({column(cls, field)}={literal})")
    return " and ".join(terms) or "true"


def records(session: Session, cls: str, where: str = "") -> dict[str, dict[str, Any]]:
    """All records of a class, or those for which ``where`` holds: ``{reference: record}``. One call."""
    raw = session.bulk(f"{cls}.get_all_records_where", where) if where else session.bulk(f"{cls}.get_all_records")
    return {ref: typed(cls, ref, record) for ref, record in raw.items()}


def record(session: Session, cls: str, ref: str) -> dict[str, Any]:
    """The record behind a reference; XapiError HANDLE_INVALID when there is none."""
    return typed(cls, ref, session.call(f"{cls}.get_record", ref))


@overload
def find(session: Session, cls: str, name: str, *, where: str = "", required: Literal[True] = True) -> dict[str, Any]:
    ...


@overload
def find(session: Session, cls: str, name: str, *, where: str = "", required: bool) -> dict[str, Any] | None:
    ...


def find(session: Session, cls: str, name: str, *, where: str = "", required: bool = True) -> dict[str, Any] | None:
    """The one record with this uuid or, failing that, this name; among those for which ``where`` holds.

    None (or NotFound when ``required``) when there is none, Ambiguous when several have the name. One call; two when
    the name holds a double quote, which where-expressions cannot express.
    """
    literal = quote(name)
    if literal is None:
        refs = session.call(f"{cls}.get_by_name_label", name) if cls in NAMED else []
        terms = [f'({column(cls, "_ref")}="{ref}")' for ref in refs]
    else:
        terms = [f"({column(cls, 'uuid')}={literal})"]
        if cls in NAMED:
            terms.append(f"({column(cls, 'name_label')}={literal})")
    found: list[dict[str, Any]] = []
    if terms:
        # "and" and "or" have the same precedence in this language: parentheses everywhere.
        either = f"({' or '.join(terms)})"
        found = list(records(session, cls, f"{either} and ({where})" if where else either).values())
    found = [item for item in found if item["uuid"] == name] or found
    if len(found) > 1:
        raise Ambiguous(cls, name, sorted(found, key=lambda item: str(item["uuid"])))
    if not found and required:
        raise NotFound(cls, name)
    return found[0] if found else None


def name_refs(session: Session, error: XapiError) -> XapiError:
    """Let the message of ``error`` name its objects, as far as XAPI still knows them; for use when it is shown."""
    for ref, cls in error.refs().items():
        try:
            field = "name_label" if cls in NAMED else "uuid"
            error.names[ref] = f"'{session.call(f'{cls}.get_{field}', ref)}'"
        except XapiError:
            continue
    return error
