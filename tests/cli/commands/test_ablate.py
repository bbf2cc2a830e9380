"""`bench ablate` as its users meet it: the experiments, pairs of seeds, what is done is not done again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli.main import app
from bench.methods.base import METHODS
from bench.results.store import Store
from tests.pictures import words_of, write_folder


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    return words_of(write_folder(tmp_path / "pictures", classes=8, images=2), "--epochs", "0.2")


def plan(runner: CliRunner, *words: str) -> list[str]:
    result = runner.invoke(app, ["ablate", *words, "--dry-run", "--format", "json"])
    assert result.exit_code == 0, result.stderr
    names = [row["experiment"] for row in json.loads(result.stdout)["runs"]]
    return [name.partition(" on ")[0] + name.partition("seed ")[2][:1] for name in names]


def test_the_experiments(runner: CliRunner, words: list[str]) -> None:
    losses = ["ours", "ours without quadruplet", "ours without classification", "ours without preservation"]
    assert plan(runner, *words) == [f"{name}0" for name in losses]
    assert plan(runner, *words, "--seeds", "2") == [f"{name}{seed}" for seed in (0, 1) for name in losses]
    structural = [f"ours {name}0" for name in METHODS.get("ours").structural]
    assert plan(runner, *words, "--structural") == ["ours0", *structural]
    assert len(plan(runner, *words, "--all-subsets")) == 7
    assert plan(runner, *words, "--without", "quadruplet") == ["ours0", "ours without quadruplet0"]


def test_runs_are_reused_and_reported_in_pairs(runner: CliRunner, words: list[str]) -> None:
    call = ["ablate", *words, "--without", "preservation", "--format", "json"]
    first = runner.invoke(app, call)
    assert first.exit_code == 0, first.stderr
    rows = json.loads(first.stdout)["runs"]
    assert [(row["ablation"], row["already_done"]) for row in rows] == [("", False), ("without preservation", False)]
    more = json.loads(runner.invoke(app, [*call, "--seeds", "2"]).stdout)["runs"]
    assert [(row["seed"], row["already_done"]) for row in more] == [(0, True), (0, True), (1, False), (1, False)]
    store = Store("bench.db")
    runs = store.runs()
    store.close()
    assert [run.status for run in runs] == ["done"] * 4
    table = runner.invoke(app, ["ablate", *words, "--without", "preservation", "--seeds", "2"]).stdout
    for words_of_it in ("Ablation of ours", "difference", "95 % interval", "adjusted p", "for the 1 rows"):
        assert words_of_it in table


def test_an_ablation_that_fails_leaves_the_others(runner: CliRunner, words: list[str]) -> None:
    call = ["ablate", *words, "--without", "classification", "--set", "scale=1e39"]  # scale is the classification's
    result = runner.invoke(app, call)
    assert result.exit_code == 4, result.stderr
    assert "Loss term 'classification' became nan in epoch 1 (step 1)" in result.stderr
    assert "1 of 2 runs failed" in result.stderr
    assert "ours without classification" in result.stdout


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["-m", "imagenet"], "fewer than two loss terms"),
        (["--without", "quadrupel"], "Did you mean 'quadruplet'?"),
        (["-m", "softmax", "--structural"], "has no structural ablations"),
    ],
)
def test_mistakes(more: list[str], message: str, runner: CliRunner) -> None:
    result = runner.invoke(app, ["ablate", *more])
    assert result.exit_code == 2
    assert message in result.stderr
