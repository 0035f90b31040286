# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A script that chooses the disks where the installer runs, and prints the answer file with them."""

from __future__ import annotations

import shlex
from typing import Any

# What stands for the disks until the script knows them.
PLACES = ("@disk1@", "@disk2@")

# Where a device of /sys/devices lies tells what it is attached by. Shared are: rport-N (Fibre Channel, also over Ethernet),
# sessionN (iSCSI), InfiniBand's SRP, and NVMe over fabrics. With native multipath, an NVMe disk lies below its subsystem, which
# links to its controllers; without, below its controller; and a controller tells its transport.
_SCRIPT = """#!/bin/sh
# Disks are chosen where the installer runs: the {choose} ones. Not those that are removable, read-only or hidden, hang on USB,
# or may be seen by other hosts. Of one disk that is seen twice, the first.
set -eu
export LC_ALL=C

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
    */usb[0-9]*|*/fw[0-9]*|*/rport-*|*/session[0-9]*|*/nvme-fabrics/*|*/infiniband*|*/srp*) return 1 ;;
    */nvme/*|*/nvme-subsystem/*) local_nvme "$2" || return 1 ;;
    /virtual/*) return 1 ;;
    esac
    case ${{2#*/devices}} in {transport}) ;; *) return 1 ;; esac
}}

identity() {{
    for file in "$1/wwid" "$1/device/wwid"; do
        id=$(value "$file" "" | tr -s ' \\t' __)
        if [ -n "$id" ]; then echo "$id"; return; fi
    done
    echo "${{1##*/}}"
}}

# Each disk once, and as many as are needed.
once() {{
    seen=" "
    left={wanted}
    while read -r bytes name id; do
        case $seen in *" $id "*) continue ;; esac
        seen="$seen$id "
        if [ "$bytes" -ge {minimum} ] && [ "$left" -gt 0 ]; then
            left=$((left - 1))
            echo "$name"
        fi
    done
}}

found=$(for path in /sys/block/*; do
    device=$(readlink -f "$path")
    fits "$path" "$device" || continue
    echo "$(($(value "$path/size" 0) * 512)) $(echo "${{path##*/}}" | tr '!' /) $(identity "$path")"
done | sort -k1,1{order} -k2,2 | once)
# shellcheck disable=SC2086
set -- $found
if [ $# -lt {wanted} ]; then
    echo "of {wanted} disks that the answer file needs, only $# are here: $*" >&2
    exit 1
fi
printf '%s' {text} | sed -e "s|{first}|$1|" -e "s|{second}|${{2-}}|"
"""
_TRANSPORTS = {"nvme": "*/nvme/*|*/nvme-subsystem/*", "sata": "*/ata[0-9]*", "any": "*"}


def generator(text: str, rule: dict[str, Any]) -> str:
    """A script for the installer's `answerfile_generator`: chooses disks by the rule, and prints the answer file with them.

    Where fewer disks fit than are needed, it says so and fails, and the installer stops before it has written anything.
    """
    return _SCRIPT.format(
        choose=rule["choose"], transport=_TRANSPORTS[rule["transport"]], minimum=rule["min_size"] or 1,
        order="nr" if rule["choose"] == "largest" else "n", wanted=sum(place in text for place in PLACES),
        text=shlex.quote(text), first=PLACES[0], second=PLACES[1])
