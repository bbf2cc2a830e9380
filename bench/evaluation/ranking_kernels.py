"""Exact ranks of the relevant photos of a query, without sorting its gallery.

Sort the scores of the R relevant photos and divide their range into B buckets. A gallery photo in a bucket without a
relevant score has a known number of relevant photos before it; only the others need a comparison. A histogram of that
number and its cumulative sum give the ranks in O(gallery + R). The bucket never increases with the score, whatever
float32 rounds, so the result does not depend on B.

A tile of queries takes four steps. ``place_rows`` keeps the scores of relevant photos, ``open_rows`` sorts them,
``count_rows`` counts all photos, block by block, and ``close_rows`` gives the ranks.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bench.evaluation.jit import compiled
from bench.evaluation.ties import INDEX, PESSIMISTIC
from bench.types import Floats, Labels

Positions = npt.NDArray[np.int32]

CHUNK = 1024  # photos whose buckets are computed together, in a loop that vectorises
FEW = 12  # relevant photos of a bucket: so many are sorted by insertion and searched one by one
GAPS = (1750, 701, 301, 132, 57, 23, 10, 4, 1)  # of a Shell sort, after Ciura
STEEPEST = np.float32(1e30)  # buckets for each unit of score: more would overflow float32


class Counters(NamedTuple):
    """What is kept of queries between blocks of the gallery.

    ``codes`` [rows, buckets + 3]: for each bucket twice the number of relevant photos before it, plus 1 if one is in
    it; uint16 where that suffices, so that the table fits the processor's cache, otherwise uint32. In ranking order of
    the relevant photos: ``score`` float32, ``place`` (gallery position), ``group_begin`` and ``group_end`` (of equal
    scores) int32 [rows, most].
    ``at`` int32 [rows, 2, 2 * most + 2]: irrelevant photos by twice the number of relevant ones before them, in two
    halves; odd columns are not used. ``above`` and ``level`` int32 [rows, most + 1] correct it where equal scores rank
    after or before them. ``scale`` float32 [rows, 2]: highest relevant score, and buckets for each unit of score.
    """

    codes: npt.NDArray[np.uint16] | npt.NDArray[np.uint32]
    score: Floats
    place: Positions
    group_begin: Positions
    group_end: Positions
    at: Positions
    above: Positions
    level: Positions
    scale: Floats


def new_counters(rows: int, most: int, buckets: int) -> Counters:
    """Counters of ``rows`` queries with up to ``most`` relevant photos each."""
    place, group_begin, group_end = (np.empty((rows, most), dtype=np.int32) for _ in range(3))
    at = np.empty((rows, 2, 2 * most + 2), dtype=np.int32)
    above, level = (np.empty((rows, most + 1), dtype=np.int32) for _ in range(2))
    score, scale = (np.empty((rows, columns), dtype=np.float32) for columns in (most, 2))
    codes = np.empty((rows, buckets + 3), dtype=np.uint16 if most < 2**15 else np.uint32)
    return Counters(codes, score, place, group_begin, group_end, at, above, level, scale)


def bucket_count(photos: int) -> int:
    """Number of buckets for a gallery.

    Many buckets take time to clear. With few, more photos are in the bucket of a relevant one and need a comparison.
    """
    return 1_024 if photos <= 4_000 else 16_384


@compiled
def sort_photos(scores: Floats, places: Positions, most: int) -> None:
    """Sort photos in order of buckets with at most ``most`` each by descending score, then ascending place."""
    for gap in GAPS:
        if gap > 1 and most <= FEW:
            continue  # insertion alone: no photo is far from its place
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
    """The first of the sorted relevant photos in ``[begin, end)`` that does not rank before ``photo``."""
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
    places: Positions,
    begins: Labels,
    ends: Labels,
    kept: Labels,
    counters: Counters,
) -> None:
    """Keep the scores of relevant photos, which are in the ``columns`` int32 [photos] of ``scores`` [rows, ...].

    Query ``row`` has the photos ``begins[row]`` to ``ends[row]``. ``places`` int32 [photos] are gallery positions;
    ``kept`` int64 [rows] counts the photos that were kept so far, and is updated.
    """
    for row in range(scores.shape[0]):
        slot = kept[row]
        for photo in range(begins[row], ends[row]):
            counters.score[row, slot], counters.place[row, slot] = scores[row, columns[photo]], places[photo]
            slot += 1
        kept[row] = slot


@compiled
def open_rows(counts: Labels, counters: Counters) -> None:
    """Sort the relevant photos of each query, ``counts`` int64 [rows], into ranking order, and clear its counts."""
    most = counters.score.shape[1]
    own_bucket, place = np.empty(most, dtype=np.int32), np.empty(most, dtype=np.int32)
    scores = np.empty(most, dtype=np.float32)
    for row in range(counts.size):
        count = counts[row]
        if count == 0:
            continue
        codes, own_score, own_place = counters.codes[row], counters.score[row], counters.place[row]
        buckets = codes.size - 3
        highest = lowest = own_score[0]
        for position in range(count):  # numba takes 2 s to compile the assignment of a slice
            score = scores[position] = own_score[position]
            place[position] = own_place[position]
            highest = score if score > highest else highest
            lowest = score if score < lowest else lowest
        steepness = STEEPEST
        if highest - lowest > np.float32(buckets - 1) / STEEPEST:
            steepness = np.float32(buckets - 1) / (highest - lowest)
        counters.scale[row, 0], counters.scale[row, 1] = highest, steepness
        last = np.float32(buckets + 1)

        # Counted at bucket + 2, so that the sums at bucket + 1 are where a bucket begins. Placing its photos moves that
        # to where the next begins.
        codes[:] = 0
        most_of_bucket = 0
        for position in range(count):
            own_bucket[position] = bucket_of(scores[position], highest, steepness, last)
            codes[own_bucket[position] + 2] += 1
            most_of_bucket = max(most_of_bucket, codes[own_bucket[position] + 2])
        for bucket in range(1, buckets + 3):
            codes[bucket] += codes[bucket - 1]
        for position in range(count):
            slot = codes[own_bucket[position] + 1]
            codes[own_bucket[position] + 1] += 1
            own_score[slot], own_place[slot] = scores[position], place[position]
        sort_photos(own_score[:count], own_place[:count], most_of_bucket)
        for bucket in range(buckets + 2):
            codes[bucket] = 2 * codes[bucket] + (codes[bucket] != codes[bucket + 1])
        codes[buckets + 2] *= 2

        group_begin, group_end = counters.group_begin[row], counters.group_end[row]
        for position in range(count):
            same = position > 0 and own_score[position] == own_score[position - 1]
            group_begin[position] = group_begin[position - 1] if same else position
        for position in range(count - 1, -1, -1):
            same = position + 1 < count and own_score[position] == own_score[position + 1]
            group_end[position] = group_end[position + 1] if same else position + 1
        counters.at[row, :, : 2 * count + 2] = 0
        for counter in (counters.above, counters.level):
            counter[row, : count + 1] = 0


@compiled
def count_rows(scores: Floats, kinds: Labels, photo_kinds: Positions, begin: int, counters: Counters) -> None:
    """Count irrelevant photos, from position ``begin`` on, by the number of relevant ones that rank before them.

    ``scores`` float32 [rows, photos], finite; ``kinds`` int64 [rows], -1 for a query without relevant photo;
    ``photo_kinds`` int32 [photos].
    """
    # Unsigned: for a signed index numba would check each time whether it is negative.
    chunk = np.empty(CHUNK, dtype=np.uint32)
    close = np.empty(CHUNK, dtype=np.uint32)  # photos of the chunk that share a bucket with a relevant photo
    for row in range(kinds.size):
        if kinds[row] < 0:
            continue
        own_kind, line = np.int32(kinds[row]), scores[row]
        codes, own_score, own_place = counters.codes[row], counters.score[row], counters.place[row]
        group_begin, group_end = counters.group_begin[row], counters.group_end[row]
        # Neighbours often add to the same number, and the later waits. So two halves are counted apart.
        at, at_later = counters.at[row, 0], counters.at[row, 1]
        above, level = counters.above[row], counters.level[row]
        highest, steepness = counters.scale[row, 0], counters.scale[row, 1]
        buckets = codes.size - 3
        last = np.float32(buckets + 1)
        for offset in range(0, line.size, CHUNK):
            size = min(CHUNK, line.size - offset)
            part, part_kinds = line[offset : offset + size], photo_kinds[offset : offset + size]
            for photo in range(size):
                bucket = bucket_of(part[photo], highest, steepness, last)
                # Relevant photos are ranked already: the last bucket is not counted.
                chunk[photo] = buckets + 1 if part_kinds[photo] == own_kind else bucket
            half = (size + 1) // 2
            if size % 2:
                chunk[size] = buckets + 1
            found = np.uint32(0)
            for photo in range(half):
                code = codes[chunk[photo]]
                at[code] += 1
                close[found] = photo
                found += code & np.uint32(1)  # no branch: it could not be predicted
                code = codes[chunk[np.uint32(photo + half)]]
                at_later[code] += 1
                close[found] = photo + half
                found += code & np.uint32(1)
            for each in range(found):
                place = int(close[np.uint32(each)])
                start = int(np.int64(codes[chunk[place]]) >> 1)  # signed, as the rest
                end = int(np.int64(codes[chunk[place] + np.uint32(1)]) >> 1)
                score = part[place]
                if end - start == 1 and score != own_score[start]:  # nearly all: again without a branch
                    at[2 * (start + (own_score[start] > score))] += 1
                    continue
                rank = count_before(own_score, own_place, start, end, score, begin + offset + place)
                at[2 * rank] += 1
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
    """Write the ranks of the relevant photos of each query, from 1, ascending: ``ranks`` int64 [rows, most].

    Equal scores rank by position (INDEX), irrelevant photos first (PESSIMISTIC) or last (OPTIMISTIC). ``ends`` int64
    [rows, most] counts the photos that score as high or higher.
    """
    for row in range(counts.size):
        at, above, level = counters.at[row], counters.above[row], counters.level[row]
        by_place, higher, as_high = 0, 0, 0
        for position in range(counts[row]):
            between = at[0, 2 * position] + at[1, 2 * position]
            by_place += between
            higher += between + above[position]
            as_high += between + level[position]
            ends[row, position] = as_high + counters.group_end[row, position]
            wrong = by_place if ties == INDEX else as_high if ties == PESSIMISTIC else higher
            ranks[row, position] = wrong + position + 1
