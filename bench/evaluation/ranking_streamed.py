"""Ranking a gallery that passes by in spans: memory depends on blocks and relevant photos, not on the gallery.

A group of queries goes through the gallery twice. First the scores of each query's relevant photos are found, and
sorted; then every photo is counted by how many of those rank before it. Both passes need the same bits for a score,
and those of ``ranking``. BLAS rounds by the shape of a product and by the place in it, so the first pass, which
needs few photos, packs them into blocks of that shape with each photo at its own place: photos of many blocks share one
product. Queries go by class, so that a tile has few classes and most of the gallery is not looked at here.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from queue import SimpleQueue

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from bench.embeddings.arrays import StreamedEmbeddings
from bench.errors import DataError
from bench.evaluation.metrics.base import fill_values
from bench.evaluation.ranking_kernels import (
    Positions,
    apply_factors,
    bucket_count,
    bytes_of_counters,
    close_rows,
    count_rows,
    new_counters,
    open_rows,
    place_rows,
    sort_top,
    top_block,
)
from bench.evaluation.ranking_plan import BLOCK, TILE, Outline
from bench.evaluation.ranking_result import Ranking
from bench.evaluation.similarity import measure
from bench.types import Distance, Doubles, Floats, Labels

log = logging.getLogger("bench.evaluation.ranking")

Progress = Callable[[int, int], None]

SPAN_BYTES = 64 * 2**20  # of the gallery read together
GROUP_BYTES = 512 * 2**20  # counters of the queries that go through the gallery together
SCORED = 8 * BLOCK  # photos whose scores are held at a time
MOST_PHOTOS = 2**31 - 1  # positions are int32
FIRST_PASS = 0.2  # of the time, for the progress


@dataclass(frozen=True)
class Span:
    """Photos from position ``begin`` on: ``vectors`` float32 [photos, width], ``kinds`` int32 [photos] their classes.

    ``scale`` and ``offset`` as ``bench.evaluation.similarity.Measure`` gives them, where they were asked for.
    """

    begin: int
    vectors: Floats
    kinds: Positions
    scale: Floats
    offset: Floats


class Tile:
    """Queries that are multiplied together, and what is kept of them: ``queries`` int64 [rows] are their positions."""

    def __init__(self, queries: Labels, vectors: Floats, outline: Outline, buckets: int, top: int) -> None:
        self.queries, self.vectors = queries, vectors
        self.classes, self.counts = outline.classes[queries], outline.relevant[queries]
        self.most = max(1, int(self.counts.max()))
        self.counters = new_counters(len(queries), self.most, buckets)
        self.filled = np.zeros(len(outline.labels), dtype=np.int32)  # relevant photos of each class found so far
        self.wanted = np.zeros(len(outline.labels), dtype=np.bool_)
        self.wanted[self.classes[self.classes >= 0]] = True
        self.best: Floats = np.empty((len(queries), top), dtype=np.float32)
        self.top: Positions = np.empty((len(queries), top), dtype=np.int32)


class Space:
    """What one thread writes to: ``scores`` float32 [rows * SCORED], ``packed`` float32 [BLOCK, width]."""

    def __init__(self, rows: int, width: int) -> None:
        self._scores: Floats = np.empty(rows * SCORED, dtype=np.float32)
        self.packed: Floats = np.zeros((BLOCK, width), dtype=np.float32)

    def scores(self, rows: int, columns: int) -> Floats:
        """Room for float32 [rows, columns], in one piece."""
        return self._scores[: rows * columns].reshape(rows, columns)


class StreamedPass:
    """The ranking of all queries; ``values`` float64 [metrics, queries] and ``top`` int32 [queries, top] fill up.

    Raises DataError for more photos than positions can tell, and what ``bench.evaluation.similarity.measure`` raises.
    """

    def __init__(
        self, embeddings: StreamedEmbeddings, metrics: Sequence[str], distance: Distance, ties: int, top: int
    ) -> None:
        self.query, self.clusters, self.gallery = embeddings.query, embeddings.clusters, embeddings.photos
        self.photos, self.width = self.gallery.shape
        if self.photos > MOST_PHOTOS:
            raise DataError(f"The gallery has {self.photos} photos, more than {MOST_PHOTOS}: divide it.")
        self.outline = Outline(embeddings, metrics)
        self.measure = measure(self.query, self.gallery, distance)
        self.ties, self.columns = ties, min(top, self.photos)
        self.values: Doubles = np.full((len(self.outline.metrics), len(self.query)), np.nan)
        self.top: npt.NDArray[np.int32] = np.empty((len(self.query), self.columns), dtype=np.int32)
        self.buckets = bucket_count(self.photos)
        self.budget = GROUP_BYTES

    def ranked(self, threads: int, progress: Progress | None) -> Ranking:
        """Everything; where memory does not suffice, on fewer threads and then with fewer queries at a time."""
        while True:
            try:
                with threadpool_limits(limits=1, user_api="blas"):
                    self._run(threads, progress)
                break
            except MemoryError:
                if threads == 1 and len(self._groups()[0]) == 1:
                    raise
                if threads > 1:
                    threads //= 2
                else:
                    self.budget //= 2
                log.warning("Memory did not suffice: ranking goes on with less on %d threads.", threads)
        outline = self.outline
        top = self.top if self.columns else None
        return Ranking(outline.metrics, self.values, outline.relevant, self.clusters, top)

    def _groups(self) -> list[list[Labels]]:
        """Positions of the queries of each tile, in groups that go through the gallery together.

        A tile has ``TILE`` queries, fewer where they would exceed ``GROUP_BYTES``: that depends on the data alone.
        """
        outline = self.outline
        a_query = bytes_of_counters(outline.most, self.buckets)
        size = max(1, min(TILE, GROUP_BYTES // a_query))
        tiles = [outline.order[begin : begin + size] for begin in range(0, len(outline.order), size)]
        needed = [tile for tile in tiles if self.columns or outline.relevant[tile].any()]
        passes = max(1, math.ceil(len(needed) * size * a_query / self.budget))
        each = max(1, math.ceil(len(needed) / passes))
        return [needed[begin : begin + each] for begin in range(0, len(needed), each)]

    def _run(self, threads: int, progress: Progress | None) -> None:
        groups = self._groups()
        spare: SimpleQueue[Space] = SimpleQueue()
        rows = max((len(tile) for group in groups for tile in group), default=1)
        workers = max(1, min(threads, 1 + max((len(group) for group in groups), default=0)))
        for _ in range(workers):
            spare.put(Space(rows, self.width))
        pool = ThreadPoolExecutor(workers)
        done = 0
        try:
            for group in groups:
                asked = sum(len(tile) for tile in group)

                def report(part: float, done: int = done, asked: int = asked) -> None:
                    if progress is not None:
                        progress(done + int(asked * part), len(self.query))

                self._group([self._tile(tile) for tile in group], pool, spare, report)
                done += asked
        finally:
            pool.shutdown(cancel_futures=True)
        if progress is not None:
            progress(len(self.query), len(self.query))

    def _tile(self, queries: Labels) -> Tile:
        vectors = np.ascontiguousarray(self.measure.queries(self.query[queries]))
        return Tile(queries, vectors, self.outline, self.buckets, self.columns)

    def _group(
        self, tiles: list[Tile], pool: ThreadPoolExecutor, spare: SimpleQueue[Space], report: Callable[[float], None]
    ) -> None:
        """Both passes, and what comes of them."""
        self._sweep(tiles, pool, spare, self._find, False, lambda part: report(FIRST_PASS * part))
        for tile in tiles:
            open_rows(tile.classes, tile.counts, tile.counters)
        self._sweep(tiles, pool, spare, self._count, True, lambda part: report(FIRST_PASS + (1 - FIRST_PASS) * part))
        for tile in tiles:
            self._close(tile)

    def _sweep(
        self,
        tiles: list[Tile],
        pool: ThreadPoolExecutor,
        spare: SimpleQueue[Space],
        work: Callable[[Tile, Span, Space], None],
        factors: bool,
        report: Callable[[float], None],
    ) -> None:
        """Let every tile work on every span; the next span is read meanwhile."""
        size = max(1, SPAN_BYTES // (4 * self.width * BLOCK)) * BLOCK
        begins = range(0, self.photos, size)

        def one(tile: Tile, span: Span) -> None:
            space = spare.get()
            try:
                work(tile, span, space)
            finally:  # or the next tile would wait for ever
                spare.put(space)

        ahead = pool.submit(self._span, 0, size, factors)
        for begin in begins:
            span = ahead.result()
            if begin + size < self.photos:
                ahead = pool.submit(self._span, begin + size, size, factors)
            for finished in as_completed([pool.submit(one, tile, span) for tile in tiles]):
                finished.result()
            report(min(1.0, (begin + size) / self.photos))

    def _span(self, begin: int, size: int, factors: bool) -> Span:
        end = min(begin + size, self.photos)
        vectors = self.gallery.vectors(begin, end)
        kinds = np.searchsorted(self.outline.labels, self.gallery.labels(begin, end)).astype(np.int32)
        nothing: Floats = np.empty(0, dtype=np.float32)
        scale, offset = self.measure.factors_of(vectors) if factors else (nothing, nothing)
        return Span(begin, vectors, kinds, scale, offset)

    def _find(self, tile: Tile, span: Span, space: Space) -> None:
        """Keep the scores of a tile's relevant photos in a span."""
        chosen = np.flatnonzero(tile.wanted[span.kinds])
        if not len(chosen):
            return
        kinds = span.kinds[chosen]
        slots = (tile.filled[kinds] + occurrences(kinds)).astype(np.int32)
        tile.filled += np.bincount(kinds, minlength=len(tile.filled)).astype(np.int32)
        columns = chosen % BLOCK
        # Photos of one layer have different places in their blocks: they share a product. The last block of the gallery
        # may be smaller, and is multiplied as it is.
        full = len(span.vectors) // BLOCK * BLOCK
        layer = np.where(chosen < full, occurrences(columns), len(span.vectors))
        order = np.lexsort((kinds, layer))
        for members in np.split(order, np.flatnonzero(np.diff(layer[order])) + 1):
            photos, own = chosen[members], columns[members]
            vectors = span.vectors[photos]
            if photos[0] < full:
                space.packed[own] = vectors
                block = space.packed
            else:
                block = span.vectors[full:]
            products = space.scores(len(tile.queries), len(block))
            np.matmul(tile.vectors, block.T, out=products)
            begins, ends = (np.searchsorted(kinds[members], tile.classes, side=side) for side in ("left", "right"))
            places = (span.begin + photos).astype(np.int32)
            place_rows(
                products,
                own,
                *self.measure.factors_of(vectors),
                slots[members],
                places,
                begins,
                ends,
                tile.counters,
            )

    def _count(self, tile: Tile, span: Span, space: Space) -> None:
        """Count the photos of a span, and take the best of them."""
        for begin in range(0, len(span.vectors), SCORED):
            end = min(begin + SCORED, len(span.vectors))
            scores = space.scores(len(tile.queries), end - begin)
            for first in range(begin, end, BLOCK):
                last = min(first + BLOCK, end)
                np.matmul(tile.vectors, span.vectors[first:last].T, out=scores[:, first - begin : last - begin])
            apply_factors(scores, span.scale[begin:end], span.offset[begin:end])
            count_rows(scores, tile.classes, span.kinds[begin:end], span.begin + begin, tile.counters)
            if self.columns:
                top_block(scores, span.begin + begin, tile.best, tile.top)

    def _close(self, tile: Tile) -> None:
        """Write the values and the best photos of a tile."""
        outline, rows = self.outline, len(tile.queries)
        ranks, ends = (np.empty((rows, tile.most), dtype=np.int64) for _ in range(2))
        close_rows(tile.classes, tile.counts, self.ties, tile.counters, ranks, ends)
        values = np.empty((len(outline.metrics), rows))
        fill_values(outline.wanted, ranks, ends, tile.counts, values)
        self.values[:, tile.queries] = values
        if self.columns:
            sort_top(tile.best, tile.top)
            self.top[tile.queries] = tile.top


def occurrences(keys: npt.NDArray[np.integer]) -> Labels:
    """How many equal keys stand before each: int64 [keys].

    >>> occurrences(np.array([5, 3, 5, 5, 3])).tolist()
    [0, 0, 1, 2, 1]
    """
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    begins = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    found: Labels = np.empty(len(keys), dtype=np.int64)
    found[order] = np.arange(len(keys)) - np.repeat(begins, np.diff(np.append(begins, len(keys))))
    return found
