"""Databases put together: nothing twice, nothing lost, conflicts named."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli.main import app
from bench.errors import DatabaseError, StorageError, UsageError
from bench.results import store as store_module
from bench.results.fallback import spool_of
from bench.results.merge import conflict_lines, merge
from bench.results.store import Store
from tests.bench.results.test_store import IDENTITY, SCORES

BLOB = {"per-query": bytes(range(200))}


def with_runs(path: Path, *keys: str, value: float = 0.5, commit: str = "a") -> Path:
    """A database with one finished run of each key."""
    store = Store(str(path))
    for key in keys:
        identity = {**IDENTITY, "key": key, "environment": {"commit": commit}}
        store.finish(
            store.begin(identity), [replace(SCORES[0], value=value), *SCORES[1:]], {"training": 1.0}, details=BLOB
        )
    store.close()
    return path


@contextmanager
def opened(path: Path) -> Iterator[Store]:
    store = Store(str(path))
    yield store
    store.close()


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
        (line,) = conflict_lines([found])
        assert line == (
            "conflict: ours on emoji-93 (seed 0) has mAP@all:plain 0.5 in run 1, which counts, and 0.75 in "
            f"{theirs}, kept as run 2 (superseded)."
        )
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
            other.finish(running, SCORES, {})
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
        with pytest.raises(StorageError, match=r"Nothing was merged: database .*nothing\.db is not there"):
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
    assert json.loads(found.stdout) == [
        {"source": "a.db", "new": 1, "known": 0, "still running": 0, "conflicts": 0},
        {"source": "b.db", "new": 2, "known": 0, "still running": 0, "conflicts": 1},
    ]
    assert "conflict: ours on emoji-93 (seed 0) has mAP@all:plain 0.5 in run 1" in found.stderr
    missing = runner.invoke(app, ["store", "merge", "c.db", "--store", "all.db"])
    assert missing.exit_code == 6
    table = runner.invoke(app, ["store", "merge", "a.db", "--store", "all.db"])
    assert "a.db       0       1               0           0" in table.stdout


# A database that is lost in the middle of a sweep.

RUN = ["run", "-m", "imagenet", "-d", "emoji", "--limit", "1", "--image-size", "32", "--device", "cpu"]


class Outage:
    """From the ``first``-th write of results on, the database ``where`` is out of reach, until it is back."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, first: int) -> None:
        self.calls, self.first, self.over = 0, first, False
        writing, init = Store.writing, Store.__init__
        finish = Store.finish

        def failing(store: Store, *arguments: object, **keywords: object) -> None:
            self.calls += Path(store.where).name == "bench.db"
            if self.down(store.where):
                raise DatabaseError("The results database bench.db cannot be reached: check that the server runs.")
            finish(store, *arguments, **keywords)  # type: ignore[arg-type]

        def not_writing(store: Store) -> object:
            if self.down(store.where):
                raise DatabaseError("The results database bench.db cannot be reached: check that the server runs.")
            return writing(store)

        def not_opened(store: Store, where: str, **keywords: bool) -> None:
            if self.down(where):
                raise DatabaseError("The results database bench.db cannot be reached: check that the server runs.")
            init(store, where, **keywords)

        monkeypatch.setattr(store_module.Store, "finish", failing)
        monkeypatch.setattr(store_module.Store, "writing", not_writing)
        monkeypatch.setattr(store_module.Store, "__init__", not_opened)

    def down(self, where: str) -> bool:
        return Path(where).name == "bench.db" and self.calls >= self.first and not self.over


