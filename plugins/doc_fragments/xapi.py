# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    # How to reach a pool: every module that speaks XAPI.
    DOCUMENTATION = r"""
options:
  hostname:
    description:
      - Host name, IP address or URL of the pool's coordinator; any other member of the pool leads there.
      - A bare name means C(https). A port may follow, as in C(https://pool.example.com:8443) or C([2001:db8::17]:8443).
      - If omitted, the environment variable E(XENSERVER_HOST) is used.
      - Not needed with O(session).
    type: str
  username:
    description:
      - User to log in as. If omitted, the environment variable E(XENSERVER_USER) is used.
    type: str
    default: root
  password:
    description:
      - Password to log in with. If omitted, the environment variable E(XENSERVER_PASSWORD) is used.
    type: str
  validate_certs:
    description:
      - Check the server's certificate. Turn it off only where nobody else can reach the network.
      - If omitted, the environment variable E(XENSERVER_VALIDATE_CERTS) is used.
    type: bool
    default: true
  ca_path:
    description:
      - File or directory with the certificates (PEM) that the server's certificate is checked against,
        and no others, instead of those of the operating system.
    type: path
  session:
    description:
      - Reference to a session that M(nobloat.xen.session) opened, so that many tasks share one login.
      - The other connection options are then not needed and not used.
    type: str
  timeout:
    description:
      - Seconds for a single call, from the connection to the end of the answer, before giving up.
    type: int
    default: 60
requirements:
  - XenAPI (Python library) on the controller
notes:
  - The module runs on the controller, whatever host the play is for and whatever C(become) says;
    C(delegate_to) moves it elsewhere.
"""

    # What is known of mirrors: modules that take a host away.
    MIRRORS = r"""
options:
  mirrors:
    description:
      - How the mirrors of guests are that have legs on the host, the result of filter P(nobloat.xen.mirror_status#filter) that is not older
        than ten minutes. Role P(nobloat.xen.mirror_facts#role), entry point C(status), looks, and has it as C(mirror_facts_status).
      - Needed where the host has legs of mirrored guests, as XAPI does not know whether their other halves have all data. A host that
        holds, or may hold, the last half that has all is not taken away, also not in check mode.
      - Not needed in a pool without mirrored guests.
    type: dict
"""

    # How long to wait: modules that start long operations.
    WAIT = r"""
options:
  wait:
    description:
      - Wait for the last long operation to end.
      - If V(false), it is started and its XAPI task is returned in RV(ignore:task); operations that others depend on
        are always awaited.
    type: bool
    default: true
  wait_timeout:
    description:
      - Seconds to wait for one long operation before it is cancelled (where XAPI can) and the module fails.
    type: int
    default: 900
"""
