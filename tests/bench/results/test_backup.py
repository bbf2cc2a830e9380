"""Copies of the results database: whole, also while others write to it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from typer.testing import CliRunner

from bench.cli.main import app
from bench.errors import IncompleteError, StorageError, UsageError
from bench.results.backup import backup
from bench.results.migrations import CURRENT
from bench.results.store import Store
from bench.types import Score
from tests.bench.results.test_store import IDENTITY, SCORES, finish

MANY = [Score(f"P@{k}:k", "queries", 1 / k, 431, 0) for k in range(1, 41)]


def test_a_copy_taken_while_runs_are_written_holds_whole_runs(tmp_path: Path) -> None:
    where = str(tmp_path / "bench.db")
    Store(where).close()
    over = threading.Event()

    def write() -> None:
        store = Store(where)
        number = 0
        while not over.is_set():
            number += 1
            run = store.claim({**IDENTITY, "key": f"k{number}"}).run
            finish(store, run, MANY, {}, details={"per-query": bytes(20_000)})
        store.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        counts = [backup(where, tmp_path / f"copy{number}.db") for number in range(4)]
    finally:
        over.set()
        writer.join()
    assert counts == sorted(counts)
    for number, count in enumerate(counts):
        copy = Store(str(tmp_path / f"copy{number}.db"))
        runs = copy.runs()
        assert len(runs) == count
        for run in runs:
            assert run.scores == (tuple(MANY) if run.status == "done" else ())
            assert (copy.detail(run.id, "per-query") is not None) == (run.status == "done")
        copy.close()
    assert not list(tmp_path.glob("*.tmp*"))


def test_a_copy_is_one_file_that_needs_no_other(tmp_path: Path, store: Store) -> None:
    finish(store, store.begin(IDENTITY), SCORES, {})
    backup(store.where, tmp_path / "copy.db")  # while the original is open, with its log beside it
    assert (tmp_path / "bench.db-wal").exists()
    (tmp_path / "away").mkdir()
    moved = (tmp_path / "copy.db").rename(tmp_path / "away" / "copy.db")
    engine = create_engine(f"sqlite:///{moved}")
    with engine.connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "delete"
        assert connection.execute(text("SELECT count(*) FROM score")).scalar() == len(SCORES)
    engine.dispose()


def test_what_is_refused(tmp_path: Path, store: Store) -> None:
    (tmp_path / "there.db").write_text("something else")
    with pytest.raises(UsageError, match="exists and is not overwritten"):
        backup(store.where, tmp_path / "there.db")
    assert (tmp_path / "there.db").read_text() == "something else"
    with pytest.raises(StorageError, match="check the folder"):
        backup(store.where, tmp_path / "none" / "copy.db")
    with pytest.raises(IncompleteError, match="There is no results database"):
        backup(str(tmp_path / "none.db"), tmp_path / "copy.db")
    with pytest.raises(UsageError, match="pg_dump"):
        backup("postgresql://me:secret@host/base", tmp_path / "copy.db")
    (tmp_path / "notes.txt").write_text("no database, but long enough to be read as one: " * 40)
    with pytest.raises(StorageError, match="is not a database file"):
        backup(str(tmp_path / "notes.txt"), tmp_path / "copy.db")
    assert sorted(path.name for path in tmp_path.glob("*copy*")) == []


def test_the_commands(runner: CliRunner) -> None:
    store = Store("bench.db")
    finish(store, store.begin(IDENTITY), SCORES, {})
    store.close()
    made = runner.invoke(app, ["store", "backup", "copy.db"])
    assert (made.exit_code, made.stdout) == (0, "copy.db: 1 runs\n")
    again = runner.invoke(app, ["store", "backup", "copy.db"])
    assert again.exit_code == 2
    assert "error: File copy.db exists and is not overwritten" in again.stderr
    current = runner.invoke(app, ["store", "migrate", "--store", "copy.db"])
    assert (current.exit_code, current.stdout) == (0, f"copy.db: is up to date (schema version {CURRENT})\n")
    missing = runner.invoke(app, ["store", "migrate", "--store", "none.db"])
    assert missing.exit_code == 4
    assert not Path("none.db").exists()
