"""Options of jobs: mistakes are one sentence, and without submitit any scheduler can run the printed experiments."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli.main import app

SMALL = ["--limit", "1", "--image-size", "32", "--device", "cpu"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--executor", "slurm", "--fail-fast"], "--fail-fast cannot stop the jobs of a cluster"),
        (["--executor", "slurm"], "There is no SLURM on this machine"),
        (["--executor", "lokal"], "There is no executor 'lokal'. Did you mean 'local'?"),
        (["--executor", "local", "--job", "partition=x"], "--job partition is no parameter of the local executor."),
        (["--executor", "local", "--job", "timeout"], "--job takes KEY=VALUE, not 'timeout'."),
        (["--executor", "local", "--job", "=3"], "--job takes KEY=VALUE, not '=3'."),
        (["--executor", "local", "--job", "timeout_min=abc"], "--job timeout_min takes a whole number from 1, not"),
        (["--executor", "local", "--job", "timeout_min=0"], "--job timeout_min takes a whole number from 1, not '0'."),
        (["--executor", "local", "--job", "timeout_min=0.2"], "--job timeout_min takes a whole number from 1, not"),
        (
            ["--executor", "local", "--job", "timeout_min=1", "--job", "signal_delay_s=60"],
            "--job signal_delay_s (60 seconds to write a checkpoint) leaves no time",
        ),
        (["--jobs", "2"], "--jobs and --job are for jobs: name an --executor, local or slurm."),
    ],
)
def test_mistakes(words: list[str], message: str, runner: CliRunner) -> None:
    found = runner.invoke(app, ["run", "-m", "imagenet", *SMALL, *words])
    assert found.exit_code == 2, found.output
    assert f"error: {message}" in found.stderr
    assert not Path("bench.db").exists()


def test_without_the_extra_the_cells_can_be_printed_and_run_by_anything(
    runner: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    call = ["ablate", "-m", "ours", *SMALL, "--structural", "--set", "dim=16", "--seed", "3", "--executor", "slurm"]
    found = runner.invoke(app, call)
    assert found.exit_code == 7
    assert "the project's extra 'cluster' (submitit): install it, or let another scheduler run" in found.stderr
    printed = runner.invoke(app, [*call, "--dry-run", "--format", "json"])
    assert printed.exit_code == 0, printed.output
    experiments = json.loads(printed.stdout)["runs"]
    assert len(experiments) > 2
    for experiment in experiments:
        program, *words = experiment["command"]
        assert program == "bench"
        again = json.loads(runner.invoke(app, [*words, "--dry-run", "--format", "json"]).stdout)["runs"]
        assert [(each["key"], each["experiment"]) for each in again] == [(experiment["key"], experiment["experiment"])]
