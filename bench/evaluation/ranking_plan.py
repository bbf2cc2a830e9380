"""What a ranking needs to know before its first score, on whatever device it runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from bench.embeddings.arrays import Embeddings, StreamedEmbeddings
from bench.evaluation.metrics.base import parse_metric
from bench.types import Labels

Ties = Literal["index", "pessimistic", "optimistic"]

TILE = 128  # queries whose products keep one processor's BLAS busy: more gain little and cost memory
BYTES_PER_RANK = 16  # rank and end of a relevant photo
LABELS_AT_ONCE = 2**18


class Plan:
    """Parsed metrics, and how the labels of queries and gallery meet.

    The gallery's labels, ascending, are its kinds from 0 on: ``counts`` int64
    [kinds] photos each, ``photo_kinds`` int32 [photos]. ``kinds`` int64 [queries] is -1 without a relevant photo.
    ``order`` int64 [queries] are the queries kind by kind, as they go into tiles: the relevant photos of a tile are
    then of few kinds. ``relevant`` int64 [queries] counts relevant photos; ``most`` is the largest of them, at least 1.
    """

    def __init__(self, embeddings: Embeddings | StreamedEmbeddings, metrics: Sequence[str]) -> None:
        self.wanted = list({each.id: each for each in map(parse_metric, metrics)}.values())
        self.metrics = tuple(each.id for each in self.wanted)
        photos, asked = embeddings.photos.shape[0], embeddings.query_labels
        parts = [slice(begin, min(begin + LABELS_AT_ONCE, photos)) for begin in range(0, photos, LABELS_AT_ONCE)]
        labels = np.unique(
            np.concatenate([np.unique(embeddings.photos.labels(part.start, part.stop)) for part in parts])
        )
        self.photo_kinds: npt.NDArray[np.int32] = np.empty(photos, dtype=np.int32)
        self.counts: Labels = np.zeros(len(labels), dtype=np.int64)
        for part in parts:
            self.photo_kinds[part] = np.searchsorted(labels, embeddings.photos.labels(part.start, part.stop))
            self.counts += np.bincount(self.photo_kinds[part], minlength=len(labels))
        slot = np.minimum(np.searchsorted(labels, asked), len(labels) - 1)
        self.kinds: Labels = np.where(labels[slot] == asked, slot, -1).astype(np.int64)
        self.order: Labels = np.argsort(self.kinds, kind="stable").astype(np.int64)
        self.relevant: Labels = np.where(self.kinds >= 0, self.counts[self.kinds], 0).astype(np.int64)
        self.most = max(1, int(self.relevant.max()))

    def tile_size(self, budget: int, per_score: int = 4) -> int:
        """Queries at a time: ``TILE``, fewer where there are fewer or ``budget`` bytes hold fewer; at least 1.

        Each takes ``per_score`` bytes a photo and ``BYTES_PER_RANK`` a relevant photo.
        """
        a_query = per_score * len(self.photo_kinds) + BYTES_PER_RANK * self.most
        return max(1, min(TILE, len(self.kinds), budget // a_query))
