"""Scores out of the database, as many as are asked for and no more: a thousand runs have hundreds of thousands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import and_, false, or_, select
from sqlalchemy.orm import Session

from bench.results.models import ScoreRow, id_columns, score_of
from bench.types import AVERAGES, Average, Score


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
