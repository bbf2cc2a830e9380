"""Exact ranks of the relevant photos of a query without sorting its gallery.

Sort the scores of the R relevant photos; drop every photo of the gallery into one of B buckets over their range; a
bucket without a relevant score gives at once how many relevant photos rank before, only the others need a comparison.
A histogram of that number and its cumulative sum are the ranks: O(gallery + R). The bucket of a score is a
non-increasing function of it whatever float32 rounds, so the result does not depend on B.

A tile of queries goes through four steps: ``place_rows`` keeps the scores of its relevant photos, ``open_rows`` sorts
them, ``count_rows`` counts all photos, as many at a time as the caller has, and ``close_rows`` gives the ranks.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bench.evaluation.jit import compiled
from bench.types import Floats, Labels

Positions = npt.NDArray[np.int32]

INDEX, PESSIMISTIC, OPTIMISTIC = 0, 1, 2
CHUNK = 1024  # photos whose buckets are computed together: a loop that the processor can do eight at a time
FEW = 12  # up to so many relevant scores in one bucket are cheaper walked through than halved
GAPS = (1750, 701, 301, 132, 57, 23, 10, 4, 1)  # of a Shell sort, after Ciura
STEEPEST = np.float32(1e30)  # buckets as narrow as this stay finite times any difference of scores


class Counters(NamedTuple):
    """What is kept of queries between one block of the gallery and the next.

    ``first`` int32 [rows, buckets + 3], the number of relevant photos in the buckets before each. By relevant photo, in
    ranking order once they are sorted: ``score`` float32 and ``place`` (gallery position), ``group_begin`` and
    ``group_end`` of those of equal score, int32 [rows, most]. Irrelevant photos by the number of relevant ones that
    rank before them: ``at``, with the corrections that rank equal scores after (``above``) or before them (``level``),
    int32 [rows, most + 1]. ``scale`` float32 [rows, 2], the highest relevant score and buckets for each unit of score.
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
def sort_bucket(scores: Floats, places: Positions) -> None:
    """Order relevant photos by descending score, then ascending place; many equal ones are mostly in order already."""
    for gap in GAPS:
        for current in range(gap, scores.size):
            score, place = scores[current], places[current]
            slot = current
            while slot >= gap and (
                scores[slot - gap] < score or (scores[slot - gap] == score and places[slot - gap] > place)
            ):
                scores[slot], places[slot] = scores[slot - gap], places[slot - gap]
                slot -= gap
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
def place_rows(
    scores: Floats,
    columns: Positions,
    slots: Positions,
    places: Positions,
    scale: Floats,
    offset: Floats,
    begins: Labels,
    ends: Labels,
    counters: Counters,
) -> None:
    """Keep the scores of relevant photos, one in each of ``columns`` int32 [photos] of ``scores`` [rows, ...].

    Those of query ``row`` are the photos ``begins[row]`` to ``ends[row]``. ``slots`` (their number among the photos of
    their kind) and ``places`` (their positions in the gallery) int32 [photos]. ``scale`` and ``offset``, of all photos
    of the gallery, are applied as by ``apply_factors``.
    """
    for row in range(scores.shape[0]):
        for photo in range(begins[row], ends[row]):
            score, place = scores[row, columns[photo]], places[photo]
            if scale.size:
                score = score * scale[place]
            if offset.size:
                score = score - offset[place]
            counters.score[row, slots[photo]], counters.place[row, slots[photo]] = score, place


