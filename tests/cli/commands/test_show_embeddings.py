"""`bench show RUN --embeddings -o FILE`: what `bench score` makes of the file is what the run has."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from bench.cli.main import app
from tests.pictures import words_of, write_folder


@pytest.mark.parametrize("method", ["hog", "softmax"])
def test_the_file_scores_as_the_run_does(method: str, runner: CliRunner, tmp_path: Path) -> None:
    pictures = write_folder(tmp_path / "pictures", classes=8, images=2)
    ran = runner.invoke(app, ["run", "-m", method, *words_of(pictures, "--epochs", "0.5"), "--format", "json"])
    assert ran.exit_code == 0, ran.stderr
    assert runner.invoke(app, ["show", "1", "--embeddings", "-o", "out/e.npz"]).exit_code == 0
    scored = runner.invoke(app, ["score", "out/e.npz", "--format", "json"])
    assert scored.exit_code == 0, scored.stderr
    (run,) = json.loads(ran.stdout)["runs"]
    stored = {(each["metric"], each["average"]): each["value"] for each in run["scores"]}
    found = {(each["metric"], each["average"]): each["value"] for each in json.loads(scored.stdout)["scores"]}
    assert len(found) > 20
    assert {key: stored[key] for key in found if key in stored} == pytest.approx(
        {key: value for key, value in found.items() if key in stored}, abs=1e-12
    )
    paths = np.load("out/e.npz", allow_pickle=False)["gallery_paths"].tolist()
    assert all((pictures / each).is_file() for each in paths)
    assert runner.invoke(app, ["show", "1", "--embeddings", "-o", str(tmp_path)]).exit_code == 2
    assert runner.invoke(app, ["show", "9", "--embeddings", "-o", "out/e.npz"]).exit_code == 4
    assert np.load("out/e.npz", allow_pickle=False)["gallery_paths"].tolist() == paths  # as it was


def test_mistakes(runner: CliRunner) -> None:
    for words in (["--embeddings"], ["-o", "e.npz"]):
        found = runner.invoke(app, ["show", "1", *words])
        assert (found.exit_code, "belong together" in found.stderr) == (2, True), found.stderr
