"""Databases put together: nothing twice, nothing lost, conflicts named."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli.main import app
from bench.errors import StorageError, UsageError
from bench.results.enter import Merged
from bench.results.merge import merge as merge_into
from bench.results.store import Store
from tests.bench.results.test_store import IDENTITY, SCORES, finish

BLOB = {"per-query": bytes(range(200))}


def with_runs(path: Path, *keys: str, value: float = 0.5, commit: str = "a") -> Path:
    """A database with one finished run of each key."""
    store = Store(str(path))
    for key in keys:
        identity = {**IDENTITY, "key": key, "environment": {"commit": commit}}
        finish(
            store,
            store.begin(identity),
            [replace(SCORES[0], value=value), *SCORES[1:]],
            {"training": 1.0},
            details=BLOB,
        )
    store.close()
    return path


@contextmanager
def opened(path: Path) -> Iterator[Store]:
    store = Store(str(path))
    yield store
    store.close()


def merge(store: Store, source: str) -> Merged:
    (merged,) = merge_into(store.where, Path(store.where).with_name("cache"), [source])
    return merged


def test_what_two_machines_found_meets_and_merging_again_enters_nothing(tmp_path: Path) -> None:
    a, b = with_runs(tmp_path / "a.db", "k1", "k2"), with_runs(tmp_path / "b.db", "k3")
    with opened(tmp_path / "all.db") as store:
        found = [merge(store, str(source)) for source in (a, b)]
        assert [(each.new, each.known, each.conflicts) for each in found] == [(2, 0, []), (1, 0, [])]
        runs = store.runs()
        assert [run.key for run in runs] == ["k1", "k2", "k3"]
        assert store.details_of(runs[0].id) == BLOB
        with opened(a) as source:
            assert [replace(run, id=0, scores=run.scores[:2]) for run in source.runs()] == [
                replace(run, id=0, scores=run.scores[:2]) for run in runs[:2]
            ]
        again = [merge(store, str(source)) for source in (b, a, b)]
        assert [(each.new, each.known) for each in again] == [(0, 1), (0, 2), (0, 1)]
        assert len(store.runs()) == 3


def test_one_key_with_equal_scores_is_one_run_wherever_it_was_computed(tmp_path: Path) -> None:
    mine, theirs = with_runs(tmp_path / "a.db", "k1"), with_runs(tmp_path / "b.db", "k1", commit="b")
    with opened(mine) as store:
        found = merge(store, str(theirs))
        assert (found.new, found.known, found.conflicts) == (0, 1, [])
        assert [run.environment["commit"] for run in store.runs()] == ["a"]


def test_scores_that_differ_by_rounding_are_one_run_and_the_first_is_kept_as_it_is(tmp_path: Path) -> None:
    """What one process and two found, 0.0930814 and 0.0930806, and what lies just beyond rounding."""
    mine = with_runs(tmp_path / "a.db", "k1", value=0.0930814)
    theirs = with_runs(tmp_path / "b.db", "k1", value=0.0930806)
    beyond = with_runs(tmp_path / "c.db", "k1", value=0.0930814 + 1.1e-4)
    with opened(mine) as store:
        for _ in range(2):
            found = merge(store, str(theirs))
            assert (found.new, found.known, found.conflicts) == (0, 1, [])
        assert [(run.status, run.value("mAP@all:plain")) for run in store.runs()] == [("done", 0.0930814)]
        found = merge(store, str(beyond))
        assert (found.new, found.known, len(found.conflicts)) == (1, 0, 1)


def test_other_scores_under_one_key_are_named_and_both_kept(tmp_path: Path) -> None:
    mine, theirs = with_runs(tmp_path / "a.db", "k1"), with_runs(tmp_path / "b.db", "k1", value=0.75)
    with opened(mine) as store:
        found = merge(store, str(theirs))
        assert found.conflicts == [
            "conflict: ours on emoji-93 (seed 0) has mAP@all:plain 0.5 in run 1, which counts, and "
            f"mAP@all:plain 0.75 in {theirs}, stored as run 2 (superseded)."
        ]
        assert [(run.status, run.value("mAP@all:plain")) for run in store.runs()] == [
            ("done", 0.5),
            ("superseded", 0.75),
        ]
        assert store.details_of(2) == BLOB
        again = merge(store, str(theirs))
        assert (again.new, again.known, again.conflicts) == (0, 1, [])


def test_failed_and_superseded_runs_come_too_and_a_running_one_is_left_for_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = with_runs(tmp_path / "a.db", "k1")
    with_runs(path, "k1", value=0.75)  # supersedes the first
    with opened(path) as other:
        other.fail(other.claim({**IDENTITY, "key": "k2"}).run, "failed", "IncompleteError: NaN")
        running = other.claim({**IDENTITY, "key": "k3"}).run
        with opened(tmp_path / "all.db") as store:
            assert (merge(store, str(path)).new, merge(store, str(path)).running) == (3, 1)
            assert [run.status for run in store.runs()] == ["superseded", "done", "failed"]
            finish(other, running, SCORES, {})
            other.claim({**IDENTITY, "key": "k4"})
            monkeypatch.setattr("bench.results.merge.STALE_SECONDS", 0.0)  # the process of k4 is dead
            assert merge(store, str(path)).new == 2
            assert [(run.key, run.status) for run in store.runs()][3:] == [("k3", "done"), ("k4", "interrupted")]
            assert merge(store, str(path)).new == 0
        assert [run.status for run in other.runs()][-1] == "running"  # the source is left as it is


def test_an_older_database_is_read_and_left_as_it_was(tmp_path: Path) -> None:
    old = tmp_path / "old.db"
    shutil.copy(Path(__file__).parent / "fixtures" / "store-v1.db", old)
    before = old.read_bytes()
    with opened(tmp_path / "all.db") as store:
        assert merge(store, str(old)).new == 4
    assert old.read_bytes() == before


def test_wrong_sources(tmp_path: Path) -> None:
    (tmp_path / "no.db").write_text("a song")
    with opened(tmp_path / "all.db") as store:
        with pytest.raises(StorageError, match=r"Nothing was merged: there is no results database .*nothing\.db"):
            merge(store, str(tmp_path / "nothing.db"))
        with pytest.raises(StorageError, match="is not a database file"):
            merge(store, str(tmp_path / "no.db"))
        with pytest.raises(UsageError, match="is the store itself"):
            merge(store, f"sqlite:///{tmp_path / 'all.db'}")
        assert store.runs() == []


def test_two_that_merge_the_same_at_once_enter_it_once(tmp_path: Path) -> None:
    source = with_runs(tmp_path / "a.db", *(f"k{number}" for number in range(12)))
    Store(str(tmp_path / "all.db")).close()
    new: list[int] = []

    def work() -> None:
        with opened(tmp_path / "all.db") as store:
            new.append(merge(store, str(source)).new)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(new) == 12
    with opened(tmp_path / "all.db") as store:
        assert len(store.runs()) == 12


def test_the_command(tmp_path: Path, runner: CliRunner) -> None:
    with_runs(tmp_path / "a.db", "k1")
    with_runs(tmp_path / "b.db", "k1", "k2", value=0.25)
    found = runner.invoke(app, ["store", "merge", "a.db", "b.db", "--store", "all.db", "--format", "json"])
    assert found.exit_code == 0, found.stderr
    assert json.loads(found.stdout)["sources"] == [
        {"source": "a.db", "new": 1, "known": 0, "still_running": 0, "conflicts": 0},
        {"source": "b.db", "new": 2, "known": 0, "still_running": 0, "conflicts": 1},
    ]
    assert "conflict: ours on emoji-93 (seed 0) has mAP@all:plain 0.5 in run 1" in found.stderr
    missing = runner.invoke(app, ["store", "merge", "c.db", "--store", "all.db"])
    assert missing.exit_code == 6
    table = runner.invoke(app, ["store", "merge", "a.db", "--store", "all.db"])
    assert "a.db\t0\t1\t0\t0" in table.stdout


def test_of_several_sources_all_are_opened_before_anything_is_entered(tmp_path: Path, runner: CliRunner) -> None:
    good = with_runs(tmp_path / "good.db", "k1")
    (tmp_path / "text.db").write_text("no database at all, however long it is" * 50)
    (tmp_path / "folder.db").mkdir()
    for source, code, message in (
        ("all.db", 2, "is the store itself"),
        ("none.db", 6, "Nothing was merged: there is no results database none.db"),
        ("folder.db", 6, "Nothing was merged: folder.db is a folder"),
        ("text.db", 6, "Nothing was merged: "),
    ):
        found = runner.invoke(app, ["--store", "all.db", "store", "merge", str(good), source])
        assert found.exit_code == code, found.output
        assert message in " ".join(found.stderr.split())
        assert "--store" not in found.stderr or code == 2
        assert not (tmp_path / "all.db").exists()
