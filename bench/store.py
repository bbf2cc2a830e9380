"""Runs and their scores in a database: who computes what, what is done, what belongs to it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from bench import migrations
from bench.database import failures, open_engine
from bench.models import RUN_COLUMNS, Base, DetailRow, LeaseRow, RunRecord, RunRow, ScoreRow, score_columns, score_of
from bench.types import Score

STALE_SECONDS = 60.0  # a process that was silent so long is taken for dead; it speaks every few seconds


@dataclass(frozen=True)
class Claim:
    """The answer to "may I compute this?": ``yours`` (run it), ``done`` (here it is) or ``busy`` (another one does)."""

    answer: Literal["yours", "done", "busy"]
    run: int


class Store:
    """The results database at ``where``: a path, or an SQLAlchemy URL.

    Raises StorageError (one sentence) when it cannot be opened, is no database, or was written by a newer program.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self._engine = open_engine(where)
        self._writing = self._engine.execution_options(writes=True)
        with failures(where):
            with self._engine.begin() as connection:
                current = migrations.is_current(connection)
            if not current:
                with self._writing.begin() as connection:
                    migrations.upgrade(connection, Base.metadata.create_all)

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def claim(self, identity: Mapping[str, Any], *, force: bool = False) -> Claim:
        """Enter a running run with the columns of ``identity``, unless its key is done or being computed.

        ``force`` runs what is done again. A run whose process gave no sign of life for ``STALE_SECONDS`` is marked
        interrupted and taken over.
        """
        with self._write() as session:
            key = identity["key"]
            newest = (
                select(RunRow.id).where(RunRow.key == key, RunRow.status == "done").order_by(RunRow.id.desc()).limit(1)
            )
            done = session.scalar(newest)
            if done is not None and not force:
                return Claim("done", done)
            lease = session.get(LeaseRow, key, with_for_update=True)
            if lease is not None and time.time() - lease.heartbeat < STALE_SECONDS:
                return Claim("busy", lease.run_id)
            if lease is not None:
                lost = update(RunRow).where(RunRow.id == lease.run_id, RunRow.status == "running")
                session.execute(lost.values(status="interrupted", failure="its process ended", ended=now()))
                session.delete(lease)
                session.flush()
            run = self._enter(session, identity)
            session.add(LeaseRow(key=key, run_id=run, heartbeat=time.time(), doing=""))
            return Claim("yours", run)

    def begin(self, identity: Mapping[str, Any]) -> int:
        """Enter a running run whatever else there is of its key, for results that come from elsewhere; its id."""
        with self._write() as session:
            return self._enter(session, identity)

    def beat(self, run: int, doing: str) -> None:
        """A sign of life of the process that claimed ``run``, and what it is doing."""
        with self._write() as session:
            session.execute(update(LeaseRow).where(LeaseRow.run_id == run).values(heartbeat=time.time(), doing=doing))

    def finish(
        self,
        run: int,
        scores: Sequence[Score],
        seconds: Mapping[str, float],
        *,
        cost: Mapping[str, float] | None = None,
        details: Mapping[str, bytes] | None = None,
    ) -> None:
        """Store what a run gave and mark it done, all or nothing; older runs of its key are superseded."""
        with self._write() as session:
            row = session.get_one(RunRow, run)
            if scores:
                session.execute(insert(ScoreRow), [{"run_id": run, **score_columns(score)} for score in scores])
            for name, content in (details or {}).items():
                session.add(DetailRow(run_id=run, name=name, content=content))
            row.seconds, row.cost = dict(seconds), dict(cost or {})
            row.status, row.ended = "done", now()
            older = (RunRow.key == row.key) & (RunRow.id != run) & (RunRow.status == "done")
            session.execute(update(RunRow).where(older).values(status="superseded"))
            session.execute(delete(LeaseRow).where(LeaseRow.run_id == run))

    def fail(self, run: int, status: str, failure: str) -> None:
        """Mark a run failed or interrupted, with the reason."""
        with self._write() as session:
            row = session.get_one(RunRow, run)
            row.status, row.failure, row.ended = status, failure, now()
            session.execute(delete(LeaseRow).where(LeaseRow.run_id == run))

    def find(self, key: str) -> RunRecord | None:
        """The newest finished run of a key."""
        return next(reversed(self.runs(key=key, status="done")), None)

    def runs(self, **equal: Any) -> list[RunRecord]:
        """Runs whose columns equal the values given (a list means any of them), oldest first, with their scores."""
        query = select(*(getattr(RunRow, name) for name in RUN_COLUMNS)).order_by(RunRow.id)
        for column, value in equal.items():
            attribute = getattr(RunRow, column)
            query = query.where(attribute.in_(value) if isinstance(value, list | tuple) else attribute == value)
        with self._read() as session:
            rows = session.execute(query).all()
            scores = self._scores(session, [row.id for row in rows], all_of_them=not equal)
        return [RunRecord(**row._mapping, scores=tuple(scores.get(row.id, ()))) for row in rows]

    def detail(self, run: int, name: str) -> bytes | None:
        """What was stored under a name with a run; None when nothing was."""
        with self._read() as session:
            return session.scalar(select(DetailRow.content).where(DetailRow.run_id == run, DetailRow.name == name))

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

    def _scores(self, session: Session, runs: Sequence[int], *, all_of_them: bool) -> dict[int, list[Score]]:
        found: dict[int, list[Score]] = {}
        columns = (ScoreRow.family, ScoreRow.k, ScoreRow.definition, ScoreRow.average, ScoreRow.value)
        query = select(ScoreRow.run_id, *columns, ScoreRow.queries, ScoreRow.skipped).order_by(ScoreRow.id)
        # Databases limit the number of values in one query: a long list is asked for in parts.
        parts: Iterable[Any] = [query] if all_of_them else [query.where(ScoreRow.run_id.in_(p)) for p in _parts(runs)]
        for part in parts:
            for run, *values in session.execute(part):
                found.setdefault(run, []).append(score_of(*values))
        return found

    @contextmanager
    def _read(self) -> Iterator[Session]:
        with failures(self.where), Session(self._engine) as session, session.begin():
            yield session

    @contextmanager
    def _write(self) -> Iterator[Session]:
        with failures(self.where), Session(self._writing) as session, session.begin():
            yield session


def now() -> str:
    """The time in UTC, ISO 8601, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _parts(values: Sequence[int], size: int = 500) -> list[Sequence[int]]:
    return [values[start : start + size] for start in range(0, len(values), size)]
