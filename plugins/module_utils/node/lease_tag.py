# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tag that carries the lease of a guest, read and written; what it means is said in lease.py. Python 3.6 syntax.

    nobloat.lease=<generation>:<time>:<state>:<owner>[:<note>=<value>]...

    synced=<boot>  held=<boot>  boot=<boot>  host=<node>  dead=<node>+<node>  without=<node>/<generation>+...  recovering=<node>

Notes that are not there are empty, so what older versions have written can be read.
"""

import re
from typing import Any, Dict, Iterable, List, Optional

from ansible_collections.nobloat.xen.plugins.module_utils.mirror.names import LEASE
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import NodeError

# What LVM lets into a tag (lvm(8), tags), without the colon.
WORD = re.compile(r"[A-Za-z0-9_+./=!#&-]{1,200}")
STATES = ("starting", "restoring", "started", "released")
# Those that keep others away for a while.
CLAIMS = ("starting", "restoring")
# Notes of one word, and all notes in the order in which they are written.
PLAIN = ("synced", "held", "boot", "host", "recovering")
ORDER = ("synced", "held", "boot", "host", "dead", "without", "recovering")
# What facts tell of a tag that cannot be understood.
DAMAGED = "damaged"


def parse(tag: str) -> Dict[str, Any]:
    """A lease from its tag. Raises NodeError for one that cannot be understood: it might say that the guest is starting."""
    fields = tag[len(LEASE):].split(":")
    notes = dict(field.partition("=")[::2] for field in fields[4:])
    pairs = [pair.rpartition("/") for pair in _list(notes.get("without", ""))]
    try:
        generation, when, state, owner = int(fields[0]), int(fields[1]), fields[2], fields[3]
        without = {node: int(since) for node, _slash, since in pairs}
        if state not in STATES or not owner:
            raise ValueError
    except (ValueError, IndexError):
        raise NodeError(f"The tag {tag} is no lease that can be understood; remove it with lvchange --deltag if you know that the "
                        "guest is not being started.") from None
    return {"generation": generation, "time": when, "state": state, "owner": owner,
            **{key: notes.get(key, "") for key in PLAIN}, "assumed_dead": _list(notes.get("dead", "")), "without": without}


def text(lease: Dict[str, Any]) -> str:
    """The tag of a lease. Raises NodeError where LVM would not take it."""
    words = [lease["owner"], *filter(None, [lease["host"], lease["recovering"]]), *lease["assumed_dead"], *lease["without"]]
    for word in words:
        if not WORD.fullmatch(word):
            raise NodeError(f"'{word}' cannot be written into a lease; use letters, digits and _ + . / = ! # & - only.")
    without = "+".join(f"{node}/{generation}" for node, generation in sorted(lease["without"].items()))
    notes = dict({key: lease[key] for key in PLAIN}, dead="+".join(lease["assumed_dead"]), without=without)
    return LEASE + ":".join([str(lease["generation"]), str(lease["time"]), lease["state"], lease["owner"],
                             *(f"{key}={notes[key]}" for key in ORDER if notes[key])])


def blank(owner: str, time: int = 0, state: str = "released") -> Dict[str, Any]:
    """A lease that says nothing."""
    return {"generation": 0, "time": time, "state": state, "owner": owner, **dict.fromkeys(PLAIN, ""), "assumed_dead": [], "without": {}}


def _list(note: str) -> List[str]:
    return [name for name in note.split("+") if name]


def lease_of(tags: Iterable[str]) -> Optional[Dict[str, Any]]:
    """What facts tell of the lease among the tags of a leg, None without one. Of one that cannot be understood: that it is there."""
    tag = next((tag for tag in tags if tag.startswith(LEASE)), None)
    if tag is None:
        return None
    try:
        return parse(tag)
    except NodeError:
        return blank("nobody", state=DAMAGED)
