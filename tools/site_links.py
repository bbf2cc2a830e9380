"""Changes pages for the site, which differs from GitHub in two ways.

Links to files outside ``docs/`` become paths, because the site has no code. Nested lists get the four spaces that
Python's Markdown needs.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

LINK = re.compile(r"\[(?P<text>[^\]]+)\]\((?P<target>[^)#\s]+)(?:#[^)\s]*)?\)")
FENCE = re.compile(r"^(```.*?^```)", re.DOTALL | re.MULTILINE)
NESTED = re.compile(r"^  (?=- )", re.MULTILINE)


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Called by mkdocs for every page; ``page.file.src_uri`` is its path below ``docs/``."""
    return for_site(markdown, page.file.src_uri)


def for_site(markdown: str, source: str) -> str:
    """The page at ``source`` (below ``docs/``) with these changes outside fenced code."""
    parts = FENCE.split(markdown)  # fenced code has the odd positions
    for position in range(0, len(parts), 2):
        text = LINK.sub(lambda found: _inside(found, source), parts[position])
        parts[position] = NESTED.sub("    ", text)
    return "".join(parts)


def _inside(found: re.Match[str], source: str) -> str:
    if "://" in found["target"]:
        return found[0]
    path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(source), found["target"]))
    if path.startswith("docs/"):
        return found[0]
    text = found["text"].strip("`")
    return f"`{path}`" if text == path else f"{found['text']} (`{path}`)"
