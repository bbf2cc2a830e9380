"""Rank the gallery for every query, and compute every metric in one pass. Memory does not grow with the queries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from bench.embeddings.arrays import Embeddings, Rankable, ScoreMatrix, select
from bench.errors import UsageError, check_known
from bench.evaluation.metrics.base import STORED_METRICS, parse_metric
from bench.evaluation.ranking_cpu import Engine, Progress, Rescore
from bench.evaluation.ranking_result import Ranking
from bench.evaluation.similarity import Measure
from bench.evaluation.ties import TIES, Ties
from bench.provenance import available_processors
from bench.types import Distance, Labels


def rank(
    embeddings: Rankable,
    metrics: Sequence[str],
    *,
    distance: Distance = "cosine",
    top: int = 0,
    ties: Ties = "index",
    device: str = "cpu",
    threads: int | None = None,
    progress: Progress | None = None,
    rescore: Rescore | None = None,
    measure: Measure | None = None,
    eps: float = 0.0,
) -> Ranking:
    """Rank the gallery for every query and compute ``metrics`` (ids; an average is ignored).

    - ``top``: also return the positions of that many best photos of each query, equal scores by position;
    - ``ties``: equal scores rank by gallery position, or irrelevant photos first or last. The last two are bounds;
      ``mAP@all:tied`` and ``top`` do not depend on it;
    - ``device`` other than ``cpu``: rank with torch there;
    - ``threads``: by default one for each processor of this process;
    - ``progress``: called with the queries done and their number, from the calling thread;
    - ``rescore``: replaces scores in place, float32 [queries, photos], before they are ranked, on the CPU;
    - ``measure``: the result of ``similarity.measure``, for a gallery that is ranked many times;
    - ``eps``: as ``similarity.measure``.

    A matrix of scores is ranked as it is, whatever the distance.
    A query with a group is ranked against the photos of its group. With too little memory, fewer and smaller tiles are
    ranked at a time. Raises UsageError for an unknown metric, distance, tie rule or device and for a number that is too
    small, DataError as ``similarity.measure``.
    """
    check_known("There is no tie rule", ties, TIES)
    workers = available_processors() if threads is None else threads
    for name, number, least in (("top", top, 0), ("threads", workers, 1)):
        if number < least:
            raise UsageError(f"{name} is {number}, but must be at least {least}.")
    if isinstance(embeddings, ScoreMatrix) and (device != "cpu" or rescore is not None):
        raise UsageError("A matrix of scores is ranked as it is, on the cpu: leave out --device and re-ranking.")
    if not embeddings.in_memory and device != "cpu":
        raise UsageError(f"A gallery that is read in blocks is ranked on the cpu, not on {device}: leave --device out.")
    if not embeddings.in_memory and rescore is not None:
        raise UsageError("Re-ranking needs the whole gallery in memory: give a file that fits, or leave it out.")

    def rank_all(part: Rankable, progress: Progress | None) -> Ranking:
        if device != "cpu" and rescore is None and not isinstance(part, ScoreMatrix):
            from bench.evaluation.ranking_gpu import rank_with_torch

            return rank_with_torch(
                part, metrics, distance=distance, top=top, ties=ties, device=device, progress=progress, eps=eps
            )
        known = measure if part is embeddings else None
        return Engine(part, metrics, distance, ties, top, rescore, known, eps).ranked(workers, progress)

    groups = embeddings.query_groups
    if groups is None:
        found = rank_all(embeddings, progress)
    elif rescore is None:
        found = _rank_groups(embeddings, groups, metrics, top, rank_all, progress)
    else:
        raise UsageError("Re-ranking uses the whole gallery: give embeddings without groups, or leave it out.")
    photos = embeddings.gallery.shape[0]
    found = replace(found, photos=photos, of_scores=isinstance(embeddings, ScoreMatrix))
    if not top:
        return found
    labels = embeddings.gallery_labels[:]
    return replace(found, hits=(labels[found.top] == embeddings.query_labels[:, None]) & (found.top >= 0))


def _rank_groups(
    embeddings: Rankable,
    query_groups: Labels,
    metrics: Sequence[str],
    top: int,
    rank_all: Callable[[Rankable, Progress | None], Ranking],
    progress: Progress | None,
) -> Ranking:
    """Rank each group of queries against the photos of the group."""
    queries, photos = len(embeddings.query), embeddings.gallery.shape[0]
    ids = tuple(dict.fromkeys(parse_metric(each).id for each in metrics))
    values, relevant = np.full((len(ids), queries), np.nan), np.zeros(queries, dtype=np.int64)
    best = np.full((queries, min(top, photos)), -1, dtype=np.int32)
    done = 0
    for group in np.unique(query_groups):
        rows = np.flatnonzero(query_groups == group)
        seen = np.flatnonzero(embeddings.gallery_groups == group)
        if len(seen):
            found = rank_all(select(embeddings, rows, seen), None)
            values[:, rows], relevant[rows] = found.values, found.relevant
            best[rows, : found.top.shape[1]] = seen[found.top]
        done += len(rows)
        if progress is not None:
            progress(done, queries)
    return Ranking(ids, values, relevant, embeddings.clusters, best)


def compile_kernels() -> None:
    """Compile what ranking needs, some seconds without the cached machine code; a run does it while it trains.

    It ranks one tile without limiting BLAS's threads, since a limit would slow down the training.
    """
    vectors, labels = np.eye(2, dtype=np.float32), np.arange(2)
    engine = Engine(Embeddings(vectors, vectors, labels, labels), STORED_METRICS, "cosine", "index", 1)
    engine.rank_tile(engine.plan.order)
