"""Synthetic embeddings: a normal cloud around a centre for each class, the same on both sides."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bench.embeddings.arrays import Embeddings
from bench.evaluation.ranking_result import Ranking
from bench.types import AVERAGES, Score


def clouds(
    queries: int = 300, photos: int = 2000, width: int = 48, classes: int = 9, seed: int = 0, shift: float = 0.0
) -> Embeddings:
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((classes, width)) + shift
    ql, gl = generator.integers(0, classes, queries), generator.integers(0, classes, photos)
    ql[::50] = classes + 3  # no photo is relevant to these
    query = centres[ql % classes] + 2 * generator.standard_normal((queries, width))
    gallery = centres[gl] + 2 * generator.standard_normal((photos, width))
    return Embeddings(query.astype(np.float32), gallery.astype(np.float32), ql, gl)


def scores_of(ranking: Ranking) -> list[Score]:
    """Every metric under both means."""
    return [ranking.score(metric, average) for metric in ranking.metrics for average in AVERAGES]


@dataclass(frozen=True)
class OnDisk:
    """Rows that are not known to be in memory."""

    rows: np.ndarray  # type: ignore[type-arg]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.rows.shape

    def __getitem__(self, part: slice, /) -> np.ndarray:  # type: ignore[type-arg]
        return self.rows[part]


def streamed(embeddings: Embeddings) -> Embeddings:
    """The same, with photos that are not known to be in memory."""
    return replace(embeddings, gallery=OnDisk(embeddings.gallery), gallery_labels=OnDisk(embeddings.gallery_labels))
