"""Enter a run of another database or of a file into a store, once.

The same key with the same scores, up to ``ROUNDING``, is the same run, on whatever machine it was computed. Other
scores under one key are a conflict: both runs are kept, and the one that was stored first counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sqlalchemy import select

from bench.results.models import RUN_COLUMNS, RunRecord, insert_results, insert_run
from bench.results.store import ELSEWHERE, Store

ROUNDING = 1e-4  # largest difference between the scores of one run, computed on other machines or processes
NOT_COMPARED = ("id", "request", "status", "failure", "ended")  # columns that may differ between copies of one run

Values = dict[tuple[str, str], float | None]


@dataclass
class Merged:
    """Numbers of runs of a source: new, known before, still running there; and a sentence for each conflict."""

    source: str
    new: int = 0
    known: int = 0
    running: int = 0
    conflicts: list[str] = field(default_factory=list)


def enter_run(store: Store, run: RunRecord, details: Mapping[str, bytes], merged: Merged) -> None:
    """Enter a run with its scores and details unless it is stored, and count it in ``merged``.

    In one transaction: a process that enters the same run at the same time waits, and finds it stored.
    """
    with store.writing(run.key) as session:
        session.execute(select(RunRecord.id).where(RunRecord.key == run.key).with_for_update())  # ``finish`` waits, too
        stored = store.runs(session=session, key=run.key)
        done = [each for each in stored if run.status == each.status == "done"]
        if any(_alike(each, run) for each in done[-1:]) or any(_facts(each) == _facts(run) for each in stored):
            merged.known += 1
            return
        columns = {name: getattr(run, name) for name in RUN_COLUMNS if name != "id"}
        number = insert_run(session, columns | ({"status": "superseded"} if done else {}))
        insert_results(session, number, run.scores, details)
        if done:
            merged.conflicts.append(_conflict(done[-1], run, merged.source, number))
        elif run.status == "done":
            store.unqueue(run.key, "interrupted", ELSEWHERE, session)
    merged.new += 1


def _values(run: RunRecord) -> Values:
    """Value of every metric and average; None for NaN, which does not equal itself."""
    return {(each.metric, each.average): None if math.isnan(each.value) else each.value for each in run.scores}


def _alike(one: RunRecord, other: RunRecord) -> bool:
    mine, theirs = _values(one), _values(other)
    if mine.keys() != theirs.keys():
        return False
    pairs = np.array([(mine[name], theirs[name]) for name in mine], float).reshape(-1, 2)
    return np.allclose(pairs[:, 0], pairs[:, 1], rtol=0, atol=ROUNDING, equal_nan=True)


def _facts(run: RunRecord) -> tuple[dict[str, Any], Values]:
    """Columns and scores that all copies of a run share."""
    return {name: getattr(run, name) for name in RUN_COLUMNS if name not in NOT_COMPARED}, _values(run)


def _conflict(counts: RunRecord, run: RunRecord, source: str, entered: int) -> str:
    mine, theirs = _values(counts), _values(run)
    gaps = {name: abs((mine[name] or 0) - (theirs[name] or 0)) for name in mine if name in theirs}
    widest = max(gaps, key=lambda name: gaps[name], default=None)
    found = [f"{widest[0]} {values[widest] or 0:.6g}" if widest else "other metrics" for values in (mine, theirs)]
    return (
        f"conflict: {counts.title} on {counts.split} (seed {counts.seed}) has {found[0]} in run {counts.id}, which "
        f"counts, and {found[1]} in {source}, stored as run {entered} (superseded)."
    )
