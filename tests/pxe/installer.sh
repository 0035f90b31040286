#!/bin/sh
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Stands in for the installer: /init of a tiny initrd. What it does with an answer file it does as the installer of XCP-ng does:
# it fetches what the kernel's command line names, runs the scripts of each stage with the installer's arguments, fails if one
# cannot be fetched, and does not care what they return. What makes the answer file has to succeed, though.
PATH=/bin
/bin/busybox --install -s /bin
mkdir -p /proc /sys /dev /tmp /mnt
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
exec </dev/null >/dev/console 2>&1
say() { echo "INSTALLER: $*"; }
off() { sync; poweroff -f; }

while read -r module; do insmod "/modules/$module"; done </modules/order
# shellcheck disable=SC2013
for word in $(cat /proc/cmdline); do
    case $word in answerfile=*|answerfile_generator=*) url=${word#*=} ;; esac
done
say "arguments: $(cat /proc/cmdline)"
[ -n "$url" ] || { say 'no answer file'; off; }
ip link set eth0 up
udhcpc -q -n -t 10 -T 2 -i eth0 -s /bin/lease || { say 'no lease'; off; }

wget -q -O /tmp/answers "$url" || { say "no $url"; off; }
if grep -q '^#!' /tmp/answers; then
    mv /tmp/answers /tmp/generator
    chmod 0500 /tmp/generator
    XS_STAGE=answerfile /tmp/generator >/tmp/answers || { say 'no answer file was made'; off; }
fi
mac=$(cat /sys/class/net/eth0/address)
if ! grep -q '^<installation ' /tmp/answers || ! grep -q "<admin-interface hwaddr=\"$mac\"" /tmp/answers; then
    say "this is not the answer file of $mac:"
    cat /tmp/answers
    off
fi
source=$(sed -n 's/.*<source type="url">\([^<]*\)<.*/\1/p' /tmp/answers)
disk=/dev/$(sed -n 's/.*<primary-disk[^>]*>\([^<]*\)<.*/\1/p' /tmp/answers)
failed=1

stage() {
    stage=$1
    shift
    # shellcheck disable=SC2013
    for script in $(sed -n "s/.*<script stage=\"$stage\" type=\"url\">\([^<]*\)<.*/\1/p" /tmp/answers); do
        wget -q -O "/tmp/$stage" "$script" || { say "no $script"; off; }
        chmod 0500 "/tmp/$stage"
        XS_STAGE=$stage "/tmp/$stage" "$@"
        say "script of $stage: $?"
    done
}

stage installation-start
if [ -b "$disk" ] && wget -q -O /tmp/system "${source}system.img" && cat /tmp/system >"$disk"; then
    failed=0
fi
mkdir -p /mnt/etc
stage filesystem-populated /mnt
tar -C /mnt -c . | dd of="$disk" bs=1M seek=8 conv=fsync 2>/dev/null || failed=1
stage installation-complete $failed
say "end: $failed"
off
