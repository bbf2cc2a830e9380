"""Runs that wait for a job: queued anew when the job goes on later, and settled when others did their work."""

from __future__ import annotations

from bench.results.models import RUN_COLUMNS
from bench.results.store import STALE_SECONDS, Store

JOB = ("job", "log")  # what a queued run's environment says of its job
OF_ONE_ATTEMPT = ("id", "environment", "seconds", "cost", "status", "failure", "started", "ended")
ELSEWHERE = "another run of the same cell was finished meanwhile"


def queue_again(store: Store, key: str) -> None:
    """Enter a queued run like the newest of a key, which was interrupted, under the same job and log.

    Nothing is entered when the newest run is no job's, waits already, or ended in another way. Raises StorageError.
    """
    newest = next(reversed(store.runs(metrics=(), key=key)), None)
    if newest is None or newest.status != "interrupted" or "job" not in newest.environment:
        return
    asked = {name: getattr(newest, name) for name in RUN_COLUMNS if name not in OF_ONE_ATTEMPT}
    store.queue(asked, {name: newest.environment[name] for name in JOB if name in newest.environment})


def settle(store: Store) -> None:
    """Mark runs interrupted that wait, or whose process is gone, where their cell was finished since they were entered.

    Such are left by a sweep that lost its database, whose results came by a file. Raises StorageError.
    """
    left = store.runs(metrics=(), status=["queued", "running"])
    done = store.runs(metrics=(), status="done", key=[run.key for run in left]) if left else []
    ended = {run.key: (run.ended, run.id) for run in done}
    signs = store.doing() if done else {}
    for run in left:
        if ended.get(run.key, ("", 0)) <= (run.started, run.id):  # of one second, the one that was entered later
            continue
        if run.status == "queued":
            store.unqueue(run.key, "interrupted", ELSEWHERE)
        elif run.id not in signs or signs[run.id][0] >= STALE_SECONDS:
            store.fail(run.id, "interrupted", ELSEWHERE)
