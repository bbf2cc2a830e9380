"""The documentation as a site: it builds without a warning and loads nothing from another host."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tools.site_links import for_site

ROOT = Path(__file__).parents[1]
LOADS = re.compile(r"""<(?:script|img|link|iframe|source|video)\b[^>]*?\s(?:src|href)=["']?(?:\w+:)?//[^>]*""")


def test_the_site_builds_strictly_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    """Strict: a link to a page or heading that does not exist is an error, and so is a page outside the navigation."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}  # an advertisement of the theme's makers
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (built.returncode, built.stdout + built.stderr) == (0, "")
    assert LOADS.search('<img alt="x" src="https://example.org/x.png">')
    for page in tmp_path.rglob("*.html"):
        assert not (found := LOADS.search(page.read_text(encoding="utf-8"))), f"{page.name}: {found}"
    for sheet in tmp_path.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import )[\"']?(?:https?:)?//", sheet.read_text(encoding="utf-8")), sheet.name
    assert "<td><code>mAP@K:hits</code></td>" in (tmp_path / "protocols.html").read_text(encoding="utf-8")


def test_links_out_of_the_documentation_become_paths() -> None:
    text = (
        "[card](../../datasets/CARD.md) [a](a.md#b) [`x.py`](../../x.py)\n```\n[a](../../b)\n  - c\n```\n- d\n  - e\n"
    )
    wanted = "card (`datasets/CARD.md`) [a](a.md#b) `x.py`\n```\n[a](../../b)\n  - c\n```\n- d\n    - e\n"
    assert for_site(text, "results/page.md") == wanted
