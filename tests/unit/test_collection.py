# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for the collection as a whole: nothing that belongs together has drifted apart."""
from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.nobloat.xen.plugins.plugin_utils import program
from ansible_collections.nobloat.xen.plugins.plugin_utils.foreign import foreign

ROOT = Path(__file__).resolve().parent.parent.parent
MODULES = sorted((ROOT / "plugins/modules").glob("*.py"))
NAMES = [path.stem for path in MODULES]
FILTERS = [path.stem for path in (ROOT / "plugins/filter").glob("*.py")]
ONLY_LOOK = {"answerfile", "guest_guard", "node_wait"}  # they say whether something is right
SPEAK_XAPI = [path.stem for path in MODULES if "- nobloat.xen.xapi" in path.read_text(encoding="utf-8")]  # the others run on nodes
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))
RUNTIME = yaml.safe_load((ROOT / "meta/runtime.yml").read_text(encoding="utf-8"))
ACTIONS = "ansible_collections.nobloat.xen.plugins.action"
LICENSE = "SPDX-License-Identifier: GPL-3.0-or-later"


def texts(path: Path) -> dict[str, str]:
    """The string constants that a Python file assigns at its top level."""
    return {
        target.id: node.value.value
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for target in node.targets if isinstance(target, ast.Name)
    }


def fragment(name: str) -> dict[str, Any]:
    """A documentation fragment of ours, as it is named in a module: nobloat.xen.xapi, nobloat.xen.attributes.info ..."""
    file, _dot, part = name.removeprefix("nobloat.xen.").partition(".")
    tree = ast.parse((ROOT / f"plugins/doc_fragments/{file}.py").read_text(encoding="utf-8"))
    body = next(node for node in tree.body if isinstance(node, ast.ClassDef)).body
    found = {
        target.id: ast.literal_eval(node.value)
        for node in body if isinstance(node, ast.Assign) for target in node.targets if isinstance(target, ast.Name)
    }
    return yaml.safe_load(found[part.upper() or "DOCUMENTATION"])


def attributes(path: Path) -> dict[str, Any]:
    """A module's `attributes`, those of its fragments included."""
    documentation = yaml.safe_load(texts(path)["DOCUMENTATION"])
    merged: dict[str, Any] = {}
    for source in [*map(fragment, documentation.get("extends_documentation_fragment", [])), documentation]:
        for name, value in source.get("attributes", {}).items():
            merged[name] = {**merged.get(name, {}), **value}
    return merged


def test_there_are_modules() -> None:
    assert "vm" in NAMES


def test_every_module_that_speaks_xapi_is_in_the_action_group() -> None:
    assert sorted(RUNTIME["action_groups"]["all"]) == SPEAK_XAPI


def test_every_module_has_its_action() -> None:
    """One keeps those that speak XAPI on the controller and out of the reach of `become`, one runs the others on nodes."""
    actions = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "plugins/action").glob("*.py")}
    on_nodes = sorted({*NAMES} - {*SPEAK_XAPI, "answerfile"})
    assert sorted(actions) == sorted([*SPEAK_XAPI, "answerfile", *on_nodes])
    assert on_nodes == program.modules()
    assert len({actions[name] for name in on_nodes if name not in ("leg_restore", "node_wait")}) == 1
    assert len({actions[name] for name in SPEAK_XAPI if name != "session"}) == 1
    assert importlib.import_module(f"{ACTIONS}.vm").ActionModule is importlib.import_module(f"{ACTIONS}.session").ActionModule


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_module_documentation(path: Path) -> None:
    found = texts(path)
    documentation = yaml.safe_load(found["DOCUMENTATION"])
    assert documentation["module"] == path.stem
    assert not documentation["short_description"].endswith(".")
    assert yaml.safe_load(found["RETURN"])
    examples = yaml.safe_load(found["EXAMPLES"])
    assert any(f"nobloat.xen.{path.stem}" in str(task) for task in examples), "no example of the module itself"
    known = attributes(path)
    if path.stem in SPEAK_XAPI:
        assert known["action_group"]["membership"] == ["nobloat.xen.all"]
    assert known["check_mode"]["support"] == "full"
    assert known["idempotent"]["support"] in ("full", "partial")
    # A module that only looks has nothing to show a difference of; all others have to.
    assert known["diff_mode"]["support"] == ("N/A" if path.stem.endswith("_info") or path.stem in ONLY_LOOK else "full")


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_every_return_value_has_a_sample(path: Path) -> None:
    for name, value in yaml.safe_load(texts(path)["RETURN"]).items():
        assert {"description", "returned", "type"} <= value.keys(), name
        assert "sample" in value or "contains" in value, name


