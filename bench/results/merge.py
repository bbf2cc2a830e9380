"""Runs of other databases and of outcome files, entered into a results database.

The same key with the same scores, up to ``ROUNDING``, is the same run, on whatever machine it was computed. Other
scores under one key are a conflict: both runs are kept, and the one that was stored first counts.
"""

from __future__ import annotations

import fcntl
import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import select

from bench.errors import StorageError, UsageError
from bench.results.database import database_file, plain
from bench.results.models import RUN_COLUMNS, RunRecord, RunRow, insert_results
from bench.results.outcomes import outcome_folder, read_outcome
from bench.results.reading import existing
from bench.results.store import ELSEWHERE, FINISHED, STALE_SECONDS, Store, now

log = logging.getLogger("bench.results.merge")

ROUNDING = 1e-4  # largest difference between the scores of one run, computed on other machines or processes
NOT_COMPARED = ("id", "request", "status", "failure", "ended")  # columns that may differ between copies of one run

Outcomes = list[tuple[RunRecord, dict[str, bytes]]]


@dataclass
class Merged:
    """Numbers of runs of a source: new, known before, still running there; and a sentence for each conflict."""

    source: str
    new: int = 0
    known: int = 0
    running: int = 0
    conflicts: list[str] = field(default_factory=list)


def open_store(where: str, cache_dir: Path) -> tuple[Store, Merged]:
    """Open the store at ``where`` for writing, and enter the outcomes that are left in files below ``cache_dir``.

    Several processes may do this at once. A file that cannot be read is left, with a warning.
    """
    store = Store(where)
    try:
        return store, enter_left(store, cache_dir)
    except BaseException:
        store.close()
        raise


def merge(
    where: str,
    cache_dir: Path,
    sources: Sequence[str],
    progress: Callable[[str, int, int], None] = lambda source, done, total: None,
) -> list[Merged]:
    """Enter all runs of ``sources`` (paths, URLs, outcome files or folders of those) into the store at ``where``.

    Sources are not changed, and merging twice enters nothing new. A run that is being computed there is left out; one
    whose process died is entered as interrupted. The store is opened once all sources are. Raises UsageError for the
    store itself as a source, StorageError when a source cannot be read or the store cannot be written.
    """
    for source in sources:
        files = [database_file(each) for each in (where, source)]
        if where == source or (files[0] and files[1] and files[0].resolve() == files[1].resolve()):
            raise UsageError(f"Database {plain(source)} is the store itself: name the other one, or another --store.")
    with ExitStack() as stack:
        opened = [_open_source(source, stack) for source in sources]
        store, _ = open_store(where, cache_dir)
        stack.callback(store.close)
        return [
            _enter_source(store, plain(source), each, functools.partial(progress, source))
            for source, each in zip(sources, opened, strict=True)
        ]


def _open_source(source: str, stack: ExitStack) -> Store | Outcomes:
    file = database_file(source)
    try:
        if file is not None and (file.is_dir() or file.suffix == ".json"):
            paths = sorted(file.glob("*.json")) if file.is_dir() else [file]
            if not paths:
                raise StorageError(f"{source} is a folder without outcomes of runs; check the path.")
            return [read_outcome(path) for path in paths]
        store = existing(source)
        if store is None:
            raise StorageError(f"there is no results database {plain(source)}; check the path or URL.")
    except StorageError as error:
        raise StorageError(f"Nothing was merged: {str(error).replace(' by --store', '')}") from error
    stack.callback(store.close)
    return store


def _enter_source(store: Store, name: str, source: Store | Outcomes, progress: Callable[[int, int], None]) -> Merged:
    merged = Merged(name)
    if isinstance(source, list):
        for run, details in source:
            enter_outcome(store, run, details, merged)
        return merged
    alive = [run for run, (silent, _) in source.doing().items() if silent < STALE_SECONDS]
    runs = source.runs()
    for done, run in enumerate(runs, start=1):
        progress(done, len(runs))
        if run.status == "queued" or (run.status == "running" and run.id in alive):
            merged.running += 1
            continue
        if run.status == "running":
            run = replace(run, status="interrupted", failure="its process ended", ended=now())
        enter(store, run, source.details_of(run.id), merged)
    return merged


