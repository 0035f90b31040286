# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Process 1 of a machine's PID namespace: records itself, starts the kernel, and ends with it.

    python supervisor.py RECORD COMMAND...

UML is many processes (one for each address space of the machine, some for its disks) which outlive a SIGKILL of the first;
with this one in a PID namespace they all die at once. /proc is still that of the outer namespace: /proc/self says who we
are out there. Run as a file, without the package: python -I -S.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """RECORD is a file as in process.py; if its folder is gone, nobody wants the machine any more."""
    record, command = sys.argv[1], sys.argv[2:]
    with open("/proc/self/stat", encoding="ascii", errors="replace") as file:
        pid, _unused, rest = file.read().partition(" ")
    with open(record + ".new", "w", encoding="ascii") as file:
        file.write(f"{pid} {rest.rpartition(')')[2].split()[19]}\n")
    os.rename(record + ".new", record)
    child = os.posix_spawn(command[0], command, dict(os.environ))
    while True:
        ended, status = os.wait()
        if ended == child:
            os._exit(os.waitstatus_to_exitcode(status) & 255)


if __name__ == "__main__":
    main()
