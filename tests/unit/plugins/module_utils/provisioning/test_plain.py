# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No value of a PXE server brings a command or a setting of its own; each option that its role takes is one that is looked at."""
from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.nobloat.xen.plugins.module_utils.provisioning.plain import ANSWERS, OWN, problems
from ansible_collections.nobloat.xen.plugins.modules.answerfile import SPEC

ROLE = Path(__file__).resolve().parents[5] / "roles/pxe_server"
GOOD: dict[str, Any] = {
    "server": {"root": "/srv/pxe", "interface": "eth0.7", "address": "10.0.0.2", "dhcp_range": "10.0.0.100,10.0.0.199,12h",
               "dhcp_options": ["option:router,10.0.0.1"]},
    "images": [{"name": "xcp-ng-8.3", "iso": "/srv/iso/xcp-ng-8.3.0.iso", "tree": "/srv/tree",
                "boot": {"hypervisor": "", "kernel": "boot/vmlinuz", "initrd": "install.img",
                         "hypervisor_arguments": "dom0_max_vcpus=1-16 dom0_mem=2048M,max:2048M com1=115200,8n1 console=com1,vga",
                         "kernel_arguments": "xencons=hvc console=tty0 install"}}],
    "hosts": [{"name": "xcp3", "mac": "02:66:00:00:03:0A", "answers": {}, "kernel_arguments": "map_netdev=eth0:d:02:66:00:00:03:00",
               "first_boot": {"hostname": "xcp3.example.com", "ntp_servers": ["10.0.0.2", "fd00::1", "ntp.example.com"],
                              "bond": {"members": ["eth0", "eth1"], "network": "Bond of eth0 and eth1 (LACP)"}}}],
}  # fmt: skip
# Those of argument_specs.yml that are none of these: numbers, choices, what module answerfile checks, what becomes JSON.
ELSEWHERE = {"port", "checkin_port", "wait_timeout", "ready_timeout", "arm", "wait", "callback", "version", "image", "answers", "mode",
             "url", "host_config_key"}


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """All that is a text, as the container and the key to put another one there."""
    for key, each in list(value.items() if isinstance(value, dict) else enumerate(value)):
        if isinstance(each, (dict, list)):
            yield from places(each)
        else:
            yield value, key


@pytest.mark.parametrize("evil", [
    "{}\n", "{}\nhttp://evil/", "{}'; reboot; '", '{}" $(reboot)', "{}`reboot`", "{}\\", "a\x00", "{}\u2028x",
])  # fmt: skip
def test_no_value_brings_its_own_command(evil: str) -> None:
    assert problems(**GOOD) == []
    for number in range(len(list(places(GOOD)))):
        changed = copy.deepcopy(GOOD)
        container, key = list(places(changed))[number]
        container[key] = evil.replace("{}", container[key])
        (problem,) = problems(**changed)
        assert repr(container[key]) in problem


@pytest.mark.parametrize("evil", ["{} ; halt", "{} --- http://evil/", "{} ${{x}}", "{} { boot", "{} # x", "{} | x", "{} > x", "{} & x"])
def test_arguments_are_no_grub_commands(evil: str) -> None:
    for option in ("hypervisor_arguments", "kernel_arguments"):
        changed = copy.deepcopy(GOOD)
        changed["images"][0]["boot"][option] = evil.replace("{}", "quiet")
        assert len(problems(**changed)) == 1


def test_every_option_is_looked_at_here_or_elsewhere() -> None:
    spec = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
    asked = {name.removeprefix("pxe_server_") for entry in spec.values() for name in re.findall(
        r"^ *'?([a-z_]+)'?:$", yaml.safe_dump(entry["options"]), re.MULTILINE)} - {"options", "description", "choices"}
    here = {key for container, key in places(GOOD) if isinstance(key, str)}
    here |= {"dhcp_options", "images", "hosts", "boot", "first_boot", "ntp_servers", "bond", "members", "network"}
    assert asked - here - ELSEWHERE == set()


def test_the_role_hands_on_all_options_of_the_module_and_knows_their_names() -> None:
    (task,) = yaml.safe_load((ROLE / "tasks/answers.yml").read_text(encoding="utf-8"))
    assert set(ANSWERS) == SPEC.keys() - {*OWN, "previous"} == task["nobloat.xen.answerfile"].keys() - set(OWN)


@pytest.mark.parametrize(("name", "meant"), [
    ("rootpassword", "root_password"), ("time_zone", "timezone"), ("ntp_server", "ntp_servers"), ("guest_disk", "guest_disks"),
    ("previous", ""), ("Disk", "disk"), ("", "")])
def test_a_misspelt_answer_is_refused_and_not_shown(name: str, meant: str) -> None:
    changed = copy.deepcopy(GOOD)
    changed["hosts"][0]["answers"] = {"sr_type": "ext", name: "hidden"}
    (problem,) = problems(**changed)
    assert repr(name) in problem and (f"is {meant} meant?" if meant else "answers") in problem and "hidden" not in problem


@pytest.mark.parametrize("answers", [None, "sr_type=ext", []])
def test_answers_are_a_dictionary(answers: Any) -> None:
    changed = copy.deepcopy(GOOD)
    changed["hosts"][0]["answers"] = answers
    (problem,) = problems(**changed)
    assert "dictionary" in problem


@pytest.mark.parametrize(("name", "host", "image"), [
    ("xcp3", True, True), ("xcp-3.hall", True, True), ("XenServer8", False, True), ("xcp_3", False, True), (".xcp", False, False),
    ("a/b", False, False), ("..", False, False), ("", False, False),
])  # fmt: skip
def test_names_of_hosts_and_of_images(name: str, host: bool, image: bool) -> None:
    """An image is a folder; a host is what its check-in says, which knows neither capitals nor underscores."""
    for kind, right in (("hosts", host), ("images", image)):
        changed = copy.deepcopy(GOOD)
        changed[kind][0]["name"] = name
        found = problems(**changed)
        assert (found == []) == right and (right or f"name is {name!r}, and has to be a name of" in found[0])
