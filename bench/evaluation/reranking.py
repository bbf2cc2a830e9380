"""Re-ranking after ICFRR: a query's order is smoothed over the neighbourhoods of the gallery.

Source: ICFRR d1fbf45 src/rerank.py and configs.py. Let rank_g(j) be the place of photo j, from 0, among the neighbours
of photo g, without g itself. The first photos of a query vote: photo j gets the mean of 1 - rank_g(j) / (N - 1) over
them, where only the nearest neighbours of each g count. Its new score is the negated Euclidean distance of the unit
vectors plus the weighted mean. From the second pass on the distances belong to the places of the order, not to the
photos, as in the source. The whole unlabelled gallery is used: the method is transductive.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bench.embeddings.arrays import Embeddings
from bench.evaluation.jit import compiled
from bench.evaluation.ranking import rank
from bench.evaluation.ranking_cpu import Progress
from bench.settings.post_processing import PostProcessing
from bench.types import Floats


class Icfrr:
    """Replaces cosines float32 [queries, photos] in place by scores of the new order.

    The neighbours of every photo, int32 [photos, rerank_gallery], are computed once.
    """

    def __init__(self, embeddings: Embeddings, settings: PostProcessing, progress: Progress | None = None) -> None:
        self.settings = settings
        self.neighbours = neighbours(embeddings, settings.rerank_gallery, progress)

    def __call__(self, cosines: Floats) -> None:
        """Re-rank each row; equal new scores keep their previous order."""
        settings, photos = self.settings, cosines.shape[1]
        voters = min(settings.rerank_queries, photos)
        for row in cosines:
            order = np.argsort(-row, kind="stable").astype(np.int32)
            placed = -np.sqrt(np.maximum(0.0, 2.0 - 2.0 * row[order].astype(np.float64)))
            for _ in range(settings.rerank_passes):
                gained = votes(self.neighbours, order[:voters])[order]
                order = order[np.argsort(-(placed + settings.rerank_weight * gained), kind="stable")]
            row[order] = np.arange(photos, 0, -1, dtype=np.float32)


def neighbours(embeddings: Embeddings, count: int, progress: Progress | None = None) -> npt.NDArray[np.int32]:
    """The ``count`` photos (at most all others) nearest to each photo by cosine, equal ones by position.

    int32 [photos, count], nearest first, without the photo itself.
    """
    gallery, labels = embeddings.gallery[:], embeddings.gallery_labels[:]
    best = rank(Embeddings(gallery, gallery, labels, labels), (), top=count + 1, progress=progress).top
    own = best == np.arange(len(best), dtype=np.int32)[:, None]
    own[~own.any(axis=1), -1] = True  # many copies of the photo come first, so it is not in its own list
    others: npt.NDArray[np.int32] = best[~own].reshape(len(best), best.shape[1] - 1)
    return others


@compiled
def votes(neighbours: npt.NDArray[np.int32], voters: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
    """Mean weight of every photo over the voters: float64 [photos]."""
    photos, count = neighbours.shape
    found = np.zeros(photos)
    last = max(1, photos - 1)
    for voter in voters:
        for place in range(count):
            found[neighbours[voter, place]] += 1.0 - place / last
    return found / len(voters)
