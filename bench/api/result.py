"""What ``evaluate`` returns and a stored run have in common: figures, values of every query, intervals, a table."""

from __future__ import annotations

import html
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bench.errors import UsageError, nearest
from bench.evaluation.metrics.base import METRICS, parse_metric
from bench.evaluation.ranking_result import class_means
from bench.statistics.intervals import SEED, Interval, interval
from bench.types import Doubles, Labels

COLUMNS = ("metric", "value", "95 % interval")


class Result(ABC):
    """The figures of one method on one list of queries. It shows itself as a table in a notebook."""

    @property
    @abstractmethod
    def scores(self) -> Mapping[str, float]:
        """Means by metric id: over queries, or over classes for an id with ``@classes``."""

    @property
    @abstractmethod
    def per_query(self) -> Mapping[str, Doubles]:
        """Values of every query, float64 [queries], by metric id without mean. NaN: no photo is relevant."""

    @property
    @abstractmethod
    def clusters(self) -> Labels:
        """The class of every query as a number, int64 [queries]."""

    @property
    @abstractmethod
    def class_names(self) -> Sequence[str]:
        """The names of the classes that ``clusters`` numbers; empty where the numbers are the names."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """The figures as plain numbers and texts, for JSON or a data frame."""

    @property
    def per_class(self) -> dict[str, dict[str | int, float]]:
        """The mean of each class, by metric id without mean. NaN: no query of the class has a relevant photo."""
        found = {}
        for metric, values in self.per_query.items():
            labels, means = class_means(metric, values, self.clusters)
            found[metric] = dict(zip(self._names(labels), means.tolist(), strict=True))
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
        return interval(self.values(metric), self.clusters, average, np.random.default_rng(SEED))

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

    def _names(self, labels: Labels) -> list[str | int]:
        return [self.class_names[label] for label in labels] if self.class_names else labels.tolist()
