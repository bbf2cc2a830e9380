"""What is known of a ranking before its first score."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from bench.embeddings.arrays import Rankable
from bench.evaluation.metrics.base import parse_metric
from bench.evaluation.ranking_kernels import Positions, new_counters
from bench.types import Floats, Labels

SHARED = 4  # the number of tiles is a multiple of it, if there are so many
TILE = 128  # queries of one matrix product: more gain little and cost memory
BYTES_PER_RANK = 16  # rank and end of a relevant photo
LABELS_AT_ONCE = 2**18


class Plan:
    """Parsed metrics, and which photos are relevant to which queries.

    A kind is a label of the gallery, numbered from 0 in ascending order. ``counts`` int64 [kinds] are its photos,
    ``photo_kinds`` int32 [photos] and ``kinds`` int64 [queries] the kind of each, -1 for a query without relevant
    photo. ``order`` int64 [queries] sorts queries by kind, so that a tile has few kinds. ``relevant`` int64 [queries]
    counts relevant photos; ``most`` is their maximum, at least 1.
    """

    def __init__(self, embeddings: Rankable, metrics: Sequence[str]) -> None:
        self.wanted = list({each.id: each for each in map(parse_metric, metrics)}.values())
        self.metrics = tuple(each.id for each in self.wanted)
        own, photos = embeddings.query_labels, embeddings.gallery.shape[0]
        parts = [slice(begin, begin + LABELS_AT_ONCE) for begin in range(0, photos, LABELS_AT_ONCE)]
        labels = np.unique(np.concatenate([np.unique(embeddings.gallery_labels[part]) for part in parts]))
        self.photo_kinds: Positions = np.empty(photos, dtype=np.int32)
        self.counts: Labels = np.zeros(len(labels), dtype=np.int64)
        for part in parts:
            kinds = self.photo_kinds[part] = np.searchsorted(labels, embeddings.gallery_labels[part])
            self.counts += np.bincount(kinds, minlength=len(labels))
        slot = np.minimum(np.searchsorted(labels, own), len(labels) - 1)
        self.kinds: Labels = np.where(labels[slot] == own, slot, -1).astype(np.int64)
        self.order: Labels = np.argsort(self.kinds, kind="stable").astype(np.int64)
        self.relevant: Labels = np.where(self.kinds >= 0, self.counts[self.kinds], 0).astype(np.int64)
        self.most = max(1, int(self.relevant.max()))

    def tile_size(self, budget: int, per_score: int = 4) -> int:
        """Queries at a time, 1 to ``TILE``: ``budget`` bytes hold their ranks and ``per_score`` bytes a photo."""
        a_query = per_score * len(self.photo_kinds) + BYTES_PER_RANK * self.most
        return max(1, min(TILE, len(self.kinds), budget // a_query))

    def tiles(self, rows: int) -> list[Labels]:
        """Query positions of equal tiles of at most ``rows``: so many that processors share them without a rest."""
        count = math.ceil(len(self.order) / rows)
        return np.array_split(self.order, max(1, count if count < SHARED else SHARED * math.ceil(count / SHARED)))


class Tile:
    """Queries that pass through the gallery, and what is kept of them; ``queries`` int64 [rows] are their positions.

    ``kept`` int64 [rows]: relevant photos found so far; ``wanted`` bool [kinds]: whether any of a kind is needed.
    """

    def __init__(self, queries: Labels, vectors: Floats, plan: Plan, buckets: int, top: int) -> None:
        self.queries, self.vectors = queries, vectors
        self.kinds, self.counts = plan.kinds[queries], plan.relevant[queries]
        self.counters = new_counters(len(queries), max(1, int(self.counts.max())), buckets)
        self.kept: Labels = np.zeros(len(queries), dtype=np.int64)
        self.wanted = np.zeros(len(plan.counts), dtype=np.bool_)
        self.wanted[self.kinds[self.kinds >= 0]] = True
        self.best: Floats = np.empty((len(queries), top), dtype=np.float32)
        self.top: Positions = np.empty((len(queries), top), dtype=np.int32)
