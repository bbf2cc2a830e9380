"""Every exit code of the program, each by what a user would do to get it."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import bench.experiments.run
import bench.results.outcomes
from bench.cli.main import app
from bench.errors import BenchError, StorageError
from bench.io import write_tensors
from bench.methods.base import METHODS
from bench.results import database
from bench.results.models import RunRecord
from bench.results.store import Store, now
from bench.signals import Terminated
from bench.training.state import Checkpoint
from bench.training.trained_networks import Networks
from tests.bench.results.test_store import IDENTITY, SCORES, finish

Prepare = Callable[[pytest.MonkeyPatch], None]
RUN = ["run", "-m", "imagenet", "--limit", "1", "--image-size", "32"]
TRAIN = ["run", "-m", "softmax", "--limit", "1", "--image-size", "32", "--epochs", "0.1", "--set", "batch_size=16"]


def nothing(patch: pytest.MonkeyPatch) -> None:
    """The machine as it is."""


Execute = Callable[[RunRecord], tuple[RunRecord, dict[str, bytes]]]


def computing(what: Execute) -> Prepare:
    """A run does ``what`` instead of computing, so that its end is all that is tested."""

    def prepare(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(bench.experiments.run, "execute", lambda experiment, run, *_, **__: what(run))

    return prepare


def finishing(run: RunRecord) -> tuple[RunRecord, dict[str, bytes]]:
    return replace(run, status="done", ended=now(), scores=tuple(SCORES)), {}


def raising(error: BaseException) -> Prepare:
    def what(run: RunRecord) -> tuple[RunRecord, dict[str, bytes]]:
        raise error

    return computing(what)


def stored(patch: pytest.MonkeyPatch) -> None:
    store = Store("bench.db")
    finish(store, store.begin({**IDENTITY, "configuration": {"run": {}, "method": {}}}), SCORES, {})
    store.close()


def newer(patch: pytest.MonkeyPatch) -> None:
    stored(patch)
    with closing(sqlite3.connect("bench.db")) as connection:
        connection.execute("UPDATE schema_version SET version = 99")
        connection.commit()


def locked(patch: pytest.MonkeyPatch) -> None:
    stored(patch)
    patch.setattr(database, "BUSY_MILLISECONDS", 20)
    connection = sqlite3.connect("bench.db")
    connection.execute("BEGIN EXCLUSIVE")
    patch.setattr(database, "kept_open_by_the_test", connection, raising=False)


def full(patch: pytest.MonkeyPatch) -> None:
    """Neither the database nor the file for the outcome can be written."""

    def refuse(*_: Any, **__: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    def no_file(*_: Any) -> None:
        raise StorageError("The file cannot be written.")

    patch.setattr(bench.results.outcomes, "write_outcome", no_file)

    patch.setattr(Store, "finish", lambda self, *_, **__: _failing(self, refuse))
    computing(finishing)(patch)


def _failing(store: Store, refuse: Callable[[], None]) -> None:
    with database.failures(store.where):
        refuse()


def broken_plugin(patch: pytest.MonkeyPatch) -> None:
    METHODS.names()
    point = EntryPoint("broken", "no_such_package:Method", "bench.methods")
    patch.setattr(METHODS, "_plugins", {"broken": [point]})


def wrong_weights(patch: pytest.MonkeyPatch) -> None:
    Path("weights.pth").write_bytes(b"these are no weights")


def wrong_network(patch: pytest.MonkeyPatch) -> None:
    """A kept network of the right key that holds other tensors."""
    patch.setattr(Networks, "network", lambda self, key: Checkpoint(Path(f"{key}.safetensors"), key))
    patch.setattr(Networks, "load", _load_with(Networks.load))


def _load_with(load: Any) -> Any:
    def found(self: Networks, key: str, method: Any, processes: Any) -> Any:
        write_tensors(self.network(key).path, {"other": torch.zeros(1)}, {"key": key, "seconds": {}, "history": []})
        return load(self, key, method, processes)

    return found


def report_file(patch: pytest.MonkeyPatch) -> None:
    stored(patch)
    Path("report.md").write_text("another report\n")


CASES: dict[str, tuple[Prepare, list[str], int, str]] = {
    "done": (computing(finishing), RUN, 0, ""),
    "a bug": (raising(ZeroDivisionError("a bug")), RUN, 1, ""),
    "an unknown option": (nothing, ["run", "--methd", "ours"], 2, "Did you mean '--method'?"),
    "an option by its meaning": (nothing, ["run", "--learning-rate", "1"], 2, "Did you mean '--lr'?"),
    "a setting as an option": (nothing, ["run", "--margin", "1"], 2, "write --set margin=VALUE"),
    "no number of a run": (nothing, ["show", "softmax"], 2, "'RUN': 'softmax' should be a valid integer."),
    "too small": (nothing, ["run", "--image-size", "10"], 2, "'10' should be greater than or equal to 32."),
    "no such format": (nothing, ["list", "runs", "--format", "xml"], 2, "'--format': 'xml' is not one of"),
    "an unknown name": (nothing, ["run", "-m", "our"], 2, "Did you mean 'ours'?"),
    "data missing": (nothing, ["run", "-m", "imagenet", "-d", "sketchy"], 3, "Dataset 'sketchy' was not found"),
    "a file that is no embeddings": (wrong_weights, ["score", "weights.pth"], 3, "is neither .npz nor .safetensors"),
    "a run that failed": (nothing, [*TRAIN, "--set", "head_lr=1e38"], 4, "Loss term 'classification' became nan in"),
    "an empty selection": (stored, ["report", "-m", "sake"], 4, "No run of method 'sake' is stored. Available: ours."),
    "no run has 64 bits": (stored, ["show", str(2**63)], 4, "There is no run 9223372036854775808"),
    "no such run": (stored, ["show", "17"], 4, "There is no run 17"),
    "a report that differs": (report_file, ["report", "--check", "report.md"], 4, "The report differs from report.md"),
    "memory of the device": (raising(torch.OutOfMemoryError("CUDA out of memory")), RUN, 5, "lower --batch-size or"),
    "memory of the host": (raising(MemoryError()), RUN, 5, "Memory did not suffice (host memory)"),
    "memory, torch's allocator": (
        raising(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")),
        RUN,
        5,
        "take a smaller --backbone",
    ),
    "a full disk": (full, RUN, 6, "the disk is full: free some space"),
    "a locked database": (locked, RUN, 6, "is locked by another program"),
    "a newer database": (newer, RUN, 6, "update bench to use it"),
    "a plug-in": (broken_plugin, ["run", "-m", "broken"], 7, "The method 'broken' of no_such_package"),
    "a weights file": (wrong_weights, [*RUN, "--weights", "weights.pth"], 7, "weights.pth"),
    "a kept network": (wrong_network, TRAIN, 7, "does not fit this network (first at"),
    "Ctrl-C": (raising(KeyboardInterrupt()), RUN, 130, "Interrupted; what was finished is stored."),
    "SIGTERM": (raising(Terminated()), RUN, 143, "Interrupted; what was finished is stored."),
}


@pytest.mark.parametrize("name", CASES)
def test_exit_code_and_message(name: str, runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare, arguments, code, message = CASES[name]
    prepare(monkeypatch)
    result = runner.invoke(app, arguments)
    assert result.exit_code == code, result.output
    assert message in result.stderr
    if name == "a bug":
        assert isinstance(result.exception, ZeroDivisionError)  # a traceback, which whoever mends it needs
    elif 2 < code < 100:
        assert result.stderr.strip().splitlines()[-1].startswith("error: ")
        assert result.stdout == ""


def test_the_table_has_every_code() -> None:
    codes = {code for _, _, code, _ in CASES.values()}
    assert codes == {0, 1, 130, 143} | {kind.exit_code for kind in (BenchError, *BenchError.__subclasses__())}
    assert {128 + signal.SIGINT, 128 + signal.SIGTERM} <= codes


def test_what_is_done_already_is_as_good_as_done(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    computing(finishing)(monkeypatch)
    assert runner.invoke(app, RUN).exit_code == 0
    raising(AssertionError("computed again"))(monkeypatch)
    again = runner.invoke(app, RUN)
    assert again.exit_code == 0
    assert "already done, run 1" in again.stderr


@pytest.mark.parametrize("name", ["a full disk", "Ctrl-C"])
def test_a_sweep_does_not_go_on_after_these(name: str, runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare, arguments, code, _ = CASES[name]
    prepare(monkeypatch)
    result = runner.invoke(app, [*arguments, "--seeds", "3"])
    assert result.exit_code == code
    store = Store("bench.db")
    assert len(store.runs()) == 1
    store.close()


def test_a_sweep_goes_on_after_a_failure_and_stops_if_asked(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    raising(MemoryError())(monkeypatch)
    went_on = runner.invoke(app, [*RUN, "--seeds", "3"])
    assert went_on.exit_code == 4
    assert "3 of 3 runs failed" in went_on.stderr
    stopped = runner.invoke(app, [*RUN, "--seeds", "3", "--fail-fast"])
    assert stopped.exit_code == 5
    store = Store("bench.db")
    assert [(run.status, run.failure) for run in store.runs()] == [("failed", "out of memory")] * 4
    store.close()
