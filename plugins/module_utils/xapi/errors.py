# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What XAPI refuses, in plain words.

A failure keeps XAPI's own ``code`` and ``params`` and gains a message that a person can act on. ``HINTS`` covers the
codes that users meet most; every other code is shown as XAPI sent it.

In a template ``{0}`` stands for the first parameter; ``{0:VM}`` says that it is the reference of a VM, so that
``records.name_refs`` can replace it with the name of that VM.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_PLACE = re.compile(r"\{(\d)(?::(\w+))?\}")

# code -> (message, what to do). Codes and their parameters: XenServer API reference, "Error codes". Those of
# SR_BACKEND_FAILURE_* come from the storage manager's own list, their parameters are always ["", text, ""].
HINTS: dict[str, tuple[str, str]] = {
    # session and rights
    "SESSION_AUTHENTICATION_FAILED": (
        "the user name or the password was refused for user '{0}'",
        "Check username and password; on a host without directory service the user is root.",
    ),
    "SESSION_AUTHORIZATION_FAILED": (
        "user '{0}' is known but may not use this pool: {1}",
        "Add the user or one of its groups as a subject of the pool and give it a role.",
    ),
    "SESSION_INVALID": (
        "the session is no longer valid",
        "It was logged out, unused for a day, or one too many. Log in again, or give username and password.",
    ),
    "RBAC_PERMISSION_DENIED": (
        "the user's role does not permit {0}",
        "Use an account with a stronger role. {1}",
    ),
    "PERMISSION_DENIED": ("permission denied: {0}", "XAPI does not let clients do this, or the role is too weak."),
    "LICENCE_RESTRICTION": ("the licence of the pool does not include {0}", "Change the edition or avoid the feature."),
    "FEATURE_RESTRICTED": ("the licence of the pool does not include this feature", "Change the edition."),
    # hosts and pool
    "HOST_IS_SLAVE": (
        "this host is not the coordinator of its pool, the coordinator is {0}",
        "Use the coordinator's address as hostname.",
    ),
    "HOST_STILL_BOOTING": ("the host is still starting up", "Wait a minute and try again."),
    "HOST_OFFLINE": ("host {0:host} is offline", "Power it on, or leave it out."),
    "HOST_NOT_LIVE": ("the host is not alive", "Power it on, or leave it out."),
    "HOST_DISABLED": ("host {0:host} is disabled", "Enable it, or end its maintenance."),
    "HOST_NOT_DISABLED": ("the host is enabled", "Disable it first, so that no guest starts there."),
    "HOST_IN_USE": ("host {0:host} is in use by {1} {2}", "Stop or move what runs there first."),
    "HOST_IN_EMERGENCY_MODE": (
        "the host is in emergency mode: it has lost its coordinator",
        "Bring the coordinator back, or make another host the coordinator.",
    ),
    "HOST_HAS_NO_MANAGEMENT_IP": (
        "the host has no address on its management interface",
        "Check its DHCP server or set a static address on the console.",
    ),
    "HOST_HAS_RESIDENT_VMS": ("guests still run on host {0:host}", "Migrate or stop them first."),
    "CANNOT_CONTACT_HOST": (
        "the coordinator cannot reach host {0:host}",
        "Check that it is up and that the management network works.",
    ),
    "CANNOT_EVACUATE_HOST": ("the host cannot be emptied: {0}", "Stop or move the guests that are named."),
    "NO_HOSTS_AVAILABLE": (
        "no host of the pool can run this guest",
        "Look for enabled hosts with enough free memory that are attached to all its storage and networks.",
    ),
    "HOST_NOT_ENOUGH_FREE_MEMORY": (
        "not enough free memory: {0} bytes are needed, {1} are available",
        "Stop or move other guests, or give this one less memory.",
    ),
    "HOST_NOT_ENOUGH_PCPUS": (
        "the guest has {0} virtual CPUs, the host only {1} physical ones",
        "Give the guest fewer virtual CPUs.",
    ),
    "VCPU_MAX_NOT_CORES_PER_SOCKET_MULTIPLE": (
        "the most virtual CPUs that the guest can have ({0}) are no multiple of its cores-per-socket ({1})",
        "Change vcpus_max, or cores-per-socket in platform.",
    ),
    "HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN": (
        "the pool could then no longer restart all protected guests after a host failure",
        "Add memory, lower the number of host failures to tolerate, or protect fewer guests.",
    ),
    "HA_IS_ENABLED": ("high availability is enabled", "Disable high availability first."),
    # certificates of hosts
    "SERVER_CERTIFICATE_INVALID": ("the certificate is not one certificate as PEM text", "Its chain is given apart."),
    "SERVER_CERTIFICATE_KEY_INVALID": (
        "the private key is none that the host can use",
        "Give it as PEM text without a passphrase.",
    ),
    "SERVER_CERTIFICATE_KEY_MISMATCH": (
        "the private key is not that of the certificate",
        "Give the key that the certificate was requested with.",
    ),
    "SERVER_CERTIFICATE_KEY_ALGORITHM_NOT_SUPPORTED": (
        "XAPI does not take keys of this kind ({0})",
        "Use an RSA key of 2048 to 4096 bits.",
    ),
    "SERVER_CERTIFICATE_KEY_RSA_LENGTH_NOT_SUPPORTED": (
        "XAPI does not take RSA keys of {0} bits",
        "Use one of 2048 to 4096 bits.",
    ),
    "SERVER_CERTIFICATE_KEY_RSA_MULTI_NOT_SUPPORTED": (
        "XAPI does not take RSA keys of more than two primes",
        "Use an ordinary one of 2048 to 4096 bits.",
    ),
    "SERVER_CERTIFICATE_SIGNATURE_NOT_SUPPORTED": (
        "the certificate is signed with a hash that XAPI does not take",
        "Have it signed with SHA-256 or SHA-512.",
    ),
    "SERVER_CERTIFICATE_EXPIRED": (
        "the certificate has expired: it was valid until {1}, and the host's clock says {0}",
        "Give a valid one, or check the host's clock.",
    ),
    "SERVER_CERTIFICATE_NOT_VALID_YET": (
        "the certificate is valid from {1} on, and the host's clock says {0}",
        "Check the host's clock, or wait.",
    ),
    "SERVER_CERTIFICATE_CHAIN_INVALID": ("the chain is not certificates as PEM text", "Check the chain."),
    # objects and calls
    "HANDLE_INVALID": (
        "the {0} with reference {1} does not exist (any more)",
        "Something else may have destroyed it meanwhile; run again.",
    ),
    "UUID_INVALID": ("there is no {0} with uuid {1}", "Check the uuid."),
    "MAP_DUPLICATE_KEY": ("key '{3}' is already in {1} of this {0}", "Remove the key first."),
    "INVALID_VALUE": ("'{1}' is not a valid value for {0}", "Check the value."),
    "VALUE_NOT_SUPPORTED": ("'{1}' is not supported for {0}: {2}", "Choose another value."),
    "MESSAGE_METHOD_UNKNOWN": (
        "this version of XAPI does not know the call {0}",
        "The pool is older or newer than what this needs; update it.",
    ),
    "MESSAGE_REMOVED": ("XAPI no longer has this call", "The feature was removed from this version."),
    "MESSAGE_PARAMETER_COUNT_MISMATCH": (
        "the call {0} wants {1} parameters and got {2}",
        "The pool's version has another form of this call; update the pool or the collection.",
    ),
    "NOT_IMPLEMENTED": ("{0} is not implemented by this host", ""),
    "OPERATION_NOT_ALLOWED": ("XAPI does not allow this: {0}", ""),
    "OPERATION_BLOCKED": (
        "the operation is blocked for this object: {1}",
        "Somebody protected it; remove the operation from its blocked_operations.",
    ),
    "OTHER_OPERATION_IN_PROGRESS": (
        "another operation ({2}) is still in progress on {0} {1}",
        "Wait until it is done and run again.",
    ),
    "TOO_MANY_PENDING_TASKS": ("the host has too many pending tasks", "Wait and run again."),
    "TASK_CANCELLED": ("the task was cancelled", "Somebody cancelled it, or the host gave up."),
    "INTERNAL_ERROR": ("XAPI failed internally: {0}", "Look for details in /var/log/xensource.log on the host."),
    "XENAPI_MISSING_PLUGIN": ("the host has no plugin '{0}'", "Put it in /etc/xapi.d/plugins on every host."),
    "XENAPI_PLUGIN_FAILURE": ("the host's plugin failed ({0}): {2}", "Look in /var/log/xensource.log on the host."),
    "Fault": ("XAPI refused the call: {0}", ""),
    # guests
    "VM_BAD_POWER_STATE": (
        "guest {0:VM} is {2}, but this needs it to be {1}",
        "Bring the guest into that power state first.",
    ),
    "VM_IS_TEMPLATE": ("{0:VM} is a template", "Create a guest from it, or name a guest."),
    "VM_IS_SNAPSHOT": ("{0:VM} is a snapshot", "Name the guest itself."),
    "VM_CANNOT_DELETE_DEFAULT_TEMPLATE": ("{0:VM} is one of the built-in templates", "These cannot be deleted."),
    "VM_LACKS_FEATURE": (
        "guest {0:VM} does not react to this, its guest tools are not running",
        "Install or start the guest tools, or use the forced variant (hard shutdown, hard reboot).",
    ),
    "VM_MISSING_PV_DRIVERS": ("guest {0:VM} has no paravirtual drivers", "Install the guest tools in it."),
    "VM_NON_SUSPENDABLE": ("guest {0:VM} cannot be suspended: {1}", ""),
    "VM_NO_SUSPEND_SR": (
        "there is no SR for the memory image of guest {0:VM}",
        "Set a suspend SR for the guest or a suspend image SR for the pool.",
    ),
    "VM_NO_VCPUS": ("guest {0:VM} has no virtual CPU", "Set the number of its CPUs."),
    "VM_HVM_REQUIRED": ("host cannot run {0:VM}: hardware virtualisation is needed", "Enable VT-x or AMD-V."),
    "VM_REQUIRES_SR": (
        "guest {0:VM} needs SR {1:SR}, which the host does not see",
        "Plug the SR on that host, choose another host, or migrate with storage.",
    ),
    "VM_REQUIRES_NETWORK": (
        "guest {0:VM} needs network {1:network}, which the host does not have",
        "Connect the network on that host or choose another host.",
    ),
    "VM_REQUIRES_VDI": ("guest {0:VM} needs VDI {1:VDI}, which is not available", "Check the SR that holds it."),
    "VM_HAS_CHECKPOINT": ("guest {0:VM} has a checkpoint", "Delete its snapshots with memory first."),
    "VM_HAS_PCI_ATTACHED": ("guest {0:VM} has a PCI device passed through", "Take the device away first."),
    "VM_IS_PROTECTED": ("guest {0:VM} is protected by high availability", "Take it out of protection first."),
    "VM_INCOMPATIBLE_WITH_THIS_HOST": ("guest {0:VM} cannot run on host {1:host}: {2}", "Choose another host."),
    "VM_SHUTDOWN_TIMEOUT": (
        "guest {0:VM} did not shut down within {1} seconds",
        "Look at its console, or shut it down hard.",
    ),
    "VM_FAILED_SHUTDOWN_ACKNOWLEDGMENT": (
        "guest {0:VM} did not react to the shutdown request",
        "Look at its console, or shut it down hard.",
    ),
    "VM_MIGRATE_FAILED": ("guest {0:VM} could not be migrated: {3}", "It keeps running where it was."),
    "VM_REVERT_FAILED": ("guest {0:VM} could not be reverted to {1:VM}", ""),
    "MEMORY_CONSTRAINT_VIOLATION": (
        "the memory limits do not fit together: {0}",
        "They must keep static min <= dynamic min <= dynamic max <= static max.",
    ),
    "MEMORY_CONSTRAINT_VIOLATION_ORDER": (
        "the memory limits are in the wrong order",
        "They must keep static min <= dynamic min <= dynamic max <= static max.",
    ),
    "PROVISION_ONLY_ALLOWED_ON_TEMPLATE": ("only a template can be provisioned", "Name a template."),
    "PROVISION_FAILED_OUT_OF_SPACE": ("there is no space for the disks of the new guest", "Choose another SR."),
    "BOOTLOADER_FAILED": ("the boot loader of guest {0:VM} failed: {1}", "Check its boot disk and boot order."),
    "DOMAIN_EXISTS": ("guest {0:VM} still runs on its host", "Shut it down hard instead."),
    # disks and SRs
    "SR_FULL": (
        "the SR is full: {0} bytes requested, {1} available",
        "Free space, grow the SR, or choose another one.",
    ),
    "SR_NOT_EMPTY": ("the SR still holds VDIs", "Delete or move them first."),
    "SR_HAS_PBD": ("SR {0:SR} is still attached", "Detach it from all hosts first."),
    "SR_HAS_NO_PBDS": ("SR {0:SR} is attached to no host", "Attach it first."),
    "SR_NOT_ATTACHED": ("SR {0:SR} is not attached", "Attach it to the host first."),
    "SR_UUID_EXISTS": ("an SR with uuid {0} is already known", "Attach that one."),
    "SR_UNKNOWN_DRIVER": ("the host has no storage driver '{0}'", "Check the type of the SR."),
    "SR_OPERATION_NOT_SUPPORTED": ("the type of SR {0:SR} cannot do this", "Use an SR of another type."),
    "SR_NOT_SHARABLE": ("SR {0:SR} cannot be shared", "A local SR belongs to one host."),
    "SR_BACKEND_FAILURE_16": ("the SR is in use", "Detach what uses it first."),
    "SR_BACKEND_FAILURE_24": ("the VDI is in use", "Stop the guest or unplug the disk first."),
    "SR_BACKEND_FAILURE_39": ("the SR still holds VDIs", "Delete or move them first."),
    "SR_BACKEND_FAILURE_44": (
        "the SR is full: {1}",
        "Free space (deleted snapshots are freed by the next scan), grow the SR, or choose another one.",
    ),
    "SR_BACKEND_FAILURE_46": (
        "the VDI is not available: {1}",
        "Its SR may have lost its path, or the host that used the disk died without letting go of it.",
    ),
    "SR_BACKEND_FAILURE_47": ("the SR is not available: {1}", "Check the storage server and the path to it."),
    "SR_BACKEND_FAILURE_67": ("the iSCSI device did not appear: {1}", "Check target, IQN and SCSI id."),
    "SR_BACKEND_FAILURE_68": ("the iSCSI login failed: {1}", "Check the target's access list and the CHAP secret."),
    "SR_BACKEND_FAILURE_72": ("the NFS version is not supported: {1}", "Check nfsversion and the NFS server."),
    "SR_BACKEND_FAILURE_73": ("the NFS export could not be mounted: {1}", "Check server, path and export rights."),
    "SR_BACKEND_FAILURE_109": (
        "the snapshot chain is too long: {1}",
        "Delete snapshots and wait for coalescing, or make a full copy.",
    ),
    "SR_BACKEND_FAILURE_140": ("the name of the storage server cannot be resolved: {1}", "Check DNS on the hosts."),
    "SR_BACKEND_FAILURE_141": ("the iSCSI target does not answer: {1}", "Check its address and the network."),
    "SR_BACKEND_FAILURE_222": ("the ISO library could not be mounted: {1}", "Check its location and rights."),
    "VDI_IN_USE": ("VDI {0:VDI} is in use ({1})", "Stop the guest that uses it, or unplug the disk, first."),
    "VDI_NOT_AVAILABLE": ("VDI {0:VDI} is not available", "Check the SR that holds it."),
    "VDI_MISSING": ("VDI {1:VDI} is missing from SR {0:SR}", "Scan the SR."),
    "VDI_READONLY": ("VDI {0:VDI} is read-only", ""),
    "VDI_TOO_SMALL": ("VDI {0:VDI} is too small, it needs {1} bytes", "Grow it first."),
    "VDI_TOO_LARGE": ("VDI {0:VDI} would be too large, {1} bytes is the limit", "Choose a smaller size."),
    "VDI_INCOMPATIBLE_TYPE": ("a VDI of type {1} cannot be used for this", ""),
    "DEFAULT_SR_NOT_FOUND": ("the pool has no usable default SR", "Set one, or name an SR."),
    "DEVICE_ALREADY_EXISTS": ("device position {0} is already taken", "Choose another position."),
    "DEVICE_ALREADY_ATTACHED": ("the device is already attached", ""),
    "DEVICE_ALREADY_DETACHED": ("the device is already detached", ""),
    "DEVICE_DETACH_REJECTED": (
        "the guest refused to give up the {0}: {2}",
        "It is probably mounted inside the guest; unmount it there, or stop the guest.",
    ),
    "DEVICE_DETACH_TIMEOUT": ("the guest did not give up the {0} in time", "Unmount it inside the guest first."),
    "INVALID_DEVICE": ("'{0}' is not a valid device position", "Use a number, or for disks 'autodetect'."),
    "VBD_IS_EMPTY": ("the CD drive is empty", ""),
    "VBD_NOT_EMPTY": ("the CD drive is not empty", "Eject its disc first."),
    "VM_NO_EMPTY_CD_VBD": ("guest {0:VM} has no empty CD drive", "Add one, or eject its disc."),
    # networks
    "NETWORK_ALREADY_CONNECTED": (
        "host {0:host} already has an interface on this network",
        "Use another network, or remove that interface.",
    ),
    "NETWORK_CONTAINS_PIF": ("interfaces of hosts are still on the network", "Remove its VLANs or bonds first."),
    "NETWORK_CONTAINS_VIF": ("guests are still connected to the network", "Move their NICs first."),
    "PIF_VLAN_EXISTS": ("this interface already has this VLAN", "Use the network that has it."),
    "VLAN_TAG_INVALID": ("'{0}' is not a valid VLAN tag", "Tags go from 0 to 4094."),
    "PIF_ALREADY_BONDED": ("interface {0:PIF} is already in a bond", "Remove it from that bond first."),
    "PIF_IS_MANAGEMENT_INTERFACE": ("interface {0:PIF} carries the management", "Move the management first."),
    "PIF_DOES_NOT_ALLOW_UNPLUG": (
        "interface {0:PIF} must not be taken down: disallow_unplug is set",
        "Somebody depends on it; allow it first.",
    ),
    "VIF_IN_USE": ("running guests use the network {0:network}", "Stop them, or connect them elsewhere, first."),
    "OPENVSWITCH_NOT_ACTIVE": (
        "the hosts do not use Open vSwitch, which this needs",
        "Switch the network backend of all hosts to openvswitch.",
    ),
    "TRANSPORT_PIF_NOT_CONFIGURED": ("interface {0:PIF} has no address, which a tunnel needs", "Give it one first."),
    "MAC_INVALID": ("'{0}' is not a valid MAC address", "Use xx:xx:xx:xx:xx:xx, not a multicast address."),
    "INVALID_IP_ADDRESS_SPECIFIED": ("the IP address in {0} is not valid", "Check the address."),
}

