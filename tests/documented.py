"""The commands that the documentation shows, page by page in order: in blocks of code and within sentences.

Of a block for a shell (``sh``, ``bash``) every line is a command; elsewhere it is what begins with a program of
``PROGRAM``, the words that explain it left out. Within a sentence a command is code between backticks that gives a
program something to do; the mere name of a command of ours (``bench run``) is none, and ``tests/test_docs.py`` looks it
up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from bench.cli.main import app

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "datasets").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]
PROGRAM = re.compile(
    r"(?:[A-Z][A-Z0-9_]*=\S* )*"  # a setting of the environment
    r"(?:bench|torchrun|make|python3?|pip3?|uv|\S*\.venv/bin/\S+|\. \S*activate|source|cd|export|nice|sudo|apt-get|git"
    r"|docker|curl|wget|mkdir|cp|mv|ln|tar|unzip|pytest|mypy|ruff|mkdocs|lint-imports|sbatch|srun)(?= |$)"
)
BLOCK = re.compile(r"^```(?P<language>\w*)[^\n]*\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE)
SHELLS = ("sh", "bash", "console")
COMMANDS: Any = typer.main.get_command(app)


def shown(page: Path) -> list[str]:
    """The commands of a page in order, each once; alternatives (``a|b``) one by one."""
    return commands_of(page.read_text(encoding="utf-8"))


def commands_of(text: str) -> list[str]:
    """The commands of the text of a page.

    >>> commands_of("Call `bench list methods|runs`, not `bench run`:\\n\\n    make demo   # minutes\\n")
    ['bench list methods', 'bench list runs', 'make demo']
    """
    found, end = [], 0
    for block in BLOCK.finditer(text):
        found += [*_of_prose(text[end : block.start()]), *_of_block(block["body"], block["language"])]
        end = block.end()
    found += _of_prose(text[end:])
    return list(dict.fromkeys(each for command in found for each in alternatives(command)))


def alternatives(command: str) -> Iterator[str]:
    """``list a|b`` as ``list a`` and ``list b``."""
    found = re.search(r" ([a-z]+(?:\|[a-z]+)+)", command)
    for choice in found[1].split("|") if found else [""]:
        yield command.replace(found[1], choice) if found else command


def is_a_name(command: str) -> bool:
    """Whether it only names a command of ours. What lists or examines needs no more than its name.

    >>> is_a_name("bench data check"), is_a_name("bench score shards"), is_a_name("bench doctor")
    (True, False, False)
    """
    first, *words = command.split()
    if first != "bench" or words == ["doctor"] or (words[:1] == ["list"] and len(words) > 1):
        return not words
    known = COMMANDS
    for word in words:
        known = getattr(known, "commands", {}).get(word)
    return known is not None


def _of_block(body: str, language: str) -> Iterator[str]:
    if language not in ("", *SHELLS):
        return
    for line in body.replace("\\\n", " ").splitlines():
        command = _bare(line.removeprefix("$ "))
        if PROGRAM.match(command) or (language in SHELLS and command and not command.startswith("#")):
            yield command


def _of_prose(text: str) -> Iterator[str]:
    """Of indented lines, and of code within sentences, which may go on in the next line."""
    for paragraph in re.split(r"\n\s*\n", text):
        if paragraph.lstrip("\n").startswith("    "):
            lines = re.sub(r"\\\n\s*", "", paragraph).splitlines()
            yield from (command for line in lines if PROGRAM.match(command := _bare(line.strip())))
            continue
        for _, code in re.findall(r"(`+)(.+?)\1", paragraph, re.DOTALL):
            command = " ".join(code.split())
            if PROGRAM.match(command) and " " in command and not is_a_name(command):
                yield command


def _bare(line: str) -> str:
    """A line without the words that explain it."""
    return re.split(r"\s{2,}|\s+#\s", line.rstrip())[0]
