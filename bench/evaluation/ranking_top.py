"""The best photos of each query, kept in a heap while the gallery passes by."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bench.evaluation.jit import compiled
from bench.types import Floats

Positions = npt.NDArray[np.int32]


@compiled
def sift_down(scores: Floats, places: Positions, root: int, size: int) -> None:
    """Restore the heap below ``root``: the worst photo (lowest score, then highest position) is at the top."""
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
    """Take the photos from position ``begin`` on into the best of each row; ``sort_top`` orders them after the last.

    ``scores`` float32 [rows, photos]; ``best`` float32 [rows, top] and ``top`` int32 [rows, top] are scores and
    positions of the best so far: a heap as soon as there are as many photos.
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


@compiled
def sort_top(best: Floats, top: Positions) -> None:
    """Order the best photos of each row, the best first, equal scores by position."""
    for row in range(top.shape[0]):
        scores, places = best[row], top[row]
        for size in range(scores.size - 1, 0, -1):
            scores[0], scores[size] = scores[size], scores[0]
            places[0], places[size] = places[size], places[0]
            sift_down(scores, places, 0, size)