_SR_BACKEND = "SR_BACKEND_FAILURE"


class XapiError(Exception):
    """XAPI refused or failed.

    ``code`` and ``params`` are XAPI's own (or this client's: see the subclasses and ``TIMEOUT``), ``hint`` says what
    to do and may be empty, ``str()`` is one sentence in plain words. ``names`` maps references to names, to be used
    in that sentence instead of the references.
    """

    def __init__(self, code: str, params: Iterable[object] = (), message: str = "", hint: str = "") -> None:
        self.code = code
        self.params = [str(param) for param in params]
        self.names: dict[str, str] = {}
        known = HINTS.get(code)
        self._template = known[0] if known and not message else ""
        self._message = message
        self.hint = hint or (self._fill(known[1]) if known else "")
        super().__init__(code, self.params)

    @classmethod
    def from_failure(cls, details: Iterable[object]) -> XapiError:
        """Build from XAPI's error description, ``[code, param, ...]``."""
        code, *params = [str(item) for item in details] or ["INTERNAL_ERROR", "no error description"]
        return XapiError(code, params)

    @property
    def not_yet(self) -> bool:
        """Whether the host boots, or there was nobody who has been sent anything, such as a password: one may try again."""
        return self.code == "HOST_STILL_BOOTING"

    def refs(self) -> dict[str, str]:
        """The references in the message: ``{reference: class}``."""
        found = {}
        for index, cls in _PLACE.findall(self._template):
            if cls and int(index) < len(self.params) and self.params[int(index)].startswith("OpaqueRef:"):
                found[self.params[int(index)]] = cls
        return found

    def _fill(self, template: str) -> str:
        def value(match: re.Match[str]) -> str:
            index = int(match[1])
            text = self.params[index] if index < len(self.params) else "?"
            return self.names.get(text, text)

        return _PLACE.sub(value, template).strip()

    def __str__(self) -> str:
        if self._message:
            return self._message
        if self._template:
            return self._fill(self._template)
        if self.code.startswith(_SR_BACKEND):
            text = next((param for param in self.params[1:] if param), "no details")
            return f"the storage driver failed: {text} ({self.code})"
        return f"XAPI refused: {self.code}" + (f" ({', '.join(self.params)})" if self.params else "")

    def as_dict(self) -> dict[str, object]:
        """``{"code", "params"}``, the form in which modules return it."""
        return {"code": self.code, "params": self.params}


