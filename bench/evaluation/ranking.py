"""Rank the gallery for every query, and compute every metric in one pass.

Equal scores rank by ascending gallery position unless the caller asks for a bound. Memory does not grow with the number
of queries. Queries with groups are ranked group by group, as if each group were a gallery of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import get_args

import numpy as np

from bench.embeddings.arrays import Embeddings, Part, StreamedEmbeddings, Whole
from bench.errors import UsageError, nearest
from bench.evaluation.metrics.base import STORED_METRICS
from bench.evaluation.ranking_engine import Engine, Progress, Rescore
from bench.evaluation.ranking_kernels import INDEX, OPTIMISTIC, PESSIMISTIC
from bench.evaluation.ranking_plan import Plan, Ties
from bench.evaluation.ranking_result import Ranking
from bench.evaluation.similarity import Measure
from bench.types import Distance, Labels

TIES: dict[str, int] = {"index": INDEX, "pessimistic": PESSIMISTIC, "optimistic": OPTIMISTIC}


def rank(
    embeddings: Embeddings | StreamedEmbeddings,
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
) -> Ranking:
    """Rank the gallery for every query and evaluate ``metrics`` (ids; an average is ignored).

    ``distance`` as ``similarity`` defines it. ``top`` asks for the positions of that many best photos of each
    query (of all photos where there are fewer; -1 where a query's group has fewer). ``ties`` places equal scores: by
    gallery position, or irrelevant photos first or last for the bounds (``mAP@all:tied`` is not touched by it, ``top``
    is always by position). ``device`` other than ``cpu`` ranks with torch there. ``threads`` is by default every
    processor of this process. ``progress`` is called with the queries done and their number, from the calling thread.
    ``rescore`` replaces the scores of some queries in place, float32 [queries, photos], before they are ranked; it
    ranks on the processor. ``measure`` is what ``similarity.measure`` gives for this gallery, for one that is ranked
    many times.

    Raises UsageError for an unknown metric, distance, tie rule or device or a number below its least, DataError as
    ``similarity.measure`` does. Where memory does not suffice, fewer and then smaller tiles are in work at a time.
    """
    if ties not in TIES:
        raise UsageError(f"There is no tie rule {ties!r}. {nearest(ties, get_args(Ties))}")
    workers = available_processors() if threads is None else threads
    for name, number, least in (("top", top, 0), ("threads", workers, 1)):
        if number < least:
            raise UsageError(f"{name} is {number}, but must be at least {least}.")
    if not isinstance(embeddings.photos, Whole):
        if device != "cpu":
            raise UsageError(
                f"A gallery that is read in blocks is ranked on the cpu, not on {device}: leave --device out."
            )
        if rescore is not None:
            raise UsageError("Re-ranking needs the whole gallery in memory: give a file that fits, or leave it out.")

    def rank_all(asked: Embeddings | StreamedEmbeddings, progress: Progress | None) -> Ranking:
        if device != "cpu" and rescore is None:
            from bench.evaluation.ranking_gpu import rank_with_torch

            return rank_with_torch(
                asked, metrics, distance=distance, top=top, ties=ties, device=device, progress=progress
            )
        known = measure if asked is embeddings else None
        return Engine(asked, metrics, distance, TIES[ties], top, rescore, known).ranked(workers, progress)

    groups = embeddings.query_groups, embeddings.gallery_groups
    if groups[0] is None or groups[1] is None:
        found = rank_all(embeddings, progress)
    elif rescore is None:
        found = _rank_groups(embeddings, groups[0], groups[1], metrics, top, rank_all, progress)
    else:
        raise UsageError("Re-ranking looks at the whole gallery: give embeddings without groups, or leave it out.")
    if found.top is None:
        return found
    labels = embeddings.photos.labels(0, embeddings.photos.shape[0])
    return replace(found, hits=(labels[found.top] == embeddings.query_labels[:, None]) & (found.top >= 0))


def _rank_groups(
    embeddings: Embeddings | StreamedEmbeddings,
    query_groups: Labels,
    gallery_groups: Labels,
    metrics: Sequence[str],
    top: int,
    rank_all: Callable[[Embeddings | StreamedEmbeddings, Progress | None], Ranking],
    progress: Progress | None,
) -> Ranking:
    """Every group of queries against the photos of the group, as if there were no others."""
    queries, photos = len(embeddings.query), embeddings.photos
    names = Plan(embeddings, metrics).metrics
    values, relevant = np.full((len(names), queries), np.nan), np.zeros(queries, dtype=np.int64)
    best = np.full((queries, min(top, photos.shape[0])), -1, dtype=np.int32)
    done = 0
    for group in np.unique(query_groups):
        rows = np.flatnonzero(query_groups == group)
        seen = np.flatnonzero(gallery_groups == group)
        if len(seen):
            part = Part(photos, seen)
            own = part.in_memory() if isinstance(photos, Whole) else part
            found = rank_all(StreamedEmbeddings(embeddings.query[rows], embeddings.query_labels[rows], own), None)
            values[:, rows], relevant[rows] = found.values, found.relevant
            if found.top is not None:
                best[rows, : found.top.shape[1]] = seen[found.top]
        done += len(rows)
        if progress is not None:
            progress(done, queries)
    return Ranking(names, values, relevant, embeddings.clusters, best if top else None)


def compile_kernels() -> None:
    """Compile what ranking needs, some seconds where the machine code is not kept yet: a run does it while it trains.

    Only one tile is worked through: limits on BLAS's threads would reach whatever runs meanwhile.
    """
    vectors, labels = np.eye(2, dtype=np.float32), np.arange(2)
    two = Engine(Embeddings(vectors, vectors, labels, labels), STORED_METRICS, "cosine", INDEX, 1)
    two.rank_tile(two.plan.order)


def available_processors() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
