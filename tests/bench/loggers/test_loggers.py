"""Curves of real runs, read back by the programs that they were written for."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from typer.testing import CliRunner

from bench.cli.main import app
from bench.loggers.base import LOGGERS, Logger, Settings
from bench.results.models import RunRecord
from bench.results.store import Store
from tests.pictures import SMALL, words_of, write_folder

# The first use of a SQLite store makes MLflow's tables, by code that SQLAlchemy 2.1 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")
EPOCHS = 2


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    pictures = words_of(write_folder(tmp_path / "pictures"), *SMALL, "--epochs", str(EPOCHS))
    return ["run", "-m", "softmax", *pictures]


class Broken(Logger):
    """Fails at its first values."""

    name, summary = "broken", "It fails."

    def begin(self, title: str, key: str, settings: Settings) -> None:
        pass

    def add(self, step: int, values: Mapping[str, float]) -> None:
        raise OSError("no connection")

    def end(self, scores: Mapping[str, float]) -> None:
        raise AssertionError("a logger that failed gets nothing more")


def stored_run(tmp_path: Path) -> RunRecord:
    store = Store(str(tmp_path / "bench.db"))
    (run,) = store.runs()
    store.close()
    assert run.status == "done"
    return run


def read_events(folder: Path) -> EventAccumulator:
    (found,) = folder.iterdir()
    events = EventAccumulator(str(found))
    events.Reload()
    return events


def test_tensorboard_reads_every_curve(runner: CliRunner, words: list[str], tmp_path: Path) -> None:
    called = runner.invoke(app, [*words, "--select", "seen-validation", "--log", "tensorboard:curves"])
    assert called.exit_code == 0, called.stderr
    run, events = stored_run(tmp_path), read_events(tmp_path / "curves")
    losses = events.Scalars("loss/classification")
    assert [each.step for each in losses] == list(range(1, len(losses) + 1))
    rates = [each.value for each in events.Scalars("lr/0")]
    highest = run.configuration["run"]["lr"]
    assert rates[0] <= highest
    assert rates[-1] < rates[0]
    assert len(rates) == len(losses)
    validation = events.Scalars("validation/mAP@all:plain")
    assert [each.value for each in events.Scalars("epoch")] == [1, EPOCHS]
    assert [each.step for each in validation] == [len(losses) / EPOCHS, len(losses)]
    (score,) = events.Scalars("score/mAP@all:plain")
    assert score.value == pytest.approx(run.value("mAP@all:plain"))
    assert any(run.key.encode() in file.read_bytes() for file in (tmp_path / "curves").glob("*/*"))


def test_the_client_of_mlflow_reads_every_curve(
    runner: CliRunner, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    called = runner.invoke(app, [*words, "--log", "mlflow"])
    assert called.exit_code == 0, called.stderr
    run, client = stored_run(tmp_path), MlflowClient("sqlite:///mlflow.db")
    (found,) = client.search_runs([client.get_experiment_by_name(run.split).experiment_id])
    assert found.info.status == "FINISHED"
    assert found.data.tags["bench.key"] == run.key
    assert found.data.params["lr"] == str(run.configuration["run"]["lr"])
    assert found.data.metrics["score/mAP_at_all:plain"] == pytest.approx(run.value("mAP@all:plain"))
    losses = client.get_metric_history(found.info.run_id, "loss/classification")
    assert sorted(each.step for each in losses) == list(range(1, len(losses) + 1))
    assert len(losses) >= EPOCHS


def test_a_logger_that_fails_is_one_warning(
    runner: CliRunner,
    words: list[str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    LOGGERS.names()
    monkeypatch.setitem(LOGGERS._known, "broken", Broken)
    called = runner.invoke(app, [*words, "--log", "broken", "--log", "tensorboard"])
    assert called.exit_code == 0, called.stderr
    warnings = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert len([text for text in warnings if "broken" in text and "no connection" in text]) == 1
    assert read_events(tmp_path / "runs").Scalars("score/mAP@all:plain")
    assert stored_run(tmp_path).status == "done"


@pytest.mark.parametrize("place", ["http://127.0.0.1:9", "sqlite:///pictures"])
def test_a_server_or_database_that_does_not_open_is_one_warning(
    place: str, runner: CliRunner, words: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    begun = time.monotonic()
    called = runner.invoke(app, [*words, "--log", f"mlflow:{place}"])
    assert called.exit_code == 0, called.stderr
    assert time.monotonic() - begun < 60  # MLflow's own retries take minutes
    assert len([each for each in caplog.records if "--log mlflow failed" in each.getMessage()]) == 1
    assert stored_run(tmp_path).status == "done"


def test_a_run_that_fails_is_logged_as_failed(runner: CliRunner, words: list[str], tmp_path: Path) -> None:
    called = runner.invoke(app, [*words, "--lr", "1e30", "--set", "head_lr=1e30", "--log", "tensorboard"])
    assert called.exit_code == 4
    events = read_events(tmp_path / "runs")
    assert events.Scalars("loss/classification")
    assert "score/mAP@all:plain" not in events.Tags()["scalars"]


@pytest.mark.parametrize("name", ["tensorboard", "mlflow"])
def test_a_missing_package_is_named_before_the_run(
    runner: CliRunner, words: list[str], tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [each for each in sys.modules if each.split(".")[0] == name or each == "torch.utils.tensorboard"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)
    called = runner.invoke(app, [*words, "--log", name])
    assert called.exit_code == 7
    assert f"pip install '.[{name}]'" in called.stderr
    assert not (tmp_path / "bench.db").exists()


def test_an_unknown_logger_is_named_with_the_nearest(runner: CliRunner, words: list[str]) -> None:
    called = runner.invoke(app, [*words, "--log", "tensorbord:x"])
    assert called.exit_code == 2
    assert "'tensorboard'" in called.stderr
