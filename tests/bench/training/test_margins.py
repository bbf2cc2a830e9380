"""A training whose loss ends at its margin says so: in the progress, in the store, below the table."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from bench.cli.main import app
from bench.training.margins import find_collapsed

METHOD: Any = SimpleNamespace(collapsed_losses={"triplet": 0.3})


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([0.4] * 20 + [0.301, 0.298] * 5, {"triplet": 0.3}),
        ([0.3] * 20 + [0.28, 0.24] * 5, {}),
        ([0.3] * 8, {}),  # a smoke run
        ([0.3] * 20 + [0.35, 0.33] * 5, {}),
    ],
)
def test_the_last_third_of_a_training_counts(values: list[float], found: dict[str, float]) -> None:
    curve = [{"step": float(step), "triplet": value, "other": 0.3} for step, value in enumerate(values)]
    assert find_collapsed(METHOD, curve) == found


def test_a_collapsed_run_says_so(runner: CliRunner, caplog: pytest.LogCaptureFixture) -> None:
    # The features of a network with random weights are nearly equal.
    words = ["-m", "triplet", "--limit", "1", "--set", "lr=0", "--set", "head_lr=0", "--set", "margin=1"]
    small = ["--epochs", "1", "--image-size", "32", "--backbone", "test_efficientnet", "--weights", "none"]
    done = runner.invoke(app, ["run", *words, *small])
    assert done.exit_code == 0, done.output
    assert "Loss term 'triplet' stands at its margin (1)" in caplog.text
    shown = json.loads(runner.invoke(app, ["show", "1", "--format", "json"]).stdout)
    assert shown["environment"]["at_margin"] == "triplet"
    report = runner.invoke(app, ["report", "--include-smoke"])
    assert "triplet at its margin" in report.stdout


@pytest.mark.parametrize(
    ("settings", "idle"),
    [
        (["photo_share=0.01"], True),  # the only photo of a batch is no negative of another domain for its own class
        (["batch_size=4"], True),  # one class
        (["batch_size=8"], False),
    ],
)
def test_a_loss_that_no_batch_can_have_says_so(
    settings: list[str], idle: bool, runner: CliRunner, caplog: pytest.LogCaptureFixture
) -> None:
    small = ["--epochs", "0.1", "--image-size", "32", "--backbone", "test_efficientnet", "--weights", "none"]
    words = [each for setting in settings for each in ("--set", setting)]
    done = runner.invoke(app, ["run", "-m", "ours", "--limit", "1", *small, *words])
    assert done.exit_code == 0, done.output
    assert ("Loss term 'quadruplet' is 0 at every step" in caplog.text) == idle
    assert "'classification' is 0" not in caplog.text