def enter(store: Store, run: RunRecord, details: Mapping[str, bytes], merged: Merged) -> None:
    """Enter a run of another database with its scores and details, unless it is stored, and count it in ``merged``.

    In one transaction: a process that enters the same run at the same time waits, and finds it stored.
    """
    with store.writing() as session:
        session.execute(select(RunRow.id).where(RunRow.key == run.key).with_for_update())
        stored = store.runs(session=session, key=run.key)
        done = [each for each in stored if run.status == each.status == "done"]
        if any(_alike(each, run) for each in done[-1:]) or any(_facts(each) == _facts(run) for each in stored):
            merged.known += 1
            return
        columns = {name: getattr(run, name) for name in RUN_COLUMNS if name != "id"}
        row = RunRow(**columns | ({"status": "superseded"} if done else {}))
        session.add(row)
        session.flush()
        insert_results(session, row.id, run.scores, details)
        if done:
            merged.conflicts.append(_conflict(done[-1], run, merged.source, row.id))
        elif run.status == "done":
            store.unqueue(run.key, "interrupted", ELSEWHERE, session)
    merged.new += 1


def enter_left(store: Store, cache_dir: Path) -> Merged:
    """Enter the outcomes of an open store that are left in files, and delete each file once it is stored."""
    merged = Merged(plain(store.where))
    for path in sorted(outcome_folder(store.where, cache_dir).glob("*.json")):
        with suppress(FileNotFoundError), path.open("rb") as file:  # not found: another process entered it
            with suppress(OSError):  # a file system without locks
                fcntl.flock(file, fcntl.LOCK_EX)
            if not path.exists():
                continue
            try:
                run, details = read_outcome(path)
            except StorageError as error:
                log.warning("%s It is not deleted.", error)
                continue
            enter_outcome(store, run, details, merged)
            path.unlink(missing_ok=True)
    return merged


def enter_outcome(store: Store, run: RunRecord, details: Mapping[str, bytes], merged: Merged) -> None:
    """Finish the unfinished run of ``store`` that an outcome belongs to, or else ``enter`` it as a run."""
    mine = store.runs(metrics=(), id=run.id, key=run.key, started=run.started)
    if not mine:
        enter(store, run, details, merged)
    elif mine[0].status in FINISHED:
        merged.known += 1
    else:
        store.finish(run.id, run.scores, run.seconds, cost=run.cost, details=details, environment=run.environment)
        merged.new += 1


def _scores(run: RunRecord) -> dict[tuple[str, str], float | None]:
    """Value of every metric and average; None for NaN, which does not equal itself."""
    return {(score.metric, score.average): None if score.value != score.value else score.value for score in run.scores}


def _alike(one: RunRecord, other: RunRecord) -> bool:
    mine, theirs = _scores(one), _scores(other)
    if mine.keys() != theirs.keys():
        return False
    values = np.array([(mine[name], theirs[name]) for name in mine], float).reshape(-1, 2)
    return np.allclose(values[:, 0], values[:, 1], rtol=0, atol=ROUNDING, equal_nan=True)


def _facts(run: RunRecord) -> tuple[dict[str, Any], dict[tuple[str, str], float | None]]:
    """Columns and scores that all copies of a run share."""
    return {name: getattr(run, name) for name in RUN_COLUMNS if name not in NOT_COMPARED}, _scores(run)


def _conflict(counts: RunRecord, run: RunRecord, source: str, entered: int) -> str:
    mine, theirs = _scores(counts), _scores(run)
    gaps = {name: abs((mine[name] or 0) - (theirs[name] or 0)) for name in mine if name in theirs}
    widest = max(gaps, key=lambda name: gaps[name], default=None)
    found = [f"{widest[0]} {scores[widest] or 0:.6g}" if widest else "other metrics" for scores in (mine, theirs)]
    return (
        f"conflict: {counts.title} on {counts.split} (seed {counts.seed}) has {found[0]} in run {counts.id}, which "
        f"counts, and {found[1]} in {source}, stored as run {entered} (superseded)."
    )
