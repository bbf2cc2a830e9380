"""What a pass of the ranking engine needs to know before its first block, on whatever device it runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from bench.metric_ids import parse_metric
from bench.types import Embeddings, Labels

Ties = Literal["index", "pessimistic", "optimistic"]

TILE = 128  # queries whose products keep one processor's BLAS busy: more gain little and cost memory
BYTES_PER_RANK = 16  # rank and end of a relevant photo


class Plan:
    """What does not change from block to block: metrics as numbers, and the photos of each class.

    ``codes``, ``ks`` int64 [metrics]; ``classes`` int64 [queries] and ``photo_classes`` int32 [photos], the classes of
    the gallery numbered from 0, -1 for a query without relevant photo; ``starts`` int64 [classes + 1] and ``members``
    int64 [photos], the photos by class; ``relevant`` int64 [queries]; ``most`` the largest of them, at least 1.
    """

    def __init__(self, embeddings: Embeddings, metrics: Sequence[str]) -> None:
        parsed = [parse_metric(each) for each in metrics]
        self.metrics = tuple(dict.fromkeys(each.id for each in parsed))
        wanted = [parse_metric(each) for each in self.metrics]
        self.codes: Labels = np.array([each.code for each in wanted], dtype=np.int64)
        self.ks: Labels = np.array([each.k or 0 for each in wanted], dtype=np.int64)
        self.members: Labels = np.argsort(embeddings.gallery_labels, kind="stable").astype(np.int64)
        labels, first = np.unique(embeddings.gallery_labels[self.members], return_index=True)
        self.starts: Labels = np.append(first, len(self.members)).astype(np.int64)
        slot = np.minimum(np.searchsorted(labels, embeddings.query_labels), len(labels) - 1)
        self.classes: Labels = np.where(labels[slot] == embeddings.query_labels, slot, -1).astype(np.int64)
        counts = np.diff(self.starts)
        self.photo_classes = np.searchsorted(labels, embeddings.gallery_labels).astype(np.int32)
        self.relevant: Labels = np.where(self.classes >= 0, counts[self.classes], 0).astype(np.int64)
        self.most = max(1, int(self.relevant.max()))

    def bytes_per_query(self, photos: int) -> int:
        """Memory that scores, ranks and ends of one query take."""
        return 4 * photos + BYTES_PER_RANK * self.most


def tile_size(queries: int, photos: int, most: int, budget: int, per_score: int = 4) -> int:
    """Queries at a time: ``TILE``, fewer where there are fewer or ``budget`` bytes hold fewer; at least 1.

    ``per_score`` bytes are needed for every query and photo, the rest as ``Plan.bytes_per_query`` says.
    """
    return max(1, min(TILE, queries, budget // (per_score * photos + BYTES_PER_RANK * most)))