def test_a_sweep_goes_on_without_its_database_and_nothing_is_lost(
    runner: CliRunner, shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outage = Outage(monkeypatch, first=2)
    lost = runner.invoke(app, [*RUN, "--seeds", "3"])
    assert lost.exit_code == 6, lost.output
    spool = spool_of("./bench.db", shared_cache)
    assert f"Until the end results are kept in {spool}." in lost.stderr
    assert "the next run that uses the database puts it there, or 'bench store merge " in lost.stderr
    assert lost.stdout.count("imagenet") == 3  # all of them are shown
    outage.over = True
    with opened(Path("bench.db")) as store:
        assert [run.seed for run in store.runs(status="done")] == [0]
    with opened(spool) as kept:
        assert [run.seed for run in kept.runs(status="done")] == [1, 2]
    again = runner.invoke(app, [*RUN, "--seeds", "3"])
    assert again.exit_code == 0, again.output
    assert "2 runs that were kept in a file while the database was out of reach are in it now." in again.stderr
    assert again.stderr.count("already done") == 3
    assert not spool.exists()


def away(place: Path) -> None:
    place.rename("away")


def gone(place: Path) -> None:
    shutil.rmtree(place)
    place.mkdir()


def replaced(place: Path) -> None:
    shutil.copytree(place, "away")
    (place / "bench.db").unlink()
    (place / "bench.db").mkdir()


@pytest.mark.parametrize("happens", [away, gone, replaced])
def test_a_database_file_that_is_moved_removed_or_replaced_is_noticed(
    happens: Callable[[Path], None], runner: CliRunner, shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite itself would go on with a file that nobody finds again."""
    Path("db").mkdir()
    finish, begun = Store.finish, []

    def disturbed(store: Store, *arguments: object, **keywords: object) -> None:
        if not begun:
            begun.append(happens(Path("db")))
        finish(store, *arguments, **keywords)  # type: ignore[arg-type]

    monkeypatch.setattr(Store, "finish", disturbed)
    words = ["--store", "db/bench.db", *RUN, "--seeds", "2"]
    found = runner.invoke(app, words)
    assert "was removed, moved or replaced while it was in use" in " ".join(found.stderr.split())
    spool = spool_of("db/bench.db", shared_cache)
    if happens is gone:  # a new file can be made in its place
        assert (found.exit_code, spool.exists()) == (0, False), found.output
    else:
        assert (found.exit_code, spool.exists()) == (6, True), found.output
        shutil.rmtree("db", ignore_errors=True)
        Path("away").rename("db")
        again = runner.invoke(app, words)
        assert again.exit_code == 0, again.output
        assert "2 runs that were kept in a file" in again.stderr
    with opened(Path("db/bench.db")) as store:
        assert [run.seed for run in store.runs(status="done")] == [0, 1]


def test_a_database_that_comes_back_before_the_end_has_everything(
    runner: CliRunner, shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outage = Outage(monkeypatch, first=1)
    finish = Store.finish

    def back(store: Store, *arguments: object, **keywords: object) -> None:
        try:
            finish(store, *arguments, **keywords)  # type: ignore[arg-type]
        finally:
            outage.over = Path(store.where).name != "bench.db"

    monkeypatch.setattr(Store, "finish", back)
    found = runner.invoke(app, [*RUN, "--seed", "3", "--seed", "4"])
    assert found.exit_code == 0, found.output
    assert "The database is back; runs that were put into it: 2." in found.stderr
    with opened(Path("bench.db")) as store:
        assert [run.seed for run in store.runs(status="done")] == [3, 4]
    assert not spool_of("./bench.db", shared_cache).exists()


def test_of_several_sources_all_are_opened_before_anything_is_entered(tmp_path: Path, runner: CliRunner) -> None:
    good = with_runs(tmp_path / "good.db", "k1")
    (tmp_path / "text.db").write_text("no database at all, however long it is" * 50)
    (tmp_path / "folder.db").mkdir()
    for source, code, message in (
        ("all.db", 2, "is the store itself"),
        ("none.db", 6, "Nothing was merged: database none.db is not there"),
        ("folder.db", 6, "Nothing was merged: database folder.db is a folder"),
        ("text.db", 6, "Nothing was merged: "),
    ):
        found = runner.invoke(app, ["--store", "all.db", "store", "merge", str(good), source])
        assert found.exit_code == code, found.output
        assert message in " ".join(found.stderr.split())
        assert "--store" not in found.stderr or code == 2
        assert not (tmp_path / "all.db").exists()
