# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The SAN of a node: a bond of NICs, or each by itself, a VLAN, addresses. Python 3.6 syntax.

Whoever manages the network of the node, systemd-networkd or ifupdown, gets settings for these NICs and for nothing else.
"""

import ipaddress
import os
import re
import shutil
import time
from functools import partial
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.node.connections import connections
from ansible_collections.nobloat.xen.plugins.module_utils.node.files import FilesPlan
from ansible_collections.nobloat.xen.plugins.module_utils.node.iscsi import Initiator
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import (
    SEARCH_PATH,
    NodeError,
    Result,
    names,
    read,
    run,
)

MODES = ("active-backup", "balance-rr", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb")
# The others need a link that says whether it works.
ARP_MODES = ("active-backup", "balance-rr", "balance-xor", "broadcast")
HASH_MODES = ("balance-xor", "802.3ad", "balance-tlb")
NETWORKD, IFUPDOWN = "etc/systemd/network", "etc/network/interfaces.d"
OURS = "10-nobloat-san-"
HEAD = "# Written by nobloat.xen.san_network.\n"
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,14}")
PATIENCE = 30  # seconds until the addresses have to be there


class San:
    """The node that the module runs on. `root` is another folder than / in tests, and `command` runs nothing there."""

    def __init__(self, root: str = "/", command: Callable[..., Result] = run, which: Callable[[str], Optional[str]] = partial(
            shutil.which, path=SEARCH_PATH), connection: str = "", patience: float = PATIENCE) -> None:
        self.root = root
        self.run = command
        self.which = which
        self.connection = connection  # the address of this node that Ansible came to
        self.patience = patience
        self.net = os.path.join(root, "sys/class/net")

    def plan(self, params: Dict[str, Any]) -> ChangeSet:
        """What module san_network does. The view is {path: text of the settings}. Raises NodeError."""
        params = dict(params, addresses=[self._address(text) for text in params["addresses"]])
        if os.path.exists(os.path.join(self.root, "etc/xensource-inventory")):
            plan = ChangeSet("network of the SAN", {})
            plan.facts = {"manager": "xapi", "interfaces": []}
            return plan
        self._check(params)
        manager = self.manager(params["manager"])
        interfaces = self.interfaces(params)
        links = [params["bond"]] * bool(params["mode"]) + [name for name, _address in interfaces if params["vlan"]]
        self._refuse_service(params["nics"], links, params)
        wanted = networkd(params, interfaces) if manager == "networkd" else ifupdown(params, interfaces)
        folder = NETWORKD if manager == "networkd" else IFUPDOWN
        for name in names(self.root, folder):
            if name.startswith(OURS):
                wanted.setdefault(f"{folder}/{name}", None)
        plan = FilesPlan("network of the SAN", self.root, wanted)
        plan.facts = {"manager": manager, "interfaces": [name for name, _address in interfaces]}
        wrong = self.differences(params, interfaces)
        if plan.stale or wrong or not self.enabled(manager):
            before = self._old(folder, plan.stale)
            anew = [name for name in links if before or any(text.startswith(name) for text in wrong)]
            # Without their settings, links of an earlier run would stay, with their addresses.
            anew += [os.path.basename(path)[len(OURS):-len(".netdev")] for path in plan.stale
                     if path.endswith(".netdev") and wanted[path] is None]
            anew = [name for name in anew if name in names(self.net)]
            if not params["force"]:
                self._refuse_work(params, manager, anew)
            steps, plan.steps = plan.steps, []
            plan.step("prepare", lambda: None, partial(self.bring_up, manager, [], params["nics"], interfaces))
            plan.steps += steps
            plan.step("bring up the SAN", partial(self.bring_up, manager, anew, params["nics"], interfaces))
            plan.step("wait for the addresses", partial(self.wait, params, interfaces))
        return plan

    def _old(self, folder: str, stale: List[str]) -> bool:
        """Whether settings change that the kernel takes only for a new link."""
        return any(path.startswith(folder) and (path.endswith(".netdev") or folder == IFUPDOWN) and os.path.exists(
            os.path.join(self.root, path)) for path in stale)

    # ---- look

    def manager(self, wanted: str) -> str:
        """What manages the network of this node."""
        if wanted != "auto":
            return wanted
        if self._active("systemd-networkd.service"):
            return "networkd"
        if self._active("NetworkManager.service"):
            raise NodeError("NetworkManager has the network of this node; take the SAN's NICs away from it (unmanaged-devices), and "
                            "set manager to networkd or ifupdown.")
        if self.which("ifup"):
            return "ifupdown"
        foreign = [name for name in names(self.root, NETWORKD) if name.endswith(".network") and not name.startswith(OURS)]
        if foreign:
            raise NodeError(f"systemd-networkd does not run here, and would do more than the SAN if it did: {', '.join(foreign)} in "
                            f"/{NETWORKD}. Remove that, or set manager: networkd if it may.")
        return "networkd"

    def enabled(self, manager: str) -> bool:
        """Whether the settings count after the next boot."""
        return manager != "networkd" or (self._active("systemd-networkd.service") and self.run(
            "systemctl", "is-enabled", "systemd-networkd.service", codes=range(256)).out.strip() == "enabled")

    def _active(self, unit: str) -> bool:
        return self.run("systemctl", "is-active", unit, codes=range(256)).out.strip() == "active"

    def interfaces(self, params: Dict[str, Any]) -> List[Tuple[str, str]]:
        """(interface, address) of those that get the addresses."""
        bases = [params["bond"]] if params["mode"] else params["nics"]
        vlan = f".{params['vlan']}" if params["vlan"] else ""
        return [(base + vlan, address) for base, address in zip(bases, params["addresses"])]  # noqa: B905

    def addresses(self) -> Dict[str, Set[str]]:
        """{interface: its addresses with prefix length}, without those of the link itself."""
        found = {}  # type: Dict[str, Set[str]]
        for line in self.run("ip", "-o", "addr", "show").out.splitlines():
            match = re.match(r"\d+:\s+(\S+?)(@\S+)?\s+inet6?\s+(\S+)(?:\s+peer\s+\S+)?\s.*\bscope (\S+)", line)
            if match and match.group(4) != "link":
                found.setdefault(match.group(1), set()).add(match.group(3))
        return found

    def uppers(self, nic: str) -> List[str]:
        """A NIC and all that lies on it: bonds, bridges, VLANs."""
        found = [nic]
        for entry in names(self.net, nic):
            if entry.startswith("upper_"):
                found += self.uppers(entry[len("upper_"):])
        return found

    def differences(self, params: Dict[str, Any], interfaces: List[Tuple[str, str]]) -> List[str]:
        """What is not yet as it shall be in the kernel, in words that begin with the interface."""
        live = self.addresses()
        wrong = [f"{name} does not have the address {address}" for name, address in interfaces if address not in live.get(name, ())]
        wrong += [f"{name} is down" for name, _address in interfaces if not self._up(name)]
        wrong += [f"{name} has the MTU {read(self.net, name, 'mtu')}" for name, _address in interfaces
                  if name in names(self.net) and read(self.net, name, "mtu") != str(params["mtu"])]
        if params["mode"]:
            bond = os.path.join(self.net, params["bond"], "bonding")
            wanted = {"mode": params["mode"], "miimon": "0" if params["arp_targets"] else str(params["miimon"]),
                      "arp_interval": str(params["arp_interval"]) if params["arp_targets"] else "0"}
            wrong += [f"{params['bond']} has {name} {read(bond, name) or 'unset'}" for name, value in wanted.items()
                      if read(bond, name).partition(" ")[0] != value]
            slaves = read(bond, "slaves").split()
            wrong += [f"{params['bond']} lacks {nic}" for nic in params["nics"] if nic not in slaves]
        return wrong

    def _up(self, name: str) -> bool:
        return bool(int(read(self.net, name, "flags") or "0", 16) & 1)

    # ---- refuse

    @staticmethod
    def _address(text: str) -> str:
        try:
            if "/" not in text:
                raise ValueError
            return str(ipaddress.ip_interface(text))
        except ValueError:
            raise NodeError(f"'{text}' is no address with the length of its prefix; write 10.0.2.1/24.") from None

    def _check(self, params: Dict[str, Any]) -> None:
        nics, mode, addresses = params["nics"], params["mode"], params["addresses"]
        if mode and mode not in MODES:
            raise NodeError(f"'{mode}' is no mode of bonds; there are {', '.join(MODES)}, and an empty one for no bond.")
        if len(addresses) != (1 if mode else len(nics)):
            raise NodeError(f"{len(addresses)} addresses for {'a bond, which has one' if mode else f'{len(nics)} NICs without a bond'}.")
        if params["arp_targets"] and mode not in ARP_MODES:
            raise NodeError(f"arp_targets does not go with mode {mode or 'none'}, only with {', '.join(ARP_MODES)}.")
        for target in params["arp_targets"]:
            try:
                ipaddress.IPv4Address(target)
            except ValueError:
                raise NodeError(f"arp_targets: '{target}' is no IPv4 address.") from None
        if not 0 <= params["vlan"] <= 4094:
            raise NodeError(f"{params['vlan']} is no VLAN; there are 1 to 4094, and 0 for none.")
        longest = params["bond"] if mode else max(nics, key=len)
        if mode and (not NAME.fullmatch(params["bond"]) or params["bond"] in nics):
            raise NodeError(f"'{params['bond']}' is no name for a bond.")
        if params["vlan"] and len(f"{longest}.{params['vlan']}") > 15:
            raise NodeError(f"{longest}.{params['vlan']} is too long for an interface: 15 characters at most.")
        for nic in nics:
            if nic not in names(self.net):
                raise NodeError(f"This node has no NIC {nic}; it has {', '.join(names(self.net))}.")
            if not os.path.exists(os.path.join(self.net, nic, "device")) and read(self.net, nic, "uevent").find("DEVTYPE=") >= 0:
                raise NodeError(f"{nic} is no NIC but something that lies on one.")

    def _refuse_service(self, nics: List[str], links: List[str], params: Dict[str, Any]) -> None:
        """Raise NodeError for a NIC that serves something else: this node must not be lost."""
        live = self.addresses()
        routes = [self.run("ip", family, "route", "show", "default", codes=range(256)).out for family in ("-4", "-6")]
        default = set(re.findall(r"\bdev (\S+)", "".join(routes)))
        keep = {str(address) for address in [self.connection, *params["keep"]] if address}
        for nic in nics:
            for name in self.uppers(nic):
                on = "" if name == nic else f", on which {name} lies,"
                if name in default:
                    raise NodeError(f"{nic}{on} has the default route of this node: it cannot be a NIC of the SAN.")
                held = {text.partition("/")[0] for text in live.get(name, ())}
                if held & keep:
                    raise NodeError(f"{nic}{on} has {', '.join(sorted(held & keep))}, by which Ansible reaches this node: it cannot be "
                                    "a NIC of the SAN.")
                others = sorted(live.get(name, set()) - set(params["addresses"]))
                if name not in links and others and not self._ours(nic):
                    raise NodeError(f"{nic}{on} has the address {', '.join(others)}, which is not described: it cannot be a NIC of the SAN "
                                    "before that is gone.")
                if name != nic and name not in links and not self._ours(nic):
                    raise NodeError(f"{nic} is part of {name}, which is not described: it cannot be a NIC of the SAN before that is gone.")

    def _refuse_work(self, params: Dict[str, Any], manager: str, anew: List[str]) -> None:
        """Raise NodeError if addresses would go, be it for a moment, by which disks are reached that somebody works with."""
        live = self.addresses()
        uppers = {name for nic in params["nics"] for name in self.uppers(nic)}
        going = {name: live.get(name, set()) if anew or manager == "ifupdown" else live.get(name, set()) - set(params["addresses"])
                 for name in uppers}
        lost = {text.partition("/")[0] for texts in going.values() for text in texts}
        if not lost:
            return
        targets = os.path.join(self.root, "sys/kernel/config/target/iscsi")
        served = {portal for target in names(targets) for portal in names(targets, target, "tpgt_1/np")}
        open_now = [connection for connection in connections(self.root) if connection.address in lost]
        work = {f"{connection.peer} is logged in to disks that this node exports at {connection.portal}"
                for connection in open_now if connection.portal in served}
        initiator = Initiator(self.root, self.run)
        for session in initiator.sessions():
            if session["portal"] in {connection.far for connection in open_now}:
                users = {user for disk in session["disks"] for user in initiator.blocks.users(f"/dev/{disk['name']}")}
                work |= {f"the disk of {session['target']} is used by {', '.join(sorted(users))}"} if users else set()
        if work:
            raise NodeError(f"The SAN would be interrupted, and with it the work of others: {'; '.join(sorted(work))}. Log out there and "
                            "end that first, one node after the other; or use force: true, if all can do without the SAN for a minute.")

    def _ours(self, nic: str) -> bool:
        """Whether an earlier run described the NIC, so that what lies on it is ours."""
        return any(os.path.exists(os.path.join(self.root, path)) for path in (
            f"{NETWORKD}/{OURS}{nic}.network", f"{IFUPDOWN}/{OURS}{nic}"))

    # ---- apply

    def bring_up(self, manager: str, anew: List[str], nics: List[str], interfaces: List[Tuple[str, str]]) -> None:
        """Have the settings count. `anew`: links that have to go first, as they cannot be changed."""
        modules = ["bonding", "8021q"]
        self.run("modprobe", "-a", *modules, codes=(0, 1))
        if manager == "ifupdown":
            existing = [name for name, _address in interfaces if name in names(self.net)]
            self.run("ifdown", "--force", *reversed(existing or ["-"]), codes=range(256))
        for link in reversed(anew):
            self.run("ip", "link", "delete", link, codes=range(256))
        if manager == "ifupdown":
            wanted = [name for name, _address in interfaces]
            self.run("ifup", "--force", *wanted, timeout=120)
        elif self.enabled(manager):
            self.run("networkctl", "reload")
            there = [name for name in [*nics, *(name for name, _address in interfaces)] if name in names(self.net)]
            self.run("networkctl", "reconfigure", *there)
        else:
            self.run("systemctl", "enable", "systemd-networkd.service")
            self.run("systemctl", "restart", "systemd-networkd.service")

    def wait(self, params: Dict[str, Any], interfaces: List[Tuple[str, str]]) -> None:
        end = time.monotonic() + self.patience
        while True:
            wrong = self.differences(params, interfaces)
            if not wrong:
                return
            if time.monotonic() > end:
                raise NodeError(f"The SAN did not come up within {self.patience:g} seconds: {'; '.join(wrong)}.")
            time.sleep(0.3)


def bond_options(params: Dict[str, Any]) -> Dict[str, str]:
    """The options of the bond as the kernel calls them."""
    options = {"mode": params["mode"]}
    if params["arp_targets"]:
        options.update(arp_interval=str(params["arp_interval"]), arp_ip_target=",".join(params["arp_targets"]))
    else:
        options["miimon"] = str(params["miimon"])
    if params["mode"] == "802.3ad":
        options["lacp_rate"] = params["lacp_rate"]
    if params["mode"] in HASH_MODES:
        options["xmit_hash_policy"] = params["xmit_hash_policy"]
    return options


def section(title: str, values: List[Tuple[str, Any]]) -> str:
    return f"[{title}]\n" + "".join(f"{key}={value}\n" for key, value in values) + "\n"


def networkd(params: Dict[str, Any], interfaces: List[Tuple[str, str]]) -> Dict[str, Optional[str]]:
    """The files of systemd-networkd. Addresses stay without carrier: a session survives a cable that is out for a moment, and a
    boot does not wait for switches."""
    files = {}  # type: Dict[str, Optional[str]]
    link = section("Link", [("MTUBytes", params["mtu"]), ("RequiredForOnline", "no-carrier")])
    quiet = [("LinkLocalAddressing", "no"), ("IPv6AcceptRA", "no"), ("ConfigureWithoutCarrier", "yes")]
    vlan = {name.rpartition(".")[0]: name for name, _address in interfaces} if params["vlan"] else {}
    address = dict(interfaces)

    def netdev(name: str, kind: str, text: str) -> None:
        values = [("Name", name), ("Kind", kind), ("MTUBytes", params["mtu"])]
        files[f"{NETWORKD}/{OURS}{name}.netdev"] = HEAD + section("NetDev", values) + text

    def network(name: str, values: List[Tuple[str, Any]]) -> None:
        files[f"{NETWORKD}/{OURS}{name}.network"] = HEAD + section("Match", [("Name", name)]) + link + section("Network", values)

    def base(name: str) -> None:
        own = [("Address", address[name])] if name in address else []
        network(name, [*quiet, *own, *([("VLAN", vlan[name])] if name in vlan else [])])

    if params["mode"]:
        options = bond_options(params)
        values = [("Mode", options["mode"])]
        if params["arp_targets"]:
            values += [("ARPIntervalSec", f"{params['arp_interval']}ms"), ("ARPIPTargets", " ".join(params["arp_targets"]))]
        else:
            values += [("MIIMonitorSec", f"{params['miimon']}ms")]
        values += [("LACPTransmitRate", options["lacp_rate"])] if "lacp_rate" in options else []
        values += [("TransmitHashPolicy", options["xmit_hash_policy"])] if "xmit_hash_policy" in options else []
        netdev(params["bond"], "bond", section("Bond", values))
        for nic in params["nics"]:
            network(nic, [("Bond", params["bond"])])
        base(params["bond"])
    else:
        for nic in params["nics"]:
            base(nic)
    for name in vlan.values():
        netdev(name, "vlan", section("VLAN", [("Id", params["vlan"])]))
        network(name, [*quiet, ("Address", address[name])])
    return files


def ifupdown(params: Dict[str, Any], interfaces: List[Tuple[str, str]]) -> Dict[str, Optional[str]]:
    """The files of ifupdown, which need no packages for bonds and VLANs; one for each NIC that says whose it is, one for all."""
    lines = []
    mtu = params["mtu"]
    for name, address in interfaces:
        base = name.rpartition(".")[0] if params["vlan"] else name
        family = "inet6" if ":" in address else "inet"
        lines += [f"auto {name}", f"iface {name} {family} static", f"    address {address}"]
        if params["mode"]:
            options = " ".join(f"{key} {value}" for key, value in bond_options(params).items())
            lines.append(f"    pre-up ip link show {base} >/dev/null 2>&1 || ip link add {base} type bond {options}")
            for nic in params["nics"]:
                lines += [f"    pre-up ip link set {nic} down", f"    pre-up ip link set {nic} mtu {mtu}",
                          f"    pre-up ip link set {nic} master {base}", f"    pre-up ip link set {nic} up"]
        lines += [f"    pre-up ip link set {base} mtu {mtu}", f"    pre-up ip link set {base} up"]
        if params["vlan"]:
            make = f"ip link add link {base} name {name} type vlan id {params['vlan']}"
            lines += [f"    pre-up ip link show {name} >/dev/null 2>&1 || {make}",
                      f"    pre-up ip link set {name} mtu {mtu}", f"    post-down ip link delete {name}"]
        if params["mode"]:
            lines.append(f"    post-down ip link delete {base}")
        lines.append("")
    files = {f"{IFUPDOWN}/{OURS}{nic}": HEAD + "# This NIC belongs to the SAN.\n" for nic in params["nics"]}  # type: Dict[str, Optional[str]]
    files[f"{IFUPDOWN}/{OURS}interfaces"] = HEAD + "\n".join(lines)
    return files
