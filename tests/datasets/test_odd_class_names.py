"""Class names that mean something else in text (a comma, #, @, quotes, all) survive lists, files and stored runs."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from bench.cli.main import app
from bench.datasets.published import class_splits
from bench.datasets.published.class_splits import quote_class, split_classes, unquote_class
from bench.errors import UsageError
from tests.datasets.test_folder import split
from tests.pictures import SMALL, write_folder

ODD = ("#1 fan", "@home", "[seen]", "all", 'the "best"', "t-shirt, red", " lead")
NAMES = st.text(st.characters(exclude_categories=("C", "Zl", "Zp")), min_size=1)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_folder(tmp_path_factory.mktemp("own"), classes=len(ODD) + 2)
    for modality in ("sketch", "photo"):
        folders = sorted((root / modality).iterdir())
        for folder, name in zip(folders, ODD, strict=False):
            folder.rename(folder.with_name(name))
    return root


@given(st.lists(NAMES, max_size=4))
def test_names_come_back_from_their_text(names: list[str]) -> None:
    assert split_classes(",".join(map(quote_class, names))) == names
    assert [unquote_class(quote_class(name)) for name in names] == names


def test_the_list_that_bench_writes_selects_the_same_classes(root: Path, tmp_path: Path) -> None:
    chosen = f"unseen={','.join(map(quote_class, ODD))}"
    found = split(root, chosen)
    assert set(found.unseen) == set(ODD)
    words = ["data", "list", "folder", "--set", f"root={root}", "--set", chosen, "-o", str(tmp_path)]
    assert CliRunner().invoke(app, words).exit_code == 0
    lists = tmp_path / "classes.txt"
    assert split(root, f"unseen=@{lists}") == found
    lists.write_text(lists.read_text().replace('"#1 fan"', "#1 fan"))
    with pytest.raises(UsageError, match="do not match its sha256-unseen"):
        split(root, f"unseen=@{lists}")


def test_a_stored_run_finds_its_classes_again(root: Path, runner: CliRunner) -> None:
    CliRunner().invoke(
        app, ["data", "list", "folder", "--set", f"root={root}", "--set", 'unseen="all","t-shirt, red"', "-o", "."]
    )
    settings = ["--set", f"root={root}", "--set", "unseen=@classes.txt", "--image-size", "32", *SMALL]
    sketch = next((root / "sketch" / "all").iterdir())
    for words in (
        ["run", "-m", "imagenet", "-d", "folder", *settings],
        ["query", "1", str(sketch), "--data-root", str(root)],
        ["report", "--kind", "gallery", "--format", "html", "-o", "out.html", "--data-root", str(root)],
    ):
        result = runner.invoke(app, words)
        assert result.exit_code == 0, result.output
    assert "t-shirt, red" in Path("out.html").read_text()


def test_the_examples_in_docstrings() -> None:
    assert doctest.testmod(class_splits).failed == 0
