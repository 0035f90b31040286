# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory beside other sources, on pools whose guests are called, tagged and described by somebody who means harm."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from xapisim.launcher import launch

COLLECTIONS = str(Path(__file__).resolve().parents[4] / ".work" / "collections")
Run = Callable[..., Any]

LOCAL_FILE = """
all:
  hosts:
    localhost: {ansible_connection: local}
    node1: {ansible_host: 192.0.2.200, role: store}
    uuid-less:
  children:
    nodes: {hosts: {node1: }}
    xapi_tag_trap: {hosts: {node1: }}
"""
HEADER = "#jinja2:variable_start_string:'[[',variable_end_string:']]'\n[[ 'ev' ~ 'il' ]]"

CLAIMED, CLAIMED_TOO = "11111111-2222-4333-8444-555555555555", "11111111-2222-4333-8444-666666666666"


def guest(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "nics": ["Pool-wide network associated with eth0"], **fields}


SCENARIO = {
    "pools": [
        {"name": "alpha", "hosts": [{"name": "alpha-1"}], "vms": [
            guest("web", power_state="Running", ip="192.0.2.10", tags=["trap", "nodes", "all", "keyed", "localhost"]),
            guest("node1", power_state="Running", ip="192.0.2.66"), guest("localhost", power_state="Running", ip="192.0.2.67"),
            guest("127.0.0.1"), guest("all"), guest("ungrouped"), guest("xapi_vms"), guest("xapi_hosts"), guest("nodes"), guest("keyed"),
            guest("named"), guest("../../up"), guest("node1:22"), guest("-oProxyCommand=id"), guest("db"),
            guest("{{ 'ev' ~ 'il' }}", description="{{ 'ev' ~ 'il' }}", tags=["{{ 'ev' ~ 'il' }}"]), guest("header", description=HEADER),
            guest("keys", other_config={"{{ 'ev' ~ 'il' }}": "x"}), guest("calls", description="lookup('pipe', 'touch called')"),
            guest("method", description="cycler.__init__.__globals__.os.popen('touch called').read()"),
            guest("DB query (old)", description="see lookup('old')"), guest("q (x)", description="mail.example.com (old)"),
        ]},
        {"name": "bravo", "password": "aB{#c9#}x{{ y }}", "hosts": [{"name": "bravo-1"}], "vms": [guest("bravo-web")]},
        *({"name": name, "hosts": [
            {"name": "db", "uuid": CLAIMED, "address": address}, {"name": f"{name}-own", "uuid": CLAIMED_TOO},
        ]} for name, address in (("charlie", "127.0.0.66"), ("delta", "127.0.0.10"))),
    ],
}


@pytest.fixture(scope="module")
def info() -> Iterator[dict[str, Any]]:
    with launch(SCENARIO) as ready:
        yield ready


def environment(password: str) -> dict[str, str]:
    return {
        **os.environ, "ANSIBLE_COLLECTIONS_PATH": COLLECTIONS, "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true",
        "ANSIBLE_INVENTORY_ENABLED": "nobloat.xen.xapi,yaml", "ANSIBLE_LOCALHOST_WARNING": "false", "ANSIBLE_NOCOLOR": "1",
        "XENSERVER_PASSWORD": password,
    }


def command(name: str, *args: str, password: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run one of Ansible's programs."""
    program = str(Path(sys.executable).parent / name)
    return subprocess.run([program, *args], env=environment(password), capture_output=True, text=True, check=False, cwd=cwd)


@pytest.fixture(scope="module")
def reader(info: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
    """Ansible, ready to read inventories."""
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("reader.py"))], env=environment(info["pools"][0]["password"]), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:
        yield process


@pytest.fixture
def write(info: dict[str, Any], tmp_path: Path) -> Run:
    """Write a file of hosts, and one of this plugin with `options`: their paths."""
    pool = info["pools"][0]

    def run(**options: Any) -> list[str]:
        (tmp_path / "a.yml").write_text(LOCAL_FILE, encoding="utf-8")
        file = {"plugin": "nobloat.xen.xapi", "hostname": pool["url"], "username": pool["username"], **options}
        text = json.dumps(file).replace('"VAULT', '!vault "')  # JSON is YAML, up to tags
        (tmp_path / "b.xapi.yml").write_text(text, encoding="utf-8")
        return [str(tmp_path / "a.yml"), str(tmp_path / "b.xapi.yml")]

    return run


