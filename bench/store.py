"""Runs and their scores in a database, SQLite unless told otherwise, through SQLAlchemy."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, Engine, ForeignKey, String, create_engine, event, make_url, select, update
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from bench import migrations
from bench.errors import StorageError, UsageError
from bench.types import Score

BUSY_MILLISECONDS = 30_000


class Base(DeclarativeBase):
    """Tables of the results database."""


class RunRow(Base):
    """One run: what was asked, on what it ran, how it ended."""

    __tablename__ = "run"

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(64), index=True)
    method: Mapped[str]
    ablation: Mapped[str]
    dataset: Mapped[str]
    split: Mapped[str]
    fingerprint: Mapped[str] = mapped_column(String(64))
    seed: Mapped[int]
    selection: Mapped[str]
    gallery: Mapped[str]
    per_class_limit: Mapped[int | None]
    configuration: Mapped[dict[str, Any]] = mapped_column(JSON)
    environment: Mapped[dict[str, Any]] = mapped_column(JSON)
    seconds: Mapped[dict[str, Any]] = mapped_column(JSON)
    status: Mapped[str]
    failure: Mapped[str]
    started: Mapped[str]
    ended: Mapped[str]
    scores: Mapped[list[ScoreRow]] = relationship(cascade="all, delete-orphan", order_by="ScoreRow.id")


class ScoreRow(Base):
    """One figure of one run; a new metric is a new row."""

    __tablename__ = "score"

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), index=True)
    family: Mapped[str]  # mAP | P
    k: Mapped[int | None]  # None: all
    definition: Mapped[str]
    average: Mapped[str]  # queries | classes
    value: Mapped[float | None]  # None: no query had a relevant photo
    queries: Mapped[int]
    skipped: Mapped[int]


@dataclass(frozen=True)
class RunRecord:
    """A stored run. ``status`` is running, done, failed, interrupted or superseded; times are UTC, ISO 8601."""

    id: int
    key: str
    method: str
    ablation: str
    dataset: str
    split: str
    fingerprint: str
    seed: int
    selection: str
    gallery: str
    per_class_limit: int | None
    configuration: Mapping[str, Any]
    environment: Mapping[str, Any]
    seconds: Mapping[str, float]
    status: str
    failure: str
    started: str
    ended: str
    scores: tuple[Score, ...]


class Store:
    """The results database at ``where``: a path, or an SQLAlchemy URL.

    Raises StorageError (one sentence) when it cannot be opened, is no database, or was written by a newer program.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self._engine = _engine(where)
        with self._failures(), self._engine.begin() as connection:
            migrations.upgrade(connection, Base.metadata.create_all)

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def begin(self, identity: Mapping[str, Any]) -> int:
        """Enter a running run with the columns of ``identity``; its id."""
        row = RunRow(**identity, seconds={}, status="running", failure="", started=now(), ended="")
        with self._session() as session:
            session.add(row)
            session.flush()
            return row.id

    def finish(self, run: int, scores: Sequence[Score], seconds: Mapping[str, float]) -> None:
        """Store the scores of a run and mark it done; older runs of the same key are superseded."""
        with self._session() as session:
            row = session.get_one(RunRow, run)
            row.scores = [_score_row(score) for score in scores]
            row.seconds = dict(seconds)
            row.status, row.ended = "done", now()
            older = (RunRow.key == row.key) & (RunRow.id != run) & (RunRow.status == "done")
            session.execute(update(RunRow).where(older).values(status="superseded"))

    def fail(self, run: int, status: str, failure: str) -> None:
        """Mark a run failed or interrupted, with the reason."""
        with self._session() as session:
            row = session.get_one(RunRow, run)
            row.status, row.failure, row.ended = status, failure, now()

    def find(self, key: str) -> RunRecord | None:
        """The newest finished run of a key."""
        return next(reversed(self.runs(key=key, status="done")), None)

    def runs(self, **equal: Any) -> list[RunRecord]:
        """Runs whose columns equal the values given (a list means any of them), oldest first, with their scores."""
        query = select(RunRow).order_by(RunRow.id)
        for column, value in equal.items():
            attribute = getattr(RunRow, column)
            query = query.where(attribute.in_(value) if isinstance(value, list | tuple) else attribute == value)
        with self._session() as session:
            return [_record(row) for row in session.scalars(query)]

    @contextmanager
    def _session(self) -> Iterator[Session]:
        with self._failures(), Session(self._engine) as session, session.begin():
            yield session

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise StorageError(f"The results database {_plain(self.where)} {_reason(error)}.") from error
        except SQLAlchemyError as error:
            raise StorageError(f"The results database {_plain(self.where)} failed ({error}).") from error


def now() -> str:
    """The time in UTC, ISO 8601, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _engine(where: str) -> Engine:
    if "://" not in where:
        path = Path(where)
        if path.is_dir() or not path.parent.is_dir():
            what = "is a folder" if path.is_dir() else f"lies in a folder that does not exist ({path.parent})"
            raise StorageError(f"The results database {where} {what}: give a file's path by --store.")
        where = f"sqlite:///{path}"
    try:
        engine = create_engine(make_url(where))
    except (ArgumentError, ImportError) as error:
        raise UsageError(f"--store takes a path or an SQLAlchemy URL, not {_plain(where)!r} ({error}).") from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
    # The time-out first: switching to WAL itself may have to wait for another process.
    for pragma in (f"busy_timeout = {BUSY_MILLISECONDS}", "journal_mode = WAL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _plain(where: str) -> str:
    """A path or URL without a password in it."""
    return make_url(where).render_as_string(hide_password=True) if "://" in where else where


def _reason(error: DBAPIError) -> str:
    said = str(error.orig)
    for part, reason in (
        ("not a database", "is not a database file: it was left as it is; give another path by --store"),
        ("malformed", "is damaged: restore a copy, or give another path by --store"),
        ("readonly", "is not writable: change its permissions or give another path by --store"),
        ("unable to open", "cannot be opened or made: check the path and its permissions"),
        ("locked", "is locked by another program: wait for it to end and ask again"),
        ("full", "cannot grow, the disk is full: free some space and ask again"),
    ):
        if part in said:
            return reason
    return f"failed ({said.strip()})"


def _score_row(score: Score) -> ScoreRow:
    metric, _, definition = score.metric.partition(":")
    family, _, k = metric.partition("@")
    return ScoreRow(
        family=family,
        k=None if k == "all" else int(k),
        definition=definition,
        average=score.average,
        value=None if math.isnan(score.value) else score.value,
        queries=score.queries,
        skipped=score.skipped,
    )


def _record(row: RunRow) -> RunRecord:
    columns = {name: getattr(row, name) for name in RunRecord.__dataclass_fields__ if name != "scores"}
    scores = tuple(
        Score(
            metric=f"{each.family}@{'all' if each.k is None else each.k}:{each.definition}",
            average="classes" if each.average == "classes" else "queries",
            value=math.nan if each.value is None else each.value,
            queries=each.queries,
            skipped=each.skipped,
        )
        for each in row.scores
    )
    return RunRecord(**columns, scores=scores)
