"""What is kept of a run beside its scores: values of every query, best photos, curves. Compressed, without pickle."""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.evaluation.metrics.base import MAIN_METRICS, STORED_METRICS
from bench.evaluation.ranking_result import Ranking
from bench.types import Floats, Labels

PER_QUERY, TOP, CURVE, HISTORY, SUMS = "per-query", "top", "curve", "history", "class-sums"
# P@K at these K makes the curves of a report; beyond 1,000 photos nobody looks.
CURVE_AT = (
    1,
    2,
    3,
    4,
    5,
    6,
    8,
    10,
    13,
    16,
    20,
    25,
    32,
    40,
    50,
    63,
    79,
    100,
    126,
    158,
    200,
    251,
    316,
    398,
    501,
    631,
    1000,
)
RANKED = (*STORED_METRICS, *(f"P@{k}:k" for k in CURVE_AT))  # what a run ranks for: its scores and its details


@dataclass(frozen=True)
class PerQuery:
    """Values of every query: ``values`` float32 [metrics, queries]; ``labels`` int64 [queries], the clusters.

    ``classes`` names those.
    """

    metrics: tuple[str, ...]
    values: Floats
    labels: Labels
    classes: tuple[str, ...]

    def of(self, metric: str) -> Floats:
        """One metric's values, float32 [queries]; raises KeyError when it was not kept."""
        if metric not in self.metrics:
            raise KeyError(f"{metric} is not kept for every query; there is {', '.join(self.metrics)}")
        row: Floats = self.values[self.metrics.index(metric)]
        return row


@dataclass(frozen=True)
class Sums:
    """Values of every query added up by class: ``sums`` float64 [metrics, classes], ``counts`` float64 [classes].

    ``counts`` are queries with a relevant photo; classes without such a query are left out.
    """

    metrics: tuple[str, ...]
    sums: npt.NDArray[np.float64]
    counts: npt.NDArray[np.float64]
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Top:
    """Best photos of every query: ``positions`` int32 [queries, top] in the gallery, ``labels`` their classes.

    Both are -1 where a query sees fewer. ``query_labels`` int64 [queries] are the classes of the queries, ``hits`` bool
    [queries, top] whether a photo is relevant.
    """

    positions: npt.NDArray[np.int32]
    labels: Labels
    query_labels: Labels
    classes: tuple[str, ...]
    hits: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Curve:
    """Means over the queries at each of ``ks``: precision and recall, float64 [ks]."""

    ks: Labels
    precision: npt.NDArray[np.float64]
    recall: npt.NDArray[np.float64]


def pack(
    ranking: Ranking, gallery_labels: Labels, classes: Sequence[str], history: Sequence[Mapping[str, float]]
) -> dict[str, bytes]:
    """Details of a run by name; ``classes`` names the labels, ``history`` are the training curves."""
    values = np.stack([ranking.per_query(metric) for metric in MAIN_METRICS]).astype(np.float32)
    names = np.array(classes)
    counted = ranking.relevant > 0
    precision = np.stack([ranking.per_query(f"P@{k}:k")[counted] for k in CURVE_AT])  # [ks, queries]
    recall = precision * np.array(CURVE_AT)[:, None] / ranking.relevant[counted]
    found = {
        PER_QUERY: _arrays(metrics=np.array(MAIN_METRICS), values=values, labels=ranking.clusters, classes=names),
        SUMS: _sums(values, ranking.clusters, classes),
        CURVE: _arrays(ks=np.array(CURVE_AT), precision=precision.mean(axis=1), recall=recall.mean(axis=1)),
    }
    if ranking.top is not None and ranking.hits is not None:
        labels = np.where(ranking.top < 0, -1, gallery_labels[ranking.top])
        found[TOP] = _arrays(
            positions=ranking.top, labels=labels, query_labels=ranking.clusters, hits=ranking.hits, classes=names
        )
    if history:
        found[HISTORY] = zlib.compress(json.dumps(list(history)).encode())
    return found


def per_query(content: bytes) -> PerQuery:
    """What ``pack`` put under ``PER_QUERY``."""
    found = _read(content)
    return PerQuery(
        tuple(found["metrics"].tolist()), found["values"], found["labels"], tuple(found["classes"].tolist())
    )


def sums(content: bytes) -> Sums:
    """What ``pack`` put under ``SUMS``."""
    head, _, body = content.partition(b"\n")
    found = json.loads(head)
    numbers = np.frombuffer(body, dtype="<f8").reshape(-1, len(found["classes"]))
    return Sums(tuple(found["metrics"]), numbers[1:], numbers[0], tuple(found["classes"]))


def sums_of(values: PerQuery) -> Sums:
    """The same of the values of every query."""
    return sums(_sums(values.values, values.labels, values.classes))


def _sums(values: Floats, labels: Labels, classes: Sequence[str]) -> bytes:
    """A line of JSON and the numbers as they lie in memory: a report of a thousand runs reads one of each."""
    counted = ~np.isnan(values[0])
    present, position = np.unique(labels[counted], return_inverse=True)
    rows = [np.bincount(position, minlength=len(present))]
    rows += [np.bincount(position, weights=row[counted], minlength=len(present)) for row in values]
    head = {"metrics": MAIN_METRICS, "classes": [classes[label] for label in present]}
    return json.dumps(head).encode() + b"\n" + np.stack(rows).astype("<f8").tobytes()


def top(content: bytes) -> Top:
    """What ``pack`` put under ``TOP``."""
    found = _read(content)
    labels, asked = found["labels"], found["query_labels"]
    hits = found.get("hits", labels == asked[:, None])  # before they were stored, a hit was a photo of the class
    return Top(found["positions"], labels, asked, tuple(found["classes"].tolist()), hits)


def curve(content: bytes) -> Curve:
    """What ``pack`` put under ``CURVE``."""
    found = _read(content)
    return Curve(found["ks"], found["precision"], found["recall"])


def history(content: bytes) -> list[dict[str, float]]:
    """What ``pack`` put under ``HISTORY``: points with ``step`` and the mean of each loss term."""
    points: list[dict[str, float]] = json.loads(zlib.decompress(content))
    return points


def _arrays(**arrays: npt.NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()


def _read(content: bytes) -> dict[str, npt.NDArray[Any]]:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}
