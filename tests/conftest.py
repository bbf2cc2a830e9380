"""Shared fixtures: an observer that records, a store in a temporary folder, and the command line."""

from __future__ import annotations

import gc
import importlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from bench.experiments.progress import Observer

if TYPE_CHECKING:  # they import torch, which the process that only hands out tests does without
    from bench.experiments.experiment import Experiment, Resources
    from bench.results.models import RunRecord
    from bench.results.store import Store

FILE_SECONDS = 30.0  # that one file of tests should take at most, on an idle machine


def pytest_collection_finish() -> None:
    """Keep what was imported out of garbage collection."""
    importlib.import_module("hypothesis")  # looks for references, which it would not find after that
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the slowest files, and mark those above ``FILE_SECONDS``."""
    seconds: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for each in reports:
            if isinstance(each, pytest.TestReport):
                seconds[each.location[0]] += each.duration
    terminalreporter.section(f"slowest files, which should take at most {FILE_SECONDS:.0f} s on an idle machine")
    for name, taken in seconds.most_common(5):
        terminalreporter.write_line(f"{taken:6.1f} s  {name}", yellow=taken > FILE_SECONDS)


class Quiet(Observer):
    """An observer that records its calls."""

    def __init__(self) -> None:
        self.phases: list[str] = []
        self.terms: list[dict[str, float]] = []
        self.measured: list[tuple[int, dict[str, float]]] = []

    def phase(self, name: str) -> None:
        self.phases.append(name)

    def progress(self, done: int, total: int, terms: Mapping[str, float]) -> None:
        if terms:
            self.terms.append(dict(terms))

    def measure(self, step: int, values: Mapping[str, float]) -> None:
        self.measured.append((step, dict(values)))


def carry_out(
    experiment: Experiment, resources: Resources, observer: Observer, *, reuse: bool = True
) -> tuple[RunRecord, dict[str, bytes]]:
    """``execute`` for a run that no store has."""
    from bench.experiments.execute import execute
    from bench.results.models import RunRecord

    facts = {**experiment.identity, "environment": {}, "seconds": {}}
    run = RunRecord(id=0, **facts, status="running", failure="", started="", ended="")
    return execute(experiment, run, resources, observer, reuse=reuse)


@pytest.fixture(autouse=True, scope="session")
def no_weights_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The folders of downloaded weights are empty, and nothing is downloaded: no test depends on the machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_OFFLINE", "1")
        patch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("torch")))
        folder = str(tmp_path_factory.mktemp("huggingface"))
        patch.setenv("HF_HUB_CACHE", folder)
        patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", folder)  # read when it was imported
        yield


@pytest.fixture
def quiet() -> Quiet:
    return Quiet()


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def resources(tmp_path: Path, shared_cache: Path) -> Resources:
    from bench.experiments.experiment import Resources

    return Resources(data_root=tmp_path / "data", cache_dir=shared_cache, device="cpu")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    from bench.results.store import Store

    opened = Store(str(tmp_path / "bench.db"))
    yield opened
    opened.close()


@pytest.fixture
def runner(tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """The command line in an empty folder, with its store and cache out of the user's way."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_CACHE_DIR", str(shared_cache))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    return CliRunner()
