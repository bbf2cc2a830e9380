"""What ranking gives for every query, and the means over it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.types import AVERAGES, Average, Doubles, EmptyQueries, Labels, Score


@dataclass(frozen=True)
class Ranking:
    """The values of every metric for every query, from which every mean is made.

    ``metrics`` ids without average, ``values`` float64 [metrics, queries] (NaN where no photo is relevant),
    ``relevant`` int64 [queries] (how many relevant photos the query sees), ``clusters`` int64 [queries] (what intervals
    resample: the class), ``top`` int32 [queries, top] (gallery positions, best first; -1 where the query sees fewer)
    and ``hits`` bool [queries, top] (which of them are relevant), or None.
    """

    metrics: tuple[str, ...]
    values: Doubles
    relevant: Labels
    clusters: Labels
    top: npt.NDArray[np.int32] | None = None
    hits: npt.NDArray[np.bool_] | None = None

    def per_query(self, metric: str, empty: EmptyQueries = "skip") -> Doubles:
        """Values of one metric, float64 [queries]; a query without relevant photo is NaN (skip) or 0 (zero).

        Raises KeyError for a metric that was not ranked for.
        """
        if metric not in self.metrics:
            raise KeyError(f"{metric} was not computed; the ranking holds {', '.join(self.metrics)}")
        values = self.values[self.metrics.index(metric)]
        return np.where(self.relevant == 0, 0.0, values) if empty == "zero" else values

    def per_class(self, metric: str, empty: EmptyQueries = "skip") -> tuple[Labels, Doubles]:
        """Clusters of the queries, ascending int64 [classes], and the mean of each, float64 [classes].

        A class none of whose queries counts has NaN.
        """
        values = self.per_query(metric, empty)
        labels, position = np.unique(self.clusters, return_inverse=True)
        counts = ~np.isnan(values)
        total = np.bincount(position, weights=np.where(counts, values, 0.0), minlength=len(labels))
        number = np.bincount(position[counts], minlength=len(labels))
        return labels, np.divide(total, number, out=np.full(len(labels), np.nan), where=number > 0)

    def score(self, metric: str, average: Average = "queries", empty: EmptyQueries = "skip") -> Score:
        """The mean over all queries, or over the classes of the mean within each; NaN where no query counts.

        ``skip`` leaves out queries without relevant photo, and classes that have no other; ``zero`` counts them as 0.
        """
        values = self.per_query(metric, empty) if average == "queries" else self.per_class(metric, empty)[1]
        counted = values[~np.isnan(values)]
        mean = float(counted.mean()) if len(counted) else float("nan")
        skipped = int(np.count_nonzero(self.relevant == 0)) if empty == "skip" else 0
        return Score(metric, average, mean, queries=len(self.relevant), skipped=skipped)

    def scores(self, empty: EmptyQueries = "skip") -> list[Score]:
        """Every metric under both means, in the order of ``metrics``, queries before classes."""
        return [self.score(metric, average, empty) for metric in self.metrics for average in AVERAGES]
