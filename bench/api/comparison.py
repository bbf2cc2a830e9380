"""``bench.compare``: the paired difference of two results on the same queries, as reports show it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from bench.api.arguments import as_array, number_labels
from bench.api.result import Result
from bench.errors import UsageError
from bench.evaluation.metrics.base import MAIN_METRICS, METRICS, parse_metric
from bench.statistics import significance
from bench.statistics.intervals import SEED, class_sums
from bench.statistics.significance import Comparison
from bench.types import Floats, Labels

if TYPE_CHECKING:
    from bench.api.arguments import Array

    Side: TypeAlias = Result | Sequence[Result] | Array


def compare(a: Side, b: Side, metric: str = MAIN_METRICS[0], *, labels: Array | None = None) -> Comparison:
    """The difference of a metric, ``a`` minus ``b``, in points (hundredths), paired by query.

    ``a`` and ``b`` are results of ``evaluate``, stored runs, lists of these with one for each seed, or values of every
    query from elsewhere: [queries] or [seeds, queries]. For such values, ``labels`` [queries] are the classes. The
    interval ``low`` to ``high`` and ``p`` are those of reports: over other classes and, with several seeds, other
    trainings (docs/statistics.md).

    Raises BenchError that names the argument, also for results of other queries.

    >>> labels = ["cat", "cat", "dog", "dog", "owl", "owl"]
    >>> found = compare([0.9, 0.8, 0.7, 0.9, 0.8, 0.6], [0.5, 0.6, 0.5, 0.4, 0.3, 0.6], labels=labels)
    >>> round(found.points, 1), found.p
    (30.0, 0.25)
    """
    parsed = parse_metric(metric)
    average = parsed.average or "queries"
    if METRICS.get(parsed.definition).median:
        raise UsageError(
            f"Argument 'metric' is {metric}: differences of medians have no interval, choose another metric."
        )
    sides = {"a": _values("a", a, metric), "b": _values("b", b, metric)}
    known = {name: clusters for name, (_, _, clusters) in sides.items() if clusters is not None}
    if labels is not None:
        known |= number_labels(labels=labels)[0]
    if not known:
        raise UsageError("Argument 'labels' is missing: values of queries are compared by class.")
    (first, clusters), *others = known.items()
    for name, (values, _, _) in sides.items():
        if (queries := values.shape[1]) != len(clusters):
            raise UsageError(
                f"Argument {name!r} has {queries} queries, {first!r} has {len(clusters)}: give the same queries."
            )
    for other, numbers in others:
        if not _same_classes(clusters, numbers):
            raise UsageError(
                f"Arguments {first!r} and {other!r} differ in the classes of their queries: "
                "give the same queries in the same order."
            )
    try:
        if not np.array_equal(*(np.isnan(values[0]) for values, _, _ in sides.values())):
            raise ValueError("the two methods leave out different queries")
        mine, its = (class_sums(values, clusters, average, seeds) for values, seeds, _ in sides.values())
    except ValueError as error:  # other queries without a relevant photo
        raise UsageError(
            f"Arguments 'a' and 'b' cannot be compared ({error}): give results of the same queries."
        ) from error
    return significance.compare(mine, its, np.random.default_rng(SEED))


def _values(name: str, side: Side, metric: str) -> tuple[Floats, tuple[int, ...], Labels | None]:
    """Values [seeds, queries] of one side, its seeds, and the classes of its queries if it knows them."""
    each, clusters = [side] if isinstance(side, Result) else side, None
    if isinstance(each, list | tuple) and each and all(isinstance(result, Result) for result in each):
        members: list[Any] = sorted(each, key=lambda result: int(getattr(result, "seed", 0)))
        seeds = tuple(getattr(result, "seed", number) for number, result in enumerate(members))
        if len(set(seeds)) < len(seeds):
            raise UsageError(f"Argument {name!r} has two runs of one seed: give each seed once.")
        rows = [result.values(metric) for result in members]
        if len({row.shape for row in rows}) > 1:
            raise UsageError(f"Argument {name!r} has results of other numbers of queries: give results of one split.")
        values, clusters = np.stack(rows), members[0].clusters
    else:
        values = np.atleast_2d(as_array(name, side))
        if values.dtype.kind not in "fiub" or values.ndim != 2 or not values.size:
            raise UsageError(
                f"Argument {name!r} must be a result of evaluate, a run, a list of these, or numbers [queries] or "
                f"[seeds, queries]; it is {values.dtype} {values.shape}."
            )
        seeds = tuple(range(len(values)))
    # In the precision of stored runs: otherwise a run would differ from its own embeddings by rounding.
    with np.errstate(over="ignore"):  # infinity is refused
        values = values.astype(np.float32)
    if np.isinf(values).any():
        raise UsageError(f"Argument {name!r} holds infinity: give finite values, or NaN for a query that is left out.")
    return values, seeds, clusters


def _same_classes(one: Labels, other: Labels) -> bool:
    """Whether two numberings put the same queries together."""
    if one.shape != other.shape:
        return False
    pairs = len(np.unique(np.stack((one, other)), axis=1).T)
    return pairs == len(np.unique(one)) == len(np.unique(other))
