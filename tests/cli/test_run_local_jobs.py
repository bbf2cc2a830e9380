"""Jobs of this machine that lose their database: the sweep goes on and ends as one without jobs does.

Here each job is a call in this process, one after the other.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli.main import app
from bench.cluster.job import CellJob
from bench.cluster.scheduler import Scheduler, Submitted
from bench.results.fallback import spool_of
from bench.results.store import Store

RUN = ["--store", "db/bench.db", "run", "-m", "imagenet", "-d", "emoji", "--limit", "1", "--image-size", "32"]
CALL = [*RUN, "--device", "cpu", "--executor", "local", "--seeds", "3"]


class Jobs:
    """Stands for processes of this machine; ``before`` and ``after`` each job are called with its number."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.before: Callable[[int], None] = lambda number: None
        self.after: Callable[[int], None] = lambda number: None
        self.codes: list[int] = []
        monkeypatch.setattr(Scheduler, "check", lambda scheduler: None)
        monkeypatch.setattr(Scheduler, "run_here", lambda scheduler, *arguments: self.run(*arguments))

    def run(
        self,
        jobs: Sequence[CellJob],
        gpus: Sequence[str],
        processors: int,
        begun: Callable[[int, Submitted], None],
        ended: Callable[[int, int | None], bool],
    ) -> None:
        todo = list(range(len(jobs)))
        while todo:
            position, number = todo.pop(0), len(self.codes)
            begun(position, Submitted(f"local {number}", Path(f"{number}.err"), None))
            self.before(number)
            self.codes.append(CliRunner().invoke(app, list(jobs[position].words)).exit_code)
            self.after(number)
            if ended(position, self.codes[-1]):
                todo.append(position)


@pytest.fixture
def jobs(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> Jobs:
    Path("db").mkdir()
    return Jobs(monkeypatch)


def away() -> None:
    Path("db").rename("away")


def back() -> None:
    Path("away").rename("db")


def lost_when_the_first_is_to_be_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    finish = Store.finish

    def disturbed(store: Store, *arguments: object, **keywords: object) -> None:
        if Path("db").exists() and not Path("once").exists():
            Path("once").touch()
            away()
        finish(store, *arguments, **keywords)  # type: ignore[arg-type]

    monkeypatch.setattr(Store, "finish", disturbed)


def stored() -> list[tuple[str, int]]:
    store = Store("db/bench.db")
    try:
        return [(run.status, run.seed) for run in store.runs()]
    finally:
        store.close()


def test_a_sweep_goes_on_without_its_database_and_nothing_is_lost(
    jobs: Jobs, runner: CliRunner, shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost_when_the_first_is_to_be_stored(monkeypatch)
    found = runner.invoke(app, CALL)
    assert found.exit_code == 6, found.output
    assert jobs.codes == [6, 0, 0]
    spool = spool_of("db/bench.db", shared_cache)
    assert f"Until the end results are kept in {spool}." in found.stderr
    assert f"'bench store merge {spool}' does." in found.stderr
    assert found.stdout.count("imagenet") == 3  # all of them are shown
    back()
    again = runner.invoke(app, CALL)
    assert again.exit_code == 0, again.output
    assert "3 runs that were kept in a file while the database was out of reach are in it now." in again.stderr
    assert again.stderr.count("already done") == 3
    assert not spool.exists()
    assert sorted(seed for status, seed in stored() if status == "done") == [0, 1, 2]
    assert "queued" not in dict(stored())


def test_a_job_that_begins_without_the_database_runs_once_more(
    jobs: Jobs, runner: CliRunner, shared_cache: Path
) -> None:
    jobs.before = lambda number: away() if number == 1 else None
    found = runner.invoke(app, CALL)
    assert found.exit_code == 6, found.output
    assert jobs.codes == [0, 6, 0, 0]
    assert found.stdout.count("imagenet") == 3
    assert "its job ended" not in found.stderr
    back()
    by_hand = runner.invoke(
        app, ["--store", "db/bench.db", "store", "merge", str(spool_of("db/bench.db", shared_cache))]
    )
    assert by_hand.exit_code == 0, by_hand.output
    assert sorted(seed for status, seed in stored() if status == "done") == [0, 1, 2]
    assert "queued" not in dict(stored())


def test_a_database_that_comes_back_before_the_end_has_everything(
    jobs: Jobs, runner: CliRunner, shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost_when_the_first_is_to_be_stored(monkeypatch)
    jobs.after = lambda number: back() if number == 2 else None
    found = runner.invoke(app, CALL)
    assert found.exit_code == 0, found.output
    assert "The database is back; runs that were put into it: 3." in found.stderr
    assert "queued" not in dict(stored())
    assert not spool_of("db/bench.db", shared_cache).exists()


def test_a_database_that_is_away_for_a_moment_is_not_lost(
    jobs: Jobs, runner: CliRunner, shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is back when the sweep looks: what the job kept in the file is put into it at once."""
    lost_when_the_first_is_to_be_stored(monkeypatch)
    jobs.after = lambda number: back() if number == 0 else None
    found = runner.invoke(app, CALL)
    assert found.exit_code == 0, found.output
    assert jobs.codes == [6, 0, 0]
    assert found.stdout.count("imagenet") == 3
    assert sorted(seed for status, seed in stored() if status == "done") == [0, 1, 2]
    assert not spool_of("db/bench.db", shared_cache).exists()


def test_the_first_job_that_fails_ends_the_sweep_if_asked(jobs: Jobs, runner: CliRunner) -> None:
    def fails(number: int) -> None:
        if number == 1:
            jobs.codes[-1] = 5

    jobs.after = fails
    found = runner.invoke(app, [*CALL, "--fail-fast"])
    assert found.exit_code == 4, found.output
    assert len(jobs.codes) == 2
    assert found.stderr.count("its job ended with exit code 5") == 1
    assert "No other job begins, those that run were stopped." in found.stderr
    assert found.stdout.count("imagenet") == 1  # what was done before is shown
    store = Store("db/bench.db")
    (left,) = store.runs(seed=2)
    assert (left.status, left.failure) == ("interrupted", "its sweep was stopped before it began")
    store.close()


def test_where_nothing_can_be_kept_the_sweep_ends(jobs: Jobs, runner: CliRunner, shared_cache: Path) -> None:
    spool = spool_of("db/bench.db", shared_cache)
    spool.mkdir(parents=True)  # a file cannot be made there
    jobs.before = lambda number: away()
    try:
        found = runner.invoke(app, CALL)
    finally:
        shutil.rmtree(spool)
    assert found.exit_code == 6, found.output
    assert jobs.codes == [6]
