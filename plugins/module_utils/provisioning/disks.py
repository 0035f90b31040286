# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scripts that look at the disks where the installer runs, and print the answer file: with those that they choose, or as it is."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import Any

from .values import device

# What stands for the disks until the script knows them.
PLACES = ("@disk1@", "@disk2@")
# The one that XCP-ng's installer makes of two disks.
ARRAY = "md127"

# Where a device of /sys/devices lies tells what it is attached by. Shared are: rport-N (Fibre Channel, also over Ethernet),
# sessionN (iSCSI), and NVMe over fabrics; SRP shows only in the name of its driver. With native multipath, an NVMe disk lies
# below its subsystem, which links to its controllers; without, below its controller; and a controller tells its transport.
_HEAD = """#!/bin/sh
# {what}
set -eu
export LC_ALL=C

# The kernel's name of a disk.
kernel_name() {{
    if ! [ -e "/dev/$1" ]; then
        echo "disk $1 is not here" >&2
        exit 1
    fi
    path=$(readlink -f "/dev/$1")
    echo "${{path#*/dev/}}" | tr / '!'
}}
"""
# diskutil.py, create_raid: where there is an array of this name, XCP-ng's installer makes none, and installs to that one.
_MADE = """
if [ -e "/dev/{array}" ] || [ -e "/sys/block/{array}" ]; then
    made=$(ls "/sys/block/{array}/slaves" 2>/dev/null | sort | tr '\n' ' ')
    if [ "$made" != "$wanted" ]; then
        echo "array {array} is here already, of disks ${{made:-that are not known }}and not of those that are meant: $wanted" >&2
        echo "the installer would install to it: take it apart (mdadm --stop, mdadm --zero-superblock), or take its disks out" >&2
        exit 1
    fi
fi
"""
_NAMED = """
for name in {names}; do
    kernel_name "$name" >/dev/null
done
wanted=$(for name in {names}; do kernel_name "$name"; done | sort | tr '\n' ' ')
if [ "$(echo "$wanted" | tr ' ' '\n' | uniq -d)" ]; then
    echo "one disk is named twice: {names}" >&2
    exit 1
fi
"""
_WHAT = """Disks are chosen where the installer runs: the {choose} ones. Not those that are removable, read-only or hidden, hang on USB,
# may be seen by other hosts, or are part of an array. Of one disk that is seen twice, the first."""
_SCRIPT = """
value() {{ cat "$1" 2>/dev/null || echo "$2"; }}

local_nvme() {{
    for transport in "$1"/../transport "$1"/../nvme*/transport; do
        case $(value "$transport" pcie) in pcie) ;; *) return 1 ;; esac
    done
}}

fits() {{
    case ${{1##*/}} in
    loop*|ram*|zram*|dm-*|md*|sr*|fd*|nbd*|rbd*|drbd*|mtdblock*|pmem*|mmcblk*boot*|mmcblk*rpmb|mmcblk*gp[0-9]|nvme*c*n*) return 1 ;;
    esac
    [ "$(value "$1/removable" 0)$(value "$1/ro" 0)$(value "$1/hidden" 0)" = 000 ] || return 1
    case ${{2#*/devices}} in
    */usb[0-9]*|*/fw[0-9]*|*/rport-*|*/session[0-9]*|*/nvme-fabrics/*) return 1 ;;
    */nvme/*|*/nvme-subsystem/*) local_nvme "$2" || return 1 ;;
    /virtual/*) return 1 ;;
    esac
    case ${{2#*/devices}} in {transport}) ;; *) return 1 ;; esac
    case $(value "$1/device/type" "") in SD*) return 1 ;; esac
    case $(driver "$2") in ib_srp) return 1 ;; esac
    for holder in "$1"/holders/md* "$1"/*/holders/md*; do
        if [ -e "$holder" ]; then
            case ${{holder#"$1/"}} in {arrays}) ;; *) echo "${{1##*/}} is left out: it is part of ${{holder##*/}}" >&2; return 1 ;; esac
        fi
    done
}}

# Of the SCSI host that a device hangs on.
driver() {{
    rest=${{1##*/host}}
    number=${{rest%%/*}}
    base=${{1%/host"$rest"}}
    value "$base/host$number/scsi_host/host$number/proc_name" ""
}}

identity() {{
    for file in "$1/wwid" "$1/device/wwid"; do
        id=$(value "$file" "" | tr -s ' \\t' __)
        if [ -n "$id" ]; then echo "$id"; return; fi
    done
    echo "${{1##*/}}"
}}

# The disks of the local SR are taken, by whatever name and path they are seen.
seen=" "
for name in {guests}; do
    name=$(kernel_name "$name")
    seen="$seen$(identity "/sys/block/$name") "
done

# Each disk once, and as many as are needed. Namespaces of one NVMe are one disk.
once() {{
    left={wanted}
    while read -r bytes name id unit; do
        if [ "$bytes" -lt {minimum} ] || [ "$left" -eq 0 ]; then continue; fi
        case $seen in *" $id "*|*" $unit "*) continue ;; esac
        seen="$seen$id $unit "
        left=$((left - 1))
        echo "$bytes $name"
    done
}}

# The smaller of two comes first: a RAID1 is cut to what the first one has.
found=$(for path in /sys/block/*; do
    device=$(readlink -f "$path")
    fits "$path" "$device" || continue
    id=$(identity "$path")
    case ${{device##*/}} in nvme*) unit=${{device%/*}} ;; *) unit=$id ;; esac
    echo "$(($(value "$path/size" 0) * 512)) $(echo "${{path##*/}}" | tr '!' /) $id $unit"
done | sort -k1,1{order} -k2,2 | once | sort -k1,1n -k2,2 | cut -d ' ' -f 2)
# shellcheck disable=SC2086
set -- $found
if [ $# -lt {wanted} ]; then
    echo "of {wanted} disks that the answer file needs, only $# are here: $*" >&2
    exit 1
fi
"""
_CHOSEN = """
wanted=$(for name in "$@"; do echo "$name" | tr / '!'; done | sort | tr '\n' ' ')
"""
# constants.py of all installers: min_primary_disk_size. They refuse to install to less.
LEAST = 46 << 30
_TRANSPORTS = {"nvme": "*/nvme/*|*/nvme-subsystem/*", "sata": "*/ata[0-9]*", "any": "*"}


