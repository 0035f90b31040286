# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs in a guest, or on a node that reads one half alone: python3 records.py write FILE FIRST | check FILE LAST

A record is 4 KiB: its number, noise, a checksum. `write` puts record n into slot n % SLOTS, has it on stable storage
(fdatasync), and only then acknowledges it, a line "n seconds" on standard output, where seconds is how long that took. It
ends when its standard input does. `check` asks for each of the last SLOTS records up to LAST, or for a newer one in its slot.
Nothing but the standard library; `load.py` sends this file as it is.
"""
import os
import select
import sys
import time
import zlib

SIZE = 4096
SLOTS = 4096
PAUSE = 0.01  # seconds between records: what is to be seen is what becomes of them, and others need the processor, too


def made(number):
    body = b"%016d" % number + os.urandom(64) * 63
    body = body.ljust(SIZE - 4, b".")
    return body + zlib.crc32(body).to_bytes(4, "big")


def found(record):
    """The number of a whole record, else -1."""
    whole = len(record) == SIZE and zlib.crc32(record[:-4]) == int.from_bytes(record[-4:], "big")
    return int(record[:16]) if whole else -1


def write(path, number):
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    while not select.select([0], [], [], PAUSE)[0]:
        begin = time.monotonic()
        os.pwrite(file, made(number), number % SLOTS * SIZE)
        os.fdatasync(file)
        print(number, "%.4f" % (time.monotonic() - begin), flush=True)
        number += 1


def check(path, last):
    file = os.open(path, os.O_RDONLY)
    lost = [number for number in range(max(0, last - SLOTS + 1), last + 1)
            if found(os.pread(file, SIZE, number % SLOTS * SIZE)) < number]
    print(len(lost), *lost[:5])


if __name__ == "__main__":
    {"write": write, "check": check}[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
