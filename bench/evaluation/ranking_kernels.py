"""Exact ranks of the relevant photos of a query without sorting its gallery.

Sort the scores of the R relevant photos; drop every photo of the gallery into one of B buckets over their range; a
bucket without a relevant score says at once how many relevant photos rank before, only the others need a comparison.
A histogram of that number and its cumulative sum are the ranks: O(gallery + R). The bucket of a score is a
non-increasing function of it whatever float32 rounds, so the result does not depend on B.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.evaluation.jit import compiled
from bench.types import Floats, Labels

Positions = npt.NDArray[np.int32]

INDEX, PESSIMISTIC, OPTIMISTIC = 0, 1, 2
CHUNK = 1024  # photos whose buckets are computed together: a loop that the processor can do eight at a time
FEW = 12  # up to so many relevant scores in one bucket are cheaper walked through than halved
STEEPEST = np.float32(1e30)  # buckets as narrow as this stay finite times any difference of scores


class Counters(NamedTuple):
    """What is kept of queries between one block of the gallery and the next.

    ``first`` int32 [rows, buckets + 3], the number of relevant photos in the buckets before each. By relevant photo, in
    ranking order: ``score`` float32 and ``place`` (gallery position), ``group_begin`` and ``group_end`` of those of
    equal score, int32 [rows, most]. Irrelevant photos by the number of relevant ones that rank before them: ``at``,
    with the corrections that rank equal scores after (``above``) or before them (``level``), int32 [rows, most + 1].
    ``scale`` float32 [rows, 2], the highest relevant score and buckets for each unit of score.
    """

    first: Positions
    score: Floats
    place: Positions
    group_begin: Positions
    group_end: Positions
    at: Positions
    above: Positions
    level: Positions
    scale: Floats


def new_counters(rows: int, most: int, buckets: int) -> Counters:
    """Counters for ``rows`` queries with up to ``most`` relevant photos each."""
    place, group_begin, group_end = (np.empty((rows, most), dtype=np.int32) for _ in range(3))
    at, above, level = (np.empty((rows, most + 1), dtype=np.int32) for _ in range(3))
    score, scale = (np.empty((rows, columns), dtype=np.float32) for columns in (most, 2))
    first = np.empty((rows, buckets + 3), dtype=np.int32)
    return Counters(first, score, place, group_begin, group_end, at, above, level, scale)


def bytes_of_counters(most: int, buckets: int) -> int:
    """Memory that the counters of one query take."""
    return 4 * (buckets + 3) + 28 * most + 20


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
def sort_bucket(scores: Floats, places: Positions) -> None:
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
def count_before(scores: Floats, places: Positions, begin: int, end: int, score: np.float32, photo: int) -> int:
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
def open_row(counters: Counters, row: int, scores: Floats, places: Positions, own_bucket: Positions) -> None:
    """Begin a query: order its relevant photos by descending score, then by position, and count nothing yet.

    ``scores`` float32 [R] and ``places`` int32 [R], ascending, are those photos; ``own_bucket`` int32 [R] is written.
    """
    count, first = scores.size, counters.first[row]
    own_score, own_place = counters.score[row], counters.place[row]
    buckets = first.size - 3
    highest = lowest = scores[0]
    for position in range(count):
        score = scores[position]
        highest = score if score > highest else highest
        lowest = score if score < lowest else lowest
    steepness = STEEPEST
    if highest - lowest > np.float32(buckets - 1) / STEEPEST:
        steepness = np.float32(buckets - 1) / (highest - lowest)
    counters.scale[row, 0], counters.scale[row, 1] = highest, steepness
    last = np.float32(buckets + 1)

    # Count into bucket + 2, so that after the sums bucket + 1 says where a bucket begins; placing its photos moves that
    # on to where it ends, which is where the next begins.
    first[:] = 0
    for position in range(count):
        own_bucket[position] = bucket_of(scores[position], highest, steepness, last)
        first[own_bucket[position] + 2] += 1
    for bucket in range(1, buckets + 3):
        first[bucket] += first[bucket - 1]
    for position in range(count):
        slot = first[own_bucket[position] + 1]
        first[own_bucket[position] + 1] += 1
        own_score[slot], own_place[slot] = scores[position], places[position]
    begin = 0
    while begin < count:
        end = int(first[bucket_of(own_score[begin], highest, steepness, last) + 1])
        if end - begin > 1:
            sort_bucket(own_score[begin:end], own_place[begin:end])
        begin = end

    group_begin, group_end = counters.group_begin[row], counters.group_end[row]
    for position in range(count):
        same = position > 0 and own_score[position] == own_score[position - 1]
        group_begin[position] = group_begin[position - 1] if same else position
    for position in range(count - 1, -1, -1):
        same = position + 1 < count and own_score[position] == own_score[position + 1]
        group_end[position] = group_end[position + 1] if same else position + 1
    counters.at[row, : count + 1] = 0
    counters.above[row, : count + 1] = 0
    counters.level[row, : count + 1] = 0


@compiled
def count_row(
    counters: Counters,
    row: int,
    line: Floats,
    kinds: Positions,
    own_class: np.int32,
    begin: int,
    chunk: npt.NDArray[np.uint32],
    close: npt.NDArray[np.uint32],
) -> None:
    """Count before how many relevant photos each irrelevant one ranks, for photos from position ``begin`` on.

    ``line`` float32 [photos] are their scores, ``kinds`` int32 [photos] their classes; ``chunk`` and ``close`` uint32
    [CHUNK] are written to.
    """
    first, own_score, own_place = counters.first[row], counters.score[row], counters.place[row]
    group_begin, group_end = counters.group_begin[row], counters.group_end[row]
    at, above, level = counters.at[row], counters.above[row], counters.level[row]
    highest, steepness = counters.scale[row, 0], counters.scale[row, 1]
    buckets = first.size - 3
    last = np.float32(buckets + 1)
    for offset in range(0, line.size, CHUNK):
        size = min(CHUNK, line.size - offset)
        part, part_kinds = line[offset : offset + size], kinds[offset : offset + size]
        for photo in range(size):
            bucket = bucket_of(part[photo], highest, steepness, last)
            # Relevant photos are ranked already: they go where nothing is counted.
            chunk[photo] = buckets + 1 if part_kinds[photo] == own_class else bucket
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
            rank = count_before(own_score, own_place, start, end, score, begin + offset + place)
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


@compiled
def close_row(counters: Counters, row: int, count: int, ties: int, ranks: Labels, ends: Labels) -> None:
    """Write ranks and ends, as ``rank_rows``, of one query with ``count`` relevant photos: int64 [count or more]."""
    at, above, level = counters.at[row], counters.above[row], counters.level[row]
    group_end = counters.group_end[row]
    by_place, higher, as_high = 0, 0, 0
    for position in range(count):
        by_place += at[position]
        higher += at[position] + above[position]
        as_high += at[position] + level[position]
        ends[position] = as_high + group_end[position]
        wrong = by_place if ties == INDEX else as_high if ties == PESSIMISTIC else higher
        ranks[position] = wrong + position + 1


@compiled
def rank_rows(
    scores: Floats,
    classes: Labels,
    photo_classes: Positions,
    starts: Labels,
    members: Positions,
    counters: Counters,
    ties: int,
    ranks: Labels,
    ends: Labels,
) -> None:
    """Ranks (from 1, ascending) of the relevant photos of each query into the first columns of its row.

    ``scores`` float32 [rows, photos], finite; ``classes`` int64 [rows] the query's class (a number from 0), or -1 for a
    class without photos; ``photo_classes`` int32 [photos] those of the photos; ``starts`` int64 [classes + 1] and
    ``members`` int32 [photos]: the photos of class c are ``members[starts[c]:starts[c + 1]]``, ascending. ``ranks`` and
    ``ends`` int64 [rows, most] are written: ``ranks`` with equal scores by gallery position (INDEX), with irrelevant
    photos first (PESSIMISTIC) or last (OPTIMISTIC); ``ends`` the number of photos that score as high or higher.
    ``counters`` of one row are written to, by one query after the other.
    """
    most = ranks.shape[1]
    own_bucket = np.empty(most, dtype=np.int32)
    own_score = np.empty(most, dtype=np.float32)
    # Unsigned numbers: numba reads a negative index from the end and would ask every time.
    chunk = np.empty(CHUNK, dtype=np.uint32)
    close = np.empty(CHUNK, dtype=np.uint32)  # photos of the chunk that share a bucket with a relevant photo
    for row in range(scores.shape[0]):
        if classes[row] < 0:
            continue
        line, own_class = scores[row], np.int32(classes[row])
        own = members[starts[own_class] : starts[own_class + 1]]
        for position in range(own.size):
            own_score[position] = line[own[position]]
        open_row(counters, 0, own_score[: own.size], own, own_bucket)
        count_row(counters, 0, line, photo_classes, own_class, 0, chunk, close)
        close_row(counters, 0, own.size, ties, ranks[row], ends[row])


@compiled
def place_rows(
    products: Floats,
    columns: Labels,
    scale: Floats,
    offset: Floats,
    slots: Positions,
    places: Positions,
    begins: Labels,
    ends: Labels,
    counters: Counters,
) -> None:
    """Keep the scores of relevant photos, one in each of ``columns`` int64 [photos] of ``products`` [rows, BLOCK].

    Those of query ``row`` are the photos ``begins[row]`` to ``ends[row]``. ``scale`` and ``offset`` as in
    ``apply_factors``, ``slots`` (their number among the photos of their class) and ``places`` (their positions in the
    gallery) int32, all [photos].
    """
    for row in range(products.shape[0]):
        for photo in range(begins[row], ends[row]):
            score = products[row, columns[photo]]
            if scale.size:
                score = score * scale[photo]
            if offset.size:
                score = score - offset[photo]
            counters.score[row, slots[photo]] = score
            counters.place[row, slots[photo]] = places[photo]


@compiled
def open_rows(classes: Labels, counts: Labels, counters: Counters) -> None:
    """Begin all queries of a tile, whose relevant photos ``place_rows`` has kept in ascending order of their places.

    ``counts`` int64 [rows] is how many each has.
    """
    most = counters.score.shape[1]
    own_bucket = np.empty(most, dtype=np.int32)
    own_score = np.empty(most, dtype=np.float32)
    own_place = np.empty(most, dtype=np.int32)
    for row in range(classes.size):
        if classes[row] >= 0:
            count = counts[row]
            own_score[:count] = counters.score[row, :count]
            own_place[:count] = counters.place[row, :count]
            open_row(counters, row, own_score[:count], own_place[:count], own_bucket)


@compiled
def count_rows(scores: Floats, classes: Labels, kinds: Positions, begin: int, counters: Counters) -> None:
    """``count_row`` for all queries of a tile and the photos from position ``begin`` on.

    ``scores`` float32 [rows, photos], ``kinds`` int32 [photos].
    """
    chunk = np.empty(CHUNK, dtype=np.uint32)
    close = np.empty(CHUNK, dtype=np.uint32)
    for row in range(classes.size):
        if classes[row] >= 0:
            count_row(counters, row, scores[row], kinds, np.int32(classes[row]), begin, chunk, close)


@compiled
def close_rows(classes: Labels, counts: Labels, ties: int, counters: Counters, ranks: Labels, ends: Labels) -> None:
    """Write ``ranks`` and ``ends`` int64 [rows, most], as ``rank_rows``, of all queries of a tile."""
    for row in range(classes.size):
        if classes[row] >= 0:
            close_row(counters, row, counts[row], ties, ranks[row], ends[row])


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
            make_heap(kept, places)
        for photo in range(filling, line.size):
            if line[photo] > kept[0]:  # an equal score at a later position is worse
                kept[0], places[0] = line[photo], begin + photo
                sift_down(kept, places, 0, wanted)


@compiled
def sort_top(best: Floats, top: Positions) -> None:
    """Order the best photos of each row, the best first, equal scores by position."""
    for row in range(top.shape[0]):
        sort_heap(best[row], top[row])
