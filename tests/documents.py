"""The documents, and the commands and code in them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parents[1]
TRANSLATIONS = {
    "README_zh.md": "README.md",
    **{f"docs/zh/{f.name}": f"docs/{f.name}" for f in sorted(REPOSITORY.glob("docs/zh/*.md"))},
}
ENGLISH = [
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md"),
    *(
        str(file.relative_to(REPOSITORY))
        for directory in ("docs", "docs/evidence", "benchmarks")
        for file in sorted(REPOSITORY.glob(f"{directory}/*.md"))
    ),
]
DOCUMENTS = [*ENGLISH, *TRANSLATIONS]


class Block(NamedTuple):
    """A shell command or a piece of Python of a document."""

    document: str
    language: str
    text: str


def read(document: str) -> str:
    return (REPOSITORY / document).read_text(encoding="utf-8")


def blocks(document: str) -> list[Block]:
    """Code blocks; those of shell commands are split into commands, without their comments."""
    found = []
    for indent, language, content in re.findall(
        r"^( *)```(bash|console|python)\n(.*?)^ *```", read(document), re.M | re.S
    ):
        content = re.sub(f"^{indent}", "", content, flags=re.M)
        if language == "python":
            found.append(Block(document, language, content))
            continue
        content = re.sub(r"\\\n\s*", "", content)
        if language == "console":
            content = "\n".join(re.findall(r"^\$ (.*)", content, re.M))
        commands = [content] if content.startswith("for ") else content.splitlines()
        commands = [re.sub(r"(^|\s)#\s.*", "", command).strip() for command in commands]
        found += [Block(document, "bash", command) for command in commands if command]
    return found


def inline_commands(document: str) -> list[str]:
    """Commands in the text and in tables, but for bare names of commands."""
    text = re.sub(r"^ *```.*?^ *```", "", read(document), flags=re.M | re.S)
    commands = re.findall(r"`((?:paddleclas-eca|python tools/\w+\.py) [^`]+)`", text)
    return [
        command for command in commands if len(command.split()) > 2 and "COMMAND" not in command
    ]


def cli_words(command: str) -> list[str] | None:
    """What ``paddleclas-eca`` gets of a command that runs it in one way or another; else None."""
    found = re.search(
        r"(?:^|\s)(?:paddleclas-eca|\"\$\(command -v paddleclas-eca\)\""
        r"|tools/(train|eval|infer|export_model|convert_weights)\.py)\s+(.*)",
        command,
    )
    if found is None or command.startswith("for ") or "PaddleClas/tools" in command:
        return None
    script, rest = found.groups()
    name = [{"convert_weights": "convert"}.get(script, script)] if script else []
    return [*name, *shlex.split(rest)]