class XapiUnreachable(XapiError):
    """No usable answer: code ``UNREACHABLE``, ``CERTIFICATE_INVALID``, ``TIMEOUT`` or ``NOT_XAPI``.

    ``sent`` tells whether the request may have reached the server, so that what it asked for may have happened;
    ``silent``, whether nobody has taken the connection (see ``silence``).
    """

    def __init__(self, code: str, message: str, hint: str = "", *, sent: bool = False, silent: bool = False) -> None:
        super().__init__(code, (), message, hint)
        self.sent, self.silent = sent, silent

    @property
    def not_yet(self) -> bool:
        return self.code in ("UNREACHABLE", "TIMEOUT") and not self.sent


class NotFound(XapiError):
    """No object of that class has the name or uuid: code ``NOT_FOUND``, params ``[class, name]``."""

    def __init__(self, cls: str, name: str, hint: str = "") -> None:
        super().__init__("NOT_FOUND", (cls, name), f"there is no {cls} with the name or uuid '{name}'", hint)


class Ambiguous(XapiError):
    """Several objects have the name: code ``AMBIGUOUS``, params ``[class, name, uuid, ...]``.

    ``candidates`` is a list of ``{"name_label", "uuid"}``.
    """

    def __init__(self, cls: str, name: str, candidates: Iterable[Mapping[str, str]]) -> None:
        self.candidates = [{"name_label": item["name_label"], "uuid": item["uuid"]} for item in candidates]
        uuids = [item["uuid"] for item in self.candidates]
        super().__init__(
            "AMBIGUOUS",
            (cls, name, *uuids),
            f"{len(uuids)} objects of class {cls} have the name '{name}': {', '.join(uuids)}",
            "Give one of these uuids instead of the name.",
        )
