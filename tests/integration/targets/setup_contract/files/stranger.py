# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes connections where a host is expected, and is of no use: stranger.py ADDRESS PORT FILE.

What it does with a connection is in FILE, read anew for each: mute, reset, or an HTTP status. It ends when FILE is gone.
"""
from __future__ import annotations

import os
import socket
import struct
import sys
import time
from contextlib import suppress

address, port, file = sys.argv[1:]
held = []
with socket.create_server((address, int(port))) as listener:
    listener.settimeout(0.1)
    end = time.monotonic() + 600
    while os.path.exists(file) and time.monotonic() < end:
        with suppress(OSError):
            connection, _client = listener.accept()
            with open(file, encoding="ascii") as stream:
                kind = stream.read().strip()
            if kind == "mute":
                held.append(connection)
            elif kind == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()
            else:
                connection.settimeout(1)
                connection.recv(65536)
                connection.sendall(f"HTTP/1.1 {kind} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
                connection.close()
