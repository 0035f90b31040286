# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All checks, each in a virtual environment of its own below .work; `make help` lists the ways in.

ansible-core is tested at its floor, 2.16, and at the newest that an interpreter of this machine can run.
"""
from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import nox

ROOT = Path(__file__).resolve().parent
WORK = ROOT / ".work"
sys.path.insert(0, str(ROOT / "tools"))

from stage import stage  # noqa: E402

# Which Python runs which ansible-core; the collections that we use or measure come with the matching `ansible`.
NEWEST = (("3.13", "2.21", "14"), ("3.12", "2.21", "14"), ("3.11", "2.19", "12"))
FLOOR = ("2.16", "9")
SIMULATOR = ("PyYAML", "trustme")
CONTROLLER = ("-r", "requirements.txt")

nox.options.envdir = str(WORK / "nox")
nox.options.default_venv_backend = "venv"
nox.options.reuse_venv = "yes"
nox.needs_version = ">=2025.2.9"


def interpreter(version: str) -> str | None:
    """A Python of that version on PATH, among pyenv's, or the one that runs nox."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    found = shutil.which(f"python{version}")
    if found and not Path(found).parent.name == "shims":
        return found
    homes = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    return next((str(path) for path in sorted(homes.glob(f"{version}.*/bin/python{version}"))), None)


def newest() -> tuple[str, str, str]:
    """(interpreter, ansible-core, ansible) of the newest core that this machine can run."""
    for version, core, package in NEWEST:
        path = interpreter(version)
        if path:
            return path, core, package
    raise SystemExit("No Python 3.11, 3.12 or 3.13 is to be found on this machine.")


def floor() -> tuple[str, str, str]:
    for version in ("3.11", "3.12", "3.10"):
        path = interpreter(version)
        if path:
            return path, *FLOOR
    raise SystemExit("ansible-core 2.16 needs Python 3.10, 3.11 or 3.12.")


NEW_PYTHON, NEW_CORE, NEW_PACKAGE = newest()
FLOOR_PYTHON = floor()[0]


def core(session: nox.Session, version: str) -> str:
    return f"ansible-core=={version}.*"


