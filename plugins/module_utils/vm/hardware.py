# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a guest is, without its devices: texts, memory, VCPUs, boot, platform, host affinity."""
from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet, merged, xapi_text
from ansible_collections.nobloat.xen.plugins.module_utils.common import wanted_keys
from ansible_collections.nobloat.xen.plugins.module_utils.size import to_bytes, to_text
from ansible_collections.nobloat.xen.plugins.module_utils.vm.guest import Guest
from ansible_collections.nobloat.xen.plugins.module_utils.vm.read import pick
from ansible_collections.nobloat.xen.plugins.module_utils.vm.view import boot_letters, secure_boot
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.records import NULL
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.refusal import refuse_blocked

# xenopsd's device model for each firmware, as the templates and Xen Orchestra set it.
DEVICE_MODELS = {"uefi": "qemu-upstream-uefi", "bios": "qemu-upstream-compat"}
# The memory of its graphics card alone takes that much of a fully virtualised guest (xen-api: ocaml/xapi-idl/memory/memory.ml).
LEAST_MEMORY = 16 << 20
SECURE_BOOT = {True: "true", False: "false"}


def plan_texts(guest: Guest, changes: ChangeSet) -> None:
    """Description, tags and other_config, auto_poweron included."""
    params = guest.params
    changes.set("description", params["description"], lambda value: guest.set("name_description", value))
    changes.merge("tags", params["tags"], guest.keys("tags"), purge=params["purge"])
    wanted = wanted_other_config(params, changes.after["other_config"])
    changes.set("other_config", wanted, guest.keys("other_config", changes.after["other_config"]))
    changes.after["auto_poweron"] = changes.after["other_config"].get("auto_poweron") == "true"


def wanted_other_config(params: Any, live: dict[str, str]) -> dict[str, str]:
    """The other_config that the options ask for, auto_poweron included."""
    wanted = wanted_keys(live, params["other_config"], purge=params["purge"])
    wanted = dict(live) if wanted is None else wanted
    if params["auto_poweron"] is not None:
        wanted["auto_poweron"] = xapi_text(params["auto_poweron"])
        if not params["auto_poweron"] and "auto_poweron" not in live:
            del wanted["auto_poweron"]
    return wanted


def plan_memory(guest: Guest, changes: ChangeSet) -> None:
    """Memory: a halted guest gets a new range; a running one is moved inside the range that it was started with."""
    vm, params = guest.record, guest.params
    live, top, floor = vm["memory_dynamic_max"], vm["memory_static_max"], vm["memory_static_min"]
    want = live if params["memory"] is None else to_bytes(params["memory"])
    want_top = None if params["memory_max"] is None else to_bytes(params["memory_max"])
    if want_top is not None and want_top < want:
        raise ValueError(f"{guest.title}: memory_max ({to_text(want_top)}) is less than memory ({to_text(want)}).")
    if want == live and want_top in (None, top):
        return
    refuse_too_little(guest, want)
    if guest.power == "running" and want_top in (None, top) and floor <= want <= top:
        refuse_blocked(vm, "changing_dynamic_range")
        changes.after["memory"] = to_text(want)
        changes.step(f"set memory of {guest.title}", lambda: void(guest.run("VM.set_memory_dynamic_range", guest.ref, want, want)),
                     undo=lambda: guest.run("VM.set_memory_dynamic_range", guest.ref, vm["memory_dynamic_min"], live))
        guest.planned.update(memory_dynamic_min=want, memory_dynamic_max=want)
        return
    for option in ("memory", "memory_max"):
        if params[option] is not None and to_bytes(params[option]) != (live if option == "memory" else top):
            guest.need_stop(option)
    if not guest.fresh:
        refuse_blocked(vm, "changing_memory_limits")
    new_top = want_top if want_top is not None else want
    low = want if want != live else min(vm["memory_dynamic_min"], want)
    changes.after.update(memory=to_text(want), memory_max=to_text(new_top))
    changes.step(
        f"set memory of {guest.title}",
        lambda: void(guest.call("VM.set_memory_limits", guest.ref, min(floor, low), new_top, low, want)),
        undo=guest.back(lambda: guest.call("VM.set_memory_limits", guest.ref, floor, top, vm["memory_dynamic_min"], live)),
    )
    guest.planned.update(memory_static_min=min(floor, low), memory_static_max=new_top, memory_dynamic_min=low, memory_dynamic_max=want)


def refuse_too_little(guest: Guest, memory: int) -> None:
    """Raise ValueError for less memory than the guest can have: XAPI would lower its floor without a word, and nothing boots."""
    floor = guest.record["memory_static_min"]
    if memory < max(floor, LEAST_MEMORY):
        raise ValueError(
            f"{guest.title} cannot have {to_text(memory)} of memory: " + (
                f"with what it was made from it needs {to_text(floor)} (memory_static_min). Give it at least that much." if memory < floor
                else f"no guest starts with less than {to_text(LEAST_MEMORY)}. Give it what its system needs."))


