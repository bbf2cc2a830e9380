"""What ``evaluate`` returns and a stored run have in common: figures, values of every query, intervals, a table."""

from __future__ import annotations

import html
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from bench.errors import UsageError, nearest
from bench.evaluation.metrics.base import METRICS, parse_metric
from bench.evaluation.ranking_result import class_means
from bench.results.details import PerQuery
from bench.statistics.intervals import Interval, class_sums, interval
from bench.types import Doubles, Labels, Score

COLUMNS = ("metric", "value", "95 % interval")


class Result(ABC):
    """The figures of one method on one list of queries. It shows itself as a table in a notebook."""

    @property
    @abstractmethod
    def _figures(self) -> Sequence[Score]:
        """Every mean."""

    @property
    @abstractmethod
    def _values(self) -> PerQuery:
        """What the means are taken of."""

    @cached_property
    def scores(self) -> dict[str, float]:
        """Means by metric id: over queries, or over classes for an id with ``@classes``."""
        return {each.name: each.value for each in self._figures}

    @cached_property
    def per_query(self) -> dict[str, Doubles]:
        """Values of every query, float64 [queries], by metric id without mean.

        A query without a relevant photo is NaN, or 0 where the protocol of ``evaluate`` counts it so.
        """
        return dict(zip(self._values.metrics, self._values.values.astype(np.float64), strict=True))

    @property
    def clusters(self) -> Labels:
        """The class of every query as a number, int64 [queries]."""
        return self._values.labels

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes that ``clusters`` numbers; empty where labels are integers."""
        return self._values.classes

    @property
    def per_class(self) -> dict[str, dict[str | int, float]]:
        """The mean of each class, by metric id without mean. NaN: no query of the class has a relevant photo."""
        found = {}
        for metric, values in self.per_query.items():
            labels, means = class_means(metric, values, self.clusters)
            names = [self.class_names[label] for label in labels] if self.class_names else labels.tolist()
            found[metric] = dict(zip(names, means.tolist(), strict=True))
        return found

    def score(self, metric: str) -> float:
        """One of ``scores``; the id may end in ``@queries``. Raises UsageError for a metric that is not there."""
        parsed = parse_metric(metric)
        name = parsed.id if parsed.average in (None, "queries") else str(parsed)
        if name not in self.scores:
            raise UsageError(f"There is no value of {name} here. {nearest(name, self.scores)}")
        return self.scores[name]

    def interval(self, metric: str) -> Interval:
        """The 95 % interval of a metric over other classes, as reports show it; docs/statistics.md explains it.

        The ends are NaN for a median. Raises UsageError for a metric without values of every query.
        """
        parsed = parse_metric(metric)
        average = parsed.average or "queries"
        if METRICS.get(parsed.definition).median:
            return Interval(self.score(metric))
        return interval(class_sums(self.values(metric), self.clusters, average))

    def values(self, metric: str) -> Doubles:
        """The values of every query for a metric, with or without a mean in its id: float64 [queries].

        Raises UsageError for a metric without them.
        """
        name = parse_metric(metric).id
        if name not in self.per_query:
            raise UsageError(f"There are no values of {name} for every query. {nearest(name, self.per_query)}")
        return self.per_query[name]

    def table(self) -> str:
        """The figures as text: metric, value, 95 % interval."""
        rows = [COLUMNS, *self._rows()]
        widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])

    def _repr_html_(self) -> str:
        """The same table, for notebooks."""
        head = "".join(f"<th>{name}</th>" for name in COLUMNS)
        rows = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in self._rows())
        return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"

    @property
    def _shown(self) -> list[str]:
        """The metrics of the table."""
        return list(self.scores)

    def _rows(self) -> list[tuple[str, str, str]]:
        rows = []
        for metric in self._shown:
            value, limits = self.scores[metric], self.interval(metric)
            text = "-" if math.isnan(limits.low) else f"{limits.low:.3f} to {limits.high:.3f}"
            rows.append((metric, "-" if math.isnan(value) else f"{value:.4f}", text))
        return rows
