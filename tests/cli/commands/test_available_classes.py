"""`--available-classes`: a part of a published dataset, marked as a subset in every table."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli.main import app
from bench.datasets.published.class_splits import read_class_split
from bench.datasets.tuberlin import TUBerlin
from tests.datasets.trees import picture, plant

RUN = ["run", "-m", "hog", "-d", "tuberlin", "--image-size", "32"]
NAME = "tuberlin-30:available-12-of-250"


@pytest.fixture
def root(runner: CliRunner, tmp_path: Path) -> Path:
    """Sketches and photos of four unseen and eight seen classes, and sketches alone of another."""
    layout = next(each for each in TUBerlin.layouts if each.name == "plain")
    root = tmp_path / "data" / "TUBerlin"
    plant(root, TUBerlin, layout, per_class=2)
    split = read_class_split("tuberlin-30")
    kept = {*split.unseen[:4], *split.seen[:8]}
    for folder in [*root.glob("sketch/*"), *root.glob("photo/*")]:
        if folder.name not in kept and folder.relative_to(root).as_posix() != f"sketch/{split.seen[9]}":
            shutil.rmtree(folder)
    for seed, file in enumerate(sorted(each for each in root.rglob("*") if each.is_file())):
        file.write_bytes(picture(seed=seed))
    return root


def test_the_classes_that_are_there_are_run_and_marked(root: Path, runner: CliRunner) -> None:
    refused = runner.invoke(app, RUN)
    assert refused.exit_code == 3, refused.output
    ran = runner.invoke(app, [*RUN, "--available-classes", "--format", "json"])
    assert ran.exit_code == 0, ran.stderr
    (row,) = json.loads(ran.stdout)["runs"]
    assert row["split"] == NAME
    assert row["scores"][0]["queries"] == 8
    again = runner.invoke(app, [*RUN, "--split", "tuberlin-30", "--available-classes", "--format", "json"])
    assert json.loads(again.stdout)["runs"][0]["already_done"]
    for words in (["list", "runs"], ["report"], ["report", "--kind", "cost"]):
        assert NAME in runner.invoke(app, words).stdout, words
    rerun = runner.invoke(app, ["rerun", "1", "--format", "json"])
    assert rerun.exit_code == 0, rerun.stderr
    assert json.loads(rerun.stdout)["runs"][0]["scores"] == row["scores"]


def test_another_class_is_another_split(root: Path, runner: CliRunner) -> None:
    assert runner.invoke(app, [*RUN, "--available-classes"]).exit_code == 0
    added = read_class_split("tuberlin-30").seen[9]
    shutil.copytree(root / "sketch" / added, root / "photo" / added)
    found = json.loads(runner.invoke(app, [*RUN, "--available-classes", "--format", "json"]).stdout)["runs"][0]
    assert (found["split"], found["already_done"]) == ("tuberlin-30:available-13-of-250", False)


def test_without_an_unseen_class_or_with_a_whole_dataset_it_is_a_mistake(root: Path, runner: CliRunner) -> None:
    for name in read_class_split("tuberlin-30").unseen[:4]:
        shutil.rmtree(root / "photo" / name)
    none = runner.invoke(app, [*RUN, "--available-classes"])
    assert (none.exit_code, "No unseen class" in none.stderr) == (3, True), none.stderr
    whole = runner.invoke(app, ["run", "-m", "hog", "-d", "emoji", "--available-classes"])
    assert (whole.exit_code, "always has all of its classes" in whole.stderr) == (2, True), whole.stderr


def test_the_subset_is_checked_and_listed(root: Path, runner: CliRunner) -> None:
    words = ["tuberlin", "--split", "tuberlin-30:available"]
    listed = json.loads(runner.invoke(app, ["data", "list", *words, "--format", "json"]).stdout)
    assert (listed["split"], len(listed["unseen"]), len(listed["seen"])) == (NAME, 4, 8)
    checked = runner.invoke(app, ["data", "check", *words])
    assert checked.exit_code == 0, checked.output
