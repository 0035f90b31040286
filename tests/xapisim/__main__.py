# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m xapisim`: serve pools, say so in one line of JSON, end on SIGTERM or when standard input closes."""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import stat
import sys
import threading
from pathlib import Path

from . import registry, scenario
from .server import Server, StartError


def main(argv: list[str] | None = None) -> int:
    """Exit code: 0 after a clean end, 2 when the scenario is wrong or a port is taken."""
    parser = argparse.ArgumentParser(prog="xapisim", description="A strict simulator of XAPI. See README.md.")
    parser.add_argument("--scenario", type=Path, metavar="FILE", help="pools to serve (default: one of two hosts)")
    parser.add_argument("--tls", action="store_true", help="https, with a certificate authority of its own")
    parser.add_argument("--control-port", type=int, default=0, metavar="PORT", help="default: a free one")
    parser.add_argument("--verbose", action="store_true", help="show failing calls on standard error")
    options = parser.parse_args(argv)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_unused: ended.set())
    server = None
    try:
        registry.load_behaviours()
        gc.disable()  # a big pool is millions of objects that stay: looking through them again and again costs seconds
        pools = scenario.load(options.scenario)
        gc.freeze()
        gc.enable()
        for pool in pools:
            pool.verbose = options.verbose
        server = Server(pools, tls=options.tls, control_port=options.control_port)
        print(json.dumps(server.start()), flush=True)
        _end_with_stdin(ended)
        ended.wait()
    except (scenario.ScenarioError, StartError) as error:
        print(f"xapisim: {error}", file=sys.stderr)
        return 2
    finally:
        if server is not None:
            server.stop()
    return 0


def _end_with_stdin(ended: threading.Event) -> None:
    """Watch standard input, only if somebody holds its other end (a pipe or a socket)."""
    try:
        mode = os.fstat(0).st_mode
    except OSError:
        return
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        return

    def watch() -> None:
        while os.read(0, 4096):
            pass
        ended.set()

    threading.Thread(target=watch, name="stdin", daemon=True).start()


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # calls that still wait are not worth waiting for