def generator(text: str, rule: dict[str, Any], guests: Iterable[str] = (), *, arrays: str = "none") -> str:
    """A script for the installer's `answerfile_generator`: chooses disks by the rule, and prints the answer file with them.

    `guests` are names of disks that the local SR gets besides: not to be chosen. Of disks that are part of a running array, those
    may be chosen whose array the installer stops (`arrays` is "stopped") or takes as it is ("taken"): it cannot write to others.

    Where fewer disks fit than are needed, it says so and fails, and the installer stops before it has written anything.
    """
    may = {"stopped": "holders/*", "taken": f"holders/{ARRAY}", "none": "''"}[arrays]
    return (_HEAD + _SCRIPT + (_CHOSEN + _MADE if arrays == "taken" else "") + """
printf '%s' {text} | sed -e "s|{first}|$1|" -e "s|{second}|${{2-}}|"
""").format(
        what=_WHAT.format(choose=rule["choose"]), transport=_TRANSPORTS[rule["transport"]], minimum=max(rule["min_size"] or 0, LEAST),
        order="nr" if rule["choose"] == "largest" else "n", wanted=sum(place in text for place in PLACES), arrays=may, array=ARRAY,
        guests=shlex.join(map(device, guests)), text=shlex.quote(text), first=PLACES[0], second=PLACES[1])


def guarded(text: str, names: Iterable[str]) -> str:
    """A script that prints an answer file with an array of these disks, unless the installer would take another array for it."""
    return (_HEAD + _NAMED + _MADE + "\nprintf '%s' {text}\n").format(
        what=f"The answer file, if {ARRAY} is not yet an array of other disks.", names=shlex.join(map(device, names)), array=ARRAY,
        text=shlex.quote(text))