@pytest.fixture
def look(write: Run, reader: Any) -> Run:
    """Both files as Ansible reads them, in the form in which ansible-inventory prints them, and the warnings."""

    def run(*, fails: bool = False, alone: bool = False, **options: Any) -> tuple[dict[str, Any], str]:
        reader.stdin.write(json.dumps(write(**options)[alone:]) + "\n")
        reader.stdin.flush()
        result = json.loads(reader.stdout.readline())
        assert result["failed"] is fails, result["said"]
        return result["found"], result["said"]

    return run


@pytest.fixture
def listed(info: dict[str, Any], write: Run, tmp_path: Path) -> Run:
    """What AWX runs: ansible-inventory on both files, its output and all that it said."""

    def run(*args: str, given: str = info["pools"][0]["password"], fails: bool = False, **options: Any) -> tuple[Any, str]:
        first, second = write(**options)
        done = command("ansible-inventory", "-i", first, "-i", second, "--list", "--export", *args, password=given, cwd=tmp_path)
        said = " ".join(done.stderr.split())
        assert (done.returncode != 0) == fails, said
        assert "Traceback" not in said
        return (None if fails else json.loads(done.stdout)), said

    return run


def hosts_of(found: dict[str, Any], group: str) -> set[str]:
    """Names of the hosts in a group and those below it."""
    entry = found.get(group, {})
    return set(entry.get("hosts", ())).union(*(hosts_of(found, child) for child in entry.get("children", ())))


def uuid_of(found: dict[str, Any], name: str) -> str:
    return next(str(host["xapi_uuid"]) for host in found["_meta"]["hostvars"].values() if host.get("xapi_name") == name)


def test_hosts_and_groups_of_others_are_left_alone(look: Run) -> None:
    found, said = look(
        groups={"named": "xapi_name == 'db'"},
        keyed_groups=[{"key": "xapi_tags", "prefix": "", "separator": ""}, {"key": "'os'", "prefix": "x", "parent_group": "x_os"}],
    )
    hosts = found["_meta"]["hostvars"]
    assert hosts["node1"] == {"ansible_host": "192.0.2.200", "role": "store"}
    assert hosts["localhost"] == {"ansible_connection": "local"}
    assert found["nodes"]["hosts"] == found["xapi_tag_trap"]["hosts"] == ["node1"]
    assert (hosts_of(found, "xapi_tag_trap_2"), hosts_of(found, "nodes_2")) == ({"web"}, {"web"})
    assert "Another source made the group nodes" in said
    guests = hosts_of(found, "xapi_vms")
    assert (len(guests), hosts_of(found, "xapi_hosts"), hosts_of(found, "named")) == (22, {"alpha-1"}, {"db"})
    assert not {"node1", "localhost", "127.0.0.1", "uuid-less", *found} & guests
    for name in ("node1", "localhost", "127.0.0.1", "all", "ungrouped", "xapi_vms", "xapi_hosts", "nodes", "named", "keyed"):
        assert f"{name}-{uuid_of(found, name)[:8]}" in guests
        assert f"'{name}' is {name}-" in said
    assert {"db", "web", "header"} <= guests
    assert hosts_of(found, "keyed") == {"web"}  # a guest is called so, and does not keep others from the group
    assert hosts_of(found, "localhost_2") == {"web"}
    assert "all" not in found["all"]["children"]
    assert (found["x_os"]["children"], hosts_of(found, "x_os")) == (["x_os_2"], guests | {"alpha-1"})  # no circle


def test_no_tag_is_the_controller(look: Run) -> None:
    found, said = look(alone=True, keyed_groups=[{"key": "xapi_tags", "prefix": "", "separator": ""}])
    assert "localhost" not in {*found, *found["_meta"]["hostvars"]}  # so `hosts: localhost` is Ansible's own
    assert hosts_of(found, "localhost_2") == {"web"}
    assert "No group gets a name that means the machine Ansible runs on" in said


