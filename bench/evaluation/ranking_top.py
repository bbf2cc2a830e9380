"""The best photos of each query, kept in a heap while the gallery is scored block by block."""

from __future__ import annotations

import numpy as np

from bench.evaluation.jit import compiled
from bench.evaluation.ranking_kernels import Positions
from bench.types import Floats


@compiled
def sift_down(scores: Floats, places: Positions, root: int, size: int) -> None:
    """Restore the heap below ``root``. Its top is the worst photo: lowest score, then highest position."""
    while 2 * root + 1 < size:
        child = 2 * root + 1
        other = child + 1
        if other < size and (
            scores[other] < scores[child] or (scores[other] == scores[child] and places[other] > places[child])
        ):
            child = other
        if scores[child] > scores[root] or (scores[child] == scores[root] and places[child] < places[root]):
            return
        scores[root], scores[child] = scores[child], scores[root]
        places[root], places[child] = places[child], places[root]
        root = child


@compiled
def top_block(scores: Floats, begin: int, best: Floats, top: Positions) -> None:
    """Add the photos from position ``begin`` on to the best of each row, which ``sort_top`` orders at the end.

    ``scores`` float32 [rows, photos]; ``best`` float32 and ``top`` int32 [rows, top], scores and positions so far.
    """
    wanted = top.shape[1]
    for row in range(scores.shape[0]):
        line, kept, places = scores[row], best[row], top[row]
        filling = min(line.size, max(0, wanted - begin))
        for photo in range(filling):
            kept[begin + photo], places[begin + photo] = line[photo], begin + photo
        if filling and begin + filling == wanted:
            for root in range(wanted // 2 - 1, -1, -1):
                sift_down(kept, places, root, wanted)
        for photo in range(filling, line.size):
            if line[photo] > kept[0]:  # an equal score at a later position is worse
                kept[0], places[0] = line[photo], begin + photo
                sift_down(kept, places, 0, wanted)


def sort_top(best: Floats, top: Positions) -> Positions:
    """The positions of each row, best first, equal scores by position: int32 [rows, top]."""
    return np.take_along_axis(top, np.lexsort((top, -best)), axis=1)
