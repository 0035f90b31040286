# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run inside the lab's network namespace, as a file (python -I -S connect.py ...), by ssh and by the lab itself.

connect.py HOST PORT                 standard input and output to a TCP connection, for ssh's ProxyCommand
connect.py --wait SECONDS HOST...    until all of them have said hello on port 22; those that have not are printed
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time


def relay(host: str, port: int) -> int:
    """Copy both ways until either end closes."""
    try:
        peer = socket.create_connection((host, port), 10)
    except OSError as error:
        print(f"lab: {host}:{port}: {error.strerror or error}", file=sys.stderr)
        return 1
    peer.settimeout(None)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    targets = {0: peer.fileno(), peer.fileno(): 1}
    try:
        while True:
            for source in select.select(list(targets), [], [])[0]:
                data = os.read(source, 65536)
                if not data:
                    return 0
                while data:
                    data = data[os.write(targets[source], data) :]
    except OSError:
        return 1


def greets(host: str) -> bool:
    """Whether an ssh server answers, not just its kernel."""
    try:
        with socket.create_connection((host, 22), 1) as peer:
            peer.settimeout(2)
            return peer.recv(4) == b"SSH-"
    except OSError:
        return False


def wait(seconds: float, hosts: list[str]) -> int:
    """Ask again and again, ten times a second."""
    deadline = time.monotonic() + seconds
    while True:
        hosts = [host for host in hosts if not greets(host)]
        if not hosts or time.monotonic() > deadline:
            print(*hosts)
            return bool(hosts)
        time.sleep(0.1)


if __name__ == "__main__":
    if sys.argv[1] == "--wait":
        sys.exit(wait(float(sys.argv[2]), sys.argv[3:]))
    sys.exit(relay(sys.argv[1], int(sys.argv[2])))