def test_names_are_nothing_but_names(look: Run) -> None:
    found, _said = look()
    for name, shown in (("../../up", "______up"), ("node1:22", "node1_22"), ("-oProxyCommand=id", "_oProxyCommand=id")):
        assert f"{shown}-{uuid_of(found, name)[:8]}" in found["_meta"]["hostvars"]


def test_what_is_adopted(look: Run) -> None:
    found, _said = look(adopt=["node*", "xapi_tag_trap"], compose={"role": "'guest'", "more": "xapi_name"})
    node = found["_meta"]["hostvars"]["node1"]
    assert (node["ansible_host"], node["role"]) == ("192.0.2.200", "store")  # what the other source says stays
    assert (node["xapi_name"], node["xapi_ip_addresses"], node["more"]) == ("node1", ["192.0.2.66"], "node1")
    assert hosts_of(found, "xapi_tag_trap") == {"node1", "web"}
    assert "node1" in hosts_of(found, "xapi_vms")
    assert f"localhost-{uuid_of(found, 'localhost')[:8]}" in found["_meta"]["hostvars"]


def test_only_a_name_that_is_one_guests_is_adopted(look: Run) -> None:
    found, _said = look(adopt=["*"], hostnames=["'node1'"])
    assert found["_meta"]["hostvars"]["node1"] == {"ansible_host": "192.0.2.200", "role": "store"}
    found, _said = look(adopt=["*"])
    assert found["_meta"]["hostvars"]["localhost"] == {"ansible_connection": "local"}
    assert found["nodes"]["hosts"] == ["node1"]


# -- AWX: after its inventory_import and mem_inventory


class Awx:
    """What AWX keeps of the output: hosts by name with their variables, and which groups they are in."""

    def __init__(self, output: dict[str, Any]) -> None:
        self.hosts: dict[str, dict[str, Any]] = {}
        self.groups: dict[str, set[str]] = {}
        meta = output.pop("_meta")["hostvars"]
        for group, entry in output.items():
            for text in entry.get("hosts", []):
                name = text.partition(":")[0] if text.count(":") == 1 else text  # TypeError, AttributeError: the import dies
                self.hosts.setdefault(name, {})
                self.groups.setdefault(group, set()).add(name)
        for name, variables in self.hosts.items():
            variables.update(meta.get(name, {}))

    def enabled(self, variable: str, value: str) -> set[str]:
        return {name for name, variables in self.hosts.items() if str(variables.get(variable)).lower() == value.lower()}

    def instance_id(self, name: str, variable: str) -> str:
        return str(self.hosts[name].get(variable))


def test_awx_reads_plain_texts(listed: Run) -> None:
    output, said = listed(compose={"ansible_user": "'root'"})
    named = output["_meta"]["hostvars"]
    awx = Awx(json.loads(json.dumps(output)))
    assert awx.instance_id("web", "xapi_uuid") == uuid_of(output, "web")
    assert len(awx.instance_id("web", "xapi_uuid")) == 36
    assert {"web", "localhost-" + uuid_of(output, "localhost")[:8]} <= awx.enabled("xapi_power_state", "running")
    assert "db" not in awx.enabled("xapi_power_state", "running")
    assert (named["web"]["ansible_host"], named["web"]["ansible_user"]) == ("192.0.2.10", "root")
    marked = {name: [key for key, value in variables.items() if "__ansible_unsafe" in json.dumps(value)]
              for name, variables in named.items()}
    odd = next(name for name, variables in named.items() if variables.get("xapi_description") == {"__ansible_unsafe": "{{ 'ev' ~ 'il' }}"})
    assert {name: sorted(keys) for name, keys in marked.items() if keys and name != "keys"} == {
        odd: ["xapi_description", "xapi_name", "xapi_tags"], "header": ["xapi_description"], "calls": ["xapi_description"],
        "method": ["xapi_description"],
    }
    assert named["DB query (old)"]["xapi_description"] == "see lookup('old')"
    assert named["q (x)"]["xapi_description"] == "mail.example.com (old)"
    assert (named[odd]["xapi_uuid"], odd in awx.hosts, odd in awx.groups["xapi_vms"]) == (odd, True, True)
    assert "have a name that Ansible might evaluate" in said
    assert set(awx.hosts) == set(named) | {"uuid-less"}


