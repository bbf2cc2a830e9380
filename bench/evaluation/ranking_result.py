"""The metrics of every query, and their means."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from bench.evaluation.metrics.base import METRICS, parse_metric
from bench.types import Average, Doubles, EmptyQueries, Labels, Score


@dataclass(frozen=True)
class Ranking:
    """The value of every metric for every query.

    ``metrics`` are ids without average, ``values`` float64 [metrics, queries], NaN where no photo is relevant.
    ``relevant`` int64 [queries] counts the relevant photos that a query sees; ``clusters`` int64 [queries] are what
    intervals resample: the class. ``top`` int32 [queries, top] are gallery positions, best first, -1 where a query sees
    fewer; ``hits`` bool [queries, top] marks the relevant ones. ``photos`` is the size of the gallery; ``of_scores``: a
    matrix of scores was ranked.
    """

    metrics: tuple[str, ...]
    values: Doubles
    relevant: Labels
    clusters: Labels
    top: npt.NDArray[np.int32] = field(default_factory=lambda: np.empty((0, 0), dtype=np.int32))
    hits: npt.NDArray[np.bool_] = field(default_factory=lambda: np.empty((0, 0), dtype=np.bool_))
    photos: int = 0
    of_scores: bool = False

    def per_query(self, metric: str, empty: EmptyQueries = "skip") -> Doubles:
        """One metric, float64 [queries]. A query without relevant photo is NaN (``skip``) or 0 (``zero``).

        Raises KeyError for a metric that was not computed.
        """
        if metric not in self.metrics:
            raise KeyError(f"{metric} was not computed; the ranking holds {', '.join(self.metrics)}")
        values = self.values[self.metrics.index(metric)]
        return np.where(self.relevant == 0, 0.0, values) if empty == "zero" else values

    def per_class(self, metric: str, empty: EmptyQueries = "skip") -> tuple[Labels, Doubles]:
        """Clusters, ascending int64 [classes], and the mean of each, float64 [classes]; NaN if no query counts.

        A metric such as ``median-rank`` has the median of each instead.
        """
        return class_means(metric, self.per_query(metric, empty), self.clusters)

    def score(self, metric: str, average: Average = "queries", empty: EmptyQueries = "skip") -> Score:
        """The mean over queries, or over classes of the mean within each; NaN if no query counts.

        A metric such as ``median-rank`` has the median over queries, or the mean over classes of the median in each.
        """
        values = self.per_query(metric, empty) if average == "queries" else self.per_class(metric, empty)[1]
        counted = values[~np.isnan(values)]
        middle = np.median if _has_median(metric) and average == "queries" else np.mean
        mean = float(middle(counted)) if len(counted) else float("nan")
        skipped = int(np.count_nonzero(self.relevant == 0)) if empty == "skip" else 0
        return Score(metric, average, mean, queries=len(self.relevant), skipped=skipped)


def class_means(metric: str, values: Doubles, clusters: Labels) -> tuple[Labels, Doubles]:
    """As ``Ranking.per_class``, from the ``values`` of every query, float64 [queries]."""
    labels, position = np.unique(clusters, return_inverse=True)
    counts = ~np.isnan(values)
    if _has_median(metric):
        own = [values[(position == number) & counts] for number in range(len(labels))]
        return labels, np.array([np.median(each) if len(each) else np.nan for each in own])
    total = np.bincount(position, weights=np.where(counts, values, 0.0), minlength=len(labels))
    number = np.bincount(position[counts], minlength=len(labels))
    return labels, np.divide(total, number, out=np.full(len(labels), np.nan), where=number > 0)


def _has_median(metric: str) -> bool:
    return METRICS.get(parse_metric(metric).definition).median
