"""The exact ranking engine on the CPU, for a gallery in memory or one that is read in spans.

Queries go in tiles, one per thread: a matrix product, the ranks of the relevant photos (``ranking_kernels``), all
metrics. Where the scores of a tile fit into memory, they are computed once. Otherwise a group of tiles passes over the
gallery twice: the first sweep scores relevant photos, the second counts every photo. Memory then depends on blocks and
relevant photos, not on the gallery.

BLAS rounds by the shape of a product, the place in it, and its threads. So tiles and blocks depend on the data alone,
and one thread multiplies each. The first sweep packs its few photos into blocks of the same shape, each photo at its
own place; photos of several blocks share one product. A score has the same bits either way, for any number of threads.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import cache

import numpy as np
from threadpoolctl import ThreadpoolController

from bench.embeddings.arrays import Rankable, ScoreMatrix
from bench.errors import DataError
from bench.evaluation.metrics.base import fill_values
from bench.evaluation.ranking_kernels import (
    Counters,
    Positions,
    bucket_count,
    close_rows,
    count_rows,
    new_counters,
    open_rows,
    place_rows,
)
from bench.evaluation.ranking_plan import TILE, Plan, Tile
from bench.evaluation.ranking_result import Ranking
from bench.evaluation.ranking_top import sort_top, top_block
from bench.evaluation.similarity import Measure, measure
from bench.evaluation.ties import TIES, Ties
from bench.types import Distance, Doubles, Floats, Labels

log = logging.getLogger("bench.evaluation.ranking")

Progress = Callable[[int, int], None]
Rescore = Callable[[Floats], None]

BLOCK = 2048  # photos of one product, counted from the first
TILE_BYTES = 40 * 2**20  # scores and ranks of a tile that are held together
ALL_TILES_BYTES = 160 * 2**20  # of all tiles of all threads
COUNTED = 8  # queries of such a tile that are counted together: their counters fit the processor's cache
SPAN_BYTES = 64 * 2**20  # of the gallery read together
GROUP_BYTES = 512 * 2**20  # counters of a group of tiles
SCORED = 8 * BLOCK  # photos of a span that are scored together
MOST_PHOTOS = 2**31 - 1  # positions are int32
FIRST_SWEEP = 0.2  # share of the time, for the progress


class Buffers(threading.local):
    """Memory of one thread: ``scores`` float32 [rows * photos], ``packed`` float32 [BLOCK, width], counters."""

    scores: Floats = np.empty(0, dtype=np.float32)
    packed: Floats | None = None
    counters: Counters | None = None


@cache
def _libraries() -> ThreadpoolController:
    """The libraries of this process that have threads, numpy's among them; looking for them takes a millisecond."""
    return ThreadpoolController()


