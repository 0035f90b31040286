# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that node modules run as: all of them with what they import, of the standard library of Python 3.6, in one archive. It is
kept on the machine by its content's hash, where nobody but its user may write, and told by standard input what to do. PRIVATE: may
change at any time."""
from __future__ import annotations

import ast
import functools
import hashlib
import io
import shlex
import zipfile
from pathlib import Path

PACKAGE = "ansible_collections/nobloat/xen/plugins/"
PLUGINS = Path(__file__).parents[1]
OURS = PACKAGE.replace("/", ".")
DISCREET = "module_utils/discreet.py"
ALONE = "module_utils/node/alone.py"
INSTEAD = f"from {OURS}module_utils.node.alone import DiscreetModule\n"  # in the place of DISCREET
PLACE = "/run/nobloat.xen"
OLDEST = (3, 6)
KEPT = 7 * 24 * 3600  # seconds since it was last used

# Each line that means something begins with this; all others are noise of the connection or of the login.
MARK = "nobloat.xen:"

MAIN = f"""\
import os
import sys

if sys.version_info < {OLDEST}:
    sys.stdout.write("{MARK}old " + sys.version.split()[0] + "\\n")
    sys.exit(0)
from {OURS}module_utils.node.alone import main

main(os.path.dirname(os.path.abspath(__file__)))
"""

WHERE = """\
p={place}; [ -w /run ] || p="$HOME/.nobloat.xen"
"""
# A Python.
FIND = """\
y=; for c in {pythons}; do y=$(command -v "$c") && break; done
[ -n "$y" ] || {{ cat >/dev/null; echo {mark}python; exit 0; }}
"""
# The usual case: it is there, and is run. A folder in which others may write, or that somebody else has made, is never used.
RUN = """\
if [ -O "$p" ] && [ "$(stat -c %f "$p")" = 41c0 ] && [ -d "$p/{name}" ]; then "$y" -E -s -S "$p/{name}"; exit $?; fi
cat >/dev/null; echo {mark}absent
"""
SEND = """\
[ -w /run ] || [ -O "$HOME" ] || {{ cat >/dev/null; echo "{mark}place There is no folder of the user's own to keep it in."; exit 0; }}
"$y" -E -s -S -c {unpack} "$p" {name} {size}
"""

# How far a job in the background is: what it has said, or that it is at work, or whatever it has said before it died.
LOOK = """\
f="$p/job-{job}"; a=; kill -0 {pid} 2>/dev/null && a=1
if grep -q '^{mark}said ' "$f"; then cat "$f"; rm -f "$f"
elif [ "$a" ]; then echo {mark}works
else cat "$f"; rm -f "$f"; echo {mark}; fi
"""
END = "kill -TERM -{pid}; sleep 5; kill -KILL -{pid}; rm -f \"$p/job-{job}\"; :"

# Runs with any Python; what is too old says so when the program begins.
UNPACK = f"""\
import sys
sys.path.pop(0)
import errno, hashlib, io, os, shutil, stat, time, zipfile
place, name, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
data = b""
while len(data) < size:
    part = os.read(0, size - len(data))
    if not part:
        break
    data += part
def leave(text):
    while os.read(0, 1 << 20):
        pass
    sys.stdout.write("{MARK}place " + text + "\\n")
    sys.stdout.flush()
    os._exit(0)
os.umask(0o77)
if hashlib.sha256(data).hexdigest() != name:
    leave("What was sent arrived damaged.")
try:
    try:
        os.mkdir(place, 0o700)
    except OSError as error:
        if error.errno != errno.EEXIST:
            raise
    found = os.lstat(place)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) != 0o700:
        leave(place + " is not a folder that only its user may enter (mode 0700). Find out who made it, and remove it.")
    for each in os.listdir(place):
        path = os.path.join(place, each)
        if each != name and os.lstat(path).st_mtime < time.time() - {KEPT}:
            shutil.rmtree(path, ignore_errors=True) if os.path.isdir(path) else os.remove(path)
    draft, kept = os.path.join(place, "new-%d-%s" % (os.getpid(), name)), os.path.join(place, name)
    zipfile.ZipFile(io.BytesIO(data)).extractall(draft)
    try:
        os.rename(draft, kept)
    except OSError:
        shutil.rmtree(draft, ignore_errors=True)
        if not os.path.isdir(kept):
            raise
except (OSError, IOError) as error:
    leave("The program cannot be kept in " + place + ": " + str(error) + ".")
os.execv(sys.executable, [sys.executable, "-E", "-s", "-S", kept])
"""


def modules() -> list[str]:
    """The modules that run on nodes."""
    return sorted(path.stem for path in (PLUGINS / "modules").glob("*.py") if "NodeModule(" in path.read_text(encoding="utf-8"))


def imported(path: str) -> set[str]:
    """The files of this collection that one of them imports."""
    found = set()
    for node in ast.walk(ast.parse((PLUGINS / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(OURS):
            base = node.module.removeprefix(OURS).replace(".", "/")
            files = [f"{base}.py", *(f"{base}/{alias.name}.py" for alias in node.names)]
            found.update(file for file in files if (PLUGINS / file).is_file())
    return found


def sources() -> list[str]:
    """All files that the modules need, DISCREET among them."""
    missing, found = {f"modules/{name}.py" for name in modules()}, {ALONE}
    while missing:
        found |= missing
        missing = set().union(*map(imported, missing - {DISCREET})) - found
    return sorted(found)


@functools.cache
def archive() -> tuple[str, bytes]:
    """Its hash, and itself: the same bytes each time."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(zipfile.ZipInfo("__main__.py"), MAIN)
        for path in sources():
            content = INSTEAD.encode() if path == DISCREET else (PLUGINS / path).read_bytes()
            file.writestr(zipfile.ZipInfo(PACKAGE + path), content, zipfile.ZIP_DEFLATED)
    return hashlib.sha256(stream.getvalue()).hexdigest(), stream.getvalue()


def command(environment: str, interpreter: str, send: bool) -> str:
    """What a shell on the machine is to run; with `send`, standard input begins with the archive. `environment`: assignments."""
    name, content = archive()
    export = f"export {environment}\n" if environment.strip() else ""
    pythons = shlex.quote(interpreter) if interpreter else "python3 /usr/libexec/platform-python /usr/bin/python3"
    return export + (WHERE + FIND + (SEND if send else RUN)).format(
        place=PLACE, pythons=pythons, mark=MARK, name=name, size=len(content), unpack=shlex.quote(UNPACK))


def look(job: str, pid: int, end: bool = False) -> str:
    """What a shell is to run to see how far a job is; or, with `end`, to end it."""
    return (WHERE + (END if end else LOOK)).format(place=PLACE, job=job, pid=pid, mark=MARK)
