"""``bench.evaluate``: embeddings or a matrix of scores, ranked and scored as ``bench score`` does."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import numpy.typing as npt

from bench.api.arguments import as_array, check_whole, common_device, number_labels
from bench.api.result import Result
from bench.embeddings.arrays import Embeddings, Rankable, ScoreMatrix, as_vectors
from bench.embeddings.files import read_file
from bench.errors import UsageError, check_known
from bench.evaluation.protocol_scores import (
    Figure,
    chosen_metrics,
    figures_of,
    rank_protocols,
    recipe,
    requested_protocols,
)
from bench.evaluation.protocols.base import Gallery, Protocol
from bench.evaluation.ranking_result import Ranking
from bench.evaluation.score_json import count_rows, figure_rows, find_warnings
from bench.results.details import PerQuery
from bench.types import Distance, Score

if TYPE_CHECKING:
    import torch

    from bench.api.arguments import Array

log = logging.getLogger("bench.api.evaluation")


@dataclass(frozen=True, repr=False)
class Evaluation(Result):
    """The figures of ``evaluate``: see ``Result``. ``warnings`` says why figures may mean nothing."""

    protocol: Protocol
    ranking: Ranking
    figures: tuple[Figure, ...]
    sizes: Mapping[str, int]
    names: tuple[str, ...]
    warnings: Sequence[str]

    @property
    def top(self) -> npt.NDArray[np.int32] | None:
        """Gallery positions of the best photos, best first: int32 [queries, top]; None without ``evaluate(top=)``."""
        return self.ranking.top if self.ranking.top.size else None

    @property
    def _figures(self) -> Sequence[Score]:
        return self.figures

    @cached_property
    def _values(self) -> PerQuery:
        metrics = tuple(dict.fromkeys(each.metric for each in self.figures))
        zero = [self.protocol.empty_rule(metric) == "zero" for metric in metrics]
        values = [self.ranking.per_query(each, "zero" if z else "skip") for each, z in zip(metrics, zero, strict=True)]
        return PerQuery(metrics, np.stack(values), self.ranking.clusters, self.names)

    def to_dict(self) -> dict[str, Any]:
        """The same as ``bench score --format json`` prints."""
        return {**self.sizes, "scores": figure_rows({self.protocol.name: self.figures}), "warnings": self.warnings}

    def __repr__(self) -> str:
        return f"Evaluation({', '.join(f'{name}: {value:.4f}' for name, value in self.scores.items())})"


def evaluate(
    query: Array | None = None,
    gallery: Array | None = None,
    query_labels: Array | None = None,
    gallery_labels: Array | None = None,
    *,
    scores: Array | None = None,
    protocol: str | None = None,
    metrics: str | Sequence[str] | None = None,
    distance: Distance | None = None,
    groups: tuple[Array, Array] | None = None,
    clusters: Array | None = None,
    pairing: Gallery | None = None,
    device: str | torch.device | None = None,
    seed: int = 0,
    top: int = 0,
) -> Evaluation:
    """Rank the gallery for every query, and compute metrics.

    - ``query`` [queries, width] and ``gallery`` [photos, width]: numpy arrays, torch tensors or lists;
    - ``query_labels`` [queries] and ``gallery_labels`` [photos]: integers or strings; equal labels are relevant;
    - ``scores`` [queries, photos], in place of ``query`` and ``gallery``: higher is better, ranked in float32;
    - ``protocol``: a published protocol (``bench list protocols``), by default ``standard``; or ``metrics``: ids such
      as ``mAP@200:min`` or ``P@10:k@classes``;
    - ``distance``: cosine, euclidean or hamming, by default the protocol's;
    - ``groups``: group of each query and of each photo; a query sees the photos of its group;
    - ``clusters``: the class of each query, where labels are something else, such as instances: classes are what
      intervals resample and ``per_class`` shows;
    - ``pairing``: one photo for each query, a random one of its class (``paired``) or the photo at its own position
      (``diagonal``), in place of the protocol's gallery;
    - ``device``: where to rank; by default that of the tensors, else the CPU;
    - ``seed``: of protocols that draw their gallery; ``top``: number of best photos to return for each query.

    Raises BenchError that names the argument.

    >>> result = evaluate([[1, 0], [0, 1]], [[1, 1], [1, 0], [0, 2]], ["cat", "dog"], ["cat", "cat", "dog"])
    >>> result.scores["mAP@all:plain"], result.per_class["mAP@all:plain"]
    (1.0, {'cat': 1.0, 'dog': 1.0})
    """
    check_whole("seed", seed, 0)
    check_whole("top", top, 0)
    chosen = _protocol(protocol, metrics, distance, pairing)
    labels, names = number_labels(query_labels=query_labels, gallery_labels=gallery_labels)
    if groups is not None:
        if not isinstance(groups, tuple | list) or len(groups) != 2:
            raise UsageError("Argument 'groups' is a pair: the group of each query, and the group of each photo.")
        labels |= number_labels(query_groups=groups[0], gallery_groups=groups[1])[0]
    if clusters is not None:
        own, names = number_labels(query_clusters=clusters)
        labels |= own
    if scores is None:
        where = str(device or common_device(query=query, gallery=gallery))
        if where != "cpu":
            from bench.devices import choose_device  # imports torch, which takes seconds

            where = str(choose_device(where))
        given: dict[str, object] = {"query": query, "gallery": gallery}
        vectors, photos = (as_vectors(name, as_array(name, side)) for name, side in given.items())
        embeddings: Rankable = Embeddings(vectors, photos, **labels)
    else:
        given = {"query": query, "gallery": gallery, "distance": distance, "device": device}
        for name in (name for name, value in given.items() if value is not None):
            raise UsageError(f"Argument 'scores' is ranked as it is: leave {name!r} out.")
        embeddings, where = ScoreMatrix(as_array("scores", scores), **labels), "cpu"
    return _evaluate(embeddings, chosen, names, seed=seed, device=where, top=top)


def evaluate_file(path: Path, metric: str) -> Evaluation:
    """One metric of a file of embeddings or scores, as ``bench score`` computes it."""
    content = read_file(path)
    embeddings = content if isinstance(content, ScoreMatrix) else content.embeddings
    return _evaluate(embeddings, chosen_metrics([metric]), ())


def _evaluate(embeddings: Rankable, protocol: Protocol, names: tuple[str, ...], **how: Any) -> Evaluation:
    rankings = rank_protocols(embeddings, [protocol], **how)
    figures, warnings = figures_of(rankings, protocol), find_warnings(embeddings)
    for warning in warnings:
        log.warning("%s", warning)
    ranking = rankings[recipe(protocol)]["index"]
    return Evaluation(protocol, ranking, tuple(figures), count_rows(embeddings), names, warnings)


def _protocol(
    name: str | None, metrics: str | Sequence[str] | None, distance: Distance | None, pairing: Gallery | None
) -> Protocol:
    for argument, value, known in (("distance", distance, Distance), ("pairing", pairing, Gallery)):
        if value is not None:
            check_known(f"Argument {argument!r} is", value, get_args(known))
    if name is not None and metrics is not None:
        raise UsageError("Arguments 'protocol' and 'metrics' exclude each other: give one.")
    if not isinstance(name, str | None):
        raise UsageError(f"Argument 'protocol' is the name of one protocol, not {name!r}.")
    if not isinstance(metrics, Iterable | None):
        raise UsageError(f"Argument 'metrics' is an id such as 'mAP@200:min' or a list of ids, not {metrics!r}.")
    ids = [metrics] if isinstance(metrics, str) else list(() if metrics is None else metrics)
    if name == "all" or (metrics is not None and not any(ids)):
        raise UsageError("Argument 'protocol' or 'metrics' names one protocol, or metrics such as 'mAP@200:min'.")
    names = ["standard" if name is None else name] if metrics is None else []
    return requested_protocols(names, ids, distance, pairing)[0]
