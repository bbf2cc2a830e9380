"""Runs and their scores in a database: who computes what, what is done, what belongs to it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from bench.errors import DatabaseError, IncompleteError, StorageError
from bench.results import migrations
from bench.results.backup import backup
from bench.results.database import choose_journal, database_file, failures, open_engine, plain
from bench.results.models import (
    RUN_COLUMNS,
    Base,
    DetailRow,
    LeaseRow,
    RunRecord,
    RunRow,
    ScoreRow,
    score_columns,
)
from bench.results.score_rows import in_parts, scores_by_run
from bench.types import AVERAGES, Average, Score

NOT_YET = "not handed in yet"  # the job of a run that is queued before its job has a name
ATTEMPTS = 3  # to claim a key that another process claims at the same moment
STALE_SECONDS = 60.0  # a process that was silent so long is taken for dead; it speaks every few seconds


@dataclass(frozen=True)
class Claim:
    """The answer to "may I compute this?": ``yours`` (run it), ``done`` (here it is) or ``busy`` (another one does)."""

    answer: Literal["yours", "done", "busy"]
    run: int


class _DoneMeanwhileError(Exception):
    """Somebody finished a run of the key while it was being claimed; what was entered is taken back."""


class Store:
    """The results database at ``where``: a path, or an SQLAlchemy URL.

    ``changes`` is false for a caller that only looks at a database of this version: its journal is left as it is then.
    ``was`` is the schema version that it had when it was opened, None where it was made now.

    Raises StorageError (one sentence) when it cannot be opened, is no database, or was written by a newer program; the
    file is not touched then.
    """

    def __init__(self, where: str, *, changes: bool = True) -> None:
        self.where = where
        self._folder: tempfile.TemporaryDirectory[str] | None = None  # of a copy
        file = database_file(where)
        self._file = file.absolute() if file is not None else None
        self._engine = open_engine(where)
        self._writing = self._engine.execution_options(writes=True)
        try:
            with failures(where):
                with self._engine.begin() as connection:
                    self.was = migrations.found_version(connection)
                if self.was != migrations.CURRENT:
                    with self._writing.begin() as connection:
                        self.was = migrations.upgrade(connection, Base.metadata.create_all)
                if changes:
                    choose_journal(self._engine)
            self._place = self._found()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()
        if self._folder is not None:
            self._folder.cleanup()

    def claim(self, identity: Mapping[str, Any], *, force: bool = False) -> Claim:
        """Enter a running run with the columns of ``identity``, unless its key is done or being computed.

        ``force`` runs what is done again. A run whose process gave no sign of life for ``STALE_SECONDS`` is marked
        interrupted and taken over.
        """
        for _ in range(ATTEMPTS - 1):
            try:
                return self._claim(identity, force)
            except _DoneMeanwhileError:
                continue
            except StorageError as error:
                # Where a transaction does not lock the whole database, two may enter a lease of one key at once: the
                # second is refused, and finds the first one's when it looks again.
                if not isinstance(error.__cause__, IntegrityError):
                    raise
        return self._claim(identity, force)

    def _claim(self, identity: Mapping[str, Any], force: bool) -> Claim:
        with self.writing() as session:
            key = identity["key"]
            # The lease before the result: a run gives up the first and enters the second at once, so that whoever
            # sees no lease sees the result.
            lease = session.get(LeaseRow, key, with_for_update=True)
            newest = (
                select(RunRow.id).where(RunRow.key == key, RunRow.status == "done").order_by(RunRow.id.desc()).limit(1)
            )
            done = session.scalar(newest)
            if done is not None and not force:
                return Claim("done", done)
            if lease is not None and time.time() - lease.heartbeat < STALE_SECONDS:
                return Claim("busy", lease.run_id)
            queued = select(RunRow).where(RunRow.key == key, RunRow.status == "queued").with_for_update()
            waiting = session.scalar(queued.limit(1))
            if waiting is None:
                run = self._enter(session, identity)
            else:  # what its job was told stays with it
                run = waiting.id
                waiting.environment = {**identity.get("environment", {}), **waiting.environment}
                waiting.status, waiting.started = "running", now()
            if lease is None:
                session.add(LeaseRow(key=key, run_id=run, heartbeat=time.time(), doing=""))
                session.flush()
                # Where a transaction does not lock the whole database, another process may have begun and ended a run
                # of the key since it was looked for: with the lease in place it can be looked for once and for all.
                if session.scalar(newest) is not None and not force:
                    raise _DoneMeanwhileError
            else:
                lost = update(RunRow).where(RunRow.id == lease.run_id, RunRow.status == "running")
                session.execute(lost.values(status="interrupted", failure="its process ended", ended=now()))
                lease.run_id, lease.heartbeat, lease.doing = run, time.time(), ""
            return Claim("yours", run)

    def begin(self, identity: Mapping[str, Any]) -> int:
        """Enter a running run whatever else there is of its key, for results that come from elsewhere; its id."""
        with self.writing() as session:
            return self._enter(session, identity)

    def queue(self, identity: Mapping[str, Any], job: Mapping[str, str]) -> int:
        """Enter a queued run that ``job`` (its name, its log) will compute, in place of one of its key that is; its id.

        Whoever claims the key makes it a running one. One that was entered with the job ``NOT_YET`` and is not queued
        any more was claimed by the job that is named now: it is told its name.
        """
        with self.writing() as session:
            of_key = select(RunRow).where(RunRow.key == identity["key"]).order_by(RunRow.id.desc()).limit(1)
            row, newest = session.scalar(of_key.where(RunRow.status == "queued")), session.scalar(of_key)
            if row is None and newest is not None and newest.environment.get("job") == NOT_YET:
                newest.environment = {**newest.environment, **job}
                return newest.id
            if row is None:
                number = self._enter(session, {**identity, "environment": dict(job)})
                row = session.get_one(RunRow, number)
                row.status = "queued"
            row.environment, row.started = dict(job), now()
            return row.id

    def unqueue(self, key: str, status: str, failure: str) -> None:
        """Mark a queued run of a key, where there is one, failed or interrupted, with the reason."""
        with self.writing() as session:
            queued = update(RunRow).where(RunRow.key == key, RunRow.status == "queued")
            session.execute(queued.values(status=status, failure=failure, ended=now()))

    def beat(self, run: int, doing: str) -> None:
        """A sign of life of the process that claimed ``run``, and what it is doing."""
        with self.writing() as session:
            session.execute(update(LeaseRow).where(LeaseRow.run_id == run).values(heartbeat=time.time(), doing=doing))

    def finish(
        self,
        run: int | Mapping[str, Any],
        scores: Sequence[Score],
        seconds: Mapping[str, float],
        *,
        cost: Mapping[str, float] | None = None,
        details: Mapping[str, bytes] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Store what a run gave and mark it done, all or nothing; older runs of its key are superseded.

        ``run`` is its number, or the columns of one that is entered with what it gave.
        ``environment`` adds to what the run was entered with: facts that were known only when it ran.
        """
        with self.writing() as session:
            run = run if isinstance(run, int) else self._enter(session, run)
            row = session.get_one(RunRow, run)
            if scores:
                session.execute(insert(ScoreRow), [{"run_id": run, **score_columns(score)} for score in scores])
            for name, content in (details or {}).items():
                session.add(DetailRow(run_id=run, name=name, content=content))
            row.seconds, row.cost = dict(seconds), dict(cost or {})
            row.environment = {**row.environment, **(environment or {})}
            row.status, row.ended = "done", now()
            older = (RunRow.key == row.key) & (RunRow.id != run) & (RunRow.status == "done")
            session.execute(update(RunRow).where(older).values(status="superseded"))
            session.execute(delete(LeaseRow).where(LeaseRow.run_id == run))

    def fail(self, run: int, status: str, failure: str) -> None:
        """Mark a run that is not done failed or interrupted, with the reason."""
        with self.writing() as session:
            ended = update(RunRow).where(RunRow.id == run, RunRow.status == "running")
            session.execute(ended.values(status=status, failure=failure, ended=now()))
            session.execute(delete(LeaseRow).where(LeaseRow.run_id == run))

    def run(self, number: int, *, finished: bool = False) -> RunRecord:
        """The run of a number; raises IncompleteError when there is none, or it is to be ``finished`` and is not."""
        found = next(iter(self.runs(id=number)), None)
        if found is None:
            raise IncompleteError(f"There is no run {number}: 'bench list runs' shows what there is.")
        if finished and found.status not in ("done", "superseded"):
            raise IncompleteError(f"Run {number} is {found.status}: name one that was finished.")
        return found

    def find(self, key: str) -> RunRecord | None:
        """The newest finished run of a key."""
        return next(reversed(self.runs(key=key, status="done")), None)

    def runs(
        self, *, metrics: Sequence[str] | None = None, averages: Sequence[Average] = AVERAGES, **equal: Any
    ) -> list[RunRecord]:
        """Runs whose columns equal the values given (a list means any of them), oldest first, with their scores.

        ``metrics`` are the ids whose scores are wanted, None for all, and ``averages`` over what their means are: a
        thousand runs have many that nobody asked for.
        """
        query = select(*(getattr(RunRow, name) for name in RUN_COLUMNS)).order_by(RunRow.id)
        for column, value in equal.items():
            attribute = getattr(RunRow, column)
            query = query.where(attribute.in_(value) if isinstance(value, list | tuple) else attribute == value)
        with self._read() as session:
            rows = session.execute(query).all()
            scores = scores_by_run(session, [row.id for row in rows], metrics, averages, all_of_them=not equal)
        return [RunRecord(**row._mapping, scores=tuple(scores.get(row.id, ()))) for row in rows]

    def details(self, name: str, runs: Sequence[int]) -> dict[int, bytes]:
        """What was stored under a name, by run; runs without it are left out."""
        query = select(DetailRow.run_id, DetailRow.content).where(DetailRow.name == name)
        with self._read() as session:
            parts = [session.execute(query.where(DetailRow.run_id.in_(part))) for part in in_parts(runs)]
            return {run: content for part in parts for run, content in part}

    def detail(self, run: int, name: str) -> bytes | None:
        """What was stored under a name with a run; None when nothing was."""
        with self._read() as session:
            return session.scalar(select(DetailRow.content).where(DetailRow.run_id == run, DetailRow.name == name))

    def is_busy(self, key: str) -> bool:
        """Whether another process computes a key and gives signs of life."""
        with self._read() as session:
            heartbeat = session.scalar(select(LeaseRow.heartbeat).where(LeaseRow.key == key))
        return heartbeat is not None and time.time() - heartbeat < STALE_SECONDS

    def doing(self) -> dict[int, tuple[float, str]]:
        """Runs that are being computed: seconds since the last sign of life, and what it said."""
        with self._read() as session:
            rows = session.execute(select(LeaseRow.run_id, LeaseRow.heartbeat, LeaseRow.doing)).all()
        return {run: (time.time() - heartbeat, doing) for run, heartbeat, doing in rows}

    def _enter(self, session: Session, identity: Mapping[str, Any]) -> int:
        row = RunRow(**identity, seconds={}, cost={}, status="running", failure="", started=now(), ended="")
        session.add(row)
        session.flush()
        return row.id

    def runs_of(self, session: Session, key: str) -> list[RunRecord]:
        """Every run of a key with its scores, oldest first, inside the caller's transaction."""
        query = select(*(getattr(RunRow, name) for name in RUN_COLUMNS)).where(RunRow.key == key).order_by(RunRow.id)
        rows = session.execute(query).all()
        scores = scores_by_run(session, [row.id for row in rows], None, AVERAGES, all_of_them=False)
        return [RunRecord(**row._mapping, scores=tuple(scores.get(row.id, ()))) for row in rows]

    def details_of(self, run: int) -> dict[str, bytes]:
        """Everything that was stored with a run, by name."""
        with self._read() as session:
            query = select(DetailRow.name, DetailRow.content).where(DetailRow.run_id == run)
            return {row.name: row.content for row in session.execute(query)}

    def _found(self) -> tuple[int, int] | None:
        """Which file lies at the database's path, by device and number; None without a path or a file."""
        try:
            found = self._file.stat() if self._file is not None else None
        except OSError:
            return None
        return (found.st_dev, found.st_ino) if found is not None else None

    def _check_place(self) -> None:
        # SQLite goes on with a file that was removed, moved or replaced: what it writes would be found by nobody.
        if self._found() != self._place:
            raise DatabaseError(
                f"The results database {plain(self.where)} was removed, moved or replaced while it was in use: put it "
                "back."
            )

    @contextmanager
    def _read(self) -> Iterator[Session]:
        self._check_place()
        with failures(self.where), Session(self._engine) as session, session.begin():
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A transaction that may write: whole or not at all; raises StorageError."""
        self._check_place()
        with failures(self.where), Session(self._writing) as session, session.begin():
            yield session


def existing(where: str) -> Store | None:
    """The results database at ``where`` for reading only: None where there is none yet, and nothing is made.

    A file of an older schema version is read from a migrated copy. Raises StorageError for such a database of a server,
    and as ``Store`` does.
    """
    file = database_file(where)
    if file is not None and not file.exists():
        return None
    engine = open_engine(where)
    try:
        with failures(where), engine.begin() as connection:
            found = migrations.found_version(connection)
    finally:
        engine.dispose()
    if found is None or found == migrations.CURRENT:
        return None if found is None else Store(where, changes=False)
    if file is None:
        raise StorageError(
            f"The results database {plain(where)} has schema version {found}, this program writes "
            f"{migrations.CURRENT}: 'bench store migrate' brings it up to date."
        )
    folder = tempfile.TemporaryDirectory(prefix="bench-older-")
    copy = Path(folder.name) / "copy.db"
    backup(where, copy)
    store = Store(str(copy), changes=False)
    store.where, store._folder = where, folder
    return store


def now() -> str:
    """The time in UTC, ISO 8601, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")
