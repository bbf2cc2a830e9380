"""Tables of the results database, and a stored run as the rest of the program sees it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import JSON, ForeignKey, LargeBinary, String, and_, false, insert, or_, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from bench.settings.post_processing import PostProcessing
from bench.settings.selection_rules import selection
from bench.types import AVERAGES, Average, Score


class Base(DeclarativeBase):
    """Tables of the results database; a change here is a step in ``bench/results/migrations.py``."""


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
    request: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    environment: Mapped[dict[str, Any]] = mapped_column(JSON)
    seconds: Mapped[dict[str, Any]] = mapped_column(JSON)
    cost: Mapped[dict[str, Any]] = mapped_column(JSON)
    status: Mapped[str]
    failure: Mapped[str]
    started: Mapped[str]
    ended: Mapped[str]


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


class DetailRow(Base):
    """What belongs to a run and is too large for a column: per-query values, best photos, training curves."""

    __tablename__ = "detail"

    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    content: Mapped[bytes] = mapped_column(LargeBinary)


class LeaseRow(Base):
    """Who computes a key right now: one process at a time, as long as it gives signs of life."""

    __tablename__ = "lease"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"))
    heartbeat: Mapped[float]  # seconds since 1970, UTC
    doing: Mapped[str]  # what it said last, such as "training 120/216"


@dataclass(frozen=True)
class RunRecord:
    """A stored run. ``status`` is queued, running, done, failed, interrupted or superseded; times are UTC, ISO 8601."""

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
    cost: Mapping[str, float] = field(default_factory=dict)
    request: Mapping[str, Any] = field(default_factory=dict)
    scores: tuple[Score, ...] = ()

    @property
    def title(self) -> str:
        """What tables call the run: method, what it leaves out, what follows it, the rule that chose its epoch."""
        post = PostProcessing(**self.configuration.get("post", {})).title
        mark = selection(self.selection).mark
        words = (self.method, self.ablation, post, self.trained_on, mark, self.origin)
        return " ".join(part for part in words if part)

    @property
    def trained_on(self) -> str:
        """The mark of a run whose network was trained on another split, with how much of the test it had seen there."""
        return trained_on(self.configuration.get("checkpoint"))

    @property
    def smoke(self) -> bool:
        """Whether it was limited to some images a class, or its network was trained on so few."""
        checkpoint = self.configuration.get("checkpoint") or {}
        return self.per_class_limit is not None or checkpoint.get("limit") is not None

    @property
    def origin(self) -> str:
        """The mark of a run whose embeddings were made elsewhere; ``unverified`` when nobody held them to the split."""
        external = self.configuration.get("external")
        if external is None:
            return ""
        return "(external)" if external["verified"] else "(external, unverified)"

    def value(self, metric: str, average: Average = "queries") -> float:
        """The figure of a metric id; NaN where the run has none."""
        for score in self.scores:
            if score.metric == metric and score.average == average:
                return score.value
        return math.nan


def trained_on(checkpoint: Mapping[str, Any] | None) -> str:
    """What stands behind a method's name where its network, ``checkpoint`` of a configuration, came ready trained.

    Also where it was trained on the run's own split, so that the row of a training is never mixed with another.
    """
    if checkpoint is None:
        return ""
    saw, limit = len(checkpoint["saw"]), checkpoint.get("limit")
    marks = [f"smoke: {limit} images a class"] if limit is not None else []
    marks += [f"saw {saw} test class{'es' * (saw != 1)}"] if saw else []
    return f"trained on {checkpoint['split']}" + (f" ({', '.join(marks)})" if marks else "")


RUN_COLUMNS = tuple(name for name in RunRecord.__dataclass_fields__ if name != "scores")


def id_columns(metric: str) -> dict[str, Any]:
    """A metric id as the columns of a score's row."""
    name, _, definition = metric.partition(":")
    family, _, k = name.partition("@")
    return {"family": family, "k": None if k == "all" else int(k), "definition": definition}


def score_columns(score: Score) -> dict[str, Any]:
    """A score as the columns of its row."""
    return {
        **id_columns(score.metric),
        "average": score.average,
        "value": None if math.isnan(score.value) else score.value,
        "queries": score.queries,
        "skipped": score.skipped,
    }


def score_of(
    family: str, k: int | None, definition: str, average: str, value: float | None, queries: int, skipped: int
) -> Score:
    """The score that a row's columns hold."""
    return Score(
        metric=f"{family}@{'all' if k is None else k}:{definition}",
        average="classes" if average == "classes" else "queries",
        value=math.nan if value is None else value,
        queries=queries,
        skipped=skipped,
    )


def insert_results(session: Session, run: int, scores: Sequence[Score], details: Mapping[str, bytes]) -> None:
    """Insert the scores and details of a run inside the caller's transaction."""
    if scores:
        session.execute(insert(ScoreRow), [{"run_id": run, **score_columns(score)} for score in scores])
    for name, content in details.items():
        session.add(DetailRow(run_id=run, name=name, content=content))


def scores_by_run(
    session: Session,
    runs: Sequence[int],
    metrics: Sequence[str] | None,
    averages: Sequence[Average],
    *,
    all_of_them: bool,
) -> dict[int, list[Score]]:
    """Scores by run, of these metric ids (None: every one) and averages; ``all_of_them``: there are no other runs."""
    found: dict[int, list[Score]] = {}
    columns = (ScoreRow.family, ScoreRow.k, ScoreRow.definition, ScoreRow.average, ScoreRow.value)
    query = select(ScoreRow.run_id, *columns, ScoreRow.queries, ScoreRow.skipped).order_by(ScoreRow.id)
    if len(averages) < len(AVERAGES):
        query = query.where(ScoreRow.average.in_(averages))
    if metrics is not None:
        query = query.where(or_(false(), *(is_metric(metric) for metric in metrics)))
    parts: Iterable[Any] = [query] if all_of_them else [query.where(ScoreRow.run_id.in_(p)) for p in in_parts(runs)]
    for part in parts:
        for run, *values in session.execute(part):
            found.setdefault(run, []).append(score_of(*values))
    return found


def is_metric(metric: str) -> Any:
    """The condition that a score is of this metric id."""
    columns = id_columns(metric)
    return and_(*(getattr(ScoreRow, name) == value for name, value in columns.items()))


def in_parts(values: Sequence[int], size: int = 500) -> list[Sequence[int]]:
    """A long list in parts: databases limit the number of values in one query."""
    return [values[start : start + size] for start in range(0, len(values), size)]