PLAY = """
- hosts: xapi_vms
  gather_facts: false
  tasks:
    - debug: {msg: "{{ item.key }}"}
      loop: "{{ xapi_other_config | dict2items }}"
      register: keys
    - debug: {msg: "{{ xapi_name }}"}
      when: "{{ xapi_description }}"
      ignore_errors: true
    - copy:
        dest: "{{ inventory_dir }}/{{ inventory_hostname }}.json"
        content: "{{ [xapi_name, xapi_description, xapi_tags, keys.results | map(attribute='msg') | list, made] | to_json }}"
      connection: local
"""


def test_nothing_of_a_pool_is_evaluated(look: Run, tmp_path: Path, info: dict[str, Any]) -> None:
    found, _said = look(compose={"made": "'a ' ~ xapi_description"})
    (tmp_path / "play.yml").write_text(PLAY, encoding="utf-8")
    odd = next(name for name, host in found["_meta"]["hostvars"].items() if name == host.get("xapi_uuid"))
    args = ("-l", f"{odd},header,keys,calls,method", "-e", f"ansible_python_interpreter={sys.executable}", str(tmp_path / "play.yml"))
    done = command("ansible-playbook", "-i", str(tmp_path / "b.xapi.yml"), *args, password=info["pools"][0]["password"], cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "evil" not in done.stdout
    assert not (tmp_path / "called").exists()
    read = {name: json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8")) for name in (odd, "header", "keys", "calls")}
    assert read[odd][:3] == ["{{ 'ev' ~ 'il' }}", "{{ 'ev' ~ 'il' }}", ["{{ 'ev' ~ 'il' }}"]]
    assert (read["header"][1], read["header"][4], read["calls"][1]) == (HEADER, f"a {HEADER}", "lookup('pipe', 'touch called')")
    assert "{{ 'ev' ~ 'il' }}" in read["keys"][3]


# -- passwords and broken pools


def test_a_password_of_the_environment_is_no_template(listed: Run, info: dict[str, Any]) -> None:
    pool = info["pools"][1]
    assert "{" in pool["password"]
    found, _said = listed(hostname=pool["url"], given=pool["password"])
    assert "bravo-web" in found["_meta"]["hostvars"]
    _found, said = listed("-vvv", given="{{ s3cretThing }}", fails=True)
    assert "user name or the password" in said  # so it came as far as the login
    assert "s3cretThing" not in said


def test_a_password_of_a_vault_is_no_template(listed: Run, info: dict[str, Any], tmp_path: Path) -> None:
    pool, key = info["pools"][1], tmp_path / "key"
    key.write_text("key", encoding="utf-8")
    done = command("ansible-vault", "encrypt_string", "--vault-password-file", str(key), pool["password"], password="", cwd=tmp_path)
    assert done.stdout.startswith("!vault |"), done.stderr
    secret = "VAULT" + "\n".join(done.stdout.split()[2:])
    for options in ({"hostname": pool["url"], "password": secret}, {"pools": [{"hostname": pool["url"], "password": secret}]}):
        found, _said = listed("--vault-password-file", str(key), given="wrong", **options)
        assert "bravo-web" in found["_meta"]["hostvars"]


def test_a_template_that_fails_does_not_show_a_password(listed: Run, look: Run) -> None:
    for options in (
        {"password": "aB{{ s3cretThing }}"}, {"pools": [{"hostname": "http://127.0.0.1:9", "password": "s3cretThing{% x"}]},
    ):
        _found, said = listed("-vvv", fails=True, **options)
        assert "the template in option password cannot be worked out" in said
        assert "s3cretThing" not in said
    for options in ({}, {"password": ""}, {"timeout": "soon"}):
        _found, said = look(pools=[{"hostname": "https://me:s3cretThing@x", **options}], fails=True)
        assert "***@x" in said
        assert "s3cretThing" not in said
    _found, said = look(hostname="{{ nothing }}", fails=True)
    assert "template in option hostname cannot be worked out" in said
    assert "nothing" in said


def test_a_password_in_the_file_is_a_template(look: Run, info: dict[str, Any]) -> None:
    pool = info["pools"][0]
    secret = f"{{{{ '{pool['password'][:2]}' ~ '{pool['password'][2:]}' }}}}"
    found, _said = look(password="wrong", pools=[{"hostname": pool["url"], "password": secret, "validate_certs": "{{ 1 == 2 }}"}])
    assert "web" in found["_meta"]["hostvars"]


def test_certificates_are_checked_unless_it_says_false(look: Run) -> None:
    _found, said = look(validate_certs="flase", fails=True)
    assert "option validate_certs must be true or false" in said


def test_one_broken_pool_does_not_empty_the_others(look: Run, info: dict[str, Any]) -> None:
    one, two = ({"hostname": pool["url"], "password": f"{{{{ {pool['password']!r} }}}}"} for pool in info["pools"][:2])
    broken = [{"hostname": "x", "host": "y"}, {"hostname": "https://x", "password": "{{ nothing }}"}, 17, {"hostname": "ftp://x"}]
    found, said = look(pools=[*broken, one, two], broken_pools="warn")
    assert {"alpha-1", "bravo-1", "bravo-web"} <= set(found["_meta"]["hostvars"])
    assert said.count("going on without it") == len(broken)
    _found, said = look(pools=[one, broken[0]], fails=True)
    assert "there is no option host" in said


def test_a_pool_that_is_given_twice_is_there_once(look: Run, info: dict[str, Any]) -> None:
    url = info["pools"][0]["url"]
    found, said = look(pools=[{"hostname": url}, {"hostname": f"{url}/"}])
    assert "web" in found["_meta"]["hostvars"]
    assert "are in a pool before it, too" in said


def test_nobody_takes_a_guest_of_another_pool_by_its_uuid(look: Run, info: dict[str, Any]) -> None:
    pools = [{"hostname": pool["url"], "password": pool["password"]} for pool in info["pools"][2:]]
    for order in (pools, pools[::-1]):
        found, said = look(alone=True, pools=order)
        hosts = found["_meta"]["hostvars"]
        names = [f"db-{pool['hostname'].partition('://')[2].replace(':', '_')}" for pool in pools]
        assert {name: hosts[name]["ansible_host"] for name in hosts if name.startswith("db")} == dict(
            zip(names, ("127.0.0.66", "127.0.0.10"), strict=True))
        assert {"charlie-own", "delta-own"} <= set(hosts)
        assert "Several pools claim the same uuid" in said
        assert all(f"'db' ({CLAIMED}) of {pool['hostname']}" in said for pool in pools)
        assert "in a pool before it" not in said


def test_one_pool_by_two_addresses_is_there_once(look: Run, info: dict[str, Any]) -> None:
    url = info["pools"][0]["url"]
    found, said = look(alone=True, pools=[{"hostname": url}, {"hostname": url.replace("127.0.0.1", "localhost")}])
    assert {"web", "alpha-1"} <= set(found["_meta"]["hostvars"])
    assert "Several pools claim" not in said


@pytest.mark.parametrize("damage", [
    lambda text: text[: len(text) // 2], lambda text: "[]", lambda text: text.replace("name_label", "label"),
])
def test_a_damaged_cache_is_read_again(look: Run, tmp_path: Path, damage: Callable[[str], str]) -> None:
    cache = {"cache": True, "cache_plugin": "ansible.builtin.jsonfile", "cache_connection": str(tmp_path / "cache"), "cache_timeout": 600}
    first, _said = look(**cache)
    (file,) = (tmp_path / "cache").iterdir()
    whole = file.read_text(encoding="utf-8")
    file.write_text(damage(whole), encoding="utf-8")
    again, _said = look(**cache)
    assert again == first
    assert json.loads(file.read_text(encoding="utf-8")).keys() == json.loads(whole).keys()
