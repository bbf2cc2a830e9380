"""Runs and their scores in a database: which process computes what, what is done, and every stored value."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from bench.errors import IncompleteError, StorageError
from bench.results import migrations
from bench.results.database import SameFile, choose_journal, failures, open_engine
from bench.results.models import (
    RUN_COLUMNS,
    Base,
    DetailRow,
    LeaseRow,
    RunRecord,
    RunRow,
    in_parts,
    insert_results,
    scores_by_run,
)
from bench.types import AVERAGES, Average, Score

ATTEMPTS = 3  # to claim a key that another process claims at the same moment
STALE_SECONDS = 60.0  # a process without a heartbeat for so long is taken for dead
FINISHED = ("done", "superseded")
ELSEWHERE = "another run of the same cell was finished meanwhile"


@dataclass(frozen=True)
class Claim:
    """The answer to a claim: ``yours`` (compute it), ``done`` (it is stored) or ``busy`` (another process computes)."""

    answer: Literal["yours", "done", "busy"]
    run: int


class _DoneMeanwhileError(Exception):
    """Another process finished a run of the key during the claim; the claim is rolled back."""


class Store:
    """The results database at ``where``: a path, or an SQLAlchemy URL.

    With ``changes=False`` nothing is written when it is opened: no table, no migration, no journal.
    ``was`` is the schema version before it was opened, None for a new database.

    Raises StorageError (one sentence) when it cannot be opened, is no database of bench, or was written by a newer
    program. The file is not touched then.
    """

    def __init__(self, where: str, *, changes: bool = True) -> None:
        self.where = where
        self.closing = ExitStack()  # what ends with the connections
        self._engine = open_engine(where)
        self._writing = self._engine.execution_options(writes=True)
        try:
            with failures(where):
                with self._engine.begin() as connection:
                    self.was = migrations.found_version(connection)
                if changes and self.was != migrations.CURRENT:
                    with self._writing.begin() as connection:
                        self.was = migrations.upgrade(connection, Base.metadata.create_all)
                if changes:
                    choose_journal(self._engine)
            self._file = SameFile(where)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()
        self.closing.close()

    def claim(self, identity: Mapping[str, Any], *, force: bool = False) -> Claim:
        """Enter a running run with the columns of ``identity``, unless its key is done or being computed.

        ``force`` computes a finished key again. A run without a heartbeat for ``STALE_SECONDS`` is marked interrupted
        and taken over.
        """
        for _ in range(ATTEMPTS - 1):
            try:
                return self._claim(identity, force)
            except _DoneMeanwhileError:
                continue
            except StorageError as error:
                # Without a lock of the whole database two processes may insert a lease of one key at once. The second
                # is refused, and sees the first one's lease in its next attempt.
                if not isinstance(error.__cause__, IntegrityError):
                    raise
        return self._claim(identity, force)

    def _claim(self, identity: Mapping[str, Any], force: bool) -> Claim:
        with self.writing() as session:
            key = identity["key"]
            # The lease before the result: a run gives up its lease and enters its result in one transaction, so that
            # a process that sees no lease sees the result.
            lease = session.get(LeaseRow, key, with_for_update=True)
            newest = (
                select(RunRow.id).where(RunRow.key == key, RunRow.status == "done").order_by(RunRow.id.desc()).limit(1)
            )
            done = session.scalar(newest)
            if done is not None and not force:
                self.end_queued(session, key, "interrupted", ELSEWHERE)
                return Claim("done", done)
            if lease is not None and time.time() - lease.heartbeat < STALE_SECONDS:
                return Claim("busy", lease.run_id)
            queued = select(RunRow).where(RunRow.key == key, RunRow.status == "queued").with_for_update()
            waiting = session.scalar(queued.limit(1))
            if waiting is None:
                run = self._enter(session, identity)
            else:
                run = waiting.id
                waiting.environment = {**waiting.environment, **identity.get("environment", {})}
                waiting.status, waiting.started = "running", now()
            if lease is None:
                session.add(LeaseRow(key=key, run_id=run, heartbeat=time.time(), doing=""))
                session.flush()
                # Without a lock of the whole database another process may have begun and finished a run of the key
                # since the first look. With the lease inserted, a second look is final.
                if session.scalar(newest) is not None and not force:
                    raise _DoneMeanwhileError
            else:
                lost = update(RunRow).where(RunRow.id == lease.run_id, RunRow.status == "running")
                session.execute(lost.values(status="interrupted", failure="its process ended", ended=now()))
                lease.run_id, lease.heartbeat, lease.doing = run, time.time(), ""
            return Claim("yours", run)

    def begin(self, identity: Mapping[str, Any]) -> int:
        """Enter a running run without a claim, for results that are computed elsewhere; its id."""
        with self.writing() as session:
            return self._enter(session, identity)

    def queue(self, identity: Mapping[str, Any], job: Mapping[str, str]) -> int:
        """Enter a queued run that ``job`` (its name and log) will compute, or update the queued run of its key; its id.

        The next claim of the key makes it a running one.
        """
        with self.writing() as session:
            row = session.scalar(select(RunRow).where(RunRow.key == identity["key"], RunRow.status == "queued"))
            row = row or session.get_one(RunRow, self._enter(session, {**identity, "environment": {}}))
            row.status, row.environment, row.started = "queued", dict(job), now()
            return row.id

    def name_job(self, run: int, job: Mapping[str, str]) -> None:
        """Name the job of a run that is still queued; one that was claimed knows its job."""
        with self.writing() as session:
            queued = update(RunRow).where(RunRow.id == run, RunRow.status == "queued")
            session.execute(queued.values(environment=dict(job)))

    def unqueue(self, key: str, status: str, failure: str) -> None:
        """Mark a queued run of a key, where there is one, failed or interrupted, with the reason."""
        with self.writing() as session:
            self.end_queued(session, key, status, failure)

    def end_queued(self, session: Session, key: str, status: str, failure: str) -> None:
        """``unqueue`` inside the caller's transaction."""
        queued = update(RunRow).where(RunRow.key == key, RunRow.status == "queued")
        session.execute(queued.values(status=status, failure=failure, ended=now()))

    def beat(self, run: int, doing: str) -> None:
        """Record a heartbeat of the process that claimed ``run``, and what it is doing."""
        with self.writing() as session:
            session.execute(update(LeaseRow).where(LeaseRow.run_id == run).values(heartbeat=time.time(), doing=doing))

    def finish(
        self,
        run: int,
        scores: Sequence[Score],
        seconds: Mapping[str, float],
        *,
        cost: Mapping[str, float] | None = None,
        details: Mapping[str, bytes] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Store the outcome of a run and mark it done, all or nothing; older runs of its key are superseded.

        ``environment`` adds facts that were known only at the end. A run that is done already is left as it is: another
        process entered its outcome from a file.
        """
        with self.writing() as session:
            row = session.get_one(RunRow, run, with_for_update=True)
            if row.status in FINISHED:
                return
            insert_results(session, run, scores, details or {})
            row.seconds, row.cost = dict(seconds), dict(cost or {})
            row.environment = {**row.environment, **(environment or {})}
            row.status, row.failure, row.ended = "done", "", now()
            older = (RunRow.key == row.key) & (RunRow.id != run) & (RunRow.status == "done")
            session.execute(update(RunRow).where(older).values(status="superseded"))
            session.execute(delete(LeaseRow).where(LeaseRow.run_id == run))

    def fail(self, run: int, status: str, failure: str) -> None:
        """Mark a running run failed or interrupted, with the reason."""
        with self.writing() as session:
            ended = update(RunRow).where(RunRow.id == run, RunRow.status == "running")
            session.execute(ended.values(status=status, failure=failure, ended=now()))
            session.execute(delete(LeaseRow).where(LeaseRow.run_id == run))

    def run(self, number: int, *, finished: bool = False) -> RunRecord:
        """The run of a number; raises IncompleteError when there is none, or it is to be ``finished`` and is not."""
        found = next(iter(self.runs(id=number)), None)
        if found is None:
            raise IncompleteError(f"There is no run {number}: 'bench list runs' shows what there is.")
        if finished and found.status not in FINISHED:
            raise IncompleteError(f"Run {number} is {found.status}: name one that was finished.")
        return found

    def find(self, key: str) -> RunRecord | None:
        """The newest finished run of a key."""
        return next(reversed(self.runs(key=key, status="done")), None)

    def runs(
        self,
        *,
        metrics: Sequence[str] | None = None,
        averages: Sequence[Average] = AVERAGES,
        session: Session | None = None,
        **equal: Any,
    ) -> list[RunRecord]:
        """Runs whose columns equal the values given (a list: any of them), oldest first, with their scores.

        ``metrics`` (ids, None for all) and ``averages`` choose the scores: a thousand runs have hundreds of thousands.
        With ``session`` they are read inside the caller's transaction.
        """
        if session is None:
            with self._read() as own:
                return self.runs(metrics=metrics, averages=averages, session=own, **equal)
        query = select(*(getattr(RunRow, name) for name in RUN_COLUMNS)).order_by(RunRow.id)
        for column, value in equal.items():
            attribute = getattr(RunRow, column)
            query = query.where(attribute.in_(value) if isinstance(value, list | tuple) else attribute == value)
        rows = session.execute(query).all()
        scores = scores_by_run(session, [row.id for row in rows], metrics, averages, all_of_them=not equal)
        return [RunRecord(**row._mapping, scores=tuple(scores.get(row.id, ()))) for row in rows]

    def details(self, name: str, runs: Sequence[int]) -> dict[int, bytes]:
        """The details of one name, by run; runs without it are left out."""
        query = select(DetailRow.run_id, DetailRow.content).where(DetailRow.name == name)
        with self._read() as session:
            parts = [session.execute(query.where(DetailRow.run_id.in_(part))) for part in in_parts(runs)]
            return {run: content for part in parts for run, content in part}

    def detail(self, run: int, name: str) -> bytes | None:
        """One detail of one run; None when there is none of this name."""
        return self.details(name, [run]).get(run)

    def details_of(self, run: int) -> dict[str, bytes]:
        """All details of a run, by name."""
        with self._read() as session:
            query = select(DetailRow.name, DetailRow.content).where(DetailRow.run_id == run)
            return {row.name: row.content for row in session.execute(query)}

    def doing(self) -> dict[int, tuple[float, str]]:
        """Claimed runs: seconds since the last heartbeat, and what the process was doing."""
        with self._read() as session:
            rows = session.execute(select(LeaseRow.run_id, LeaseRow.heartbeat, LeaseRow.doing)).all()
        return {run: (time.time() - heartbeat, doing) for run, heartbeat, doing in rows}

    def _enter(self, session: Session, identity: Mapping[str, Any]) -> int:
        row = RunRow(**identity, seconds={}, cost={}, status="running", failure="", started=now(), ended="")
        session.add(row)
        session.flush()
        return row.id

    @contextmanager
    def _read(self) -> Iterator[Session]:
        self._file.check()
        with failures(self.where), Session(self._engine) as session, session.begin():
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A transaction that may write: whole or not at all; raises StorageError."""
        self._file.check()
        with failures(self.where), Session(self._writing) as session, session.begin():
            yield session


def now() -> str:
    """The time in UTC, ISO 8601, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")
