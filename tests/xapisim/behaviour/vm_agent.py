# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VM_metrics, VM_guest_metrics and the guest agent that fills the latter.

A guest has tools when its platform, other_config or xenstore_data says `xapisim_tools=true`, or when it was made from
a template and none says `false`. Its agent reports `guest_agent` simulated seconds (scenario `durations`, default 1.0)
after each boot, with 0 before the call that boots it ends; its addresses follow from the MACs of its VIFs, unless a VIF
was configured or the control port said others.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ..registry import NULL, refresh

if TYPE_CHECKING:
    from ..db import Database, Row
    from ..pool import Pool

AGENT_DELAY = 1.0
_FEATURES = ("feature-suspend", "feature-shutdown", "feature-poweroff", "feature-reboot", "feature-vcpu-hotplug")
_MORE_FEATURES = ("feature-balloon", "data-updated")
_WINDOWS = ("feature-static-ip-setting", "feature-laptop-slate-mode")  # agents of Linux do not have these
_KERNELS = {"debian": "6.1.0", "ubuntu": "6.8.0", "centos": "5.14.0", "rocky": "5.14.0", "almalinux": "5.14.0"}


def setting(vm: Row, key: str) -> str | None:
    """A `xapisim_*` setting of a VM, wherever it stands."""
    for place in (vm.platform, vm.other_config, vm.xenstore_data):
        if key in place:
            return str(place[key]).lower()
    return None


def has_tools(vm: Row) -> bool:
    """Whether an agent will report from the guest."""
    told = setting(vm, "xapisim_tools")
    return told == "true" if told is not None else "base_template_name" in vm.other_config


def fresh_metrics(db: Database, **fields: Any) -> Row:
    """The VM_metrics of a VM that has never run."""
    return db.create("VM_metrics", VCPUs_utilisation={0: 0.0}, **fields)


def copied_metrics(db: Database, vm: Row) -> Row:
    """A copy of a VM's metrics, fresh ones when it has none."""
    source = db.maybe("VM_metrics", vm.metrics)
    return _copy(db, source) if source is not None else fresh_metrics(db)


def copied_guest_metrics(db: Database, vm: Row) -> Row | str:
    """A copy of a VM's guest metrics, NULL when it has none."""
    source = db.maybe("VM_guest_metrics", vm.guest_metrics)
    return _copy(db, source) if source is not None else NULL


def _copy(db: Database, source: Row) -> Row:
    fields = source.record()
    del fields["uuid"]
    return db.create(source.cls, **fields)


def drop_guest_metrics(db: Database, vm: Row) -> None:
    """What the agent said is no longer true."""
    metrics = db.maybe("VM_guest_metrics", vm.guest_metrics)
    vm.guest_metrics = NULL
    if metrics is not None:
        db.destroy(metrics)


def booted(pool: Pool, vm: Row) -> None:
    """Write the metrics of a domain that has just been built."""
    db = pool.db
    metrics = db.maybe("VM_metrics", vm.metrics)
    if metrics is None:
        metrics = vm.metrics = fresh_metrics(db)
        metrics = db.row("VM_metrics", vm.metrics)
    platform = vm.platform
    now = pool.clock.datetime()
    metrics.memory_actual = vm.memory_dynamic_max
    metrics.VCPUs_number = vm.VCPUs_at_startup
    metrics.VCPUs_params = vm.VCPUs_params
    metrics.start_time = metrics.last_updated = now
    metrics.current_domain_type = vm.domain_type
    metrics.hvm = vm.domain_type == "hvm"
    metrics.nomigrate = platform.get("nomigrate", "").lower() in ("true", "1")
    metrics.nested_virt = platform.get("nested-virt", "").lower() in ("true", "1")


def halted(db: Database, vm: Row) -> None:
    """The domain is gone."""
    metrics = db.maybe("VM_metrics", vm.metrics)
    if metrics is not None:
        metrics.current_domain_type = "unspecified"


def expect_agent(pool: Pool, vm: Row) -> None:
    """Let the agent of a guest that has just begun to run report in a while, unless it runs no more by then.

    Nothing happens for guests without tools, and for those whose agent has reported since their boot.
    """
    domid = vm.domid
    if vm.power_state != "Running" or vm.guest_metrics != NULL or not has_tools(vm):
        return

    def arrive() -> None:
        if vm.exists and vm.power_state == "Running" and vm.domid == domid:
            report(pool, vm)

    delay = pool.durations.get("guest_agent", AGENT_DELAY)
    if delay:
        pool.clock.later(delay, arrive)
    else:  # before the call that started the guest ends
        arrive()


