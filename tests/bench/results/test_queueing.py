"""Runs that wait for a job: queued anew for one that goes on, settled where others did the work."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cluster.job import CellJob
from bench.results import queueing
from bench.results import store as store_module
from bench.results.queueing import ELSEWHERE, queue_again, settle
from bench.results.store import Store
from tests.bench.results.test_store import IDENTITY, SCORES

JOB = {"job": "slurm 7_1", "log": "7_1.err"}
KEY = IDENTITY["key"]


def told(store: Store) -> list[tuple[str, str | None, str | None]]:
    return [(run.status, run.environment.get("job"), run.environment.get("log")) for run in store.runs()]


def test_a_job_that_is_handed_in_again_waits_with_its_log(store: Store) -> None:
    store.queue(IDENTITY, JOB)
    job = CellJob([], store.where, KEY)
    job.checkpoint()  # before its run began
    assert told(store) == [("queued", "slurm 7_1", "7_1.err")]
    store.fail(store.claim({**IDENTITY, "environment": {"torch": "2"}}).run, "interrupted", "stopped by a signal")
    job.checkpoint()
    job.checkpoint()
    assert told(store) == [("interrupted", "slurm 7_1", "7_1.err"), ("queued", "slurm 7_1", "7_1.err")]
    again = store.claim({**IDENTITY, "environment": {"torch": "2"}})
    (first, second) = store.runs()
    assert (again.run, second.configuration, second.seed) == (second.id, first.configuration, first.seed)
    assert dict(second.environment) == {"torch": "2", **JOB}
    store.finish(again.run, SCORES, {})
    job.checkpoint()  # its time was over at the very end
    assert [status for status, _, _ in told(store)] == ["interrupted", "done"]


def test_what_is_not_of_a_job_or_went_wrong_is_not_queued(store: Store) -> None:
    queue_again(store, KEY)
    assert store.runs() == []
    store.fail(store.claim(IDENTITY).run, "interrupted", "stopped by a signal")
    queue_again(store, KEY)
    store.queue(IDENTITY, JOB)
    store.fail(store.claim(IDENTITY).run, "failed", "no numbers")
    queue_again(store, KEY)
    assert [run.status for run in store.runs()] == ["interrupted", "failed"]


def test_a_job_looks_at_its_store_and_makes_none(tmp_path: Path) -> None:
    CellJob([], str(tmp_path / "moved.db"), KEY).checkpoint()
    assert not (tmp_path / "moved.db").exists()


def test_runs_do_not_wait_for_what_others_computed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def at(second: int) -> None:
        monkeypatch.setattr(store_module, "now", lambda: f"2026-01-01T00:00:{second:02}+00:00")

    at(1)
    forced = {**IDENTITY, "key": "forced"}
    store.finish(store.begin(forced), SCORES, {})
    at(2)
    for identity in (IDENTITY, forced, {**IDENTITY, "key": "other"}):
        store.queue(identity, JOB)
    begun = {**IDENTITY, "key": "begun"}
    store.claim(begun)
    at(3)
    for identity in (IDENTITY, begun):  # as a file brings them that took a lost database's place
        store.finish(store.begin(identity), SCORES, {})
    expected = [
        ("forced", "done", ""),
        (KEY, "interrupted", ELSEWHERE),
        ("forced", "queued", ""),
        ("other", "queued", ""),
        ("begun", "running", ""),
        (KEY, "done", ""),
        ("begun", "done", ""),
    ]
    settle(store)
    assert [(run.key, run.status, run.failure) for run in store.runs()] == expected
    monkeypatch.setattr(queueing, "STALE_SECONDS", 0.0)  # its process gives no sign of life any more
    settle(store)
    expected[4] = ("begun", "interrupted", ELSEWHERE)
    assert [(run.key, run.status, run.failure) for run in store.runs()] == expected
    assert store.doing() == {}
