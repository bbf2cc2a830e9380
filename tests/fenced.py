"""Commands in the fenced ``sh`` blocks of a page. A block below ``<!-- run -->`` is run by ``tests/test_docs.py``."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "examples/plugin/README.md")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
BLOCK = re.compile(r"^(<!-- run -->\n)?```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def commands(page: Path, *, marked: bool = False) -> list[list[str]]:
    """The words of each command of a page in order; with ``marked`` only those to run."""
    text = page.read_text(encoding="utf-8")
    lines = [block.replace("\\\n", " ") for mark, block in BLOCK.findall(text) if mark or not marked]
    return [words for line in "\n".join(lines).splitlines() if (words := shlex.split(line, comments=True))]
