from __future__ import annotations

import math
import sqlite3
import stat
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bench.cli.main import app
from bench.errors import StorageError, UsageError
from bench.results.store import Store
from bench.settings.request import Request
from bench.types import AVERAGES, Score

IDENTITY: dict[str, Any] = {
    "key": "k1",
    "method": "ours",
    "ablation": "",
    "dataset": "emoji",
    "split": "emoji-93",
    "fingerprint": "f" * 64,
    "seed": 0,
    "selection": "last",
    "gallery": "unseen",
    "per_class_limit": None,
    "configuration": {"run": {"lr": 1e-4}},
    "request": Request("ours", "emoji", "emoji-93").to_json(),
    "environment": {"torch": "2"},
}
SCORES = [
    Score("mAP@all:plain", "queries", 0.5, 431, 0),
    Score("mAP@200:voc-min", "classes", 0.25, 431, 2),
    Score("P@5:k", "queries", math.nan, 431, 431),
]


def finish(
    store: Store,
    number: int,
    scores: Sequence[Score],
    seconds: Mapping[str, float],
    *,
    details: Mapping[str, bytes] | None = None,
    **facts: Any,
) -> None:
    """Store the outcome of a claimed run; ``facts`` are other columns."""
    run = replace(store.run(number), scores=tuple(scores), seconds=seconds, **facts)
    store.finish(run, details or {})


def test_a_run_comes_back_as_it_was_stored(store: Store) -> None:
    run = store.begin(IDENTITY)
    assert store.runs(status="running")[0].id == run
    assert store.find("k1") is None
    finish(store, run, SCORES, {"training": 1.5})
    found = store.find("k1")
    assert found is not None
    assert found.scores[:2] == tuple(SCORES[:2])
    assert math.isnan(found.scores[2].value)
    assert found.seconds == {"training": 1.5}
    assert {name: getattr(found, name) for name in IDENTITY} == IDENTITY


def test_a_forced_run_supersedes_the_older_and_keeps_it(store: Store) -> None:
    for value in (0.1, 0.2):
        finish(store, store.begin(IDENTITY), [Score("P@5:k", "queries", value, 1)], {})
    assert [run.status for run in store.runs()] == ["superseded", "done"]
    found = store.find("k1")
    assert found is not None
    assert found.scores[0].value == 0.2


def test_runs_come_with_the_scores_that_are_asked_for(store: Store) -> None:
    run = store.begin(IDENTITY)
    found = [Score(metric, average, 0.5, 9) for metric in ("mAP@all:plain", "P@5:k", "P@100:k") for average in AVERAGES]
    finish(store, run, found, {})

    def scores(**asked: Any) -> set[tuple[str, str]]:
        return {(score.metric, score.average) for score in store.runs(**asked)[0].scores}

    assert len(scores()) == 6
    assert scores(metrics=["P@5:k"]) == {("P@5:k", "queries"), ("P@5:k", "classes")}
    assert scores(metrics=["P@5:k", "mAP@all:plain"], averages=["classes"], id=run) == {
        ("P@5:k", "classes"),
        ("mAP@all:plain", "classes"),
    }
    assert scores(averages=["queries"]) == {(metric, "queries") for metric in ("mAP@all:plain", "P@5:k", "P@100:k")}
    assert scores(metrics=()) == set()


def test_failed_runs_are_told_apart(store: Store) -> None:
    store.fail(store.begin(IDENTITY), "failed", "NaN")
    assert store.find("k1") is None
    assert [(run.status, run.failure) for run in store.runs()] == [("failed", "NaN")]


def test_filters_take_one_value_or_several(store: Store) -> None:
    for method in ("a", "b", "c"):
        store.begin({**IDENTITY, "method": method})
    assert [run.method for run in store.runs(method=["a", "c"])] == ["a", "c"]
    assert [run.method for run in store.runs(method="b", dataset="emoji")] == ["b"]


def test_a_file_that_is_no_database_is_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to be read as one: " * 40)
    before = path.read_bytes()
    with pytest.raises(StorageError, match="is not a database file"):
        Store(str(path))
    assert path.read_bytes() == before


def test_a_database_of_another_program_is_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")
    connection.close()
    with pytest.raises(StorageError, match="songs"):
        Store(str(path))
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("songs",)]
    connection.close()


def test_a_database_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bench.db"
    Store(str(path)).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE schema_version SET version = 99")
    connection.close()
    with pytest.raises(StorageError, match="schema version 99"):
        Store(str(path))


@pytest.mark.parametrize("where", ["missing/folder/bench.db", "."])
def test_a_place_that_cannot_hold_a_database(where: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="give a file's path"):
        Store(str(tmp_path / where))


def test_a_database_that_cannot_be_written(tmp_path: Path) -> None:
    import os

    path = tmp_path / "bench.db"
    Store(str(path)).close()
    path.chmod(stat.S_IRUSR)
    # Root may write everywhere; a read-only URL is the same refusal by SQLite.
    where = f"sqlite:///file:{path}?mode=ro&uri=true" if os.geteuid() == 0 else str(path)
    with pytest.raises(StorageError, match="is not writable"):
        Store(where).begin(IDENTITY)


def test_a_wrong_url_never_shows_its_password() -> None:
    with pytest.raises(UsageError) as caught:
        Store("nosuchdb://user:secret@host/base")
    assert "secret" not in str(caught.value)


def test_a_network_is_trained_with_the_largest_seed(runner: CliRunner) -> None:
    settings = ["--limit", "2", "--epochs", "0.1", "--batch-size", "8", "--image-size", "32", "--set", "per_class=1"]
    words = ["run", "-m", "softmax", "--backbone", "test_efficientnet", "--weights", "none", *settings]
    result = runner.invoke(app, [*words, "--seed", str(2**63 - 1)])
    assert result.exit_code == 0, result.output
    store = Store("bench.db")
    assert [run.seed for run in store.runs(status="done")] == [2**63 - 1]
    store.close()
