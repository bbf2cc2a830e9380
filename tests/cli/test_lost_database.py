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
from bench.cluster.launch import Executor, Job
from bench.results.outcomes import outcome_folder
from bench.results.store import Store

RUN = ["--store", "db/bench.db", "run", "-m", "imagenet", "-d", "emoji", "--limit", "1", "--image-size", "32"]
CALL = [*RUN, "--device", "cpu", "--executor", "local", "--seeds", "3"]


class Jobs:
    """Stands for processes of this machine; ``before`` and ``after`` each job are called with its number."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.before: Callable[[int], None] = lambda number: None
        self.after: Callable[[int], None] = lambda number: None
        self.codes: list[int] = []
        monkeypatch.setattr(Executor, "run_here", lambda executor, *arguments: self.run(*arguments))

    def run(
        self,
        jobs: Sequence[Job],
        where: str,
        gpus: Sequence[str],
        processors: int,
        begun: Callable[[int, dict[str, str]], None],
        ended: Callable[[int, int | None], None],
    ) -> None:
        for number, job in enumerate(jobs):
            facts = {"job": f"local {number}", "log": f"{number}.err"}
            begun(number, facts)
            self.before(number)
            self.codes.append(job.run(facts))
            self.after(number)
            ended(number, self.codes[-1])


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
    assert jobs.codes == [6, 6, 6]
    folder = outcome_folder("db/bench.db", shared_cache)
    assert f"Until the end results are kept in {folder}." in found.stderr
    assert f"'bench store merge {folder}' does." in found.stderr
    assert found.stdout.count("imagenet") == 3  # all of them are shown
    back()
    again = runner.invoke(app, CALL)
    assert again.exit_code == 0, again.output
    assert "3 runs that were kept in files" in again.stderr
    assert again.stderr.count("already done") == 3
    assert not list(folder.iterdir())
    assert sorted(seed for status, seed in stored() if status == "done") == [0, 1, 2]
    assert "queued" not in dict(stored())


def test_a_job_that_begins_without_the_database_keeps_its_result_in_a_file(
    jobs: Jobs, runner: CliRunner, shared_cache: Path
) -> None:
    jobs.before = lambda number: away() if number == 1 else None
    found = runner.invoke(app, CALL)
    assert found.exit_code == 6, found.output
    assert jobs.codes == [0, 6, 6]
    assert found.stdout.count("imagenet") == 3
    assert "its job ended" not in found.stderr
    back()
    by_hand = runner.invoke(
        app, ["--store", "db/bench.db", "store", "merge", str(outcome_folder("db/bench.db", shared_cache))]
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
    assert not list(outcome_folder("db/bench.db", shared_cache).iterdir())


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
    assert not list(outcome_folder("db/bench.db", shared_cache).iterdir())


def test_the_first_job_that_fails_ends_the_sweep_if_asked(jobs: Jobs, runner: CliRunner) -> None:
    def fails(number: int) -> None:
        if number == 1:
            jobs.codes[-1] = 5

    jobs.after = fails
    found = runner.invoke(app, [*CALL, "--fail-fast"])
    assert found.exit_code == 4, found.output
    assert len(jobs.codes) == 2
    assert found.stderr.count("its job ended with exit code 5") == 1
    assert "No other job begins, running jobs were stopped." in found.stderr
    assert found.stdout.count("imagenet") == 1  # what was done before is shown
    store = Store("db/bench.db")
    (left,) = store.runs(seed=2)
    assert (left.status, left.failure) == ("interrupted", "its sweep was stopped before it began")
    store.close()


def test_where_nothing_can_be_kept_the_sweep_ends(jobs: Jobs, runner: CliRunner, shared_cache: Path) -> None:
    folder = outcome_folder("db/bench.db", shared_cache)
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(exist_ok=True)
    folder.touch()  # no folder can be made there
    jobs.before = lambda number: away() if number == 0 else None
    try:
        found = runner.invoke(app, CALL)
    finally:
        folder.unlink()
    assert found.exit_code == 6, found.output
    assert jobs.codes == [6]