# Words for one thing that a module could say instead of the one that all others say: {word: the right one}. In modules that
# speak to a pool things have XAPI's names; what is only on nodes (a leg, a lease) has those of the mirror, and a guest is a guest.
SYNONYMS = {"guest": "vm", "guests": "vms", "shutdown": "halted", "master": "coordinator", "nameservers": "dns", "proto": "ip_mode",
            "multipath": "multipathing"}
TYPES = {"bool": (bool,), "int": (int,), "float": (int, float), "str": (str,), "list": (list,), "dict": (dict,)}


def words(path: Path, text: str, inner: str) -> list[tuple[str, str, dict[str, Any]]]:
    """All options (or return values) of a module with those inside of them: (where, name, what is said of it)."""
    def walk(level: dict[str, Any], where: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
        for name, value in level.items():
            yield f"{where}.{name}", name, value
            yield from walk(value.get(inner, {}), f"{where}.{name}")

    documented = yaml.safe_load(texts(path)[text])
    return list(walk(documented.get("options", {}) if text == "DOCUMENTATION" else documented, path.stem))


OPTIONS = [word for path in MODULES for word in words(path, "DOCUMENTATION", "suboptions")]
RETURNED = [word for path in MODULES for word in words(path, "RETURN", "contains")]


def test_samples_are_of_the_type_that_is_said() -> None:
    """YAML reads an unquoted MAC address as a number in base 60."""
    wrong = [where for where, _name, value in RETURNED
             if value.get("sample") is not None and type(value["sample"]) not in TYPES[value["type"]]]
    assert wrong == []


def test_what_is_returned_is_said_in_the_words_of_the_options() -> None:
    """A value that one module takes (ip_mode: static), no other returns as something else (Static)."""
    choices: dict[str, set[str]] = {}
    for _where, name, value in OPTIONS:
        choices.setdefault(name, set()).update(value.get("choices", []))
    both = [(where, name, value["sample"]) for where, name, value in RETURNED if choices.get(name) and isinstance(value.get("sample"), str)]
    wrong = [(where, sample) for where, name, sample in both
             if sample not in choices[name] and sample.lower() in {choice.lower() for choice in choices[name]}]
    assert len(both) > 10
    assert wrong == []


def test_one_word_for_one_thing() -> None:
    pools = {*SPEAK_XAPI, "answerfile"} - {"guest_guard"}  # that one is about legs and leases
    used = [where for where, name, value in [*OPTIONS, *RETURNED]
            if where.partition(".")[0] in pools and {name, *map(str, value.get("choices", []))} & SYNONYMS.keys()]
    assert used == []


@pytest.mark.parametrize("path", ROLES, ids=lambda path: path.name)
def test_roles_declare_all_their_variables(path: Path) -> None:
    """Defaults are options of the role's specification, with its name in front."""
    specs = yaml.safe_load((path / "meta/argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
    options = {name for spec in specs.values() for name in spec.get("options", {})}
    assert all(name.startswith(path.name + "_") for name in options), options
    defaults = path / "defaults/main.yml"
    if defaults.exists():
        values = yaml.safe_load(defaults.read_text(encoding="utf-8")) or {}
        assert set(values) <= options, "a default that the specification does not have"
        declared = {name: option["default"] for spec in specs.values()
                    for name, option in spec.get("options", {}).items() if "default" in option}
        assert {name: values[name] for name in declared if name in values} == {
            name: value for name, value in declared.items() if name in values}, "two different defaults"
    assert (path / "README.md").exists()


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: path.name)
def test_playbooks_use_what_exists(path: Path) -> None:
    """Our roles and modules that a playbook or its roles name are there, each by its full name."""
    for source in [path, *ROOT.glob("roles/*/tasks/*.yml")]:
        used = re.findall(r"\bnobloat\.xen\.(\w+)", source.read_text(encoding="utf-8"))
        assert set(used) <= {*NAMES, *(role.name for role in ROLES), *(book.stem for book in PLAYBOOKS), *FILTERS, "all", "xapi"}, source


def written_twice(node: yaml.Node) -> Iterator[str]:
    """Keys of mappings that are merged from an anchor and written beside it, too."""
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    anchored = [value for key, value in pairs if key.value == "<<" and isinstance(value, yaml.MappingNode)]
    merged = {key.value for mapping in anchored for key, _value in mapping.value}
    yield from (f"{key.value}, line {key.start_mark.line + 1}" for key, _value in pairs if key.value in merged)
    for each in [value for _key, value in pairs] if pairs else node.value if isinstance(node, yaml.SequenceNode) else []:
        yield from written_twice(each)


@pytest.mark.parametrize("path", [*ROLES, *PLAYBOOKS], ids=lambda path: path.name)
def test_no_merged_key_is_written_again(path: Path) -> None:
    """It is right YAML, but ansible-core 2.19 and newer warn of a duplicate key."""
    for source in path.rglob("*.yml") if path.is_dir() else [path]:
        for document in yaml.compose_all(source.read_text(encoding="utf-8")):
            assert list(written_twice(document)) == [], source


@pytest.mark.parametrize("name", FILTERS)
def test_what_filters_return_is_never_evaluated(name: str) -> None:
    module = importlib.import_module(f"ansible_collections.nobloat.xen.plugins.filter.{name}")
    assert all(function.__code__ == foreign(function).__code__ for function in module.FilterModule().filters().values())


def test_every_source_file_names_its_license() -> None:
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                            cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git clone: which files are sources is not known")
    paths = [ROOT / name for name in listed.stdout.split("\0") if name.endswith((".py", ".mjs", ".sh"))]
    assert [path for path in paths if path.is_file() and LICENSE not in path.read_text(encoding="utf-8")[:600]] == []


def test_the_same_python_requirements_for_the_collection_and_its_execution_environment() -> None:
    """ansible-builder reads the file from beside the definition, or from the collection's root: it is one file."""
    assert (ROOT / "meta/requirements.txt").read_bytes() == (ROOT / "requirements.txt").read_bytes()


def test_every_library_that_plugins_import_is_a_requirement() -> None:
    """Those of Ansible come with it. `passlib` is the import name of libpass, too."""
    used = {
        name.partition(".")[0]
        for path in (ROOT / "plugins").rglob("*.py") for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in ([each.name for each in node.names] if isinstance(node, ast.Import)
                     else [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else [])
    }
    foreign = used - set(sys.stdlib_module_names) - {"ansible", "ansible_collections", "yaml", "jinja2"}
    stated = set(re.findall(r"^([A-Za-z0-9_-]+)", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE))
    assert {{"passlib": "libpass"}.get(name, name) for name in foreign} <= stated


def tasks_in(value: Any) -> Iterator[dict[str, Any]]:
    """Everything in a playbook or a task file that repeats itself."""
    for each in value if isinstance(value, list) else value.values() if isinstance(value, dict) else []:
        yield from tasks_in(each)
    if isinstance(value, dict) and "until" in value:
        yield value


def test_a_password_is_not_sent_again_and_again() -> None:
    """A login that was refused, or went to somebody who is not trusted, is none that one waits for."""
    repeated = [
        (path.relative_to(ROOT).as_posix(), task["name"], task["until"])
        for path in [*(ROOT / "playbooks").rglob("*.yml"), *(ROOT / "roles").glob("*/tasks/*.yml")]
        for task in tasks_in(yaml.safe_load(path.read_text(encoding="utf-8")))
        if {key.removeprefix("nobloat.xen.") for key in task} & set(SPEAK_XAPI)
    ]
    assert len(repeated) > 4
    assert [each for each in repeated if re.search("failed|succeeded|success", each[2]) and "xapi_error" not in each[2]] == []


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: path.name)
def test_a_host_that_cannot_be_reached_ends_a_playbook_too(path: Path) -> None:
    """any_errors_fatal alone lets newer cores go on with the next play (ansible/ansible#82834)."""
    for play in yaml.safe_load(path.read_text(encoding="utf-8")):
        if play.get("any_errors_fatal") and "serial" not in play:  # one at a time are pools, which are reached by XAPI
            assert play.get("max_fail_percentage") == 0, play["name"]


# Setters that replace a whole map or set, of fields that also have add_ and remove_: they lose what others wrote meanwhile.
WHOLE = re.compile(
    r"""set_(?:other_config|tags|platform|xenstore_data|HVM_boot_params|VCPUs_params|NVRAM|blocked_operations|qos_algorithm_params
    |sm_config|logging|gui_config|health_check_config|license_server|guest_VCPUs_params|ipv[46]_allowed|trunks)\b
    |\bset\("(?:other_config|tags|platform|xenstore_data|HVM_boot_params|VCPUs_params|NVRAM|blocked_operations)"[^)]*\)""",
    re.VERBOSE,
)


@pytest.mark.parametrize("path", sorted((ROOT / "plugins").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_map_is_written_back_whole(path: Path) -> None:
    found = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()
             if WHOLE.search(line) and "changes.set(" not in line]
    assert not found, "write single keys: module_utils/xapi/keys.py"
