"""Exact ranks of the relevant photos of a query without sorting its gallery.

Sort the scores of the R relevant photos; drop every photo of the gallery into one of B buckets over their range; a
bucket without a relevant score says at once how many relevant photos rank before, only the others need a comparison.
A histogram of that number and its cumulative sum are the ranks: O(gallery + R). The bucket of a score is a
non-increasing function of it whatever float32 rounds, so the result does not depend on B.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bench.compiled import compiled
from bench.types import Floats, Labels

Positions = npt.NDArray[np.int32]

INDEX, PESSIMISTIC, OPTIMISTIC = 0, 1, 2
CHUNK = 1024  # photos whose buckets are computed together: a loop that the processor can do eight at a time
FEW = 12  # up to so many relevant scores in one bucket are cheaper walked through than halved
STEEPEST = np.float32(1e30)  # buckets as narrow as this stay finite times any difference of scores


def bucket_count(photos: int) -> int:
    """How many buckets suit a gallery: enough that few photos share one with a relevant photo, few enough to clear."""
    return 1_024 if photos <= 4_000 else 16_384


@compiled
def apply_factors(scores: Floats, scale: Floats, offset: Floats) -> None:
    """Turn products into scores in place: ``scores`` float32 [rows, photos]; an empty factor changes nothing."""
    for row in range(scores.shape[0]):
        if scale.size:
            for photo in range(scores.shape[1]):
                scores[row, photo] = scores[row, photo] * scale[photo]
        if offset.size:
            for photo in range(scores.shape[1]):
                scores[row, photo] = scores[row, photo] - offset[photo]


@compiled
def sift_down(scores: Floats, places: npt.NDArray[Any], root: int, size: int) -> None:
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
def make_heap(scores: Floats, places: npt.NDArray[Any]) -> None:
    """Reorder photos into a heap with the worst at the top."""
    for root in range(scores.size // 2 - 1, -1, -1):
        sift_down(scores, places, root, scores.size)


@compiled
def sort_heap(scores: Floats, places: npt.NDArray[Any]) -> None:
    """Turn a heap into a list, the best photo first."""
    for size in range(scores.size - 1, 0, -1):
        scores[0], scores[size] = scores[size], scores[0]
        places[0], places[size] = places[size], places[0]
        sift_down(scores, places, 0, size)


@compiled
def sort_bucket(scores: Floats, places: Labels) -> None:
    """Order relevant photos, whose ``places`` ascend, by descending score; equal scores keep their order."""
    if scores.size > FEW:
        fallen = False  # many photos in one bucket are mostly equal ones, which need no sorting
        for current in range(1, scores.size):
            fallen = fallen or scores[current] > scores[current - 1]
        if fallen:
            make_heap(scores, places)
            sort_heap(scores, places)
        return
    for current in range(1, scores.size):
        score, place = scores[current], places[current]
        slot = current
        while slot > 0 and scores[slot - 1] < score:
            scores[slot], places[slot] = scores[slot - 1], places[slot - 1]
            slot -= 1
        scores[slot], places[slot] = score, place


@compiled
def count_before(scores: Floats, places: Labels, begin: int, end: int, score: np.float32, photo: int) -> int:
    """First position in ``[begin, end)`` of the sorted relevant photos that does not rank before ``photo``."""
    while end - begin > FEW:
        middle = (begin + end) // 2
        if scores[middle] > score or (scores[middle] == score and places[middle] < photo):
            begin = middle + 1
        else:
            end = middle
    while begin < end and (scores[begin] > score or (scores[begin] == score and places[begin] < photo)):
        begin += 1
    return begin


@compiled
def bucket_of(score: np.float32, highest: np.float32, steepness: np.float32, last: np.float32) -> np.int32:
    """Bucket of a score: 0 above all relevant scores, ``last`` below them."""
    place = (highest - score) * steepness + np.float32(1)
    place = place if place > np.float32(0) else np.float32(0)
    return np.int32(place if place < last else last)


@compiled
def sort_relevant(
    line: Floats,
    own: Labels,
    first: Positions,
    own_bucket: Positions,
    own_score: Floats,
    own_place: Labels,
) -> tuple[np.float32, np.float32]:
    """Order the relevant photos ``own`` int64 [R] of one query by descending score, then by position.

    ``line`` float32 [photos] are its scores. Written: ``own_score`` and ``own_place`` in that order, and ``first``
    int32 [buckets + 3], the number of relevant photos in the buckets before each. Returns highest score and steepness.
    """
    count, buckets = own.size, first.size - 3
    highest = lowest = line[own[0]]
    for position in range(count):
        score = line[own[position]]
        highest = score if score > highest else highest
        lowest = score if score < lowest else lowest
    steepness = STEEPEST
    if highest - lowest > np.float32(buckets - 1) / STEEPEST:
        steepness = np.float32(buckets - 1) / (highest - lowest)
    last = np.float32(buckets + 1)

    # Count into bucket + 2, so that after the sums bucket + 1 says where a bucket begins; placing its photos moves that
    # on to where it ends, which is where the next begins.
    first[:] = 0
    for position in range(count):
        own_bucket[position] = bucket_of(line[own[position]], highest, steepness, last)
        first[own_bucket[position] + 2] += 1
    for bucket in range(1, buckets + 3):
        first[bucket] += first[bucket - 1]
    for position in range(count):
        slot = first[own_bucket[position] + 1]
        first[own_bucket[position] + 1] += 1
        own_score[slot], own_place[slot] = line[own[position]], own[position]
    begin = 0
    while begin < count:
        end = int(first[bucket_of(own_score[begin], highest, steepness, last) + 1])
        if end - begin > 1:
            sort_bucket(own_score[begin:end], own_place[begin:end])
        begin = end
    return highest, steepness


@compiled
def rank_rows(
    scores: Floats,
    classes: Labels,
    photo_classes: Positions,
    starts: Labels,
    members: Labels,
    buckets: int,
    ties: int,
    ranks: Labels,
    ends: Labels,
) -> None:
    """Ranks (from 1, ascending) of the relevant photos of each query into the first columns of its row.

    ``scores`` float32 [rows, photos], finite; ``classes`` int64 [rows] the query's class (a number from 0), or -1 for a
    class without photos; ``photo_classes`` int32 [photos] those of the photos; ``starts`` int64 [classes + 1] and
    ``members`` int64 [photos]: the photos of class c are ``members[starts[c]:starts[c + 1]]``, ascending. ``ranks`` and
    ``ends`` int64 [rows, most] are written: ``ranks`` with equal scores by gallery position (INDEX), with irrelevant
    photos first (PESSIMISTIC) or last (OPTIMISTIC); ``ends`` the number of photos that score as high or higher.
    """
    photos, most = scores.shape[1], ranks.shape[1]
    first = np.empty(buckets + 3, dtype=np.int32)
    own_bucket = np.empty(most, dtype=np.int32)
    own_score = np.empty(most, dtype=np.float32)
    own_place = np.empty(most, dtype=np.int64)
    group_begin = np.empty(most, dtype=np.int64)  # of equal relevant scores
    group_end = np.empty(most, dtype=np.int64)
    at = np.empty(most + 1, dtype=np.int64)  # irrelevant photos by the number of relevant photos that rank before them
    above = np.empty(most + 1, dtype=np.int64)  # correction that ranks equal scores after (optimistic)
    level = np.empty(most + 1, dtype=np.int64)  # correction that ranks equal scores before (pessimistic)
    # Unsigned numbers: numba reads a negative index from the end and would ask every time.
    chunk = np.empty(CHUNK, dtype=np.uint32)
    close = np.empty(CHUNK, dtype=np.uint32)  # photos of the chunk that share a bucket with a relevant photo
    for row in range(scores.shape[0]):
        if classes[row] < 0:
            continue
        line, own_class = scores[row], np.int32(classes[row])
        own = members[starts[own_class] : starts[own_class + 1]]
        count = own.size
        highest, steepness = sort_relevant(line, own, first, own_bucket, own_score, own_place)
        last = np.float32(buckets + 1)
        for position in range(count):
            same = position > 0 and own_score[position] == own_score[position - 1]
            group_begin[position] = group_begin[position - 1] if same else position
        for position in range(count - 1, -1, -1):
            same = position + 1 < count and own_score[position] == own_score[position + 1]
            group_end[position] = group_end[position + 1] if same else position + 1
        at[: count + 1] = 0
        above[: count + 1] = 0
        level[: count + 1] = 0
        for offset in range(0, photos, CHUNK):
            size = min(CHUNK, photos - offset)
            part, kinds = line[offset : offset + size], photo_classes[offset : offset + size]
            for photo in range(size):
                bucket = bucket_of(part[photo], highest, steepness, last)
                # Relevant photos are ranked already: they go where nothing is counted.
                chunk[photo] = buckets + 1 if kinds[photo] == own_class else bucket
            found = np.uint32(0)
            for photo in range(size):
                before, stop = first[chunk[photo]], first[chunk[photo] + np.uint32(1)]
                shared = before != stop
                at[np.uint32(before)] += not shared
                close[found] = photo
                found += np.uint32(shared)  # no branch: whether it is shared cannot be foretold
            for each in range(found):
                place = int(close[np.uint32(each)])
                start, end = int(first[chunk[place]]), int(first[chunk[place] + np.uint32(1)])
                score = part[place]
                rank = count_before(own_score, own_place, start, end, score, offset + place)
                at[rank] += 1
                equal = -1
                if rank < end and own_score[rank] == score:
                    equal = rank
                elif rank > start and own_score[rank - 1] == score:
                    equal = rank - 1
                if equal >= 0:
                    level[rank] -= 1
                    level[group_begin[equal]] += 1
                    above[rank] -= 1
                    above[group_end[equal]] += 1

        by_place, higher, as_high = 0, 0, 0
        for position in range(count):
            by_place += at[position]
            higher += at[position] + above[position]
            as_high += at[position] + level[position]
            ends[row, position] = as_high + group_end[position]
            wrong = by_place if ties == INDEX else as_high if ties == PESSIMISTIC else higher
            ranks[row, position] = wrong + position + 1


@compiled
def top_rows(scores: Floats, top: Positions) -> None:
    """Positions of the best photos of each row, best first, equal scores by position, into ``top`` int32 [rows, top].

    ``scores`` float32 [rows, photos] with at least ``top`` photos.
    """
    wanted = top.shape[1]
    best = np.empty(wanted, dtype=np.float32)
    for row in range(scores.shape[0]):
        line, places = scores[row], top[row]
        for photo in range(wanted):
            best[photo], places[photo] = line[photo], photo
        make_heap(best, places)
        for photo in range(wanted, line.size):
            if line[photo] > best[0]:  # an equal score at a later position is worse
                best[0], places[0] = line[photo], photo
                sift_down(best, places, 0, wanted)
        sort_heap(best, places)
