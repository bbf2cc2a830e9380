"""docs/datasets.md: its tables are those of the declarations, and its example works."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.datasets.base import DATASETS
from bench.datasets.published.class_splits import read_class_split
from bench.datasets.published.instances import by_class
from bench.datasets.published.tree_dataset import TreeDataset
from tests.datasets.trees import write

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "datasets.md").read_text(encoding="utf-8")
PUBLISHED = [kind for name in DATASETS.names() if issubclass(kind := DATASETS.get(name), TreeDataset)]


def code(*words: str) -> str:
    return ", ".join(f"`{word}`" for word in words)


def rows() -> Iterator[str]:
    """The lines of the page's tables, from the declarations."""
    for kind in PUBLISHED:
        yield f"| {code(kind.name)} | {code(*kind.titles)} |"
        for name in (each for each in kind.split_names if by_class(each) == each):
            split = read_class_split(name)
            default = " (default)" if name == kind.split_names[0] else ""
            queries = split.published.get("queries")  # unknown where no file lists are published
            sizes = [str(len(split.unseen)), str(len(split.seen)), f"{queries:,}" if queries else ""]
            galleries = []
            for gallery in ("full", "unique"):
                count = f"{found:,}" if (found := split.published.get(f"gallery_{gallery}")) else ""
                galleries.append(f"**{count}**" if count and gallery == split.gallery_name else count)
            cells = [f"`{name}`{default}", code(kind.name), *sizes, *galleries, split.title]
            yield re.sub(" +", " ", f"| {' | '.join(cells)} |")
        for layout in kind.layouts:
            folders = (code(*layout.sketches), code(*layout.photos), code(*layout.repeated))
            cells = [code(kind.name), code(layout.name), *folders, layout.source]
            yield re.sub(" +", " ", f"| {' | '.join(cells)} |")


def test_the_tables_are_those_of_the_declarations() -> None:
    written = [line for line in PAGE.splitlines() if re.match(r"\| `(sketchy|tuberlin|quickdraw)", line)]
    assert sorted(written) == sorted(rows())


def test_the_fine_grained_splits_of_sketchy_stand_on_their_page() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "fine-grained.md").read_text(encoding="utf-8")
    for name in DATASETS.get("sketchy").split_names:
        if by_class(name) != name:
            published = read_class_split(name).published
            counts = f"| {published['queries']:,} | {published['gallery_originals']:,} |"
            assert f"| `{name}` | `sketchy` {counts}" in page


def test_the_example_of_a_new_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = DATASETS.names()
    monkeypatch.setattr(DATASETS, "_known", dict(DATASETS._known))
    exec(PAGE.partition("```python\n")[2].partition("```")[0], {"__name__": "blueprints"})
    assert DATASETS.names() == sorted([*names, "blueprints"])
    split = DATASETS.get("blueprints")(tmp_path).split()
    assert (len(split.train), len(split.queries), len(split.gallery)) == (2, 1, 1)
    for item in (*split.train, *split.queries, *split.gallery):
        write(tmp_path / "blueprints" / item.path)
        assert DATASETS.get("blueprints")(tmp_path).read(item.path)
