"""``bench new``: what it writes works at once, and wrong input writes nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli.main import app
from bench.cli.scaffold import PARTS

RULES = "B,C4,E,F,I,PT,PTH,RUF,SIM,UP,W"


def test_the_tests_that_it_writes_are_green(runner: CliRunner, tmp_path: Path) -> None:
    """All four kinds in one package, by a pytest of its own, with warnings as errors."""
    for kind in PARTS:
        result = runner.invoke(app, ["new", kind, f"first-{kind}"])
        assert result.exit_code == 0, result.output
        assert f"tests/test_first_{kind}.py\npyproject.toml\n" in result.stdout
        assert "`python -m pytest` tests it." in result.stderr
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"]
    tested = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "9 passed" in tested.stdout
    lint = [sys.executable, "-m", "ruff", "check", "--isolated", "--line-length", "120", "--select", RULES, "."]
    checked = subprocess.run(lint, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["method", "Two Words"], "A name is a letter and then letters, digits and single hyphens, all lower case and"),
        (["method", "ours"], "There is a method 'ours' already: choose another name."),
        (["dataset", "emoji"], "There is a dataset 'emoji' already: choose another name."),
        (["protocol", "sake"], "There is a protocol 'sake' already: choose another name."),
        (["report", "main"], "There is a kind of report 'main' already: choose another name."),
        (["method", "new", "--package", "datasets"], "A package cannot be called 'datasets': name one like my_bench"),
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


def test_asked_twice_it_keeps_what_is_there(runner: CliRunner, tmp_path: Path) -> None:
    words = ["new", "protocol", "house", "--folder", "lab"]
    assert runner.invoke(app, words).exit_code == 0
    file = tmp_path / "lab" / "my_bench" / "house.py"
    file.write_text("mine\n")
    again = runner.invoke(app, words)
    assert again.exit_code == 2
    assert again.stderr.startswith("error: lab/my_bench/house.py is there already and is not overwritten")
    assert file.read_text() == "mine\n"
