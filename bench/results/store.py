"""Runs, scores and details in a database, and the claims of the processes that compute them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Engine, bindparam, delete, func, select, update
from sqlalchemy.orm import Session

from bench.errors import DatabaseError, IncompleteError
from bench.results import migrations
from bench.results.database import choose_journal, database_file, failures, inode, open_engine, plain
from bench.results.models import DetailRow, LeaseRow, RunRecord, insert_results, insert_run, scores_by_run
from bench.types import AVERAGES, Average

STALE_SECONDS = 60.0  # without a heartbeat; then the process counts as dead
FINISHED = ("done", "superseded")
ELSEWHERE = "another run of the same experiment was stored first"


@dataclass(frozen=True)
class Claim:
    """The answer to a claim: ``yours`` (compute it), ``done`` (``run`` is stored) or ``busy`` (in another process)."""

    answer: Literal["yours", "done", "busy"]
    run: int


class Store:
    """The results database at ``where``: a path, or an SQLAlchemy URL.

    With ``changes=False`` opening writes nothing: no table, no migration, no journal. ``was`` is the schema version
    before opening, None for a new database. Raises StorageError when it cannot be opened, belongs to another program,
    or a newer bench wrote it; the file is not touched then.
    """

    def __init__(self, where: str, *, changes: bool = True) -> None:
        self.where = where
        self.closing = ExitStack()  # closed with the connections
        self._engine = open_engine(where, reads=not changes)
        self._writing = self._engine.execution_options(writes=True)
        try:
            with failures(where):
                with self._engine.begin() as connection:
                    self.was = migrations.found_version(connection)
                if changes and self.was != migrations.CURRENT:
                    with self._writing.begin() as connection:
                        self.was = migrations.upgrade(connection)
                if changes:
                    choose_journal(self._engine)
            file = database_file(where)
            self._file = file and file.absolute()
            self._inode = inode(self._file)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()
        self.closing.close()

    def claim(self, identity: Mapping[str, Any], *, force: bool = False) -> Claim:
        """Enter a running run with the columns of ``identity``, unless its key is done or being computed.

        ``force`` claims a finished key, too. A run without a heartbeat for ``STALE_SECONDS`` is marked interrupted and
        its key claimed.
        """
        key = identity["key"]
        with self.writing(key) as session:
            # The lease first: a result is stored and its lease deleted in one transaction. So who finds no lease finds
            # the result.
            lease = session.get(LeaseRow, key, with_for_update=True)
            newest = select(func.max(RunRecord.id)).where(RunRecord.key == key, RunRecord.status == "done")
            done = session.scalar(newest)
            if done is not None and not force:
                self.unqueue(key, "interrupted", ELSEWHERE, session)
                return Claim("done", done)
            if lease is not None and time.time() - lease.heartbeat < STALE_SECONDS:
                return Claim("busy", lease.run_id)
            queued = select(RunRecord).where(RunRecord.key == key, RunRecord.status == "queued").with_for_update()
            waiting = session.scalar(queued.limit(1))
            if waiting is not None:
                waiting.environment = {**waiting.environment, **identity.get("environment", {})}
                waiting.status, waiting.started = "running", now()
            run = waiting.id if waiting is not None else self._enter(session, identity)
            if lease is not None:
                lost = (RunRecord.id == lease.run_id, RunRecord.status == "running")
                _change(session, *lost, status="interrupted", failure="its process ended", ended=now())
            session.merge(LeaseRow(key=key, run_id=run, heartbeat=time.time(), doing=""))
            return Claim("yours", run)

    def begin(self, identity: Mapping[str, Any]) -> int:
        """Enter a running run without a claim, for results that are computed elsewhere; return its id."""
        with self.writing() as session:
            return self._enter(session, identity)

    def queue(self, identity: Mapping[str, Any], job: Mapping[str, str]) -> int:
        """Enter a queued run that ``job`` (its name and log) will compute, or update that of its key; return its id.

        The next claim of the key makes it a running run.
        """
        with self.writing() as session:
            queued = select(RunRecord.id).where(RunRecord.key == identity["key"], RunRecord.status == "queued")
            run = session.scalar(queued) or self._enter(session, {**identity, "environment": {}})
            _change(session, RunRecord.id == run, status="queued", environment=dict(job), started=now())
            return run

    def name_job(self, run: int, job: Mapping[str, str]) -> None:
        """Set the job of a run that is still queued."""
        with self.writing() as session:
            _change(session, RunRecord.id == run, RunRecord.status == "queued", environment=dict(job))

    def unqueue(self, key: str, status: str, failure: str, session: Session | None = None) -> None:
        """Mark the queued run of a key, if any, failed or interrupted; within the transaction of ``session``."""
        queued = (RunRecord.key == key, RunRecord.status == "queued")
        with nullcontext(session) if session else self.writing() as open_session:
            _change(open_session, *queued, status=status, failure=failure, ended=now())

    def beat(self, run: int, doing: str) -> None:
        """Record a heartbeat of the process that claimed ``run``, and its current phase."""
        with self.writing() as session:
            session.execute(update(LeaseRow).where(LeaseRow.run_id == run).values(heartbeat=time.time(), doing=doing))

    def finish(self, run: RunRecord, details: Mapping[str, bytes]) -> None:
        """Store the outcome of a run that was begun, and mark it done, all or nothing; supersede older runs of its key.

        A finished run is not changed, since another process may have entered its outcome from a file.
        """
        with self.writing(run.key) as session:
            row = session.get_one(RunRecord, run.id, with_for_update=True)
            if row.status in FINISHED:
                return
            insert_results(session, run.id, run.scores, details)
            row.seconds, row.cost = run.seconds, run.cost
            row.environment = {**row.environment, **run.environment}
            row.status, row.failure, row.ended = "done", "", now()
            older = (RunRecord.key == row.key, RunRecord.id != run.id, RunRecord.status == "done")
            _change(session, *older, status="superseded")
            session.execute(delete(LeaseRow).where(LeaseRow.run_id == run.id))

    def fail(self, run: int, status: str, failure: str) -> None:
        """Mark a running run failed or interrupted, with the reason."""
        with self.writing() as session:
            running = (RunRecord.id == run, RunRecord.status == "running")
            _change(session, *running, status=status, failure=failure, ended=now())
            session.execute(delete(LeaseRow).where(LeaseRow.run_id == run))

    def run(self, number: int, *, finished: bool = False) -> RunRecord:
        """The run of a number; raises IncompleteError without one, or where it must be ``finished`` and is not."""
        runs = self.runs(id=number)
        if not runs:
            raise IncompleteError(f"There is no run {number}: 'bench list runs' shows all runs.")
        if finished and runs[0].status not in FINISHED:
            raise IncompleteError(f"Run {number} is {runs[0].status}: name a finished run.")
        return runs[0]

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
        """Runs whose columns equal the given values (a list: any of them), oldest first, with their scores.

        ``metrics`` (ids, None for all) and ``averages`` choose the scores: a thousand runs have hundreds of thousands.
        With ``session`` they are read within the caller's transaction.
        """
        query = select(*RunRecord.__table__.columns).order_by(RunRecord.id)  # faster than whole rows
        for column, value in equal.items():
            attribute = getattr(RunRecord, column)
            values = value if isinstance(value, list | tuple) else [value]
            query = query.where(attribute.is_(None) if value is None else attribute.in_(filter(_fits, values)))
        with nullcontext(session) if session else self._session(self._engine) as open_session:
            rows = open_session.execute(query).all()
            numbers = query.with_only_columns(RunRecord.id).order_by(None) if equal else None
            scores = scores_by_run(open_session, numbers, metrics, averages)
        return [RunRecord(**row._mapping, scores=tuple(scores.get(row.id, ()))) for row in rows]

    def details(self, name: str, runs: Sequence[int]) -> dict[int, bytes]:
        """The details of one name by run; runs without it are left out."""
        # Written out in the statement, since databases limit its parameters.
        numbers: Any = bindparam(None, list(runs), expanding=True, literal_execute=True)
        query = select(DetailRow.run_id, DetailRow.content).where(DetailRow.name == name, DetailRow.run_id.in_(numbers))
        with self._session(self._engine) as session:
            return dict(session.execute(query).all())

    def detail(self, run: int, name: str) -> bytes | None:
        """One detail of one run, or None."""
        return self.details(name, [run]).get(run)

    def details_of(self, run: int) -> dict[str, bytes]:
        """All details of a run, by name."""
        with self._session(self._engine) as session:
            query = select(DetailRow.name, DetailRow.content).where(DetailRow.run_id == run)
            return dict(session.execute(query).all())

    def doing(self) -> dict[int, tuple[float, str]]:
        """Claimed runs: seconds since the last heartbeat, and the phase of the process."""
        with self._session(self._engine) as session:
            rows = session.execute(select(LeaseRow.run_id, LeaseRow.heartbeat, LeaseRow.doing)).all()
        return {run: (time.time() - heartbeat, doing) for run, heartbeat, doing in rows}

    def _enter(self, session: Session, identity: Mapping[str, Any]) -> int:
        columns = {"seconds": {}, "cost": {}, "status": "running", "failure": "", "started": now(), "ended": ""}
        return insert_run(session, {**identity, **columns})

    @contextmanager
    def writing(self, key: str = "") -> Iterator[Session]:
        """A transaction that may write: whole or not at all; one at a time for a ``key``. Raises StorageError."""
        with self._session(self._writing) as session:
            if key and self._engine.dialect.name == "postgresql":  # SQLite locks the whole database
                session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(key, 0))))
            yield session

    @contextmanager
    def _session(self, engine: Engine) -> Iterator[Session]:
        if inode(self._file) != self._inode:  # SQLite would go on with a deleted file
            raise DatabaseError(
                f"The results database {plain(self.where)} was removed, moved or replaced while it was in use: put it "
                "back."
            )
        with failures(self.where), Session(engine) as session, session.begin():
            yield session


def now() -> str:
    """The time in UTC, ISO 8601, in whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _change(session: Session, *where: ColumnElement[bool], **values: Any) -> None:
    session.execute(update(RunRecord).where(*where).values(**values))


def _fits(value: object) -> bool:
    """Whether a column can hold a value: no row has an integer beyond 64 bits, and the driver of SQLite takes none."""
    return not isinstance(value, int) or -(2**63) <= value < 2**63
