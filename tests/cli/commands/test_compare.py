"""``bench compare``: runs, files, both."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import bench
from bench.cli.main import app
from tests.bench.evaluation.clouds import clouds


@pytest.fixture
def files(runner: CliRunner) -> tuple[bench.Evaluation, bench.Evaluation]:
    """Two files of embeddings of the same queries, and their figures."""
    results = []
    for name, seed in (("a.npz", 0), ("b.npz", 1)):
        data, labels = clouds(queries=60, photos=300, width=8, seed=seed), np.arange(60) % 9
        query = data.query + 3 * data.gallery[labels]
        arrays = {"query": query, "gallery": data.gallery, "query_labels": labels, "gallery_labels": np.arange(300) % 9}
        np.savez(name, **arrays)  # type: ignore[arg-type]
        results.append(bench.evaluate(**arrays, metrics=["P@5:k@classes"]))
    return results[0], results[1]


def compared(runner: CliRunner, *words: str) -> dict[str, Any]:
    done = runner.invoke(app, ["compare", *words, "--format", "json"])
    assert done.exit_code == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_files_are_compared_as_in_python(runner: CliRunner, files: tuple[bench.Evaluation, bench.Evaluation]) -> None:
    found, expected = (
        compared(runner, "a.npz", "b.npz", "--metric", "P@5:k@classes"),
        bench.compare(*files, "P@5:k@classes"),
    )
    assert (found["metric"], found["average"]) == ("P@5:k", "classes")
    assert (found["value_a"], found["value_b"]) == tuple(each.scores["P@5:k@classes"] for each in files)
    assert [found[name] for name in ("points", "low", "high", "p")] == [
        getattr(expected, name) for name in ("points", "low", "high", "p")
    ]
    table = runner.invoke(app, ["compare", "a.npz", "b.npz", "--metric", "P@5:k@classes"]).stdout
    assert f"{expected.points:+.1f}" in table
    assert f"{expected.low:+.1f} to {expected.high:+.1f}" in table


def test_runs_are_compared_as_in_reports(runner: CliRunner) -> None:
    for method in ("hog", "imagenet"):
        assert runner.invoke(app, ["run", "-m", method, "--limit", "2", "--image-size", "32"]).exit_code == 0
    found = compared(runner, "1", "2")
    report = runner.invoke(app, ["report", "--include-smoke", "--baseline", "imagenet", "--format", "md"]).stdout
    assert f"{found['points']:+.1f}" in report
    assert f"{found['low']:+.1f} to {found['high']:+.1f}" in report


def test_other_queries_and_missing_sides_are_refused(
    runner: CliRunner, files: tuple[bench.Evaluation, bench.Evaluation]
) -> None:
    assert runner.invoke(app, ["run", "-m", "hog", "--limit", "2"]).exit_code == 0
    for sides, code, named in (
        (("1", "a.npz"), 2, "queries"),
        (("a.npz", "c.npz"), 2, "c.npz"),
        (("a.npz", "7"), 4, "run 7"),
        (("a.npz", "b.npz", "--metric", "mAP@200"), 2, "mAP@200:min"),
        (("1", "1", "--metric", "P@7:k"), 2, "P@7:k"),
    ):
        done = runner.invoke(app, ["compare", *sides])
        assert (done.exit_code, done.stdout) == (code, "")
        assert named in done.stderr


def test_one_class_has_no_interval(runner: CliRunner) -> None:
    draw, labels = np.random.default_rng(0), np.zeros(5, dtype=np.int64)
    for name in ("a.npz", "b.npz"):
        sides = {side: draw.normal(size=(5, 4)) for side in ("query", "gallery")}
        np.savez(name, **sides, query_labels=labels, gallery_labels=labels)  # type: ignore[arg-type]
    found = compared(runner, "a.npz", "b.npz")
    assert (found["schema"], found["low"], found["high"]) == (1, None, None)
    assert "nan" not in runner.invoke(app, ["compare", "a.npz", "b.npz"]).stdout
