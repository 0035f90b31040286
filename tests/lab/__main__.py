# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m lab`: a lab from the command line. Exit code 1: it failed, and said so; 3: the lab cannot run on this machine."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from . import description, host
from .blkback import devices
from .errors import CannotRun, LabError
from .inventory import inventory, write
from .lab import Lab, labs, reap


def main(argv: list[str] | None = None) -> int:
    """Do what the command line says."""
    options = _parser().parse_args(argv)
    try:
        return int(options.action(options) or 0)
    except CannotRun as error:
        print(f"lab: {error}", file=sys.stderr)
        return 3
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1


def _provide(_options: argparse.Namespace) -> int:
    try:
        host.provide()
    except CannotRun as error:
        print(f"cannot run: {error}")
        return 3
    return 0


def _up(options: argparse.Namespace) -> None:
    host.check()
    reap()
    if options.file:
        wanted = description.load(options.file)
    else:
        wanted = description.parse({"nodes": options.nodes, "guests": options.guests, "xapi": not options.no_xapi})
    lab, started = Lab(options.id), time.monotonic()
    lab.up(wanted)
    taken = time.monotonic() - started
    print(f"{lab.name}: {len(wanted.nodes)} nodes up in {taken:.1f} s; {write(lab)}")


def _down(options: argparse.Namespace) -> None:
    for lab in labs() if options.all else [Lab(options.id)]:
        lab.down()


def _ssh(options: argparse.Namespace) -> None:
    box = Lab(options.id).box(options.machine)
    if not box.running():
        raise LabError(f"{options.machine} has no power")
    os.chdir(box.folder)
    words = [" ".join(options.command)] if options.command else []
    command = box.ssh(*words)
    if not words and sys.stdin.isatty():
        command.insert(command.index("ssh") + 1, "-t")
    sys.stdout.flush()
    os.execvp(command[0], command)


def _devices(options: argparse.Namespace) -> None:
    print(json.dumps(devices(Lab(options.id).box(options.machine), options.folder)))


def _status(options: argparse.Namespace) -> None:
    for lab in labs():
        if not lab.exists:
            print(f"{lab.name}: the remains of an up that was killed; python -m lab --id {lab.name} down")
            continue
        for box in lab.boxes:
            status, words = box.status, [f"{lab.name:10} {box.machine.name:12} {box.machine.address:14}"]
            words.append("up  " if box.running() else "down")
            words += [f"on {status.host}"] * bool(status.host)
            words += [f"eth{nic} {kind}" for nic, kind in sorted(status.cables.items())]
            words += [f"disk{number} fails" for number in status.failed]
            print(" ".join(words))
        if lab.xapi is not None:
            print(f"{lab.name:10} XAPI         {lab.xapi['pools'][0]['url']}")
        for incident in lab.incidents:
            print(f"{lab.name:10} incident: {incident}")


def _yaml(content: Any) -> str:
    import yaml

    return yaml.safe_dump(content, sort_keys=False, width=1000)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lab", description="Real kernels as nodes and guests. See README.md.")
    parser.add_argument("--id", default=os.environ.get("LAB_ID", "lab"), help="which lab (default: $LAB_ID, or lab)")
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def verb(name: str, action: Any, text: str, machines: str = "") -> argparse.ArgumentParser:
        made = verbs.add_parser(name, help=text, description=text)
        if machines:
            made.add_argument("machine", nargs=None if machines == "1" else machines)
        made.set_defaults(action=action)
        return made

    def lab(options: argparse.Namespace) -> Lab:
        return Lab(options.id)

    verb("provide", _provide, "install what the lab needs; or print why it cannot run here, with code 3")
    up = verb("up", _up, "make a lab, after removing one of the same id, and boot it")
    up.add_argument("--file", type=Path, help="its description; instead of the following")
    up.add_argument("--nodes", type=int, default=2)
    up.add_argument("--guests", type=int, default=1)
    up.add_argument("--no-xapi", action="store_true", help="without xapisim; guests boot at once")
    down = verb("down", _down, "end and remove it")
    down.add_argument("--all", action="store_true", help="all labs of this clone")
    start = verb("start", lambda o: lab(o).start(o.machine, on=o.on), "give machines power", "+")
    start.add_argument("--on", default="", metavar="NODE", help="where guests are to run")
    verb("kill", lambda o: lab(o).kill(o.machine), "cut the power of machines, and of the guests on them", "+")
    verb("stop", lambda o: lab(o).stop(o.machine), "shut machines down, and the guests on them", "+")
    link = verb(
        "link", lambda o: lab(o).link(o.machine, o.nic, o.how), "cables: with carrier loss, silently, back again", "1"
    )
    link.add_argument("nic", nargs="+", type=int, help="0 to 3")
    link.add_argument("how", choices=["pull", "cut", "plug"])
    disk = verb(
        "disk", lambda o: lab(o).disk(o.machine, o.number, o.how), "a disk that gives only errors, and back", "1"
    )
    disk.add_argument("number", type=int)
    disk.add_argument("how", choices=["fail", "repair"])
    verb("isolate", lambda o: lab(o).isolate(o.machine), "a node and its guests run on and reach nobody", "1")
    verb("rejoin", lambda o: lab(o).rejoin(o.machine), "the end of that", "1")
    ssh = verb("ssh", _ssh, "a shell or a command, out of band", "1")
    ssh.add_argument("command", nargs=argparse.REMAINDER)
    verb("inventory", lambda o: print(_yaml(inventory(lab(o))), end=""), "for Ansible, as YAML")
    found = verb("devices", _devices, "block devices in a folder of a node with their sizes, as JSON, for xapisim", "1")
    found.add_argument("folder")
    verb("status", _status, "all labs of this clone")
    return parser


if __name__ == "__main__":
    sys.exit(main())
