"""What a pass of the ranking engine needs to know before its first block, on whatever device it runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from bench.embeddings.arrays import Embeddings, Gallery, StreamedEmbeddings
from bench.evaluation.metrics.base import parse_metric
from bench.types import Labels

Ties = Literal["index", "pessimistic", "optimistic"]

TILE = 128  # queries whose products keep one processor's BLAS busy: more gain little and cost memory
# Photos whose products are one call of BLAS, counted from the first. The rounding of a product depends on the shape of
# the call and on the place in it, so that every pass over a gallery divides it alike.
BLOCK = 2048
BYTES_PER_RANK = 16  # rank and end of a relevant photo
LABELS_AT_ONCE = 2**18


class Outline:
    """Parsed metrics, and how the classes of queries and gallery meet: no array of the gallery's length.

    ``labels`` and ``counts`` int64 [classes], the gallery's classes (ascending, in what follows numbered from 0) and
    how many photos each has; ``classes`` int64 [queries], -1 for a query without
    relevant photo; ``order`` int64 [queries], the queries class by class, as they go into tiles: what a tile needs of
    the gallery beforehand is then the photos of few classes; ``relevant`` int64 [queries], how many photos are
    relevant; ``most`` the largest of them, at least 1.
    """

    def __init__(self, embeddings: Embeddings | StreamedEmbeddings, metrics: Sequence[str]) -> None:
        parsed = [parse_metric(each) for each in metrics]
        self.metrics = tuple(dict.fromkeys(each.id for each in parsed))
        self.wanted = [parse_metric(each) for each in self.metrics]
        self.labels, self.counts = gallery_classes(embeddings.photos)
        query_labels = embeddings.query_labels
        slot = np.minimum(np.searchsorted(self.labels, query_labels), len(self.labels) - 1)
        self.classes: Labels = np.where(self.labels[slot] == query_labels, slot, -1).astype(np.int64)
        self.order: Labels = np.argsort(self.classes, kind="stable").astype(np.int64)
        self.relevant: Labels = np.where(self.classes >= 0, self.counts[self.classes], 0).astype(np.int64)
        self.most = max(1, int(self.relevant.max()))

    def bytes_per_query(self, photos: int) -> int:
        """Memory that scores, ranks and ends of one query take."""
        return 4 * photos + BYTES_PER_RANK * self.most


class Plan(Outline):
    """Also what has the gallery's length: ``photo_classes`` int32 [photos], ``members`` int32 [photos], by class.

    The photos of class c are ``members[starts[c]:starts[c + 1]]``, ascending; ``starts`` int64 [classes + 1].
    """

    def __init__(self, embeddings: Embeddings, metrics: Sequence[str]) -> None:
        labels = embeddings.gallery_labels
        super().__init__(embeddings, metrics)
        self.members = np.argsort(labels, kind="stable").astype(np.int32)
        self.starts: Labels = np.concatenate(([0], np.cumsum(self.counts)))
        self.photo_classes = np.searchsorted(self.labels, labels).astype(np.int32)


def gallery_classes(gallery: Gallery) -> tuple[Labels, Labels]:
    """The labels there are, ascending, and how many photos have each: int64 [classes] both."""
    found: dict[int, int] = {}
    for begin in range(0, gallery.shape[0], LABELS_AT_ONCE):
        part = gallery.labels(begin, min(begin + LABELS_AT_ONCE, gallery.shape[0]))
        for label, count in zip(*(each.tolist() for each in np.unique(part, return_counts=True)), strict=True):
            found[label] = found.get(label, 0) + count
    labels = sorted(found)
    return np.array(labels, dtype=np.int64), np.array([found[label] for label in labels], dtype=np.int64)


def whole_tiles(queries: int, photos: int, most: int, budget: int) -> bool:
    """Whether all scores of a tile as large as it can be are within ``budget`` bytes: the gallery need not stream."""
    return tile_size(queries, photos, most, budget) == min(TILE, queries)


def tile_size(queries: int, photos: int, most: int, budget: int, per_score: int = 4) -> int:
    """Queries at a time: ``TILE``, fewer where there are fewer or ``budget`` bytes hold fewer; at least 1.

    ``per_score`` bytes are needed for every query and photo, the rest as ``Plan.bytes_per_query`` says.
    """
    return max(1, min(TILE, queries, budget // (per_score * photos + BYTES_PER_RANK * most)))
