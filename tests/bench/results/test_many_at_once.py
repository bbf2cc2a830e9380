"""Eight processes on one results database: nothing is lost, and nothing is computed twice."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli.main import app
from bench.results.store import STALE_SECONDS, Claim, Store
from bench.types import Score
from tests.bench.results.test_store import IDENTITY, SCORES, finish
from tests.processes import start

PROCESSES, SHARED, OWN = 8, 12, 5
MANY = [Score(f"P@{k}:k", "queries", 1 / k, 431, 0) for k in range(1, 41)]


def work(where: str, number: int) -> None:
    """One process: every shared run that no other process has claimed, then runs of its own."""
    store = Store(where)
    left = [f"shared {(number + each) % SHARED}" for each in range(SHARED)]
    while left:
        key = left.pop(0)
        claim = store.claim({**IDENTITY, "key": key, "method": f"process {number}"})
        if claim.answer == "yours":
            store.beat(claim.run, "training (1/2)")
            time.sleep(0.02)
            finish(store, claim.run, MANY, {"training": 0.02}, details={"per-query": bytes(2000)})
        elif claim.answer == "busy":
            left.append(key)
            time.sleep(0.01)
    for each in range(OWN):
        run = store.begin({**IDENTITY, "key": f"own {number} {each}"})
        finish(store, run, MANY, {})
    store.close()


def count(where: str) -> None:
    """Every shared run was computed once, and everything that was written is there."""
    store = Store(where)
    runs = store.runs()
    assert store.doing() == {}
    assert Counter(run.status for run in runs) == {"done": SHARED + PROCESSES * OWN}
    assert Counter(run.key for run in runs).most_common(1)[0][1] == 1
    assert all(run.scores == tuple(MANY) for run in runs)
    details = [store.detail(run.id, "per-query") for run in runs]
    assert sum(content == bytes(2000) for content in details) == SHARED
    store.close()


def test_eight_processes_lose_nothing_and_compute_nothing_twice(tmp_path: Path) -> None:
    where = str(tmp_path / "bench.db")
    processes = [start(work, where, number) for number in range(PROCESSES)]
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    count(where)


def test_one_process_has_a_run_until_it_is_done(store: Store) -> None:
    first = store.claim(IDENTITY)
    assert first.answer == "yours"
    assert store.claim(IDENTITY) == Claim("busy", first.run)
    assert store.claim(IDENTITY, force=True).answer == "busy"
    assert store.claim({**IDENTITY, "key": "k2"}).answer == "yours"
    finish(store, first.run, SCORES, {})
    assert store.claim(IDENTITY) == Claim("done", first.run)
    forced = store.claim(IDENTITY, force=True)
    assert forced.answer == "yours"
    assert store.claim(IDENTITY) == Claim("done", first.run)  # the old result stands until the new one is there
    finish(store, forced.run, SCORES, {})
    assert [run.status for run in store.runs(key="k1")] == ["superseded", "done"]


@pytest.mark.parametrize("ending", ["failed", "interrupted"])
def test_a_run_that_ends_without_a_result_releases_its_claim(ending: str, store: Store) -> None:
    store.fail(store.claim(IDENTITY).run, ending, "no luck")
    assert store.claim(IDENTITY).answer == "yours"


def test_the_run_of_a_silent_process_is_taken_over(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = store.claim(IDENTITY).run
    store.beat(lost, "training (3/9)")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + STALE_SECONDS - 5)
    assert store.claim(IDENTITY).answer == "busy"
    monkeypatch.setattr(time, "time", lambda: now + STALE_SECONDS + 5)
    taken = store.claim(IDENTITY)
    assert taken.answer == "yours"
    assert [(run.status, run.failure) for run in store.runs()] == [
        ("interrupted", "its process ended"),
        ("running", ""),
    ]
    finish(store, lost, SCORES, {})  # it was only asleep: its result counts, and the other's will supersede it
    assert store.claim(IDENTITY) == Claim("done", lost)
    finish(store, taken.run, SCORES, {})
    assert [run.status for run in store.runs()] == ["superseded", "done"]


def test_a_finished_run_is_not_marked_interrupted(store: Store) -> None:
    run = store.claim(IDENTITY).run
    finish(store, run, SCORES, {})
    store.fail(run, "interrupted", "a signal came a moment later")
    assert [(each.status, each.failure) for each in store.runs()] == [("done", "")]


def test_progress_is_seen_from_outside(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store("bench.db")
    run = store.claim({**IDENTITY, "seed": 7}).run
    store.beat(run, "training (120/216)")
    shown = runner.invoke(app, ["list", "runs"])
    assert shown.exit_code == 0, shown.stderr
    assert "running" in shown.stdout
    assert "training (120/216), " in shown.stdout
    assert " s ago" in shown.stdout
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 7200)
    assert "2 h ago, taken for dead" in runner.invoke(app, ["list", "runs"]).stdout
    store.close()