@compiled
def open_rows(counts: Labels, counters: Counters) -> None:
    """Sort the relevant photos of each query, ``counts`` int64 [rows] of them, into ranking order; count nothing yet.

    ``place_rows`` has kept them in ascending order of their places.
    """
    most = counters.score.shape[1]
    own_bucket, place = np.empty(most, dtype=np.int32), np.empty(most, dtype=np.int32)
    scores = np.empty(most, dtype=np.float32)
    for row in range(counts.size):
        count = counts[row]
        if count == 0:
            continue
        first, own_score, own_place = counters.first[row], counters.score[row], counters.place[row]
        scores[:count] = own_score[:count]
        place[:count] = own_place[:count]
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

        # Count into bucket + 2, so that after the sums bucket + 1 is where a bucket begins; placing its photos moves
        # that on to where it ends, which is where the next begins.
        first[:] = 0
        for position in range(count):
            own_bucket[position] = bucket_of(scores[position], highest, steepness, last)
            first[own_bucket[position] + 2] += 1
        for bucket in range(1, buckets + 3):
            first[bucket] += first[bucket - 1]
        for position in range(count):
            slot = first[own_bucket[position] + 1]
            first[own_bucket[position] + 1] += 1
            own_score[slot], own_place[slot] = scores[position], place[position]
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
        for counter in (counters.at, counters.above, counters.level):
            counter[row, : count + 1] = 0


@compiled
def count_rows(scores: Floats, kinds: Labels, photo_kinds: Positions, begin: int, counters: Counters) -> None:
    """Count before how many relevant photos each irrelevant one ranks, for photos from position ``begin`` on.

    ``scores`` float32 [rows, photos], finite; ``kinds`` int64 [rows], -1 for a query without relevant photo;
    ``photo_kinds`` int32 [photos].
    """
    # Unsigned numbers: numba reads a negative index from the end and would ask every time.
    chunk = np.empty(CHUNK, dtype=np.uint32)
    close = np.empty(CHUNK, dtype=np.uint32)  # photos of the chunk that share a bucket with a relevant photo
    for row in range(kinds.size):
        if kinds[row] < 0:
            continue
        own_kind, line = np.int32(kinds[row]), scores[row]
        first, own_score, own_place = counters.first[row], counters.score[row], counters.place[row]
        group_begin, group_end = counters.group_begin[row], counters.group_end[row]
        at, above, level = counters.at[row], counters.above[row], counters.level[row]
        highest, steepness = counters.scale[row, 0], counters.scale[row, 1]
        buckets = first.size - 3
        last = np.float32(buckets + 1)
        for offset in range(0, line.size, CHUNK):
            size = min(CHUNK, line.size - offset)
            part, part_kinds = line[offset : offset + size], photo_kinds[offset : offset + size]
            for photo in range(size):
                bucket = bucket_of(part[photo], highest, steepness, last)
                # Relevant photos are ranked already: they go where nothing is counted.
                chunk[photo] = buckets + 1 if part_kinds[photo] == own_kind else bucket
            found = np.uint32(0)
            for photo in range(size):
                before, stop = first[chunk[photo]], first[chunk[photo] + np.uint32(1)]
                shared = before != stop
                at[np.uint32(before)] += not shared
                close[found] = photo
                found += np.uint32(shared)  # no branch: whether it is shared cannot be predicted
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
def close_rows(counts: Labels, ties: int, counters: Counters, ranks: Labels, ends: Labels) -> None:
    """Ranks (from 1, ascending) of the relevant photos of each query into the first columns of its row.

    ``ranks`` and ``ends`` int64 [rows, most] are written: ``ranks`` with equal scores by gallery position (INDEX), with
    irrelevant photos first (PESSIMISTIC) or last (OPTIMISTIC); ``ends`` the number of photos that score as high or
    higher.
    """
    for row in range(counts.size):
        at, above, level = counters.at[row], counters.above[row], counters.level[row]
        by_place, higher, as_high = 0, 0, 0
        for position in range(counts[row]):
            by_place += at[position]
            higher += at[position] + above[position]
            as_high += at[position] + level[position]
            ends[row, position] = as_high + counters.group_end[row, position]
            wrong = by_place if ties == INDEX else as_high if ties == PESSIMISTIC else higher
            ranks[row, position] = wrong + position + 1
