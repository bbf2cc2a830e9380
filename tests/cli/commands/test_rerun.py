"""`bench rerun RUN`: the same settings and images, from any folder; the old run is superseded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli.main import app
from bench.results.store import Store
from tests.bench.results.test_store import IDENTITY, SCORES, finish
from tests.pictures import write_folder

RUN = ["run", "-m", "hog", "-d", "folder", "--image-size", "32", "--seed", "3", "--gallery", "all"]


@pytest.fixture
def pictures(runner: CliRunner, tmp_path: Path) -> Path:
    root = write_folder(tmp_path / "pictures", classes=6, images=2)
    ran = runner.invoke(app, [*RUN, "--set", f"root={root}", "--set", "draw=2"])
    assert ran.exit_code == 0, ran.stderr
    return root


def test_the_same_run_supersedes_the_old_one(pictures: Path, runner: CliRunner) -> None:
    again = runner.invoke(app, ["rerun", "1", "--format", "json"])
    assert again.exit_code == 0, again.stderr
    (row,) = json.loads(again.stdout)["runs"]
    assert (row["run"], row["seed"], row["gallery"], row["already_done"]) == (2, 3, "all", False)
    store = Store("bench.db")
    first, second = store.runs()
    assert (first.status, second.status) == ("superseded", "done")
    assert (first.key, first.request, first.scores) == (second.key, second.request, second.scores)
    store.close()


def test_other_images_are_refused(pictures: Path, runner: CliRunner) -> None:
    next(pictures.glob("photo/*/*")).unlink()
    again = runner.invoke(app, ["rerun", "1"])
    assert (again.exit_code, "not those of the run" in again.stderr) == (3, True), again.stderr


def test_embeddings_of_another_program_cannot_be_run(runner: CliRunner) -> None:
    store = Store("bench.db")
    external = {"external": {"verified": True}}
    finish(store, store.begin({**IDENTITY, "configuration": external}), SCORES, {})
    store.close()
    assert runner.invoke(app, ["rerun", "1"]).exit_code == 2
    assert runner.invoke(app, ["rerun", "9"]).exit_code == 4