class Engine:
    """Ranks all queries; fills ``values`` float64 [metrics, queries] and ``top`` int32 [queries, top].

    Raises DataError for more photos than int32 can number, and what ``bench.evaluation.similarity.measure`` raises.
    """

    def __init__(
        self,
        embeddings: Rankable,
        metrics: Sequence[str],
        distance: Distance,
        ties: Ties,
        top: int,
        rescore: Rescore | None = None,
        known: Measure | None = None,
        eps: float = 0.0,
    ) -> None:
        self.query, self.clusters, self.gallery = embeddings.query, embeddings.clusters, embeddings.gallery
        self.matrix = embeddings if isinstance(embeddings, ScoreMatrix) else None
        self.photos, self.width = self.gallery.shape[0], self.query.shape[1]
        if self.photos > MOST_PHOTOS:
            raise DataError(f"The gallery has {self.photos} photos, more than {MOST_PHOTOS}: divide it.")
        self.plan = Plan(embeddings, metrics)
        if known is None and self.matrix is None:
            known = measure(self.query, self.gallery, distance, eps=eps, cosines=rescore is not None)
        self.measure = known or Measure(distance)
        self.ties, self.rescore = TIES.index(ties), rescore
        self.values: Doubles = np.full((len(self.plan.metrics), len(self.query)), np.nan)
        self.top: Positions = np.empty((len(self.query), min(top, self.photos)), dtype=np.int32)
        self.buckets, self.budget, self.buffers = bucket_count(self.photos), GROUP_BYTES, Buffers()
        self.a_query = sum(each.nbytes for each in new_counters(1, self.plan.most, self.buckets))
        self.rows = self.plan.tile_size(TILE_BYTES)
        self.must_hold = rescore is not None or self.matrix is not None  # all scores of a tile
        fits = embeddings.in_memory and self.rows == min(TILE, len(self.query))
        self.whole = self.must_hold or fits
        if not self.whole:
            self.rows = max(1, min(TILE, GROUP_BYTES // self.a_query))
        if self.whole:  # photos sorted by kind, those of kind c from starts[c] on
            self.vectors = self.measure.photos(self.gallery[:])
            self.members = np.argsort(self.plan.photo_kinds, kind="stable").astype(np.int32)
            self.starts: Labels = np.cumsum(self.plan.counts) - self.plan.counts

    def ranked(self, threads: int, progress: Progress | None = None) -> Ranking:
        """Rank everything; with too little memory on fewer threads, then with less at a time."""
        while True:
            try:
                with _libraries().limit(limits=1, user_api="blas"):
                    self._run(threads, progress or (lambda done, total: None))
                break
            except MemoryError:
                if threads > 1:
                    threads //= 2
                elif self.whole and not self.must_hold:
                    self.whole = False
                elif self.whole and self.rows > 1:
                    self.rows //= 2  # this can change bits, in the last tile
                elif not self.whole and len(self._groups()[0]) > 1:
                    self.budget //= 2
                else:
                    raise
                log.warning("Not enough memory: ranking continues with less, on %d threads.", threads)
        return Ranking(self.plan.metrics, self.values, self.plan.relevant, self.clusters, self.top)

    def _groups(self) -> list[list[Labels]]:
        """Query positions of each tile, in groups that share a pass over the gallery."""
        tiles = self.plan.tiles(self.rows)
        if self.whole:
            return [tiles]
        needed = [tile for tile in tiles if self.top.shape[1] or self.plan.relevant[tile].any()]
        passes = max(1, math.ceil(len(needed) * self.rows * self.a_query / self.budget))
        each = max(1, math.ceil(len(needed) / passes))
        return [needed[begin : begin + each] for begin in range(0, len(needed), each)]

    def _run(self, threads: int, progress: Progress) -> None:
        groups, total, done = self._groups(), len(self.query), 0
        workers = max(1, min(threads, 1 + max(map(len, groups), default=0)))
        if self.whole:
            a_tile = self.rows * (4 * self.photos + 16 * self.plan.most)
            workers = max(1, min(workers, len(groups[0]), ALL_TILES_BYTES // a_tile))
        self.buffers = Buffers()
        pool = ThreadPoolExecutor(workers)
        try:
            for group in groups:
                for now in self._rank_at_once(pool, group) if self.whole else self._rank_by_spans(pool, group):
                    progress(done + now, total)
                done += sum(map(len, group))
        finally:
            pool.shutdown(cancel_futures=True)
        if done < total:
            progress(total, total)

    def _rank_at_once(self, pool: ThreadPoolExecutor, tiles: list[Labels]) -> Iterator[int]:
        """Rank each tile with all its scores in memory; yields the queries done."""
        done = 0
        for finished in as_completed([pool.submit(self.rank_tile, tile) for tile in tiles]):
            done += finished.result()
            yield done

    def rank_tile(self, queries: Labels) -> int:
        """Rank a tile with all its scores in memory; the number of its queries."""
        plan, rows, kinds, counts = self.plan, len(queries), self.plan.kinds[queries], self.plan.relevant[queries]
        scores = (
            self._scores(self._vectors(queries), self.vectors, 0) if self.matrix is None else self.matrix.rows(queries)
        )
        if self.rescore is not None:
            self.rescore(scores)
        counters = self.buffers.counters or new_counters(COUNTED, plan.most, self.buckets)
        self.buffers.counters = counters
        ranks, ends = (np.empty((rows, plan.most), dtype=np.int64) for _ in range(2))
        begins, kept = self.starts[kinds], np.zeros(rows, dtype=np.int64)
        for begin in range(0, rows, COUNTED):
            part = slice(begin, begin + COUNTED)
            stops = begins[part] + counts[part]
            place_rows(scores[part], self.members, self.members, begins[part], stops, kept[part], counters)
            open_rows(counts[part], counters)
            count_rows(scores[part], kinds[part], plan.photo_kinds, 0, counters)
            close_rows(counts[part], self.ties, counters, ranks[part], ends[part])
        best: Floats = np.empty((rows, self.top.shape[1]), dtype=np.float32)
        top: Positions = np.empty(best.shape, dtype=np.int32)
        if self.top.shape[1]:
            top_block(scores, 0, best, top)
        self._write(queries, ranks, ends, best, top)
        return rows

    def _rank_by_spans(self, pool: ThreadPoolExecutor, group: list[Labels]) -> Iterator[int]:
        """Rank a group of tiles in two sweeps over the gallery; yields the queries done."""
        tiles = [Tile(each, self._vectors(each), self.plan, self.buckets, self.top.shape[1]) for each in group]
        queries = sum(map(len, group))
        for part in self._sweep(pool, [tile for tile in tiles if tile.wanted.any()], self._find):
            yield int(queries * FIRST_SWEEP * part)
        for tile in tiles:
            open_rows(tile.counts, tile.counters)
        for part in self._sweep(pool, tiles, self._count):
            yield int(queries * (FIRST_SWEEP + (1 - FIRST_SWEEP) * part))
        for tile in tiles:
            ranks, ends = (np.empty(tile.counters.score.shape, dtype=np.int64) for _ in range(2))
            close_rows(tile.counts, self.ties, tile.counters, ranks, ends)
            self._write(tile.queries, ranks, ends, tile.best, tile.top)

    def _sweep(
        self, pool: ThreadPoolExecutor, tiles: list[Tile], work: Callable[[Tile, int, Floats], None]
    ) -> Iterator[float]:
        """Call ``work`` for every span and tile while the next span is read; yields the share done."""
        if not tiles:
            return
        size = max(1, SPAN_BYTES // (4 * self.width * BLOCK)) * BLOCK

        def read(begin: int) -> Floats:
            return self.measure.photos(self.gallery[begin : begin + size])

        ahead = pool.submit(read, 0)
        for begin in range(0, self.photos, size):
            vectors = ahead.result()
            if begin + size < self.photos:
                ahead = pool.submit(read, begin + size)
            for finished in as_completed([pool.submit(work, tile, begin, vectors) for tile in tiles]):
                finished.result()
            yield min(1.0, (begin + size) / self.photos)

    def _find(self, tile: Tile, begin: int, vectors: Floats) -> None:
        """Keep the scores of a tile's relevant photos among ``vectors``, from position ``begin`` on."""
        photo_kinds = self.plan.photo_kinds[begin : begin + len(vectors)]
        chosen = np.flatnonzero(tile.wanted[photo_kinds])
        full = len(vectors) // BLOCK * BLOCK
        inside, rest = np.split(chosen, [np.searchsorted(chosen, full)])
        # A last, smaller block is multiplied as it is.
        for photos in (*_layers(inside), *([rest] if len(rest) else ())):
            photos = photos[np.argsort(photo_kinds[photos], kind="stable")]
            block, own = vectors[full:], photos % BLOCK
            if photos[0] < full:
                if self.buffers.packed is None:
                    self.buffers.packed = np.zeros((BLOCK, self.width), dtype=np.float32)
                block = self.buffers.packed
                block[own] = vectors[photos]
            products = self._room(len(tile.queries), len(block))
            np.matmul(tile.vectors, block.T, out=products)
            kinds = photo_kinds[photos]
            begins, ends = (np.searchsorted(kinds, tile.kinds, side=side) for side in ("left", "right"))
            scores, places = np.ascontiguousarray(products[:, own]), (begin + photos).astype(np.int32)
            self.measure.finish(scores, begin + photos)
            place_rows(scores, np.arange(len(own), dtype=np.int32), places, begins, ends, tile.kept, tile.counters)

    def _count(self, tile: Tile, begin: int, vectors: Floats) -> None:
        """Count the photos from position ``begin`` on, and keep the best."""
        for first in range(0, len(vectors), SCORED):
            place, part = begin + first, vectors[first : first + SCORED]
            scores = self._scores(tile.vectors, part, place)
            count_rows(scores, tile.kinds, self.plan.photo_kinds[place : place + len(part)], place, tile.counters)
            if self.top.shape[1]:
                top_block(scores, place, tile.best, tile.top)

    def _vectors(self, queries: Labels) -> Floats:
        return np.ascontiguousarray(self.measure.queries(self.query[queries]))

    def _room(self, rows: int, photos: int) -> Floats:
        """A contiguous float32 [rows, photos] of this thread."""
        if self.buffers.scores.size < rows * photos:
            self.buffers.scores = np.empty(rows * photos, dtype=np.float32)
        return self.buffers.scores[: rows * photos].reshape(rows, photos)

    def _scores(self, vectors: Floats, photos: Floats, begin: int) -> Floats:
        """Scores of queries float32 [rows, width] for ``photos`` from position ``begin`` on: [rows, photos]."""
        scores, end = self._room(len(vectors), len(photos)), begin + len(photos)
        for first in range(0, len(photos), BLOCK):
            block = slice(first, first + BLOCK)
            np.matmul(vectors, photos[block].T, out=scores[:, block])
        self.measure.finish(scores, slice(begin, end))
        return scores

    def _write(self, queries: Labels, ranks: Labels, ends: Labels, best: Floats, top: Positions) -> None:
        values = np.empty((len(self.plan.metrics), len(queries)))
        fill_values(self.plan.wanted, ranks, ends, self.plan.relevant[queries], values)
        self.values[:, queries] = values
        if self.top.shape[1]:
            self.top[queries] = sort_top(best, top)


def _layers(photos: Labels) -> Iterator[Labels]:
    """Positions in layers: those of one layer have different places in their blocks, so they share a product."""
    while len(photos):
        _, first = np.unique(photos % BLOCK, return_index=True)
        yield photos[first]
        photos = np.delete(photos, first)
