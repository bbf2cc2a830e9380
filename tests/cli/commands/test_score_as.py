"""`bench score --as` and `-d`: embeddings checked against a split, and stored as runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from typer.testing import CliRunner

from bench.cli.main import app
from bench.datasets.emoji import Emoji
from bench.evaluation.metrics.base import STORED_METRICS
from bench.reports.base import FORMATS
from bench.results.store import Store
from tests.cli.commands.test_score import scored


def emoji_arrays() -> dict[str, npt.NDArray[Any]]:
    """Embeddings of the embedded dataset that know a little of its classes, rows and classes in another order."""
    split = Emoji(Path()).split()
    generator = np.random.default_rng(0)
    centres = generator.standard_normal((len(split.unseen), 8))
    number = generator.permutation(len(split.unseen))
    arrays: dict[str, npt.NDArray[Any]] = {}
    for side, items in (("query", split.queries), ("gallery", split.gallery)):
        labels, order = split.test_labels(items), generator.permutation(len(items))
        vectors = centres[labels] + generator.standard_normal((len(items), 8))
        arrays[side], arrays[f"{side}_labels"] = vectors[order], number[labels][order]
        arrays[f"{side}_paths"] = np.array([items[row].path for row in order])
    return arrays


def write(**changed: npt.NDArray[Any]) -> str:
    np.savez("emoji.npz", **{**emoji_arrays(), **changed})  # type: ignore[arg-type]
    return "emoji.npz"


def test_a_checked_file_is_stored_and_reported(runner: CliRunner) -> None:
    found = scored(runner, write(), "--as", "theirs", "-d", "emoji", "--metric", "P@1:k", "--seed", "4")
    assert {name: found[name] for name in ("run", "method", "dataset", "split", "seed", "verified")} == {
        "run": 1,
        "method": "theirs",
        "dataset": "emoji",
        "split": "emoji-93",
        "seed": 4,
        "verified": True,
    }
    assert found["fingerprint"] == Emoji(Path()).split().fingerprint
    assert [each["metric"] for each in found["scores"]] == ["P@1:k"]
    store = Store("bench.db")
    run = store.runs(status="done")[0]
    store.close()
    assert {score.metric for score in run.scores} == set(STORED_METRICS)
    assert len(run.scores) == 2 * len(STORED_METRICS)
    again = runner.invoke(app, ["score", "emoji.npz", "--as", "theirs", "-d", "emoji", "--seed", "4"])
    assert "stored as run 2" in again.stderr
    assert "it supersedes run 1" in " ".join(again.stderr.split())
    report = runner.invoke(app, ["report", "-d", "emoji"])
    assert report.exit_code == 0, report.stderr
    row = next(line for line in report.stdout.splitlines() if line.startswith("| theirs (external)"))
    assert " to " in row  # an interval: each row was known to be which image


def test_what_is_not_checked_is_marked(runner: CliRunner) -> None:
    arrays = emoji_arrays()
    file = write(query=arrays["query"][1:], query_labels=arrays["query_labels"][1:], query_paths=np.array(["x"] * 430))
    refused = runner.invoke(app, ["score", file, "--as", "theirs", "-d", "emoji"])
    assert refused.exit_code == 3
    assert not Path("bench.db").exists()
    assert scored(runner, file, "--as", "theirs", "-d", "emoji", "--unverified")["verified"] is False
    for format in FORMATS.names():
        report = runner.invoke(app, ["report", "--format", format])
        assert "theirs (external, unverified)" in report.stdout, format


def test_a_dataset_alone_checks_and_stores_nothing(runner: CliRunner) -> None:
    found = scored(runner, write(), "-d", "emoji")
    assert "run" not in found
    assert not Path("bench.db").exists()
    result = runner.invoke(app, ["score", "emoji.npz", "-d", "emoji", "--protocol", "standard"])
    assert "emoji, split emoji-93, gallery full: numbers per class agree with its images" in result.stderr
