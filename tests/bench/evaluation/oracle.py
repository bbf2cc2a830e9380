"""An oracle from the definitions alone: one query at a time, a full stable sort, float64, plain Python.

It shares no code with the engine, which never sorts a gallery. Published formulas are written a second time; other
metrics are computed by their own function, in plain Python, on ranks from the sort.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from bench.evaluation.metrics.base import METRICS, parse_metric

Flags = Sequence[bool]


def ranked(scores: npt.NDArray[np.float32], relevant: npt.NDArray[np.bool_], ties: str = "index") -> list[bool]:
    """Relevance of the photos in ranking order; ``ties`` orders equally scored photos."""
    second = {"index": 0 * relevant, "pessimistic": 1 * relevant, "optimistic": -1 * relevant}[ties]
    order = sorted(range(len(scores)), key=lambda photo: (-float(scores[photo]), int(second[photo]), photo))
    return [bool(relevant[photo]) for photo in order]


def value(metric: str, flags: Flags) -> float:
    """Value of one query by the published formulas, from the relevance of its photos in ranking order."""
    family, _, rest = metric.partition("@")
    relevant = sum(flags)
    if relevant == 0:
        return math.nan
    if family == "acc":
        return float(any(flags[: int(rest)]))
    if family not in ("mAP", "P"):
        ranks = [rank for rank, flag in enumerate(flags, start=1) if flag]
        return by_function(metric, ranks, ranks)
    text_k, definition = rest.split(":")
    k = len(flags) if text_k == "all" else int(text_k)
    first = list(flags[:k])
    precision = [found / rank for rank, found in enumerate(accumulate(first), start=1)]
    if family == "P":
        if definition == "index":
            return float(k < len(flags) and flags[k])
        return sum(first[: min(k, relevant)]) / min(k, relevant) if definition == "min" else sum(first) / k
    if definition.startswith("voc"):
        precision = list(accumulate(reversed(precision), max))[::-1]  # the highest here or later
    total = math.fsum(p for p, flag in zip(precision, first, strict=True) if flag)
    if definition == "hits":
        return total / sum(first) if any(first) else 0.0
    denominators = {"plain": relevant, "voc": relevant, "all": relevant, "k": k}
    return total / denominators.get(definition, min(k, relevant))


def by_function(metric: str, ranks: Sequence[int], ends: Sequence[int]) -> float:
    """Value of one query by the metric's own function, run as plain Python: what a new metric is compared with."""
    parsed = parse_metric(metric)
    function, result = METRICS.get(parsed.definition).function, [math.nan]
    given = {"ranks": ranks, "ends": ends, "relevant": len(ranks), "k": parsed.k, "value": result}
    function(**{name: given[name] for name in inspect.signature(function).parameters})
    return result[0]


def tied(scores: npt.NDArray[np.float32], relevant: npt.NDArray[np.bool_]) -> float:
    """``mAP@all:tied``: every distinct score is a threshold; recall gained there times precision there."""
    if not relevant.any():
        return math.nan
    order = sorted(range(len(scores)), key=lambda photo: -float(scores[photo]))
    total, before, found = 0.0, 0, 0
    for kept, photo in enumerate(order, start=1):
        found += int(relevant[photo])
        if kept == len(order) or scores[order[kept]] < scores[photo]:  # the end of a group of equal scores
            total += (found - before) / int(relevant.sum()) * found / kept
            before = found
    return total


def tied_in_first(scores: npt.NDArray[np.float32], relevant: npt.NDArray[np.bool_], flags: Flags, k: int) -> float:
    """``mAP@K:hits-tied``: ``tied`` of the first ``k`` photos alone, whose relevance in ranking order is ``flags``."""
    if not relevant.any():
        return math.nan
    first = np.array(flags[:k], dtype=np.bool_)
    return tied(np.sort(scores)[::-1][:k], first) if first.any() else 0.0


def values(
    metrics: Sequence[str],
    scores: npt.NDArray[np.float32],
    query_labels: npt.NDArray[np.int64],
    gallery_labels: npt.NDArray[np.int64],
    ties: str = "index",
) -> npt.NDArray[np.float64]:
    """float64 [metrics, queries] for ``scores`` [queries, photos]."""
    columns = []
    for row, label in zip(scores, query_labels, strict=True):
        relevant = gallery_labels == label
        flags = ranked(row, relevant, ties)
        ranks = [rank for rank, flag in enumerate(flags, start=1) if flag]
        ends = sorted(int((row >= score).sum()) for score in row[relevant])
        column = []
        for each in metrics:
            if each == "mAP@all:tied":
                column.append(tied(row, relevant))
            elif each.endswith(":hits-tied"):
                column.append(tied_in_first(row, relevant, flags, int(each.split("@")[1].split(":")[0])))
            elif each.startswith("acc@"):
                column.append(float(int((row >= row[relevant].max()).sum()) <= int(each[4:])) if ranks else math.nan)
            elif each.startswith(("mAP", "P@")):
                column.append(value(each, flags))
            else:
                column.append(by_function(each, ranks, ends) if ranks else math.nan)
        columns.append(column)
    return np.array(columns).T
