"""``bench tune`` as real processes: killed and resumed, two on one study; its output is a file for ``--config``."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from typer.testing import CliRunner

from bench.cli.main import app
from bench.results.models import RunRecord
from bench.results.store import Store
from bench.tuning.study import open_storage
from tests.bench.results import postgresql
from tests.pictures import SMALL, words_of, write_folder
from tests.processes import Constant, Fault, bench, ended, program, start


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """A study whose trials take a second."""
    (tmp_path / "space.toml").write_text("scale = {low = 4.0, high = 64.0, log = true}\n")
    pictures = words_of(write_folder(tmp_path / "pictures"), *SMALL, "--epochs", "1")
    return ["tune", "softmax", *pictures, "--space", str(tmp_path / "space.toml")]


def load_study(tmp_path: Path) -> optuna.Study:
    return optuna.load_study(study_name=None, storage=open_storage(str(tmp_path / "bench.db")))


def stored_runs(tmp_path: Path) -> list[RunRecord]:
    store = Store(str(tmp_path / "bench.db"))
    runs = store.runs()
    store.close()
    return runs


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_stopped_in_a_trial_it_loses_none(words: list[str], tmp_path: Path, number: int) -> None:
    call = [*words, "--trials", "3"]
    stopped = bench(tmp_path, *call, faults=[Fault("bench.training.trained_networks:Networks.save", 2, number)])
    assert stopped.code == (130 if number == signal.SIGINT else -number), stopped.output
    before = load_study(tmp_path).trials
    resumed = bench(tmp_path, *call)
    assert resumed.code == 0, resumed.output
    after = load_study(tmp_path).trials
    assert after[0] == before[0]
    assert [each.state for each in after] == [TrialState.COMPLETE] * 3
    assert after[1].params == before[1].params != {}  # of the one that was stopped
    values = [run.value("mAP@all:plain") for run in stored_runs(tmp_path) if run.status == "done"]
    assert values == [each.value for each in after if each.state == TrialState.COMPLETE]
    assert "the best of 3 trials (3 complete)" in resumed.output


def test_two_processes_share_a_study(words: list[str], tmp_path: Path) -> None:
    call = [*words, "--trials", "6", "--format", "json", "--store", str(tmp_path / "bench.db")]
    alive = (Constant("bench.results.store:STALE_SECONDS", 60.0),)
    processes = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        processes.append(start(program, tmp_path / name, call, alive, None, {}))
    outputs = [ended(each, tmp_path / name) for each, name in zip(processes, ("one", "other"), strict=True)]
    assert [each.code for each in outputs] == [0, 0], [each.output for each in outputs]
    trials = load_study(tmp_path).trials
    assert 6 <= len(trials) <= 7  # both may begin the last one
    assert {each.state for each in trials} == {TrialState.COMPLETE}
    assert all("\ntrial " in each.output for each in outputs)
    keys = [each.user_attrs["key"] for each in trials]
    assert sorted(set(keys)) == sorted(run.key for run in stored_runs(tmp_path))


def test_its_output_runs_the_best_settings(runner: CliRunner, words: list[str], tmp_path: Path) -> None:
    """Also where a setting that is searched is given, too, and where its name has hyphens."""
    (tmp_path / "space.toml").write_text("head-lr = [1e-3, 2e-3]\n")
    tuned = runner.invoke(app, [*words, "--set", "head-lr=0.1", "--trials", "2"])
    assert tuned.exit_code == 0, tuned.stderr
    (tmp_path / "best.toml").write_text(tuned.stdout)
    command = tuned.stdout.splitlines()[0].removeprefix("# bench ").split()
    plans = []
    for call in (command, ["run", "--config", "best.toml"]):
        planned = runner.invoke(app, [*call, "--dry-run", "--format", "json"])
        assert planned.exit_code == 0, planned.stderr
        plans.append(json.loads(planned.stdout)["runs"][0]["key"])
    assert plans[0] == plans[1]
    ran = runner.invoke(app, command)
    assert ran.exit_code == 0, ran.stderr
    best = max(stored_runs(tmp_path)[:2], key=lambda run: run.value("mAP@all:plain"))
    final = stored_runs(tmp_path)[-1]
    assert final.split == best.split.removesuffix(":tuning") != best.split
    assert final.configuration["method"] == best.configuration["method"]
    assert {run.configuration["run"]["head_lr"] for run in stored_runs(tmp_path)} <= {1e-3, 2e-3}
    assert load_study(tmp_path).trials[0].params == {"head_lr": 1e-3}
    report = runner.invoke(app, ["report", "--split", final.split, "--format", "md"])
    assert f"among 2 that were tried on {best.split}" in report.stdout


def test_a_pruned_trial_is_no_failure(
    runner: CliRunner, words: list[str], tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every trial but the first is pruned after its first epoch."""
    pruner = optuna.pruners.ThresholdPruner(lower=1.1)
    monkeypatch.setattr(pruner, "prune", lambda study, trial, own=pruner.prune: trial.number > 0 and own(study, trial))
    monkeypatch.setattr("bench.tuning.study.optuna.pruners.MedianPruner", lambda: pruner)
    epochs = words.index("--epochs") + 1
    call = [*words[:epochs], "3", *words[epochs + 1 :], "--trials", "3", "--format", "json"]
    tuned = runner.invoke(app, call)
    assert tuned.exit_code == 0, tuned.stderr
    found: dict[str, Any] = json.loads(tuned.stdout)
    assert [each["state"] for each in found["trials"]] == ["complete", "pruned", "pruned"]
    runs = stored_runs(tmp_path)
    assert [run.status for run in runs] == ["done", "pruned", "pruned"]
    assert "after epoch 1" in runs[1].failure
    assert not list((shared_cache / "checkpoints").glob("*"))


