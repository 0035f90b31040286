# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest's file system is frozen for a moment, and thawed whatever happens: what module guest_freeze does. Python 3.6 syntax.

A process that nobody waits for freezes it, and thaws it when it is told to, or when its time is up. So it does not matter who loses the
connection, or is killed, in between. A freeze that comes too late is taken back at once.
"""

import contextlib
import fcntl
import os
import re
import select
import signal
import time
from typing import Any, Callable

from ansible_collections.nobloat.xen.plugins.module_utils.node.held import RUN, own_folder
from ansible_collections.nobloat.xen.plugins.module_utils.node.plan import Plan
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import NodeError, read

FREEZE, THAW = 0xC0045877, 0xC0045878  # linux/fs.h: FIFREEZE, FITHAW
STATES = os.path.join("/", RUN)


def place_of(number: str, table: str) -> str:
    """Where the file system on a device (MAJOR:MINOR) is mounted, from /proc/self/mountinfo; "" if it is not."""
    for line in table.splitlines():
        words = line.split()
        if len(words) > 5 and words[2] == number and words[3] == "/":
            return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), words[4])
    return ""


class Freezer:
    """The file system on one device. `control` freezes and thaws nothing in tests."""

    def __init__(self, device: str, states: str = STATES, control: Callable[[int, int, int], Any] = fcntl.ioctl) -> None:
        self.device = device
        self.control = control
        self.state = os.path.join(states, f"freeze-{os.path.basename(device)}")
        self.place, self.number = "", 0
        with contextlib.suppress(OSError):
            self.number = os.stat(device).st_rdev
            self.place = place_of(f"{os.major(self.number)}:{os.minor(self.number)}", read("/proc/self/mountinfo"))

    def keeper(self) -> int:
        """The process that keeps it frozen, and has its number in a locked file for as long; 0 if none does."""
        try:
            stream = os.open(self.state, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            return 0
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(os.read(stream, 20) or b"0")
        finally:
            os.close(stream)
        return 0

    def plan(self, state: str, seconds: float) -> Plan:
        """Facts: `held`, whether it was frozen until now."""
        plan = Plan(f"file system on {self.device}", {"state": "frozen" if self.keeper() else "thawed", "path": self.place})
        plan.facts["held"] = False
        if state == "frozen" and not self.place:
            raise NodeError(f"No file system on {self.device} is mounted here.")
        if plan.before["state"] != state:
            plan.after["state"] = state
            plan.step(f"have {self.place} {state}", (lambda: self.freeze(seconds)) if state == "frozen" else (lambda: self.thaw(plan)))
        return plan

    def thaw(self, plan: Plan) -> None:
        """Have it thawed, and note whether it was frozen all the time."""
        keeper = self.keeper()
        with self._opened() as place:
            plan.facts["held"] = self._thaw(place)
        if keeper:
            with contextlib.suppress(ProcessLookupError):
                os.kill(keeper, signal.SIGKILL)

    @contextlib.contextmanager
    def _opened(self) -> Any:
        place = os.open(self.place, os.O_RDONLY)
        try:
            if os.fstat(place).st_dev != self.number:
                raise NodeError(f"Something else is mounted over {self.place}.")
            yield place
        finally:
            os.close(place)

    def _thaw(self, place: int) -> bool:
        try:
            self.control(place, THAW, 0)
        except OSError:
            return False  # it was not frozen (EINVAL)
        return True

    def freeze(self, seconds: float) -> None:
        """Returns when it is frozen. Raises NodeError if that takes longer than it may be frozen: writes that never end are waited for."""
        own_folder(os.path.dirname(self.state))
        told, tell = os.pipe()
        child = os.fork()
        if not child:
            self._detach(told, tell, seconds)
        os.close(tell)
        os.waitpid(child, 0)
        try:
            ready = select.select([told], [], [], seconds)[0]
            said = os.read(told, 500).decode("utf-8", "replace") if ready else f"It is not frozen after {seconds:g} seconds."
        finally:
            os.close(told)
        if said != "frozen":
            raise NodeError(said or "The process that keeps it frozen has ended.")

    def _detach(self, told: int, tell: int, seconds: float) -> None:
        """The rest of a child's life."""
        try:
            os.setsid()
            if not os.fork():
                os.close(told)
                null = os.open(os.devnull, os.O_RDWR)
                for standard in (0, 1, 2):
                    os.dup2(null, standard)
                signal.signal(signal.SIGHUP, signal.SIG_IGN)
                signal.signal(signal.SIGPIPE, signal.SIG_IGN)
                self.keep(tell, seconds)
        finally:
            os._exit(0)  # nothing of the module's own ending

    def keep(self, tell: int, seconds: float) -> None:
        """Freeze it, say so, and thaw it when the time is up, or when nobody listens."""
        try:
            state = os.open(self.state, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            fcntl.flock(state, fcntl.LOCK_EX)  # one before us is ending
            os.ftruncate(state, 0)
            with self._opened() as place:
                self.control(place, FREEZE, 0)
                try:
                    os.write(state, str(os.getpid()).encode())
                    os.write(tell, b"frozen")
                    os.close(tell)
                    time.sleep(seconds)
                finally:
                    os.ftruncate(state, 0)
                    self._thaw(place)
        except (NodeError, OSError) as error:
            with contextlib.suppress(OSError):
                os.write(tell, str(error).encode())
