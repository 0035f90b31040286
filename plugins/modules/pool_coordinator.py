#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: pool_coordinator
short_description: Give a pool a coordinator when its own has died
version_added: 1.0.0
description:
  - Makes sure that the pool of a host has a coordinator that answers. If it has, nothing is done, and the module tells where it is.
  - If the coordinator does not answer, and O(assume_dead) names it, the host that O(hostname) leads to becomes the coordinator, and
    the other hosts follow it.
  - Silence is what counts. A coordinator that takes connections lives, even if its certificate is not trusted or nothing comes
    of them, and is not replaced.
  - That host has its last copy of the pool's database, which may be five minutes old.
  - If the old coordinator still runs, or comes back, it goes on believing that it is the coordinator. With O(follow), it is told
    that it is not.
  - It logs in by itself, so O(hostname) and O(password) are needed. To change the coordinator of a pool that is well, see
    O(nobloat.xen.pool#module:coordinator).
author:
  - nobloat.xen contributors (@nobloat)
options:
  assume_dead:
    description:
      - Addresses or URLs of hosts that are off for certain. If one of them is the coordinator and does not answer, this host takes
        its place.
    type: list
    elements: str
    default: []
  follow:
    description:
      - Address of the coordinator that this host shall follow. If the host believes that it is the coordinator itself, it is told to
        follow that one, which has to answer.
    type: str
  wait_timeout:
    description:
      - Seconds to wait until the pool answers again.
    type: int
    default: 120
extends_documentation_fragment:
  - nobloat.xen.xapi
  - nobloat.xen.attributes
seealso:
  - module: nobloat.xen.pool
  - module: nobloat.xen.vm_power
"""

EXAMPLES = r"""
- name: The coordinator has lost power; let xcp2 take its place
  nobloat.xen.pool_coordinator:
    hostname: xcp2.example.com
    username: root
    password: "{{ vault_pool_password }}"
    assume_dead:
      - 192.0.2.11

- name: It is back, and has to follow
  nobloat.xen.pool_coordinator:
    hostname: xcp1.example.com
    username: root
    password: "{{ vault_pool_password }}"
    follow: 192.0.2.12
"""

RETURN = r"""
pool_coordinator:
  description: The coordinator as it is now, or would be in check mode.
  returned: success
  type: dict
  contains:
    url:
      description: Where its XAPI is.
      type: str
      sample: https://192.0.2.12
    answers:
      description: Whether it answers.
      type: bool
      sample: true
"""

import time
from urllib.parse import urlsplit

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import XapiError, XapiUnreachable
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.session import Session
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.silence import why_not_off
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.wire import make_url, normal_url

# Seconds that a host gets to answer.
PATIENCE = 15
SPEC = {
    "assume_dead": {"type": "list", "elements": "str", "default": []},
    "follow": {"type": "str"},
    "wait_timeout": {"type": "int", "default": 120},
}


class Coordinator(XapiModule):
    """A module that does not log in to the pool before it knows whether there is one."""

    def open_session(self) -> Session:
        if not (self.params["hostname"] and self.params["password"]):
            raise ValueError("hostname and password are needed: a session of the pool ends with its coordinator.")
        return self.at(self.params["hostname"])

    def at(self, url: str) -> Session:
        params = self.params
        return Session(url, params["username"], params["password"], validate_certs=params["validate_certs"], ca_path=params["ca_path"],
                       timeout=min(params["timeout"], PATIENCE), retry_for=0)

    def emergency(self, method: str, *args: str) -> None:
        """A call to the host itself, whatever its pool does. Its toolstack restarts, which may end the connection."""
        session = self.at(self.params["hostname"])
        try:
            session.login_locally()
            session.call(method, *args)
        except XapiUnreachable as error:
            if not error.sent:
                raise
        finally:
            session.close()

    def settle(self) -> None:
        """Wait until the pool answers, and have the other hosts follow."""
        end = time.monotonic() + self.params["wait_timeout"]
        while True:
            try:
                with self.at(self.params["hostname"]) as session:
                    session.call("pool.recover_slaves")
                    return
            except XapiError as error:
                if time.monotonic() > end:
                    raise ValueError(f"The pool does not answer after {self.params['wait_timeout']} seconds: {error}") from error
            time.sleep(0.5)


def plan(module: Coordinator) -> ChangeSet:
    own, follow = normal_url(module.params["hostname"]), module.params["follow"]
    url, answers = look(module, own)
    changes = ChangeSet("coordinator", {"url": url, "answers": answers})
    if not answers and url == own:
        raise ValueError(f"{own} does not answer itself. Name a host that lives.")
    if follow:
        parts = urlsplit(own)
        wanted = make_url(parts.scheme, follow.strip("[]"), parts.port)
        if not answers or url == own != wanted:
            if look(module, wanted) != (wanted, True):
                raise ValueError(f"{wanted} does not answer as the coordinator of a pool, so nobody can follow it.")
            changes.step(f"have {own} follow {wanted}", lambda: module.emergency("pool.emergency_reset_master", follow))
            changes.step("wait for the pool", module.settle)
            changes.after.update(url=wanted, answers=True)
    elif not answers:
        address = urlsplit(url).hostname
        if address not in [urlsplit(normal_url(dead)).hostname for dead in module.params["assume_dead"]]:
            raise ValueError(f"The coordinator of the pool, {url}, does not answer. If it is off for certain, use "
                             f"assume_dead: [{address}], and {own} takes its place.")
        changes.step(f"make {own} the coordinator", lambda: module.emergency("pool.emergency_transition_to_master"))
        changes.step("wait for the pool", module.settle)
        changes.after.update(url=own, answers=True)
    return changes


def look(module: Coordinator, url: str) -> tuple[str, bool]:
    """Where the coordinator is, by what the host at `url` says, and whether it answers. False means silence: whoever speaks
    without being of use raises XapiUnreachable, as it must not be taken for dead.
    """
    session = module.at(url)
    try:
        with session:
            return session.url, True
    except XapiUnreachable as error:
        alive = why_not_off(error, session.url)
        if alive:
            raise XapiUnreachable(error.code, f"{session.url} cannot be used, and must not be taken for dead: {alive}.") from error
        return session.url, False


def main() -> None:
    Coordinator(SPEC).converge("pool_coordinator", plan)


if __name__ == "__main__":
    main()
