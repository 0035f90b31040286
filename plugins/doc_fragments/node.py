# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    # Modules that run on a node, or in a guest, and bring something into a state there.
    DOCUMENTATION = r"""
attributes:
  check_mode:
    description: Can run in C(check_mode) and return what would change without changing it.
    support: full
  diff_mode:
    description: Returns details on what has changed, or would change, in C(diff) mode.
    support: full
  idempotent:
    description: A second run with the same options changes nothing.
    support: full
  platform:
    description: Platforms that the module runs on.
    platforms: linux
    support: full
requirements:
  - Python 3.6 or newer where the module runs; no Python library
notes:
  - The module runs on the node that it is for, as root. It does not speak XAPI and takes no defaults from
    C(group/nobloat.xen.all).
  - All modules of nodes are one program, which is sent once and kept in C(/run/nobloat.xen), where only root may write (for other
    users C(.nobloat.xen) in their home). It needs no more than Python 3.6, from any ansible-core. It is run by the C(python3) of the
    node, or what C(ansible_python_interpreter) names.
  - Ansible's ordinary way, which needs a Python that this ansible-core takes, is used with C(async) and C(poll=0), C(su) and
    C(ANSIBLE_KEEP_REMOTE_FILES), for connections that feed no standard input, and where the variable C(nobloat_xen_direct) is false.
  - If a step fails, what was done before it is taken back. The result's C(leftovers) name what could not be, C(gone) what was
    destroyed by then; C(msg) says the latter, too.
"""

    # Modules that only look.
    INFO = r"""
attributes:
  check_mode:
    description: Can run in C(check_mode); looking changes nothing.
    support: full
  diff_mode:
    description: Returns details on what has changed in C(diff) mode.
    support: N/A
    details: The module changes nothing.
  idempotent:
    description: A second run with the same options changes nothing.
    support: full
  platform:
    description: Platforms that the module runs on.
    platforms: linux
    support: full
requirements:
  - Python 3.6 or newer where the module runs; no Python library
notes:
  - The module runs on the node that it is for, as root. It does not speak XAPI and takes no defaults from
    C(group/nobloat.xen.all).
  - All modules of nodes are one program, which is sent once and kept in C(/run/nobloat.xen), where only root may write (for other
    users C(.nobloat.xen) in their home). It needs no more than Python 3.6, from any ansible-core. It is run by the C(python3) of the
    node, or what C(ansible_python_interpreter) names.
  - Ansible's ordinary way, which needs a Python that this ansible-core takes, is used with C(async) and C(poll=0), C(su) and
    C(ANSIBLE_KEEP_REMOTE_FILES), for connections that feed no standard input, and where the variable C(nobloat_xen_direct) is false.
"""
