"""Details of a run beside its scores: values of every query, best photos, curves. Compressed, without pickle."""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.evaluation.metrics.base import main_metrics, stored_metrics
from bench.evaluation.ranking_result import Ranking
from bench.statistics.intervals import class_sums
from bench.types import Floats, Labels, Relevance

PER_QUERY, TOP, CURVE, HISTORY, SUMS = "per-query", "top", "curve", "history", "class-sums"
# K of the P@K that make a report's curves: about ten for each factor of ten, up to 1,000.
CURVE_AT = (*dict.fromkeys(round(10 ** (step / 10)) for step in range(29)), 1000)


@dataclass(frozen=True)
class PerQuery:
    """Values of every query: ``values`` float32 [metrics, queries]; ``labels`` int64 [queries], the cluster.

    ``classes`` name the labels; empty where the labels are the names.
    """

    metrics: tuple[str, ...]
    values: Floats
    labels: Labels
    classes: tuple[str, ...]

    def of(self, metric: str) -> Floats:
        """One metric's values, float32 [queries]; raises KeyError where it is not stored."""
        if metric not in self.metrics:
            raise KeyError(f"{metric} is not stored for every query; available: {', '.join(self.metrics)}")
        return self.values[self.metrics.index(metric)]  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Sums:
    """Sums over the queries of each class: ``sums`` float64 [metrics, classes], ``counts`` float64 [classes].

    Only queries with a relevant photo count; classes without such a query are left out.
    """

    metrics: tuple[str, ...]
    sums: npt.NDArray[np.float64]
    counts: npt.NDArray[np.float64]
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Top:
    """Best photos of every query: their ``positions`` int32 [queries, top] in the gallery, and their class ``labels``.

    Both are -1 where the gallery of a query has fewer photos. ``query_labels`` int64 [queries] are the queries'
    classes; ``hits`` bool [queries, top] marks relevant photos.
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


def ranked_metrics(relevance: Relevance) -> tuple[str, ...]:
    """The metrics of a run: for its scores and its details."""
    return (*stored_metrics(relevance), *(f"P@{k}:k" for k in CURVE_AT))


def pack(
    ranking: Ranking,
    gallery_labels: Labels,
    classes: Sequence[str],
    history: Sequence[Mapping[str, float]],
    relevance: Relevance = "class",
) -> dict[str, bytes]:
    """Pack the details of a run, by name; ``classes`` names the labels, ``history`` has the training curves."""
    metrics, names = main_metrics(relevance), tuple(classes)
    values = np.stack([ranking.per_query(metric) for metric in metrics]).astype(np.float32)
    kept = PerQuery(metrics, values, ranking.clusters, names)
    counted = ranking.relevant > 0
    precision = np.stack([ranking.per_query(f"P@{k}:k")[counted] for k in CURVE_AT])  # [ks, queries]
    recall = precision * np.array(CURVE_AT)[:, None] / ranking.relevant[counted]
    curve = Curve(np.array(CURVE_AT), precision.mean(axis=1), recall.mean(axis=1))
    packed = {PER_QUERY: _arrays(kept), SUMS: _sums(kept), CURVE: _arrays(curve)}
    if ranking.top.size:
        labels = np.where(ranking.top < 0, -1, gallery_labels[ranking.top])
        packed[TOP] = _arrays(Top(ranking.top, labels, ranking.clusters, names, ranking.hits))
    if history:
        packed[HISTORY] = zlib.compress(json.dumps(list(history)).encode())
    return packed


def per_query(content: bytes) -> PerQuery:
    """Unpack ``PER_QUERY``."""
    return PerQuery(**_read(content))


def sums(content: bytes) -> Sums:
    """Unpack ``SUMS``."""
    head, _, body = content.partition(b"\n")
    names = json.loads(head)
    numbers = np.frombuffer(body, dtype="<f8").reshape(-1, len(names["classes"]))
    return Sums(tuple(names["metrics"]), numbers[1:], numbers[0], tuple(names["classes"]))


def sums_of(values: PerQuery) -> Sums:
    """Add up the values of every query by class."""
    return sums(_sums(values))


def _sums(kept: PerQuery) -> bytes:
    """A line of JSON and the raw numbers: a report reads one of these for each of a thousand runs."""
    found, present = class_sums(kept.values, kept.labels, "queries"), np.unique(kept.labels[~np.isnan(kept.values[0])])
    head = {"metrics": kept.metrics, "classes": [kept.classes[label] for label in present]}
    return json.dumps(head).encode() + b"\n" + np.vstack((found.counts, found.sums)).astype("<f8").tobytes()


def top(content: bytes) -> Top:
    """Unpack ``TOP``. Older runs have no ``hits``: a photo of the query's class was one."""
    arrays = _read(content)
    return Top(**{"hits": arrays["labels"] == arrays["query_labels"][:, None], **arrays})


def curve(content: bytes) -> Curve:
    """Unpack ``CURVE``."""
    return Curve(**_read(content))


def history(content: bytes) -> list[dict[str, float]]:
    """Unpack ``HISTORY``: points with ``step`` and the mean of each loss term."""
    return json.loads(zlib.decompress(content))  # type: ignore[no-any-return]


def _arrays(kept: PerQuery | Top | Curve) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **vars(kept))
    return file.getvalue()


def _read(content: bytes) -> dict[str, Any]:
    """Arrays by name; those of text as tuples."""
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return {name: tuple(each.tolist()) if each.dtype.kind == "U" else each for name, each in arrays.items()}
