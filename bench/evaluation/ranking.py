"""The exact ranking engine: embeddings to the value of every metric for every query, in one pass.

Equal scores rank by ascending gallery position unless the caller asks for a bound. Queries go through in tiles, one to
a thread at a time: a matrix product, the ranks of the relevant photos (``ranking_kernels``), all metrics (``metrics``).
Beyond the embeddings and the result there are only the tiles in work, whatever the number of queries.

BLAS rounds differently for another number of rows or threads. So the tiles depend on the data alone and each is
multiplied by one thread, in blocks of photos that do too: the result has the same bits for any number of threads.
A gallery that is read in blocks, and one of which a tile's scores would be too large, is streamed
(``ranking_streamed``) over the same tiles and blocks, with the same bits.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import get_args

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from bench.embeddings.arrays import Embeddings, Part, StreamedEmbeddings
from bench.errors import UsageError, nearest
from bench.evaluation.metrics.base import STORED_METRICS, fill_values
from bench.evaluation.ranking_kernels import (
    INDEX,
    OPTIMISTIC,
    PESSIMISTIC,
    apply_factors,
    bucket_count,
    new_counters,
    rank_rows,
    sort_top,
    top_block,
)
from bench.evaluation.ranking_plan import BLOCK, Outline, Plan, Ties, tile_size, whole_tiles
from bench.evaluation.ranking_result import Ranking
from bench.evaluation.ranking_streamed import StreamedPass
from bench.evaluation.similarity import Scorer, scorer
from bench.types import Distance, Doubles, Floats, Labels

log = logging.getLogger("bench.evaluation.ranking")

Progress = Callable[[int, int], None]
Rescore = Callable[[Floats], None]

TIES: dict[str, int] = {"index": INDEX, "pessimistic": PESSIMISTIC, "optimistic": OPTIMISTIC}
TILE_BYTES = 40 * 2**20  # scores and ranks of one tile
ALL_TILES_BYTES = 160 * 2**20  # of all tiles in work: a large gallery on many processors leaves some idle


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
) -> Ranking:
    """Rank the gallery for every query and evaluate ``metrics`` (ids; an average is ignored).

    ``distance`` as ``similarity`` defines it. ``top`` asks for the positions of that many best photos of each
    query (of all photos where there are fewer; -1 where a query's group has fewer). ``ties`` places equal scores: by
    gallery position, or irrelevant photos first or last for the bounds (``mAP@all:tied`` is not touched by it, ``top``
    is always by position).
    ``device`` other than ``cpu`` ranks with torch there. ``threads`` is by default every processor of this process.
    ``progress`` is called with the queries done and their number, from the calling thread. ``rescore`` replaces the
    scores of some queries in place, float32 [queries, photos], before they are ranked; it ranks on the processor.

    Raises UsageError for an unknown metric, distance, tie rule or device or a number below its least, DataError as
    ``scorer`` does. Where memory does not suffice, fewer and then smaller tiles are in work at a time.
    """
    if ties not in TIES:
        raise UsageError(f"There is no tie rule {ties!r}. {nearest(ties, get_args(Ties))}")
    threads = available_processors() if threads is None else threads
    for name, number, least in (("top", top, 0), ("threads", threads, 1)):
        if number < least:
            raise UsageError(f"{name} is {number}, but must be at least {least}.")
    everything = Asked(tuple(metrics), distance, top, ties, device, threads, rescore)
    if embeddings.query_groups is not None and embeddings.gallery_groups is not None:
        if rescore is not None:
            raise UsageError("Re-ranking looks at the whole gallery: give embeddings without groups, or leave it out.")
        found = _rank_groups(embeddings, embeddings.query_groups, embeddings.gallery_groups, everything, progress)
    else:
        found = _rank_all(embeddings, everything, progress)
    hits = None
    if found.top is not None:
        labels = embeddings.photos.labels(0, embeddings.photos.shape[0])
        hits = (labels[found.top] == embeddings.query_labels[:, None]) & (found.top >= 0)
    return replace(found, clusters=embeddings.clusters, hits=hits)


@dataclass(frozen=True)
class Asked:
    """The arguments of ``rank``, checked."""

    metrics: tuple[str, ...]
    distance: Distance
    top: int
    ties: Ties
    device: str
    threads: int
    rescore: Rescore | None


def _rank_groups(
    embeddings: Embeddings | StreamedEmbeddings,
    query_groups: Labels,
    gallery_groups: Labels,
    asked: Asked,
    progress: Progress | None,
) -> Ranking:
    """Every group of queries against the photos of the group, as if there were no others."""
    queries, photos = len(embeddings.query), embeddings.photos.shape[0]
    metrics = Outline(embeddings, asked.metrics).metrics
    values = np.full((len(metrics), queries), np.nan)
    relevant = np.zeros(queries, dtype=np.int64)
    top = np.full((queries, min(asked.top, photos)), -1, dtype=np.int32)
    done = 0
    for group in np.unique(query_groups):
        rows, seen = np.flatnonzero(query_groups == group), np.flatnonzero(gallery_groups == group)
        if len(seen):
            part = Part(embeddings.photos, seen)
            query, labels = embeddings.query[rows], embeddings.query_labels[rows]
            own: Embeddings | StreamedEmbeddings = StreamedEmbeddings(query, labels, part)
            if isinstance(embeddings, Embeddings):
                own = Embeddings(query, part.vectors(0, len(seen)), labels, part.labels(0, len(seen)))
            found = _rank_all(own, asked, None)
            values[:, rows], relevant[rows] = found.values, found.relevant
            if found.top is not None:
                top[rows, : found.top.shape[1]] = seen[found.top]
        done += len(rows)
        if progress is not None:
            progress(done, queries)
    return Ranking(metrics, values, relevant, embeddings.clusters, top if asked.top else None)


def _rank_all(embeddings: Embeddings | StreamedEmbeddings, asked: Asked, progress: Progress | None) -> Ranking:
    """Every query against the whole gallery."""
    metrics, distance, top, ties, device = asked.metrics, asked.distance, asked.top, asked.ties, asked.device
    threads, rescore = asked.threads, asked.rescore
    if isinstance(embeddings, StreamedEmbeddings):
        if device != "cpu":
            raise UsageError(
                f"A gallery that is read in blocks is ranked on the cpu, not on {device}: leave --device out."
            )
        if rescore is not None:
            raise UsageError("Re-ranking needs the whole gallery in memory: give a file that fits, or leave it out.")
        return StreamedPass(embeddings, metrics, distance, TIES[ties], top).ranked(threads, progress)
    if device != "cpu" and rescore is None:
        from bench.evaluation.ranking_gpu import rank_with_torch

        return rank_with_torch(
            embeddings, metrics, distance=distance, top=top, ties=ties, device=device, progress=progress
        )
    plan = Plan(embeddings, metrics)
    queries, photos = len(embeddings.query), len(embeddings.gallery)
    if rescore is None and not whole_tiles(queries, photos, plan.most, TILE_BYTES):
        whole = StreamedEmbeddings(embeddings.query, embeddings.query_labels, embeddings.photos)
        return StreamedPass(whole, metrics, distance, TIES[ties], top).ranked(threads, progress)
    work = Pass(embeddings, plan, scorer(embeddings, distance), TIES[ties], top, rescore)
    while True:
        try:
            work.run(threads, progress)
            break
        except MemoryError:
            if threads == work.tile == 1:
                raise
            # Fewer threads change no bit; smaller tiles can, in the last one, so they are the second resort.
            threads, work.tile = (threads // 2, work.tile) if threads > 1 else (1, work.tile // 2)
            log.warning("Memory did not suffice: ranking goes on with tiles of %d on %d threads.", work.tile, threads)
    return Ranking(plan.metrics, work.values, plan.relevant, embeddings.clusters, work.top)


class Pass:
    """One pass over the queries; ``values`` float64 [metrics, queries] and ``top`` int32 [queries, top] fill up."""

    def __init__(
        self, embeddings: Embeddings, plan: Plan, factors: Scorer, ties: int, top: int, rescore: Rescore | None
    ) -> None:
        self.plan, self.factors, self.ties, self.rescore = plan, factors, ties, rescore
        self.query = embeddings.query
        self.gallery: Floats = np.ascontiguousarray(embeddings.gallery, dtype=np.float32)
        queries, photos = len(self.query), len(self.gallery)
        self.values: Doubles = np.empty((len(plan.metrics), queries))
        self.top: npt.NDArray[np.int32] | None = None
        if top:
            self.top = np.empty((queries, min(top, photos)), dtype=np.int32)
        self.tile = tile_size(queries, photos, plan.most, TILE_BYTES)

    def run(self, threads: int, progress: Progress | None) -> None:
        """Work through all tiles with up to ``threads`` threads."""
        queries, photos = len(self.query), len(self.gallery)
        begins = range(0, queries, self.tile)
        most_tiles = ALL_TILES_BYTES // (self.tile * self.plan.bytes_per_query(photos))
        workers = max(1, min(threads, len(begins), most_tiles))
        spare: SimpleQueue[Space] = SimpleQueue()
        for _ in range(workers):
            spare.put(Space(self.tile, photos, self.plan.most))

        def one(begin: int) -> int:
            space = spare.get()
            asked = self.plan.order[begin : begin + self.tile]
            try:
                self.tile_of(asked, space)
            finally:  # or the next tile would wait for ever
                spare.put(space)
            return len(asked)

        done = 0
        with threadpool_limits(limits=1, user_api="blas"):
            pool = ThreadPoolExecutor(workers)
            try:
                for finished in as_completed([pool.submit(one, begin) for begin in begins]):
                    done += finished.result()
                    if progress is not None:
                        progress(done, queries)
            finally:
                pool.shutdown(cancel_futures=True)

    def tile_of(self, asked: Labels, space: Space) -> None:
        """Rank the queries ``asked`` and write their values and best photos."""
        plan, rows = self.plan, len(asked)
        scores, ranks, ends = space.scores[:rows], space.ranks[:rows], space.ends[:rows]
        vectors = self.factors.queries(self.query[asked])
        for begin in range(0, len(self.gallery), BLOCK):
            block = slice(begin, begin + BLOCK)
            np.matmul(vectors, self.gallery[block].T, out=scores[:, block])
        apply_factors(scores, self.factors.scale, self.factors.offset)
        if self.rescore is not None:
            self.rescore(scores)
        own, values = plan.classes[asked], np.empty((len(plan.metrics), rows))
        rank_rows(scores, own, plan.photo_classes, plan.starts, plan.members, space.counters, self.ties, ranks, ends)
        fill_values(plan.wanted, ranks, ends, plan.relevant[asked], values)
        self.values[:, asked] = values
        if self.top is not None:
            best = np.empty((rows, self.top.shape[1]), dtype=np.float32)
            top = np.empty(best.shape, dtype=np.int32)
            top_block(scores, 0, best, top)
            sort_top(best, top)
            self.top[asked] = top


class Space:
    """What one thread writes to: ``scores`` float32 [tile, photos], ``ranks`` and ``ends`` int64 [tile, most].

    ``counters`` are those of one query.
    """

    def __init__(self, tile: int, photos: int, most: int) -> None:
        self.scores: Floats = np.empty((tile, photos), dtype=np.float32)
        self.ranks: Labels = np.empty((tile, most), dtype=np.int64)
        self.ends: Labels = np.empty((tile, most), dtype=np.int64)
        self.counters = new_counters(1, most, bucket_count(photos))


def compile_kernels() -> None:
    """Compile what ranking needs, some seconds where the machine code is not kept yet: a run does it while it trains.

    Only the tile is worked through: limits on BLAS's threads would reach whatever runs meanwhile.
    """
    vectors, labels = np.eye(2, dtype=np.float32), np.arange(2)
    two = Embeddings(vectors, vectors, labels, labels)
    plan = Plan(two, STORED_METRICS)
    work = Pass(two, plan, scorer(two, "cosine"), INDEX, 1, None)
    work.tile_of(plan.order, Space(work.tile, 2, plan.most))


def available_processors() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
