"""``bench.run``, ``bench.ablate`` and ``bench.runs`` are the commands: the same runs, digits, store and refusals."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest
from typer.testing import CliRunner

import bench
from bench.cli.main import app
from bench.experiments.progress_bars import Bars
from bench.loggers.base import LOGGERS, Logger
from bench.methods.base import METHODS
from bench.results.store import Store
from tests import pictures

NETWORK = {"backbone": "test_efficientnet", "weights": "none"}
SMALL: dict[str, Any] = {"limit": 2, "epochs": 0.05, "image_size": 32, "device": "cpu", **NETWORK}
WORDS = ["--limit", "2", "--epochs", "0.05", "--image-size", "32", "--device", "cpu", *pictures.SMALL]


def test_the_command_finds_the_run_of_the_function_and_the_reverse(
    runner: CliRunner, capsys: pytest.CaptureFixture[str]
) -> None:
    run = bench.run("softmax", "emoji", seed=3, quiet=True, **SMALL)
    assert capsys.readouterr() == ("", "")
    printed = runner.invoke(app, ["run", "-m", "softmax", "--seed", "3", *WORDS, "--format", "json"])
    (found,) = json.loads(printed.stdout)["runs"]
    assert (found["run"], found["already_done"]) == (run.number, True)
    values = {(each["metric"], each["average"]): each["value"] for each in found["scores"]}
    assert values["mAP@all:plain", "queries"] == run.scores["mAP@all:plain"]
    assert values["P@100:k", "classes"] == run.scores["P@100:k@classes"]
    assert runner.invoke(app, ["run", "-m", "hog", "--limit", "2"]).exit_code == 0
    assert bench.run("hog", limit=2).number == 2
    assert bench.run("hog", limit=2, force=True).number == 3


def test_a_run_is_compared_and_shown_as_reports_do(runner: CliRunner) -> None:
    hog = bench.run("hog", limit=3, quiet=True)
    metric = "mAP@all:plain"
    report = runner.invoke(app, ["report", "--include-smoke", "--format", "md"])
    low, high = hog.interval(metric).low, hog.interval(metric).high
    assert f"{low:.3f} to {high:.3f}" in report.stdout
    assert f"{metric}  {hog.scores[metric]:.4f}  {low:.3f} to {high:.3f}" in hog.table()
    assert hog.per_class[metric].keys() <= set(bench.load_split("emoji").unseen)
    assert np.nanmean(hog.per_query[metric]) == pytest.approx(hog.scores[metric], abs=1e-7)


def test_a_trained_network_is_scored_again(runner: CliRunner) -> None:
    run = bench.run("softmax", quiet=True, **SMALL)
    for checkpoint in (run, run.number):
        again = bench.run(checkpoint=checkpoint, limit=2, device="cpu", quiet=True)
        assert again.title == "softmax trained on emoji-93 (smoke: 2 images a class)"
        assert again.scores == run.scores


def test_ablations_are_runs_with_a_part_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = {**SMALL, "limit": 1}
    monkeypatch.setattr(METHODS.get("ours"), "structural", {"unbalanced": {"balanced": False}})
    full, without, unbalanced = bench.ablate(without=["quadruplet"], structural=True, quiet=True, **tiny)
    assert [each.title for each in (full, without, unbalanced)] == [
        "ours",
        "ours without quadruplet",
        "ours unbalanced",
    ]
    assert bench.run("ours", without="quadruplet", quiet=True, **tiny).number == without.number


def test_stored_runs_by_column_and_as_rows() -> None:
    bench.run("hog", limit=2, quiet=True)
    bench.run("hog", limit=2, seed=1, quiet=True)
    bench.run("softmax", quiet=True, **SMALL)
    assert [run.number for run in bench.runs()] == [1, 2, 3]
    assert [run.number for run in bench.runs(method="hog", seed=1)] == [2]
    assert [run.number for run in bench.runs(method=["hog", "softmax"], seed=0)] == [1, 3]
    rows = [run.to_dict() for run in bench.runs()]
    assert [(row["run"], row["method"], row["seed"], row["limit"]) for row in rows] == [
        (1, "hog", 0, 2),
        (2, "hog", 1, 2),
        (3, "softmax", 0, 2),
    ]
    assert rows[0].keys() == rows[2].keys()
    assert json.loads(json.dumps(rows, allow_nan=False))[0]["mAP@all:plain"] == bench.runs()[0].scores["mAP@all:plain"]


class Notes(Logger):
    """Keeps the last values."""

    name, summary = "notes", "keeps the last values"
    values: ClassVar[dict[str, float]] = {}

    def begin(self, title: str, key: str, settings: Any) -> None:
        self.values.clear()

    def add(self, step: int, values: Any) -> None:
        self.values.update(values)

    def end(self, scores: Any) -> None:
        self.values.update(scores)


def test_loggers_get_the_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    LOGGERS.names()
    monkeypatch.setitem(LOGGERS._known, "notes", Notes)
    run = bench.run("softmax", seed=12, quiet=True, log="notes", **SMALL)
    assert Notes.values["loss/classification"] > 0
    assert Notes.values["mAP@all:plain"] == run.scores["mAP@all:plain"]


@pytest.mark.parametrize("method", ["softmax", "hog"], ids=["while it trains", "while it embeds"])
def test_an_interrupted_call_leaves_no_lock_and_resumes(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: Bars, done: int, total: int, terms: Any = None) -> None:
        if terms or method == "hog":
            signal.raise_signal(signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(Bars, "progress", interrupt)
        with pytest.raises(KeyboardInterrupt):
            bench.run(method, seed=11, quiet=True, **SMALL)
    assert signal.getsignal(signal.SIGINT) is handler
    store = Store("bench.db")
    assert ([run.status for run in store.runs()], store.doing()) == (["interrupted"], {})
    store.close()
    assert bench.runs() == []
    assert bench.run(method, seed=11, quiet=True, **SMALL).number == 2


MISTAKES: dict[str, tuple[Callable[[], object], str]] = {
    "no method": (lambda: bench.run(), "'method'"),
    "an unknown method": (lambda: bench.run("our"), "'ours'"),
    "a method that is no text": (lambda: bench.run(3), "method"),  # type: ignore[arg-type]
    "an unknown dataset": (lambda: bench.run("hog", "emojis"), "'emoji'"),
    "an unknown setting": (lambda: bench.run("hog", epoch=3), "'epochs'"),
    "a wrong type": (lambda: bench.run("softmax", epochs="many"), "epochs"),
    "an unknown term": (lambda: bench.run("ours", without=["triplet"]), "'triplet'"),
    "a negative seed": (lambda: bench.run("hog", seed=-1), "seed"),
    "a limit of nothing": (lambda: bench.run("hog", limit=0), "limit"),
    "an unknown logger": (lambda: bench.run("hog", log="tensorbord"), "tensorboard"),
    "an unknown precision": (lambda: bench.run("hog", precision="fp8"), "precision"),
    "no seeds": (lambda: bench.ablate(seeds=0), "seeds"),
    "a missing dataset": (lambda: bench.run("hog", "sketchy", data_root="nowhere"), "sketchy"),
    "a missing checkpoint": (lambda: bench.run(checkpoint="no.safetensors"), "no.safetensors"),
    "no database": (lambda: bench.runs(store="none.db"), "none.db"),
    "a run that is not there": (lambda: bench.run(checkpoint=9), "bench.db"),
    "an ablation of one term": (lambda: bench.ablate("softmax"), "softmax"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_refused_as_by_the_command(mistake: str, capsys: pytest.CaptureFixture[str]) -> None:
    call, named = MISTAKES[mistake]
    with pytest.raises(bench.BenchError, match=named):
        call()
    assert capsys.readouterr().out == ""