def plan_vcpus(guest: Guest, changes: ChangeSet) -> None:
    """VCPUs: a running guest can get as many as it was started with at most."""
    vm, params = guest.record, guest.params
    live, top = vm["VCPUs_at_startup"], vm["VCPUs_max"]
    want = live if params["vcpus"] is None else params["vcpus"]
    want_top = max(top, want) if params["vcpus_max"] is None else params["vcpus_max"]
    if want < 1 or want_top < want:
        raise ValueError(f"{guest.title}: vcpus ({want}) has to be between 1 and vcpus_max ({want_top}).")
    if want_top != top:
        if not guest.fresh:
            refuse_blocked(vm, "changing_VCPUs")
        guest.need_stop("vcpus" if params["vcpus_max"] is None else "vcpus_max")

    def set_top() -> None:
        if want_top != top:
            changes.set("vcpus_max", want_top, lambda value: guest.set("VCPUs_max", value))

    # XAPI keeps 0 < VCPUs_at_startup <= VCPUs_max at every moment.
    if want_top > top:
        set_top()
    if want != live:
        if guest.power == "running":
            refuse_blocked(vm, "changing_VCPUs_live")
            changes.step(f"plug VCPUs of {guest.title}", lambda: void(guest.run("VM.set_VCPUs_number_live", guest.ref, want)),
                         undo=lambda: guest.run("VM.set_VCPUs_number_live", guest.ref, live))
        elif guest.power != "halted":
            guest.need_stop("vcpus")
        changes.set("vcpus", want, lambda value: guest.set("VCPUs_at_startup", value))
    if want_top < top:
        set_top()
    guest.planned.update(VCPUs_at_startup=want, VCPUs_max=want_top)


def check_topology(guest: Guest) -> None:
    """Raise ValueError where what is planned cannot start: XAPI looks only then whether whole sockets result (vm_platform.ml)."""
    vm, planned = guest.record, guest.planned
    text = planned["platform"].get("cores-per-socket")
    if text is None or planned["domain_type"] == "pv" or all(planned[key] == vm[key] for key in ("VCPUs_max", "platform")):
        return
    cores = int(text) if text.isdigit() else 0
    if not cores or planned["VCPUs_max"] % cores:
        raise ValueError(f"{guest.title} could not start: with cores-per-socket {text} in platform, the most VCPUs that it can have "
                         f"(vcpus_max, {planned['VCPUs_max']}) have to be a multiple of that. Change one of them.")


def refuse_fleeting(title: str, platform: Mapping[str, Any]) -> None:
    """Raise ValueError for keys of platform that XAPI replaces at each start (xen-api: ocaml/xapi/xapi_vm.ml, start)."""
    if str(platform.get("secureboot")).lower() == "auto":
        raise ValueError(f"{title}: XAPI replaces platform.secureboot auto by true or false whenever the guest starts. "
                         "Say secure_boot: true or false.")
    if "device-model" in platform and platform["device-model"] is None:
        raise ValueError(f"{title}: XAPI gives platform its device-model again whenever the guest starts. Leave device-model out.")


def plan_boot(guest: Guest, changes: ChangeSet) -> None:
    """Boot order, firmware, secure boot and platform; in a running guest the order counts from its next start."""
    vm, params = guest.record, guest.params
    refuse_fleeting(guest.title, params["platform"] or {})
    boot, platform = dict(vm["HVM_boot_params"]), merged(vm["platform"], params["platform"] or None) or dict(vm["platform"])
    if params["boot_order"] is not None and params["boot_order"] != changes.after["boot_order"]:
        boot["order"] = boot_letters(params["boot_order"])
    if params["firmware"] not in (None, changes.after["firmware"]):
        boot["firmware"] = params["firmware"]
        platform["device-model"] = DEVICE_MODELS[params["firmware"]]
        guest.need_stop("firmware")
    if params["secure_boot"] not in (None, changes.after["secure_boot"]):
        platform["secureboot"] = SECURE_BOOT[params["secure_boot"]]
        guest.need_stop("secure_boot")
    if params["secure_boot"] and boot.get("firmware", "bios") != "uefi":
        raise ValueError(f"{guest.title}: secure_boot needs firmware uefi.")
    if boot != vm["HVM_boot_params"]:
        for option in ("boot_order", "firmware"):
            if params[option] is not None:
                changes.after[option] = params[option]
        keys = guest.keys("HVM_boot_params")
        changes.step(f"set boot parameters of {guest.title}", partial(keys, boot), undo=guest.back(partial(keys, vm["HVM_boot_params"])))
    if platform != vm["platform"]:
        changes.after["secure_boot"] = secure_boot(platform)
        changes.set("platform", platform, guest.keys("platform"))
        guest.planned["platform"] = platform


def plan_affinity(guest: Guest, changes: ChangeSet) -> None:
    """The host that a guest prefers; an empty text clears it."""
    wanted = guest.params["affinity"]
    if wanted is None:
        return
    host = pick(guest.world.hosts, "host", wanted) if wanted else None
    ref = host["ref"] if host else NULL
    if (host or guest.record["affinity"] in guest.world.hosts) and ref != guest.record["affinity"]:
        changes.after["affinity"] = host["name_label"] if host else ""
        changes.step(f"set affinity of {guest.title}", lambda: void(guest.set("affinity", ref)),
                     undo=guest.back(lambda: guest.set("affinity", guest.record["affinity"])))


def void(_result: Any) -> None:
    """Drop a call's result, so that it is not taken for facts."""