def address(mac: str) -> str:
    """The IPv4 address of a NIC: 10.x.y.z from the last three bytes of its MAC."""
    tail = [int(part, 16) for part in mac.split(":")[-3:]]
    return f"10.{tail[0]}.{tail[1]}.{1 + tail[2] % 254}"


def link_local(mac: str) -> str:
    """The IPv6 link-local address of a NIC, EUI-64."""
    part = [int(p, 16) for p in mac.split(":")]
    part[0] ^= 2
    words = (part[0] << 8 | part[1], part[2] << 8 | 0xFF, 0xFE << 8 | part[3], part[4] << 8 | part[5])
    return "fe80::" + ":".join(f"{word:x}" for word in words)


def other_addresses(pool: Pool, vm: Row) -> dict[str, str]:
    """What the agent says of a guest besides, over its reboots: {key of `networks`: text}."""
    kept: dict[str, dict[str, str]] = pool.__dict__.setdefault("guest_addresses", {})
    return kept.setdefault(vm.uuid, {})


def networks(pool: Pool, vm: Row) -> dict[str, str]:
    """What an agent says about its attached NICs."""
    said: dict[str, str] = {}
    vifs = {vif.device: vif for vif in pool.db.rows("VIF", VM=vm)}
    for device, vif in vifs.items():
        if vif.currently_attached:
            static = vif.ipv4_configuration_mode == "Static"
            said[f"{device}/ip"] = said[f"{device}/ipv4/0"] = _bare(vif.ipv4_addresses) if static else address(vif.MAC)
            own = [_bare(vif.ipv6_addresses)] if vif.ipv6_configuration_mode == "Static" else []
            said |= {f"{device}/ipv6/{at}": text for at, text in enumerate([*own, link_local(vif.MAC)])}
    others = other_addresses(pool, vm)
    return said | {key: text for key, text in others.items() if _there(vifs.get(key.partition("/")[0]))}


def _bare(addresses: list[str]) -> str:
    return addresses[0].partition("/")[0]


def _there(vif: Row | None) -> bool:
    """Agents also number what is no VIF, as a bridge of the guest's own."""
    return vif is None or bool(vif.currently_attached)


def os_version(vm: Row) -> dict[str, str]:
    """The operating system, guessed from the name of the template."""
    name = vm.other_config.get("base_template_name") or vm.name_label
    distro = (re.findall(r"[A-Za-z]+", name) or ["linux"])[0].lower()
    numbers = [*re.findall(r"\d+", name), "0", "0"]
    told = {"name": name, "distro": distro, "major": numbers[0], "minor": numbers[1]}
    if distro != "windows":
        told["uname"] = _KERNELS.get(distro, "6.1.0")
    return told


def report(pool: Pool, vm: Row) -> None:
    """The agent speaks: guest metrics appear or are brought up to date."""
    db, system = pool.db, os_version(vm)
    fields: dict[str, Any] = {
        "os_version": system,
        "PV_drivers_version": {"major": "7", "minor": "33", "micro": "0", "build": "1"},
        "PV_drivers_up_to_date": True,
        "PV_drivers_detected": True,
        "networks": networks(pool, vm),
        "other": dict.fromkeys((*_FEATURES, *_MORE_FEATURES, *(_WINDOWS if system["distro"] == "windows" else ())), "1"),
        "live": True,
        "can_use_hotplug_vbd": "yes",
        "can_use_hotplug_vif": "yes",
        "last_updated": pool.clock.datetime(),
    }
    metrics = db.maybe("VM_guest_metrics", vm.guest_metrics)
    if metrics is None:
        vm.guest_metrics = db.create("VM_guest_metrics", **fields)
    else:
        for name, value in fields.items():
            setattr(metrics, name, value)
    refresh(vm)
    for vbd in db.rows("VBD", VM=vm):
        refresh(vbd)
    for vif in db.rows("VIF", VM=vm):
        refresh(vif)


def guest_applies(pool: Pool, vm: Row) -> None:
    """The guest gets other addresses for its NICs, and its agent says so after a while."""
    pool.clock.later(pool.durations.get("guest_agent", AGENT_DELAY), lambda: networks_changed(pool, vm))


def networks_changed(pool: Pool, vm: Row) -> None:
    """A NIC came or went: an agent that is there says so at once."""
    metrics = pool.db.maybe("VM_guest_metrics", vm.guest_metrics) if vm.exists else None
    if metrics is not None and metrics.live and vm.power_state == "Running":
        metrics.networks = networks(pool, vm)
        metrics.last_updated = pool.clock.datetime()
