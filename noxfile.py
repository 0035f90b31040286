# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of the collection, one session each: `make test` runs the default ones, `nox --list` names them all.

Everything that they make lies in .work: virtual environments (made anew only when their requirements change), copies of the
collection for ansible-test, and a home of its own for ansible-test's caches.
"""
from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nox

ROOT = Path(__file__).parent.resolve()
sys.path.insert(0, str(ROOT / "tools"))

import pythons  # noqa: E402
import stage  # noqa: E402

WORK = stage.work()

nox.needs_version = ">=2026.8"
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_venv = "yes"
nox.options.stop_on_first_error = False
nox.options.error_on_missing_interpreters = True


@dataclass(frozen=True)
class Core:
    """A version of ansible-core to test on, with the interpreters that it runs on, best first."""

    version: str
    interpreters: tuple[str, ...]
    package: str  # the `ansible` release of this core, with the collections that tests compare ours with

    @property
    def interpreter(self) -> str | None:
        return next((name for name in self.interpreters if name in PYTHONS), None)


PYTHONS = pythons.found()
os.environ["PATH"] = pythons.search_path(PYTHONS)
OLDEST = Core("2.16", ("3.11", "3.12", "3.10"), "ansible~=9.13")
NEWER = [
    Core("2.21", ("3.13", "3.14", "3.12"), "ansible~=14.5"),
    Core("2.19", ("3.11", "3.13", "3.12"), "ansible~=12.3"),
]
NEWEST = next(core for core in [*NEWER, OLDEST] if core.interpreter)
CORES = dict.fromkeys([OLDEST, NEWEST, NEWER[0]])  # those that no interpreter here can run are skipped, and say so

# As one of all checks, which have to end in less than an hour: the tests that are not marked as long.
SELECTION = ("-m", "not long") if os.environ.get("CHECK_BRIEF") else ()

LIBRARIES = ("-r", "requirements.txt")
SIMULATOR = ("-r", "tests/xapisim/requirements.txt")
PYTEST = ("-r", "tests/unit/requirements.txt")
LINTERS = (
    "ruff~=0.17.5", "mypy~=2.4", "types-PyYAML", "types-passlib", "yamllint~=1.38",
    "ansible-lint~=26.10", "vermin~=1.9", "antsibull-docs~=2.28",
    "ansible>=12.3", "antsibull-changelog~=0.36.0", "ansible-builder~=3.2", "galaxy-importer~=0.4.44",
)


def install(session: nox.Session, *requirements: str) -> None:
    """pip install, unless this environment was made from the very same requirements: a second run starts at once."""
    texts = [Path(ROOT, word).read_text(encoding="utf-8") if word.endswith(".txt") else word for word in requirements]
    wanted = hashlib.sha256("\n".join([sys.version, *texts]).encode()).hexdigest()
    stamp = Path(session.virtualenv.location, "requirements.sha256")
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        session.install("-qq", *requirements)
        stamp.write_text(wanted, encoding="utf-8")


def ansible_environment(session: nox.Session) -> dict[str, str]:
    """Variables for ansible commands on the clone itself."""
    return {
        "ANSIBLE_COLLECTIONS_PATH": str(stage.link()), "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_HOME": str(Path(session.virtualenv.location, "ansible")), "ANSIBLE_LOCALHOST_WARNING": "False",
        "PYTHONPATH": str(ROOT / "tests"), "PYTHONDONTWRITEBYTECODE": "1",
    }


def ansible_test(session: nox.Session, core: Core) -> tuple[Path, dict[str, str]]:
    """A copy of the collection for ansible-test, and the variables that it needs where nothing can be downloaded."""
    home = WORK / "home" / core.version
    cache = home / ".ansible/test/cache"
    cache.mkdir(parents=True, exist_ok=True)
    for name in (".cache", ".config"):  # pip's cache and settings stay the user's
        if not (home / name).is_symlink():
            (home / name).symlink_to(Path.home() / name)
    package = session.run(
        "python", "-c", "import ansible_test; print(*ansible_test.__path__)", silent=True, log=False, external=False)
    text = Path(str(package).strip(), "_internal/python_requirements.py").read_text(encoding="utf-8")
    for version in re.findall(r"\bpip='([\d.]+)'", text):
        shutil.copy(ROOT / "tools/get_pip.py", cache / f"get_pip_{version.replace('.', '_')}.py")
    environment = {"HOME": str(home), "ANSIBLE_COLLECTIONS_PATH": "", "ANSIBLE_TEST_PREFER_PODMAN": ""}
    return stage.stage(WORK / "staged" / session.name), environment


def once_per_core(check: Callable[[nox.Session, Core], None]) -> None:
    """Register a session `check-VERSION` for every ansible-core that is tested."""
    for core in CORES:
        def run(session: nox.Session, core: Core = core) -> None:
            if not core.interpreter:
                session.skip(f"ansible-core {core.version} needs Python {' or '.join(core.interpreters)}")
            check(session, core)

        run.__doc__ = check.__doc__
        nox.session(run, name=f"{check.__name__}-{core.version}", python=core.interpreter,
                    venv_backend=None if core.interpreter else "none")


@nox.session
def lint(session: nox.Session) -> None:
    """Style, types and documentation of everything; the changelog; the build; galaxy-importer; the execution environment."""
    install(session, *LINTERS, *LIBRARIES, *SIMULATOR, *PYTEST)
    environment = ansible_environment(session)
    failed = []

    def step(*command: str, cwd: Path = ROOT, **variables: str) -> None:
        session.chdir(cwd)
        try:
            session.run(*command, env={**environment, **variables})
        except nox.command.CommandFailed:
            failed.append(" ".join(command[:3]))

    step("ruff", "check", "--quiet", "--output-format", "concise", ".")
    step("mypy")
    step("yamllint", "--strict", ".")
    step("ansible-lint", "--profile", "production", "--offline", "--strict", "-q")
    # What runs on a node has to do with its Python.
    utils = ROOT / "plugins/module_utils"
    shared = [utils / name for name in ("change.py", "lists.py", "size.py", "discreet.py", "mirror/names.py")]
    on_nodes = [*shared, *(utils / "node").glob("*.py"), *(
        path for path in (ROOT / "plugins/modules").glob("*.py") if "module_utils.node." in path.read_text(encoding="utf-8"))]
    if on_nodes:
        step("vermin", "--target=3.6-", "--no-tips", "--violations", "--eval-annotations", *map(str, on_nodes))
    step("python", "tools/role_readme.py", "--check")
    step("antsibull-docs", "lint-collection-docs", "--plugin-docs", "--validate-collection-refs", "dependent",
         "--check-extra-docs-refs", "--skip-rstcheck", str(stage.linked()))
    step("antsibull-changelog", "lint")
    if (ROOT / "changelogs/changelog.yaml").exists():
        step("antsibull-changelog", "lint-changelog-yaml", "--strict", "changelogs/changelog.yaml")
    step("ansible-builder", "create", "--file", "meta/execution-environment.yml", "--context", str(WORK / "execution-environment"),
         "--verbosity", "1")
    tree = stage.stage(WORK / "staged" / session.name)
    built = WORK / "built"
    shutil.rmtree(built, ignore_errors=True)
    step("ansible-galaxy", "collection", "build", "--force", "--output-path", str(built), str(tree))
    config = Path(session.create_tmp(), "galaxy-importer.cfg")
    config.write_text("[galaxy-importer]\nCHECK_REQUIRED_TAGS=True\nRUN_ANSIBLE_LINT=False\nRUN_FLAKE8=False\n", encoding="utf-8")
    for archive in built.glob("*.tar.gz"):
        # It calls its errors errors only in what it prints.
        session.chdir(built)
        said = session.run("python", "-m", "galaxy_importer.main", str(archive), silent=True, success_codes=[0, 1],
                           env={**environment, "GALAXY_IMPORTER_CONFIG": str(config)})
        told = [line for line in str(said).splitlines() if not line.startswith("Loading ")]
        print("\n".join(told))
        if told[-1:] != ["Importer processing completed successfully"] or any(line.startswith(("ERROR", "WARNING")) for line in told):
            failed.append("galaxy-importer")
    if failed:
        session.error("failed: " + "; ".join(failed))


def sanity(session: nox.Session, core: Core) -> None:
    """ansible-test sanity, without any ignore file."""
    install(session, f"ansible-core~={core.version}.0")
    tree, environment = ansible_test(session, core)
    session.chdir(tree)
    session.run("ansible-test", "sanity", "--local", "--requirements", "--python", str(core.interpreter), "--color", "no",
                *session.posargs, env=environment)


def unit(session: nox.Session, core: Core) -> None:
    """pytest on tests/unit."""
    install(session, f"ansible-core~={core.version}.0", *LIBRARIES, *SIMULATOR, *PYTEST)
    # The core plays no part in the simulator, nor in runs that race or are killed: they take two minutes.
    once = ("xapisim", "plugins/runs/test_broken_off.py", "plugins/runs/test_two_at_once.py")
    ignored = () if core == NEWEST else [f"--ignore=tests/unit/{path}" for path in once]
    session.run("pytest", "tests/unit", *ignored, *session.posargs, env=ansible_environment(session))


def integration(session: nox.Session, core: Core) -> None:
    """ansible-test integration: every target against a pool of its own in xapisim."""
    install(session, f"ansible-core~={core.version}.0", core.package, *LIBRARIES, *SIMULATOR)
    tree, environment = ansible_test(session, core)
    session.chdir(tree)
    session.run("python", "tests/integration/run.py", *session.posargs, env=environment)
    if core == NEWEST and not session.posargs:  # the environment has all that it needs
        session.chdir(ROOT)
        session.run("python", "-m", "bench", "--tiny", env=ansible_environment(session))


once_per_core(sanity)
once_per_core(unit)
once_per_core(integration)


@nox.session
def conformance(session: nox.Session) -> None:
    """Foreign clients judge xapisim: the XenAPI SDK and, where npm is installed, xen-api."""
    install(session, *LIBRARIES, *SIMULATOR, *PYTEST)
    session.run("pytest", "tests/conformance", "-rfEs", *session.posargs)


@nox.session(python=NEWEST.interpreter)
def molecule(session: nox.Session) -> None:
    """The main job on the embedded lab, driven by molecule."""
    install(session, f"ansible-core~={NEWEST.version}.0", NEWEST.package, "molecule~=26.10", *LIBRARIES, *SIMULATOR)
    session.chdir(ROOT / "extensions")
    session.run("molecule", "test", "--all", *session.posargs, env=ansible_environment(session))


def real(session: nox.Session, possible: str, tests: str, **variables: str) -> None:
    """pytest with real kernels; or the reason why that cannot be here, by the module that looks, and the session is skipped."""
    install(session, NEWEST.package, *LIBRARIES, *SIMULATOR, *PYTEST)
    environment = ansible_environment(session)
    said = session.run("python", "-m", *possible.split(), silent=True, log=False, success_codes=[0, 3], env=environment)
    # It may have told, too, what it has installed.
    why = re.search(r"^cannot run: (.*)", str(said), re.MULTILINE)
    if why:
        session.skip(why[1])
    session.run("pytest", tests, "-rfEs", "-s", *SELECTION, *session.posargs, env={**environment, **variables})


@nox.session(python=NEWEST.interpreter)
def lab(session: nox.Session) -> None:
    """Nodes and guests with real kernels, and what is done to them."""
    # What runs on nodes also has to work with the oldest ansible-core.
    oldest = Path(session.virtualenv.location, "oldest")
    if OLDEST.interpreter and not (oldest / "bin/ansible").exists():
        session.run(f"python{OLDEST.interpreter}", "-m", "venv", "--clear", str(oldest), external=True)
        session.run(str(oldest / "bin/pip"), "install", "-qq", f"ansible-core~={OLDEST.version}.0", external=True)
    real(session, "lab provide", "tests/lab_tests", LAB_OLDEST_CORE=str(oldest / "bin"))


@nox.session(python=NEWEST.interpreter)
def faults(session: nox.Session) -> None:
    """Power cuts, cables, disks and broken-off playbooks, with a guest that writes meanwhile."""
    real(session, "lab provide", "tests/faults")


@nox.session(python=NEWEST.interpreter)
def pxe(session: nox.Session) -> None:
    """Bare machines (QEMU) that role pxe_server installs, with BIOS and UEFI."""
    real(session, "pxe.material", "tests/pxe")


@nox.session(python=NEWEST.interpreter, default=False)
def bench(session: nox.Session) -> None:
    """The measurements of docs/performance.md, beside community.general.xenserver_guest."""
    install(session, NEWEST.package, *LIBRARIES, *SIMULATOR, *PYTEST)  # parts with a lab use what its tests share
    session.run("python", "-m", "bench", *session.posargs, env=ansible_environment(session))


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """Write what is made from other files: the READMEs of the roles."""
    install(session, "PyYAML")
    session.run("python", "tools/role_readme.py")
