"""Outcomes of runs in files: a database that is lost ends nothing, and no result is removed unread."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import bench.experiments.run
from bench.cli.main import app
from bench.errors import DatabaseError, StorageError
from bench.results import store as store_module
from bench.results.models import RunRecord
from bench.results.outcomes import (
    enter_left,
    find_outcome,
    open_store,
    outcome_folder,
    read_outcome,
    write_outcome,
)
from bench.results.store import ELSEWHERE, Store
from tests.bench.results.test_merge import BLOB, merge, opened
from tests.bench.results.test_store import IDENTITY, SCORES, finish

RUN = ["run", "-m", "imagenet", "-d", "emoji", "--limit", "1", "--image-size", "32", "--device", "cpu"]
TIMES = {"status": "done", "failure": "", "started": "2026-01-01T00:00:00+00:00", "ended": "2026-01-01T00:00:09+00:00"}


def outcome(run: int = 0, **changes: object) -> RunRecord:
    facts = {**IDENTITY, **TIMES, "seconds": {"training": 1.0}, "cost": {"flops": 2.0}, **changes}
    return RunRecord(id=run, scores=tuple(SCORES), **facts)  # type: ignore[arg-type]


def keep(store: Store, cache: Path, run: RunRecord) -> Path:
    return write_outcome(outcome_folder(store.where, cache), run, BLOB)


def test_a_file_gives_back_what_was_written(tmp_path: Path) -> None:
    run, details = read_outcome(write_outcome(tmp_path, outcome(7), BLOB))
    assert (replace(run, scores=run.scores[:2]), details) == (replace(outcome(7), scores=tuple(SCORES[:2])), BLOB)
    assert run.scores[2].value != run.scores[2].value
    assert find_outcome(tmp_path, "k1") == find_outcome(tmp_path, "k1")
    assert find_outcome(tmp_path, "k2") is None


@pytest.mark.parametrize("status", ["running", "failed", "interrupted"])
def test_the_run_that_computed_it_is_finished(status: str, store: Store, tmp_path: Path) -> None:
    run = store.claim(IDENTITY).run
    if status != "running":
        store.fail(run, status, "the database was lost")
    file = keep(store, tmp_path, outcome(run, started=store.runs()[0].started))
    assert enter_left(store, tmp_path).new == 1
    (entered,) = store.runs()
    assert (entered.status, entered.failure, entered.scores[:2]) == ("done", "", tuple(SCORES[:2]))
    assert (entered.seconds, entered.cost, store.details_of(run)) == ({"training": 1.0}, {"flops": 2.0}, BLOB)
    assert store.doing() == {}
    assert not file.exists()


def test_a_run_that_is_done_already_is_not_touched(store: Store, tmp_path: Path) -> None:
    """Its process was killed between the database and the removal of the file, or still works on that."""
    run = store.claim(IDENTITY).run
    file = keep(store, tmp_path, outcome(run, started=store.runs()[0].started))
    finish(store, run, SCORES, {"training": 5.0})
    enter_left(store, tmp_path)
    assert [(each.status, each.seconds) for each in store.runs()] == [("done", {"training": 5.0})]
    assert not file.exists()
    finish(store, run, SCORES, {"training": 6.0})  # the other way round: the file was entered first
    assert [(each.seconds, len(each.scores)) for each in store.runs()] == [({"training": 5.0}, len(SCORES))]


def test_a_number_of_another_database_is_no_run_of_this_one(store: Store, tmp_path: Path) -> None:
    other = store.begin({**IDENTITY, "key": "k2"})
    keep(store, tmp_path, outcome(other))
    enter_left(store, tmp_path)
    assert [(run.key, run.status) for run in store.runs()] == [("k2", "running"), ("k1", "done")]


def test_what_waits_for_a_job_ends_when_its_outcome_comes(store: Store, tmp_path: Path) -> None:
    store.queue(IDENTITY, {"job": "slurm 7"})
    keep(store, tmp_path, outcome())
    enter_left(store, tmp_path)
    assert [(run.status, run.failure) for run in store.runs()] == [("interrupted", ELSEWHERE), ("done", "")]


def test_several_processes_enter_each_outcome_once(tmp_path: Path) -> None:
    where = str(tmp_path / "bench.db")
    with opened(Path(where)) as store:
        for number in range(12):
            keep(store, tmp_path, outcome(key=f"k{number}"))
    entered: list[int] = []

    def work() -> None:
        store, merged = open_store(where, tmp_path)
        entered.append(merged.new)
        store.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(entered) == 12
    with opened(Path(where)) as store:
        assert sorted(run.key for run in store.runs(status="done")) == sorted(f"k{number}" for number in range(12))


def test_a_file_that_cannot_be_read_is_left(store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = keep(store, tmp_path, outcome())
    file.write_text(file.read_text()[:100])
    assert enter_left(store, tmp_path).new == 0
    assert "holds no outcome of a run. It is not deleted." in caplog.text
    assert file.exists()


def test_a_database_that_fails_keeps_the_file(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = keep(store, tmp_path, outcome())
    with monkeypatch.context() as patch:
        patch.setattr(Store, "writing", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            enter_left(store, tmp_path)
    assert file.exists()
    assert enter_left(store, tmp_path).new == 1


@pytest.mark.parametrize("command", ["migrate", "merge other.db", "score"])
def test_each_command_that_writes_enters_what_is_left(
    command: str, runner: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "cache"))
    for name in ("bench.db", "other.db"):
        Store(name).close()
    file = write_outcome(outcome_folder("bench.db", tmp_path / "cache"), outcome(), BLOB)
    np.savez("e.npz", query=np.eye(2), gallery=np.eye(2), query_labels=[0, 1], gallery_labels=[0, 1])
    score = ["score", "e.npz", "--as", "x", "-d", "emoji", "--unverified"]
    words = score if command == "score" else ["store", *command.split()]
    ended = runner.invoke(app, words)
    assert ended.exit_code == 0, ended.output
    assert not file.exists()
    with opened(Path("bench.db")) as store:
        assert [run.status for run in store.runs(key="k1")] == ["done"]


def test_a_folder_or_a_file_of_outcomes_can_be_merged_and_stays(store: Store, tmp_path: Path) -> None:
    file = keep(store, tmp_path / "cache", outcome())
    with opened(tmp_path / "all.db") as other:
        assert [merge(other, str(each)).new for each in (file, file.parent)] == [1, 0]
        running = other.claim({**IDENTITY, "key": "k2"}).run
        own = keep(store, tmp_path / "cache", outcome(running, key="k2", started=other.runs(id=running)[0].started))
        assert [merge(other, str(own)).new for _ in range(2)] == [1, 0]
        assert [run.status for run in other.runs()] == ["done", "done"]
        assert file.exists()
    file.write_text("{}")
    with opened(tmp_path / "all.db") as other, pytest.raises(StorageError, match="holds no outcome of a run"):
        merge(other, str(file))


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

        def not_writing(store: Store, key: str = "") -> object:
            if self.down(store.where):
                raise DatabaseError("The results database bench.db cannot be reached: check that the server runs.")
            return writing(store, key)

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
    folder = outcome_folder("./bench.db", shared_cache)
    assert f"Until the end results are kept in {folder}." in lost.stderr
    assert f"bench store merge {folder}" in lost.stderr
    assert lost.stdout.count("imagenet") == 3  # all of them are shown
    outage.over = True
    with opened(Path("bench.db")) as store:
        assert [run.seed for run in store.runs(status="done")] == [0]
    assert sorted(read_outcome(file)[0].seed for file in folder.iterdir()) == [1, 2]
    again = runner.invoke(app, [*RUN, "--seeds", "3"])
    assert again.exit_code == 0, again.output
    assert "2 runs that were kept in files" in again.stderr
    assert again.stderr.count("already done") == 3
    assert not list(folder.iterdir())


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
    folder = outcome_folder("db/bench.db", shared_cache)
    if happens is gone:  # a new file can be made in its place
        assert (found.exit_code, len(list(folder.iterdir()))) == (0, 0), found.output
    else:
        assert (found.exit_code, len(list(folder.iterdir()))) == (6, 2), found.output
        shutil.rmtree("db", ignore_errors=True)
        Path("away").rename("db")
        again = runner.invoke(app, words)
        assert again.exit_code == 0, again.output
        assert "2 runs that were kept in files" in again.stderr
    with opened(Path("db/bench.db")) as store:
        assert {run.seed for run in store.runs(status="done")} == {0, 1}


def test_a_database_that_comes_back_before_the_end_has_everything(
    runner: CliRunner, shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outage = Outage(monkeypatch, first=1)

    def back(folder: Path, run: RunRecord, details: Mapping[str, bytes]) -> Path:
        outage.over = run.seed == 4
        return write_outcome(folder, run, details)

    monkeypatch.setattr(bench.experiments.run, "write_outcome", back)
    found = runner.invoke(app, [*RUN, "--seed", "3", "--seed", "4"])
    assert found.exit_code == 0, found.output
    assert "The database is back; runs that were put into it: 2." in found.stderr
    with opened(Path("bench.db")) as store:
        assert [run.seed for run in store.runs(status="done")] == [3, 4]
    assert not list(outcome_folder("./bench.db", shared_cache).iterdir())
