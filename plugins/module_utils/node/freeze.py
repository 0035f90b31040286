# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest's file system is frozen for a moment, and thawed whatever happens: what module guest_freeze does. Python 3.6 syntax.

A process that nobody waits for freezes it, and thaws it when it is told to, or when its time is up. So it does not matter who loses the
connection, or is killed, in between. A freeze that comes too late is taken back at once. That process can be killed, too: what it leaves
in its file then says so, and who comes next thaws.
"""

import contextlib
import errno
import fcntl
import os
import re
import select
import signal
from typing import Any, Callable, Tuple

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.node.held import RUN, own_folder
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import NodeError, read

FREEZE, THAW = 0xC0045877, 0xC0045878  # linux/fs.h: FIFREEZE, FITHAW
STATES = os.path.join("/", RUN)
ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)  # what tells the keeper to thaw


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

    def _noted(self) -> Tuple[bool, bytes]:
        """Whether a process lives that freezes it, which has the file locked for as long; and what is in that file: its number once it
        is frozen, 0 before, and nothing once it is thawed."""
        try:
            stream = os.open(self.state, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            return False, b""
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True, os.read(stream, 20)
        else:
            return False, os.read(stream, 20)
        finally:
            os.close(stream)

    def keeper(self) -> int:
        """The process that keeps it frozen; 0 if none does."""
        lives, noted = self._noted()
        return int(noted or b"0") if lives else 0

    def plan(self, state: str, seconds: float, check_mode: bool = False) -> ChangeSet:
        """Facts: `held`, whether it was frozen until now.

        No kernel tells whether a file system is frozen. So thawing is tried even if nothing says that it is; it was no step if it was not.
        """
        keeper = self.keeper()
        lives, noted = self._noted()
        lost = bool(noted) and not lives
        plan = ChangeSet(f"file system on {self.device}", {"state": "frozen" if keeper or lost else "thawed", "path": self.place})
        plan.after["state"] = state
        plan.facts["held"] = False
        if state == "frozen":
            if not self.place:
                raise NodeError(f"No file system on {self.device} is mounted here.")
            if not keeper:
                plan.step(f"have {self.place} frozen", lambda: self.freeze(seconds))
        elif keeper or (self.place and (lost or not check_mode)):
            plan.step(f"have {self.place} thawed", lambda: self.thaw(plan))
        return plan

    def thaw(self, plan: ChangeSet) -> None:
        """Have it thawed, and note whether it was frozen all the time."""
        keeper = self.keeper()
        if self.place:
            with self._opened() as place:
                plan.facts["held"] = self._thaw(place)
        if keeper:
            with contextlib.suppress(ProcessLookupError):
                os.kill(keeper, signal.SIGTERM)
            return
        with contextlib.suppress(OSError):
            os.truncate(self.state, 0)
        plan.before["state"] = "frozen" if plan.facts["held"] else "thawed"
        if not plan.facts["held"]:
            plan.steps.clear()

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
                signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)  # before it is frozen, so that they end nothing but the waiting
                signal.signal(signal.SIGHUP, signal.SIG_IGN)
                signal.signal(signal.SIGPIPE, signal.SIG_IGN)
                self.keep(tell, seconds)
        finally:
            os._exit(0)  # nothing of the module's own ending

    def keep(self, tell: int, seconds: float) -> None:
        """Freeze it, say so, and thaw it when the time is up, when it is told to, or when nobody listens."""
        try:
            state = os.open(self.state, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            fcntl.flock(state, fcntl.LOCK_EX)  # one before us is ending
            with self._opened() as place:
                if os.pread(state, 1, 0):
                    self._thaw(place)  # one before us was killed
                os.ftruncate(state, 0)
                os.pwrite(state, b"0", 0)
                try:
                    self._frozen(place, state, tell, seconds)
                finally:
                    os.ftruncate(state, 0)
        except (NodeError, OSError) as error:
            with contextlib.suppress(OSError):
                os.write(tell, str(error).encode())

    def _frozen(self, place: int, state: int, tell: int, seconds: float) -> None:
        try:
            self.control(place, FREEZE, 0)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            raise NodeError(f"{self.place} is frozen already, and not by this module. If nobody needs that, thaw it: "
                            f"fsfreeze --unfreeze {self.place}") from None
        try:
            os.pwrite(state, str(os.getpid()).encode(), 0)
            os.write(tell, b"frozen")
            os.close(tell)
            signal.sigtimedwait(ENDS, seconds)
        finally:
            self._thaw(place)
