"""docs/datasets.md says what the declarations say, its commands exist and its example works."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli.main import app
from bench.datasets.base import DATASETS
from bench.datasets.folder import FolderSettings
from bench.datasets.images.decode import INK, INK_MARGIN
from bench.datasets.images.picture_files import MAX_PIXELS
from bench.datasets.published.split_lists import read_class_split
from bench.datasets.published.tree_dataset import TreeDataset
from tests.datasets.trees import write

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "datasets.md").read_text(encoding="utf-8")
PUBLISHED = [kind for name in DATASETS.names() if issubclass(kind := DATASETS.get(name), TreeDataset)]


def code(*words: str) -> str:
    return ", ".join(f"`{word}`" for word in words)


def rows() -> Iterator[str]:
    """The lines of the page's tables as the declarations have them."""
    for kind in PUBLISHED:
        yield f"| {code(kind.name)} | {code(*kind.titles)} |"
        for name in kind.split_names:
            split = read_class_split(name)
            default = " (default)" if name == kind.split_names[0] else ""
            sizes = [f"{count:,}" for count in (len(split.unseen), len(split.seen), split.published["queries"])]
            galleries = []
            for gallery in ("full", "unique"):
                count = f"{found:,}" if (found := split.published.get(f"gallery_{gallery}")) else ""
                galleries.append(f"**{count}**" if gallery == split.gallery_name else count)
            cells = [f"`{name}`{default}", code(kind.name), *sizes, *galleries, split.title]
            yield re.sub(" +", " ", f"| {' | '.join(cells)} |")
        for layout in kind.layouts:
            folders = (code(*layout.sketches), code(*layout.photos), code(*layout.repeated))
            cells = [code(kind.name), code(layout.name), *folders, layout.source]
            yield re.sub(" +", " ", f"| {' | '.join(cells)} |")


@pytest.mark.parametrize("row", list(rows()))
def test_every_row_of_the_tables(row: str) -> None:
    assert row in PAGE.splitlines(), "put this row into docs/datasets.md"


def test_no_row_too_many() -> None:
    told = [line for line in PAGE.splitlines() if re.match(r"\| `(sketchy|tuberlin|quickdraw)", line)]
    assert sorted(told) == sorted(rows())


def test_settings_and_limits() -> None:
    assert [line.split("`")[1] for line in PAGE.partition("| setting |")[2].splitlines()[2:8]] == [
        *("root", "name", "unseen", "draw", "seed", "ink_crop")
    ]
    assert {field.name for field in fields(FolderSettings)} == {"root", "name", "unseen", "draw", "seed", "ink_crop"}
    assert f"add up to {INK} or less" in PAGE
    assert f"{INK_MARGIN} pixels of paper" in PAGE
    assert f"more than {MAX_PIXELS // 1_000_000} million pixels" in PAGE
    for file in re.findall(r"`(datasets/[\w/.]+\.(?:py|csv))`", PAGE):
        assert (Path(__file__).resolve().parents[2] / file).is_file(), file


def test_the_commands_of_the_page_run(runner: CliRunner, tmp_path: Path) -> None:
    lines = [line for line in PAGE.splitlines() if line.startswith("bench data ")]
    assert len(lines) == 2
    for number in range(21):
        for modality in ("sketch", "photo"):
            write(tmp_path / "my-drawings" / modality / f"class {number}" / "1.png")
    for line in lines:
        result = runner.invoke(app, shlex.split(line)[1:])
        assert result.exit_code == 0, result.stderr
    assert Path("lists/classes.txt").is_file()


def test_options_that_the_page_names_exist(runner: CliRunner) -> None:
    known = "".join(
        runner.invoke(app, [*command.split(), "--help"]).stdout
        for command in ("", "run", "data check", "data list", "data path")
    )
    for option in set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGE)):
        assert option in known, option


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
