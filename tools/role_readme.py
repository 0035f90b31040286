# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write each role's README.md from its meta/argument_specs.yml; with --check only tell which ones are out of date."""
from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).resolve().parent.parent / "roles"
GUIDES = {"pxe_server": "docs/provisioning.md"}  # of roles that playbooks/site.yml does not use


def prose(text: str | list[str]) -> str:
    """A description as Markdown: Ansible's markup M(), O(), V(), C() becomes code."""
    joined = " ".join([text] if isinstance(text, str) else text)
    joined = re.sub(r"\bP\(([^)#]*)#\w+\)", r"`\1`", " ".join(joined.split()))
    return re.sub(r"\b[MOVCE]\(([^)]*)\)", r"`\1`", joined).replace("|", "\\|")


def rows(options: dict[str, Any], depth: int = 0) -> list[str]:
    lines = []
    for name, option in options.items():
        kind = option.get("type", "str") + (f" of {option['elements']}" if "elements" in option else "")
        default = "required" if option.get("required") else f"`{option['default']}`" if "default" in option else ""
        choices = f" One of {', '.join(f'`{choice}`' for choice in option['choices'])}." if "choices" in option else ""
        lines.append(f"| {'&nbsp;&nbsp;' * depth}`{name}` | {kind} | {default} | {prose(option['description'])}{choices} |")
        lines += rows(option.get("options", {}), depth + 1)
    return lines


def readme(role: Path) -> str:
    specs = yaml.safe_load((role / "meta/argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
    lines = [f"# Role nobloat.xen.{role.name}", ""]
    for entry, spec in specs.items():
        if entry != "main":
            lines += [f"## Entry point `{entry}`", ""]
        description = spec.get("description", [])
        lines += [f"{spec['short_description']}.", ""]
        lines += [line for part in ([description] if isinstance(description, str) else description) for line in (prose(part), "")]
        lines += ["| variable | type | default | what it is |", "|---|---|---|---|", *rows(spec["options"]), ""]
    if role.name in GUIDES:
        return "\n".join([*lines, f"How to use it: [{GUIDES[role.name]}](../../{GUIDES[role.name]}).", ""])
    return "\n".join([*lines, "It checks its variables first, works in check mode, looks at the pool in the end, and a second run changes",
                      "nothing. See [playbooks/site.yml](../../playbooks/site.yml) for its use.", ""])


def main() -> int:
    stale = []
    for role in sorted(path for path in ROLES.iterdir() if (path / "meta/argument_specs.yml").exists()):
        path, text = role / "README.md", readme(role)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(role.name)
            if "--check" not in sys.argv:
                path.write_text(text, encoding="utf-8")
    if stale:
        print(f"README of roles {', '.join(stale)} {'is out of date: run make docs' if '--check' in sys.argv else 'written'}")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
