#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: guest_lease
short_description: Look on a node whether a mirrored guest may be started, and take its lease there
version_added: 1.0.0
description:
  - Returns what the node knows of a guest. Whether it runs here, who uses its legs, whether somebody writes to them, and how old
    the data on them are. M(nobloat.xen.guest_guard) decides with what all nodes say.
  - Takes, marks and gives back the lease of the guest on this node, so that two operators who start the same guest at the same
    moment cannot both succeed. The lease is a tag of the guest's first logical volume on the node. It is replaced by compare and
    swap, in one change of LVM's metadata, while the module has a lock.
  - Roles and playbooks of this collection do all of it; see role C(nobloat.xen.mirror_guard).
author:
  - nobloat.xen contributors (@nobloat)
options:
  name:
    description:
      - Name of the guest. One of O(name) and O(guests) is needed.
    type: str
  guests:
    description:
      - Several guests. An item has O(guests[].name), and may have any other option of this module but this one; what it leaves out is
        taken from the module. A guest that fails does not keep the others from being done; the module fails in the end.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the guest.
        type: str
        required: true
  uuid:
    description:
      - Uuid of the guest. A domain that has it is the guest, whatever its name.
      - Unless O(state=observed), the legs on this node that have no tag C(nobloat.uuid) yet get it. It decides which guest they
        belong to; their names only help people.
    type: str
  legs:
    description:
      - Names of the guest's legs, that is, of their logical volumes, on any node. The first one on the node carries the lease.
      - If omitted, those that lie on this node, by their tag C(nobloat.guest=NAME). What this node imports is not looked at then.
    type: list
    elements: str
  vg:
    description:
      - Volume group of the legs. If omitted, all are searched.
    type: str
  state:
    description:
      - With V(observed), the module only looks.
      - With V(starting), O(owner) has the lease and may start the guest. Others cannot take it for O(lease_time).
      - With V(restoring), the same, and O(owner) is going to restore a disk of the guest (M(nobloat.xen.leg_restore)). Others cannot
        take it for as long as that goes on either.
      - With V(started), the lease is marked as used; the guest has started.
      - With V(released), the lease is given back without a start. It is left alone if it is not that of O(owner).
      - With V(synced), the legs on this node are marked as complete at this moment. A node that boots later may miss writes, and
        its legs are not trusted alone until they are marked again.
      - With V(stale), that mark is removed, and it is noted that the guest runs without the halves on the nodes in O(without).
      - With V(owned), the lease is left alone, and only O(uuid) is noted.
    type: str
    choices: [observed, starting, restoring, started, released, synced, stale, owned]
    default: observed
  owner:
    description:
      - Who has the lease; letters, digits, and the signs V(_), V(+), V(.), V(/), V(=), V(!), V(#), V(&), V(-).
      - It has to differ from run to run.
      - Needed with V(starting), V(restoring), V(started) and V(released) of O(state).
    type: str
  seen:
    description:
      - Generation of the lease that was there before, 0 for none. If it is another now, somebody else is at work, and the
        module fails. Needed with O(state=starting) and O(state=restoring).
    type: int
  generation:
    description:
      - Generation of the lease, larger than those of all other nodes. Needed with V(starting), V(restoring), V(started) and
        V(released) of O(state). With O(state=synced), the one that the legs have caught up with; if omitted, it stays.
    type: int
  lease_time:
    description:
      - Seconds for which the lease of another owner who is starting the guest, or restoring a disk of it, is respected.
    type: int
    default: 120
  host:
    description:
      - Node that the guest is going to run on, as a note in the lease.
    type: str
  assume_dead:
    description:
      - Nodes and pools that a human has declared dead, as a note in the lease.
    type: list
    elements: str
  without:
    description:
      - Nodes of the halves that the guest is started without, with V(starting) of O(state), or that it goes on without, with V(stale).
        They are noted in the lease with the generation in which that began. What is noted already stays.
      - With V(started) of O(state), all of those that it was started without; what is noted of others goes. If omitted, it stays.
    type: list
    elements: str
  recovering:
    description:
      - Dead node that the guest ran on, as a note in the lease. It stays there until the guest has started, however the attempt ends,
        so that the next one finds it.
    type: str
  synced:
    description:
      - With O(state=started), also mark the legs on this node as complete, because the guest was seen to have them all.
      - With O(state=starting), have them marked as complete if the start is given up, because the halves were compared. The mark
        is held back while the guest starts, as nobody knows which legs it will take.
    type: bool
    default: false
extends_documentation_fragment:
  - nobloat.xen.node
attributes:
  idempotent:
    support: partial
    details: V(starting) and V(restoring) of O(state) renew a lease that the owner has already.
requirements:
  - LVM, and mdadm to look at the age of the legs
seealso:
  - module: nobloat.xen.guest_guard
"""

EXAMPLES = r"""
- name: What does the node know of the guest?
  nobloat.xen.guest_lease:
    name: web1
    uuid: 8d7ac6a3-3b2c-4d55-8d4f-6a6b1a7c3f10
    legs: [web1-data, web1-log]
    vg: vg0
  register: web1

- name: Take the lease, unless somebody was faster
  nobloat.xen.guest_lease:
    name: web1
    legs: [web1-data, web1-log]
    state: starting
    owner: operator/controller1/7d0c2f3b
    seen: "{{ web1.lease.generation | default(0) }}"
    generation: "{{ web1.lease.generation | default(0) | int + 1 }}"

- name: What does it know of several guests?
  nobloat.xen.guest_lease:
    guests:
      - {name: web1, legs: [web1-data, web1-log]}
      - {name: web2, legs: [web2-data]}

- name: The guest has started
  nobloat.xen.guest_lease:
    name: web1
    legs: [web1-data, web1-log]
    state: started
    owner: operator/controller1/7d0c2f3b
    generation: "{{ web1.lease.generation | default(0) | int + 1 }}"

- name: Its half on this node is complete again
  nobloat.xen.guest_lease:
    name: web1
    state: synced
"""

RETURN = r"""
guests:
  description: Each guest with C(name), C(changed), C(failed), C(msg) if it failed, RV(lease), and RV(evidence) with O(state=observed).
  returned: if O(guests) was given
  type: list
  elements: dict
  sample: [{name: web1, changed: false, failed: false, lease: {}}]
lease:
  description: The lease on this node as it is now, or would be in check mode; empty if there is none.
  returned: success, if O(name) was given
  type: dict
  contains:
    generation:
      description: Grows with each start.
      type: int
      sample: 7
    state:
      description: V(starting), V(restoring), V(started) or V(released).
      type: str
      sample: started
    owner:
      description: Who took it.
      type: str
      sample: operator/controller1/7d0c2f3b
    time:
      description: When the state was written, in seconds since 1970 by the node's clock.
      type: int
      sample: 1795246324
    age:
      description: Seconds since then.
      type: int
      sample: 42
    synced:
      description: The beginning of the boot id that the node had when its legs were last known to be complete, empty if they
        never were. A node that has booted since then may have missed writes.
      type: str
      sample: 382d146e
    held:
      description: The same, while the guest starts; what RV(lease.synced) becomes if the lease is released.
      type: str
      sample: ""
    host:
      description: Node that the guest was started on, empty if that was not said.
      type: str
      sample: node1
    assumed_dead:
      description: What was declared dead for this start.
      type: list
      elements: str
      sample: []
    boot:
      description: The beginning of the boot id that the node had when the lease was taken, or its legs were last complete.
      type: str
      sample: 382d146e
    without:
      description: Nodes of the halves that the guest goes on without, with the generation in which that began. Such a half is not
        started from without force.
      type: dict
      sample: {node2: 7}
    recovering:
      description: Dead node whose guest this is, until the guest has started elsewhere; empty otherwise.
      type: str
      sample: ""
evidence:
  description: What the node knows.
  returned: with O(state=observed)
  type: dict
  contains:
    initiator:
      description: The node's own name as an iSCSI initiator, empty if it has none.
      type: str
      sample: iqn.2026-11.com.example:node1
    boot:
      description: The beginning of the node's boot id.
      type: str
      sample: 382d146e
    restores:
      description: Whether a process on this node restores a disk of the guest at this moment.
      type: bool
      sample: false
    domains:
      description: Domains with the guest's name or uuid that run here, each with C(uuid), C(id) and C(name).
      type: list
      elements: dict
      sample: []
    domains_known:
      description: Whether the node could list its domains; V(true) where there is no Xen.
      type: bool
      sample: true
    domains_error:
      description: Why it could not.
      returned: where it could not
      type: str
      sample: there is no xl on it
    legs:
      description: The legs on this node.
      type: list
      elements: dict
      contains:
        vg:
          description: Volume group.
          type: str
          sample: vg0
        name:
          description: Name.
          type: str
          sample: web1-data
        uuid:
          description: Uuid of the guest that it belongs to, by its tag C(nobloat.uuid); empty without one.
          type: str
          sample: 8d7ac6a3-3b2c-4d55-8d4f-6a6b1a7c3f10
        device:
          description: Path.
          type: str
          sample: /dev/vg0/web1-data
        active:
          description: Whether the volume is active.
          type: bool
          sample: true
        users:
          description: Who uses it on this node, in words, besides the export.
          type: list
          elements: str
          sample: ["guest domain 7"]
        writes:
          description: Writes that arrived while the module looked, in less than a second.
          type: int
          sample: 0
        exported:
          description: Whether it is exported.
          type: bool
          sample: true
        sessions:
          description: Who is logged in to the export, each with C(initiator), C(address) and C(state).
          type: list
          elements: dict
          sample: [{initiator: "iqn.2026-11.com.example:node2", address: 10.0.2.2, state: LOGGED_IN}]
        half:
          description:
            - Its superblock, null if it has none. C(uuid) and C(name) of the array, C(events), C(role) (its place, null for a
              spare), C(members) (V(A.) is what the first of two says that has lost the second), C(raid_devices) (how many halves
              there are), C(state), C(incomplete) (it was being copied to, or lacks blocks), C(updated) (when it was written, seconds
              since 1970).
          type: dict
          sample: {uuid: "3dbb1e41:03ff785b:340e7767:01e01dcd", name: data, events: 42, role: 0, members: AA,
                   raid_devices: 2, state: clean, incomplete: false, updated: 1795246320}
        restoring:
          description: Whether it carries the mark of a restore (M(nobloat.xen.leg_restore)) that has not ended.
          type: bool
          sample: false
        unreadable:
          description: Why the superblock could not be read, empty if it could.
          type: str
          sample: ""
    imports:
      description: Legs of the guest on other nodes that this node imports, each with C(path) and C(users).
      type: list
      elements: dict
      sample: [{path: /dev/mirror/node2/web1-data, users: []}]
"""

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.node.evidence import Witness, look
from ansible_collections.nobloat.xen.plugins.module_utils.node.lease import Leases
from ansible_collections.nobloat.xen.plugins.module_utils.node.module import NodeModule

SPEC = {
    "name": {"type": "str"},
    "guests": {"type": "list", "elements": "dict"},
    "uuid": {"type": "str"},
    "legs": {"type": "list", "elements": "str"},
    "vg": {"type": "str"},
    "state": {"type": "str", "default": "observed",
              "choices": ["observed", "starting", "restoring", "started", "released", "synced", "stale", "owned"]},
    "owner": {"type": "str"},
    "seen": {"type": "int"},
    "generation": {"type": "int"},
    "lease_time": {"type": "int", "default": 120},
    "host": {"type": "str"},
    "assume_dead": {"type": "list", "elements": "str"},
    "without": {"type": "list", "elements": "str"},
    "recovering": {"type": "str"},
    "synced": {"type": "bool", "default": False},
}


def witness(options: dict) -> Witness:
    return Witness(options["name"], options["uuid"] or "", options["vg"] or "", options["legs"])


def main() -> None:
    module = NodeModule(SPEC, each=("guests", "name"), required_one_of=[("name", "guests")], mutually_exclusive=[("name", "guests")])
    entries = [module.params] if module.entries is None else module.entries
    evidence = {}  # by guest; looked at together, as each look takes its time
    leases = {}

    def plan(options: dict) -> ChangeSet:
        name = options["name"]
        observed = [each for each in entries if each["state"] == "observed"]
        if observed and not evidence:
            found = look([witness(each) for each in observed])
            evidence.update({each["name"]: found[place] for place, each in enumerate(observed)})
        leases[name] = Leases(witness(options))
        planned = leases[name].plan(options, module.check_mode)
        planned.facts.update({"evidence": evidence[name]} if name in evidence else {})
        return planned

    def again(options: dict) -> dict:
        lease = leases[options["name"]]
        if options["state"] != "observed":
            lease.read()
        return lease.view()

    module.converge_each("lease", plan, again)


if __name__ == "__main__":
    main()