def environment(session: nox.Session) -> dict[str, str]:
    """Ansible and pytest find the collection, wherever the clone lies, and nothing of the user's own settings."""
    return {
        "ANSIBLE_COLLECTIONS_PATH": str(WORK / "collections"),
        "ANSIBLE_HOME": str(WORK / "ansible"),
        "ANSIBLE_LOCALHOST_WARNING": "False",
        "PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), str(WORK / "collections")]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def bootstrap_pip(session: nox.Session) -> None:
    """Put our stand-in where ansible-test would download its pip bootstrap script to."""
    script = (
        "import ansible_test._internal.python_requirements as r, re, inspect;"
        "print(*sorted(set(re.findall(r\"pip='([0-9.]+)'\", inspect.getsource(r)))))"
    )
    versions = session.run("python", "-c", script, silent=True) or ""
    cache = Path.home() / ".ansible/test/cache"
    cache.mkdir(parents=True, exist_ok=True)
    for version in versions.split():
        name = cache / f"get_pip_{version.replace('.', '_')}.py"
        if not name.exists() or "Stands in for" in name.read_text(encoding="utf-8"):
            shutil.copy(ROOT / "tools/get_pip.py", name)


def ansible_test(session: nox.Session, version: str) -> Path:
    """Install ansible-core, stage the collection and return the staged root."""
    session.install(core(session, version), *CONTROLLER, *SIMULATOR)
    bootstrap_pip(session)
    return stage(WORK / "staged" / session.name.replace("/", "-"))


def python_version(session: nox.Session) -> str:
    found = session.run("python", "-c", "import sys; print('%d.%d' % sys.version_info[:2])", silent=True)
    return (found or "").strip()


@nox.session(python=FLOOR_PYTHON)
def lint(session: nox.Session) -> None:
    """ruff, yamllint, ansible-lint (production), documentation, changelog, execution environment, build, importer."""
    session.install("-r", "requirements-dev.txt", *CONTROLLER)
    env = environment(session)
    session.run("ruff", "check", ".")
    session.run("yamllint", "--strict", ".")
    session.run("ansible-lint", "--offline", "--profile", "production", env={**env, "ANSIBLE_LINT_NODEPS": "1"})
    session.run("python", "tools/role_readme.py", "--check")
    session.run("antsibull-docs", "lint-collection-docs", "--plugin-docs", "--validate-collection-refs", "self",
                "--skip-rstcheck", ".", env=env)
    session.run("antsibull-changelog", "lint")
    build_context = session.create_tmp()
    definition = Path(build_context, "execution-environment.yml")
    shutil.copy(ROOT / "meta/execution-environment.yml", definition)
    shutil.copy(ROOT / "requirements.txt", build_context)
    session.run("ansible-builder", "create", "-f", str(definition), "-c", str(Path(build_context, "context")))


@nox.session(python=FLOOR_PYTHON)
def build(session: nox.Session) -> None:
    """Build the collection's tarball and have galaxy-importer judge it."""
    session.install("-r", "requirements-dev.txt", "galaxy-importer")
    folder = WORK / "build"
    shutil.rmtree(folder, ignore_errors=True)
    session.run("ansible-galaxy", "collection", "build", "--output-path", str(folder), env=environment(session))
    (tarball,) = folder.glob("*.tar.gz")
    settings = folder / "galaxy-importer.cfg"
    settings.write_text("[galaxy-importer]\nCHECK_REQUIRED_TAGS = True\nRUN_ANSIBLE_TEST = False\n", encoding="utf-8")
    session.chdir(folder)
    session.run("python", "-m", "galaxy_importer.main", tarball.name, env={"GALAXY_IMPORTER_CONFIG": str(settings)})


@nox.session(python=FLOOR_PYTHON)
def sanity_floor(session: nox.Session) -> None:
    """ansible-test sanity on the oldest ansible-core that we support."""
    run_sanity(session, FLOOR[0])


@nox.session(python=NEW_PYTHON)
def sanity_newest(session: nox.Session) -> None:
    """ansible-test sanity on the newest ansible-core that this machine can run."""
    run_sanity(session, NEW_CORE)


def run_sanity(session: nox.Session, version: str) -> None:
    session.chdir(ansible_test(session, version))
    session.run("ansible-test", "sanity", "--local", "--requirements", "--color", "no", "--python", python_version(session),
                env={"PATH": os.pathsep.join([session.bin, os.environ["PATH"]])})


@nox.session(python=FLOOR_PYTHON)
def unit(session: nox.Session) -> None:
    """Unit tests with ansible-core 2.16."""
    run_unit(session, FLOOR[0])


@nox.session(python=NEW_PYTHON)
def unit_newest(session: nox.Session) -> None:
    """Unit tests with the newest ansible-core and Python."""
    run_unit(session, NEW_CORE)


def run_unit(session: nox.Session, version: str) -> None:
    session.install(core(session, version), "pytest", "hypothesis", *CONTROLLER, *SIMULATOR)
    session.run("pytest", "tests/unit", *session.posargs, env=environment(session))


@nox.session(python=FLOOR_PYTHON)
def integration_floor(session: nox.Session) -> None:
    """Integration targets with ansible-core 2.16, against xapisim."""
    run_integration(session, FLOOR[0])


@nox.session(python=NEW_PYTHON)
def integration_newest(session: nox.Session) -> None:
    """Integration targets with the newest ansible-core, against xapisim."""
    run_integration(session, NEW_CORE)


def run_integration(session: nox.Session, version: str) -> None:
    session.chdir(ansible_test(session, version))
    session.run("python", "tests/integration/run.py", *session.posargs,
                env={"PATH": os.pathsep.join([session.bin, os.environ["PATH"]])})


@nox.session(python=NEW_PYTHON)
def conformance(session: nox.Session) -> None:
    """xapisim judged by clients that know nothing of it: the XenAPI SDK and npm's xen-api."""
    session.install("pytest", *CONTROLLER, *SIMULATOR)
    session.run("pytest", "tests/conformance", *session.posargs, env=environment(session))


@nox.session(python=NEW_PYTHON)
def molecule(session: nox.Session) -> None:
    """site.yml on the embedded lab: converge, idempotence, verify."""
    session.install(core(session, NEW_CORE), "molecule", *CONTROLLER, *SIMULATOR)
    session.chdir(ROOT / "extensions")
    session.run("molecule", "test", "--all", env=environment(session))


@nox.session(python=NEW_PYTHON)
def bench(session: nox.Session) -> None:
    """Ratios, measured in one run; docs/performance.md keeps them."""
    session.install(f"ansible=={NEW_PACKAGE}.*", *CONTROLLER, *SIMULATOR)
    session.run("python", "-m", "bench", *session.posargs, env=environment(session))


@nox.session(python=FLOOR_PYTHON)
def docs(session: nox.Session) -> None:
    """Write the roles' README files from their argument specs."""
    session.install("PyYAML")
    session.run("python", "tools/role_readme.py")
