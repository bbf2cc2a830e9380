"""``bench new``: what it writes works at once, and wrong input writes nothing."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli.commands.new import PARTS
from bench.cli.main import app
from tests.processes import run_pytest

RULES = "B,C4,E,F,I,PT,PTH,RUF,SIM,UP,W"
ENTRY_POINTS = {
    "method": ("bench.methods", "two-words", "my_bench.two_words:TwoWords"),
    "dataset": ("bench.datasets", "two-words", "my_bench.two_words:TwoWords"),
    "protocol": ("bench.protocols", "two-words", "my_bench.two_words:TWO_WORDS"),
    "report": ("bench.reports", "kind.two-words", "my_bench.two_words:two_words_tables"),
}


def test_the_tests_that_it_writes_are_green(runner: CliRunner, tmp_path: Path) -> None:
    """All four kinds in one package, by a pytest of its own, with warnings as errors."""
    for kind in PARTS:
        result = runner.invoke(app, ["new", kind, f"first-{kind}"])
        assert result.exit_code == 0, result.output
        assert f"tests/test_first_{kind}.py\n" in result.stdout
        assert "`python -m pytest` tests it." in result.stderr
    tested = run_pytest(tmp_path)
    assert tested.code == 0, tested.output
    lint = [sys.executable, "-m", "ruff", "check", "--isolated", "--line-length", "120", "--select", RULES, "."]
    checked = subprocess.run(lint, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("kind", PARTS)
def test_the_entry_point_is_written_or_printed_and_leads_to_the_object(
    kind: str, runner: CliRunner, tmp_path: Path
) -> None:
    group, key, value = ENTRY_POINTS[kind]
    for folder in ("new", "old"):
        (tmp_path / folder).mkdir()
    (tmp_path / "old" / "pyproject.toml").write_text("[project]\nname = 'old'\n")
    made = runner.invoke(app, ["new", kind, "two-words", "--folder", "new"])
    assert made.exit_code == 0, made.output
    project = tomllib.loads((tmp_path / "new" / "pyproject.toml").read_text())
    assert project["project"]["entry-points"] == {group: {key: value}}
    assert value.partition(":")[2] in (tmp_path / "new" / "my_bench" / "two_words.py").read_text()
    printed = runner.invoke(app, ["new", kind, "two-words", "--folder", "old"])
    assert f'[project.entry-points."{group}"]\n"{key}" = "{value}"\n' in printed.stderr
    assert (tmp_path / "old" / "pyproject.toml").read_text() == "[project]\nname = 'old'\n"


@pytest.mark.parametrize("home", ["lab", "src/lab"])
def test_the_only_package_of_a_folder_is_used(home: str, runner: CliRunner, tmp_path: Path) -> None:
    for package in (home, "tests"):
        (tmp_path / package).mkdir(parents=True)
        (tmp_path / package / "__init__.py").touch()
    result = runner.invoke(app, ["new", "protocol", "house"])
    assert result.exit_code == 0, result.output
    assert (tmp_path / home / "house.py").is_file()
    assert "from lab.house import" in (tmp_path / "tests" / "test_house.py").read_text()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        *(
            (["method", name], "A name is a letter and then letters, digits and single hyphens, all lower case")
            for name in ("", "Big", "two_words", "1st", "a--b", "a-", "../up", "ünder", "a" * 41, "lambda")
        ),
        (["method", "ours"], "There is a method 'ours' already: choose another name."),
        (["dataset", "emoji"], "There is a dataset 'emoji' already: choose another name."),
        (["protocol", "sake"], "There is a protocol 'sake' already: choose another name."),
        (["report", "main"], "There is a kind of report 'main' already: choose another name."),
        *(
            (["method", "one", "--package", package], f"A package cannot be called '{package}': name one like my_bench")
            for package in ("bench", "json", "my-bench", "class", "", "a/b")
        ),
    ],
)
def test_wrong_input_is_a_sentence_and_writes_nothing(
    words: list[str], sentence: str, runner: CliRunner, tmp_path: Path
) -> None:
    result = runner.invoke(app, ["new", *words])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {sentence}")
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("there", ["lab/my_bench/house.py", "lab/tests/test_house.py"])
def test_no_file_is_overwritten(there: str, runner: CliRunner, tmp_path: Path) -> None:
    (tmp_path / there).parent.mkdir(parents=True)
    (tmp_path / there).write_text("mine\n")
    result = runner.invoke(app, ["new", "protocol", "house", "--folder", "lab"])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {there} exists and is not overwritten")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / there]
    assert (tmp_path / there).read_text() == "mine\n"


def test_a_folder_that_cannot_be_written(runner: CliRunner, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = runner.invoke(app, ["new", "method", "one", "--folder", "file/below"])
    assert result.exit_code == 2
    assert "cannot be written (Not a directory): choose another --folder" in result.stderr
