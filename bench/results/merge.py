"""Results databases put together: what several machines stored.

A run is known by its key and by what it found: the same key with the same scores, but for ``ROUNDING``, is the same
run, whoever computed it on however many processes. Other scores under one key are a conflict: both are kept, the one
that was there first stays the one that counts.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sqlalchemy import select

from bench.errors import StorageError, UsageError
from bench.results.backup import backup
from bench.results.database import database_file, plain
from bench.results.models import RUN_COLUMNS, RunRecord, RunRow, insert_results
from bench.results.outcomes import outcome_folder, read_outcome
from bench.results.reading import existing
from bench.results.store import ELSEWHERE, STALE_SECONDS, Store, now

log = logging.getLogger("bench.results.merge")

ROUNDING = 1e-4  # that scores of one run differ by at most where machines or processes add up in another order
NOT_COMPARED = (
    "id",
    "request",
    "status",
    "failure",
    "ended",
    "scores",
)  # what may change of a run, and what is compared apart


@dataclass(frozen=True)
class Conflict:
    """Two results of one key: ``kept`` counts, ``other`` is stored as superseded; where their scores differ most."""

    kept: RunRecord
    other: int
    metric: str
    values: tuple[float, float]


@dataclass
class Merged:
    """What became of the runs of one source: entered, known already, still being computed there, in conflict."""

    source: str
    new: int = 0
    known: int = 0
    running: int = 0
    conflicts: list[Conflict] = field(default_factory=list)


def merge(store: Store, source: str, progress: Callable[[int, int], None] = lambda done, total: None) -> Merged:
    """Enter every run of the database ``source`` (a path or URL) that ``store`` has not; the source stays as it is.

    A run that is being computed there is left for later, one whose process died is entered as interrupted. Merging
    again enters nothing. Raises UsageError for the store itself, StorageError for a source that is missing, cannot be
    read or was written by a newer program, and for a store that cannot be written; whole runs are entered or none.
    """
    _refuse_itself(store.where, source)
    with reading(source) as other:
        return take(store, other, source, progress)


def merge_all(
    where: str, sources: Sequence[str], progress: Callable[[str, int, int], None] = lambda source, done, total: None
) -> list[Merged]:
    """``merge`` of each source into the store at ``where``, which is touched only when all of them could be opened."""
    for source in sources:
        _refuse_itself(where, source)
    with ExitStack() as stack:
        others = [stack.enter_context(reading(source)) for source in sources]
        store = Store(where)
        stack.callback(store.close)
        return [
            take(store, other, source, functools.partial(progress, source))
            for source, other in zip(sources, others, strict=True)
        ]


def _refuse_itself(where: str, source: str) -> None:
    if _same(where, source):
        raise UsageError(f"Database {plain(source)} is the store itself: name the other one, or another --store.")


def take(store: Store, other: Store, source: str, progress: Callable[[int, int], None]) -> Merged:
    """``merge`` of a source that is open already."""
    merged = Merged(plain(source))
    signs, runs = other.doing(), other.runs()
    for done, run in enumerate(runs, start=1):
        progress(done, len(runs))
        status, failure, ended = run.status, run.failure, run.ended
        if status == "queued":
            merged.running += 1
            continue
        if status == "running":
            if run.id in signs and signs[run.id][0] < STALE_SECONDS:
                merged.running += 1
                continue
            status, failure, ended = "interrupted", "its process ended", now()
        found = {**asdict(run), "status": status, "failure": failure, "ended": ended, "scores": run.scores}
        enter(store, RunRecord(**found), other.details_of(run.id), merged)
    return merged


def enter(store: Store, run: RunRecord, details: Mapping[str, bytes], merged: Merged) -> None:
    """Enter one run of elsewhere with its scores and details, unless it is there, and count it in ``merged``.

    In one transaction: a process that enters the same run at the same time waits, and finds it.
    """
    with store.writing() as session:
        session.execute(select(RunRow.id).where(RunRow.key == run.key).with_for_update())
        there = store.runs(session=session, key=run.key)
        counts = next((each for each in reversed(there) if each.status == "done"), None)
        alike = run.status == "done" and counts is not None and _alike(_scores(counts), _scores(run))
        if alike or any(_signature(each) == _signature(run) for each in there):
            merged.known += 1
            return
        conflict = run.status == "done" and counts is not None
        columns = {name: getattr(run, name) for name in RUN_COLUMNS if name not in ("id", "status")}
        row = RunRow(**columns, status="superseded" if conflict else run.status)
        session.add(row)
        session.flush()
        insert_results(session, row.id, run.scores, details)
        if conflict and counts is not None:
            merged.conflicts.append(_conflict(counts, run, row.id))
        elif run.status == "done":
            store.end_queued(session, run.key, "interrupted", ELSEWHERE)
    merged.new += 1


def open_store(where: str, cache_dir: Path) -> tuple[Store, Merged]:
    """The store at ``where`` for writing, with every outcome entered that it did not take before."""
    store = Store(where)
    try:
        return store, enter_left(store, cache_dir)
    except BaseException:
        store.close()
        raise


def enter_left(store: Store, cache_dir: Path) -> Merged:
    """Enter the outcomes that are left in files below ``cache_dir``, and delete each file once the store has it.

    Several processes may do this at once. A file that cannot be read is left, with a warning.
    """
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
                log.warning("%s It is left as it is.", error)
                continue
            enter_outcome(store, run, details, merged)
            path.unlink(missing_ok=True)
    return merged


def enter_outcome(store: Store, run: RunRecord, details: Mapping[str, bytes], merged: Merged) -> None:
    """Finish the run of ``store`` that an outcome belongs to; ``enter`` it where the store has no such run."""
    if not store.runs(metrics=(), id=run.id, key=run.key, started=run.started):
        enter(store, run, details, merged)
        return
    store.finish(run.id, run.scores, run.seconds, cost=run.cost, details=details, environment=run.environment)
    merged.new += 1


def _conflict(counts: RunRecord, run: RunRecord, entered: int) -> Conflict:
    mine, theirs = _scores(counts), _scores(run)
    shared = [name for name in mine if name in theirs and mine[name] != theirs[name]]
    if not shared:  # other metrics altogether
        return Conflict(counts, entered, "", (float("nan"), float("nan")))
    name = max(shared, key=lambda each: abs((mine[each] or 0) - (theirs[each] or 0)))
    return Conflict(counts, entered, name[0], (mine[name] or 0.0, theirs[name] or 0.0))


def _scores(run: RunRecord) -> dict[tuple[str, str], float | None]:
    """Value of every metric and average; None where no query counted, which NaN would make unequal to itself."""
    return {(score.metric, score.average): None if score.value != score.value else score.value for score in run.scores}


def _alike(mine: Mapping[tuple[str, str], float | None], theirs: Mapping[tuple[str, str], float | None]) -> bool:
    """Whether these are the same metrics with the same values, but for ``ROUNDING``."""
    return mine.keys() == theirs.keys() and all(
        value == other if value is None or other is None else abs(value - other) <= ROUNDING
        for value, other in ((value, theirs[name]) for name, value in mine.items())
    )


def _signature(run: RunRecord) -> str:
    """What a run is known by wherever it is stored: everything but its number and how it ended."""
    facts = {name: getattr(run, name) for name in RUN_COLUMNS if name not in NOT_COMPARED}
    scores = sorted((*name, value) for name, value in _scores(run).items())
    return hashlib.sha256(json.dumps([facts, scores], sort_keys=True).encode()).hexdigest()


@contextmanager
def reading(source: str) -> Iterator[Store]:
    """The database ``source`` as it is at this moment: a copy of a file, which may be of an older schema version."""
    file = database_file(source)
    outcomes = sorted(file.glob("*.json")) if file is not None and file.is_dir() else []
    if file is not None and file.is_file() and file.suffix == ".json":
        outcomes = [file]
    if file is None:
        server = existing(source)
        if server is None:
            raise StorageError(f"The results database {plain(source)} holds no results: check the URL.")
        try:
            yield server
        finally:
            server.close()
        return
    if not file.is_file() and not outcomes:
        what = "is a folder" if file.is_dir() else "is not there"
        raise StorageError(f"Nothing was merged: database {source} {what}; check the path.")
    with tempfile.TemporaryDirectory(prefix="bench-merge-") as folder:
        copy = Path(folder) / "copy.db"
        try:
            if not outcomes:
                backup(source, copy)
            opened = Store(str(copy))
            for path in outcomes:
                enter(opened, *read_outcome(path), Merged(source))
        except StorageError as error:
            said = str(error).replace(str(copy), source).replace("another path by --store", "another source")
            raise StorageError(f"Nothing was merged: {said}") from error
        try:
            yield opened
        finally:
            opened.close()


def _same(where: str, source: str) -> bool:
    one, other = database_file(where), database_file(source)
    if one is None or other is None:
        return where == source
    return one.resolve() == other.resolve()


def conflict_lines(merged: Sequence[Merged]) -> list[str]:
    """One sentence for each conflict."""
    return [
        f"conflict: {each.kept.title} on {each.kept.split} (seed {each.kept.seed}) has {each.metric or 'other metrics'}"
        f" {each.values[0]:.6g} in run {each.kept.id}, which counts, and {each.values[1]:.6g} in {one.source}, kept as "
        f"run {each.other} (superseded)."
        for one in merged
        for each in one.conflicts
    ]
