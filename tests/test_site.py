"""The documentation as a site: it builds without a warning, needs no other host, and leads nowhere that is not."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from tools.site_links import for_site

ROOT = Path(__file__).parents[1]
FETCHES = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "video": "src"}


class Page(HTMLParser):
    """Ids of a page, the links that it offers and the addresses that it fetches from."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        self.ids |= {value for name in ("id", "name") if (value := known.get(name))}
        if tag == "a" and known.get("href"):
            self.links.append(known["href"] or "")
        if known.get("rel") not in ("canonical", "prev", "next") and (address := known.get(FETCHES.get(tag, ""))):
            self.fetched.append(address)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}  # an advertisement of the theme's makers
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (built.returncode, built.stdout + built.stderr) == (0, "")
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}


def test_every_page_of_docs_is_on_the_site_and_in_its_navigation(pages: dict[Path, Page], site: Path) -> None:
    written = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    assert written <= {path.relative_to(site) for path in pages}
    named = re.findall(r": ([\w/-]+)\.md$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(named) == sorted(str(path.with_suffix("")) for path in written)


def test_nothing_is_fetched_from_elsewhere(pages: dict[Path, Page], site: Path) -> None:
    for path, page in pages.items():
        assert page.fetched
        for address in page.fetched:
            assert not re.match(r"(\w+:)?//", address), f"{path.name} fetches {address}"
            assert address.startswith("data:") or target(path, address, site).is_file(), f"{path.name}: {address}"
    for sheet in site.rglob("*.css"):
        assert not re.findall(r"(?:url\(|@import )[\"']?(?:https?:)?//", sheet.read_text(encoding="utf-8")), sheet.name


def test_every_link_leads_to_a_page_and_a_heading(pages: dict[Path, Page], site: Path) -> None:
    for path, page in pages.items():
        for link in page.links:
            file, _, anchor = unquote(link).partition("#")
            if "://" in file or file.startswith("mailto:"):
                continue
            aim = target(path, file, site) if file else path
            aim = aim / "index.html" if aim.is_dir() else aim
            assert aim.is_file(), f"{path.relative_to(site)} links to {link}"
            if anchor and aim in pages and anchor != "__skip":
                assert anchor in pages[aim].ids, f"{path.relative_to(site)} links to {link}"


def target(page: Path, address: str, site: Path) -> Path:
    """The file that an address on a page means; an absolute one counts from the site's top."""
    bare = unquote(address).partition("?")[0]
    return site / bare.lstrip("/") if bare.startswith("/") else (page.parent / bare).resolve()


def test_formulas_and_the_worked_ranking_came_through(site: Path) -> None:
    method = (site / "method.html").read_text(encoding="utf-8")
    assert "L_cls = - mean_x log softmax_c(s · cos(e(x), w))[c(x)]" in method
    protocols = (site / "protocols.html").read_text(encoding="utf-8")
    assert "<td><code>mAP@K:hits</code></td>" in protocols
    assert protocols.count("<table>") == 7
    nested = protocols.partition("<strong><code>dsn-itq</code></strong>")[2].partition("<strong>")[0]
    assert nested.count("<ul>") == 1  # its notes stand below it, not beside it


def test_links_out_of_the_documentation_become_paths() -> None:
    text = (
        "[card](../../datasets/CARD.md) [a](a.md#b) [`x.py`](../../x.py)\n```\n[a](../../b)\n  - c\n```\n- d\n  - e\n"
    )
    wanted = "card (`datasets/CARD.md`) [a](a.md#b) `x.py`\n```\n[a](../../b)\n  - c\n```\n- d\n    - e\n"
    assert for_site(text, "results/page.md") == wanted


def test_what_the_design_page_names_is_there() -> None:
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    for name in re.findall(r"`((?:bench|methods|datasets|reports)/[\w./]*)`", text):
        assert (ROOT / name).exists(), name
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    place = {name.strip(): -depth for depth, line in enumerate(contracts[0]["layers"]) for name in line.split("|")}
    rows = [
        re.findall(r"`([\w.]+)`", line.split("|")[1])
        for line in text.partition("## Who imports whom")[2].partition("\n\nThree")[0].splitlines()
        if line.startswith("| `")
    ]
    assert len(rows) > 5
    for upper, lower in itertools.pairwise(rows):
        assert min(place[name] for name in upper) > max(place[name] for name in lower), (upper, lower)


def test_the_design_page_has_every_module_of_the_engine_once() -> None:
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    table = text.partition("## Where an idea lies")[2].partition("\n## ")[0]
    named = re.findall(r"`(\w+)`", "".join(row.split("|")[2] for row in table.splitlines() if row.startswith("| ")))
    there = [path.stem for path in (ROOT / "bench").glob("*.py") if not path.stem.startswith("__")]
    assert sorted(named) == sorted(there), "say in docs/design.md where the idea of each module belongs"


def test_the_picture_says_what_it_shows_and_knows_the_dark() -> None:
    picture = (ROOT / "docs" / "images" / "design.svg").read_text(encoding="utf-8")
    assert "<title" in picture
    assert "<desc" in picture
    assert "prefers-color-scheme: dark" in picture
