"""What `bench show` prints of a trained run; a sketch is searched in the folder of its run from any working folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bench.cli.main import app
from bench.experiments.choose_epoch import BestEpoch
from bench.results.store import Store
from tests.bench.results.test_store import IDENTITY, SCORES, finish
from tests.pictures import words_of, write_folder


@pytest.fixture
def folder(runner: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The pictures of run 1, whose second of three epochs was the best."""
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "cache"))
    scores = iter((0.2, 0.5, 0.3))
    init = BestEpoch.__init__
    monkeypatch.setattr(
        BestEpoch, "__init__", lambda self, rule, _, *more: init(self, rule, lambda _: next(scores), *more)
    )
    pictures = write_folder(tmp_path / "pictures", classes=12, images=2)
    call = ["run", "-m", "softmax", *words_of(pictures, "--epochs", "3", "--select", "seen-validation")]
    ran = runner.invoke(app, call)
    assert ran.exit_code == 0, ran.stderr
    return pictures


def shown(runner: CliRunner, *words: str) -> dict[str, Any]:
    found = runner.invoke(app, [*words, "--format", "json"])
    assert found.exit_code == 0, found.stderr
    facts: dict[str, Any] = json.loads(found.stdout)
    return facts


def test_a_trained_run_has_its_network_epoch_curve_and_folder(folder: Path, runner: CliRunner, tmp_path: Path) -> None:
    facts = shown(runner, "show", "1")
    (network,) = (tmp_path / "cache" / "networks").iterdir()
    assert (facts["network"], facts["root"], facts["epoch"]) == (str(network), str(folder), 2)
    assert [set(point) for point in facts["curve"]] == [{"step", "classification"}] * len(facts["curve"])
    assert facts["curve"]
    assert shown(runner, "list", "runs")["runs"][0]["network"] == str(network)
    scored = shown(runner, "run", "--checkpoint", str(network), *words_of(folder)[:6])
    assert scored["runs"][0]["scores"] == facts["scores"]
    text = runner.invoke(app, ["show", "1"]).stdout
    assert str(network) in text
    assert str(folder) in text
    # Another network may replace it in the cache, and the database has no paths.
    network.unlink()
    assert shown(runner, "show", "1")["network"] is None
    assert str(tmp_path).encode() not in Path("bench.db").read_bytes()


def test_a_query_finds_the_folder_of_its_run(folder: Path, runner: CliRunner, tmp_path: Path) -> None:
    sketch = shutil.copy(next((folder / "sketch").rglob("*.png")), tmp_path / "mine.png")
    call = ["query", "1", str(sketch), "-k", "1"]
    assert len(shown(runner, *call)["photos"]) == 1
    Path("data").mkdir()  # of other datasets
    assert len(shown(runner, *call)["photos"]) == 1
    moved = folder.rename(tmp_path / "moved")
    gone = runner.invoke(app, call)
    assert gone.exit_code == 3
    assert f"{folder}, which is gone" in gone.stderr
    assert "pass their folder as --data-root" in gone.stderr
    assert len(shown(runner, *call, "--data-root", str(moved))["photos"]) == 1


def test_a_run_of_an_uninstalled_plug_in_names_its_package(runner: CliRunner) -> None:
    store = Store("bench.db")
    run = store.begin({**IDENTITY, "method": "their-method"})
    finish(store, run, SCORES, {}, environment={"plug-ins": "their-package 1.0"})
    store.close()
    png = write_folder(Path("pictures"), classes=1, images=1)
    found = runner.invoke(app, ["query", "1", str(next((png / "sketch").rglob("*.png")))])
    assert (found.exit_code, "their-package 1.0" in found.stderr) == (7, True), found.stderr


def test_the_epoch_of_a_cached_network_is_kept(folder: Path, runner: CliRunner) -> None:
    call = ["run", "-m", "softmax", *words_of(folder, "--epochs", "3", "--select", "seen-validation")]
    assert runner.invoke(app, [*call, "--set", "codes=itq-test", "--set", "bits=8"]).exit_code == 0
    store = Store("bench.db")
    assert [run.environment["epoch"] for run in store.runs()] == ["2", "2"]
    store.close()