def test_a_trial_that_fails_is_passed_over(runner: CliRunner, words: list[str], tmp_path: Path) -> None:
    (tmp_path / "space.toml").write_text("lr = [1e-4, 1e30]\nhead_lr = [1e30, 1e-3]\n")
    tuned = runner.invoke(app, [*words, "--trials", "5", "--format", "json"])
    assert tuned.exit_code in (0, 4), tuned.stderr
    states = [each.state for each in load_study(tmp_path).trials]
    assert len(states) == 5
    assert TrialState.FAIL in states
    assert tuned.exit_code == (0 if TrialState.COMPLETE in states else 4)


# Every setting of `softmax` that has a space.
FIXED = ("lr=1", "head_lr=1", "weight_decay=0", "scale=8", "rank_by=embedding")


@pytest.mark.parametrize(
    ("more", "word"),
    [
        (["--split", "emoji-93"], "emoji-93:tuning"),
        (["--split", "emoji-93:available"], "--split emoji-93:tuning"),
        (["--select", "oracle"], "oracle"),
        (["-d", "emoji", "-d", "folder"], "one dataset"),
        (["--executor", "local"], "--executor"),
        ([word for each in FIXED for word in ("--set", each)], "--space"),
    ],
)
def test_what_does_not_fit_is_refused(runner: CliRunner, tmp_path: Path, more: list[str], word: str) -> None:
    refused = runner.invoke(app, ["tune", "softmax", "--trials", "2", *more])
    assert refused.exit_code == 2
    assert word in refused.stderr
    assert not (tmp_path / "bench.db").exists()


def test_a_missing_package_is_named(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    refused = runner.invoke(app, ["tune", "softmax", "--trials", "2"])
    assert refused.exit_code == 7
    assert "pip install '.[tune]'" in refused.stderr


@pytest.mark.skipif(bool(postgresql.why_not()), reason=postgresql.why_not())
def test_a_server_of_results_holds_the_study() -> None:
    with postgresql.server() as url:
        for _ in range(2):
            Store(url).close()
            storage = open_storage(url)
            study = optuna.create_study(storage=storage, study_name="one", load_if_exists=True)
            study.tell(study.ask(), 0.5)
            trials = len(study.trials)
            storage.remove_session()
            storage.engine.dispose()
        assert trials == 2
