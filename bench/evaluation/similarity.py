"""What a score is: the number by which the gallery is ranked for one query, highest first.

Every distance is brought to one form, ``dot(query', photo) * scale[photo] - offset[photo]`` in float32, so that the
gallery is used as it lies in memory, without a normalised or centred copy of it:

cosine
    query' = query / |query|, scale = 1 / |photo|, offset = 0. Norms are taken in float64. A vector whose length is 1 to
    within 1e-6 is used as it is (factor exactly 1), so embeddings that come normalised are ranked by their plain
    product; a vector of length 0 scores 0.
euclidean
    query' = query - m, scale = 1, offset = |photo - m|^2 / 2 with m the mean photo. Since
    |query - photo|^2 = |query'|^2 + 2 dot(query', m) - 2 (dot(query', photo) - offset), the order is that of the
    distance. Without m a common shift of all vectors would cancel in |q|^2 + |g|^2 - 2 dot(q, g) and take the digits
    with it; with it, what float32 loses is of the order of 1e-7 |query - m| |photo|, which is also what rounding the
    photo to float32 has lost before. Offsets are taken in float64.
hamming
    query' = query, scale = 1, offset = |photo|^2 / 2 on codes of 0 and 1 (or of -1 and 1): half (a quarter) of the
    squared distance, which is the number of differing bits. All terms are multiples of 1/2 below 2^24: exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

import numpy as np

from bench.embeddings.arrays import Rows
from bench.errors import DataError, UsageError, nearest
from bench.types import Distance, Doubles, Floats

UNIT_TOLERANCE = 1e-6
LARGEST_SCORE = 1e37  # float32 ends at 3.4e38; sums and differences of scores must stay inside
ROWS = 1024  # rows looked at together where a temporary of float64 is needed
PART = 16 * ROWS  # photos of a streamed gallery that are read together
NOTHING: Floats = np.empty(0, dtype=np.float32)


@dataclass(frozen=True)
class Measure:
    """What turns products into scores of one gallery: ``scale`` and ``offset`` float32 [photos], or [0] for no change.

    ``shift`` float64 [width] is subtracted from both sides for ``euclidean``.
    """

    distance: Distance
    shift: Doubles | None
    scale: Floats
    offset: Floats

    def queries(self, rows: Floats) -> Floats:
        """query' of the module's text for ``rows`` float32 [rows, width]: float32 [rows, width]."""
        if self.distance == "cosine":
            factors = _unit_factors(_lengths(rows))
            return rows if (factors == 1).all() else (rows * factors[:, None]).astype(np.float32)
        return rows if self.shift is None else (rows - self.shift).astype(np.float32)


def measure(query: Floats, gallery: Rows, distance: Distance) -> Measure:
    """Look through a gallery once (for ``euclidean`` twice) for what its scores by ``distance`` need.

    Raises UsageError for an unknown distance, DataError for NaN or infinity, for vectors so long that scores would
    overflow, and for ``hamming`` where an array is no code of 0 and 1 (or of -1 and 1, the same on both sides).
    """
    if distance not in get_args(Distance):
        raise UsageError(f"There is no distance {distance!r}. {nearest(distance, get_args(Distance))}")
    shift = _mean(gallery) if distance == "euclidean" else None
    longest, longest_less = 0.0, 0.0
    query_symbols, symbols = _symbols(query) if distance == "hamming" else set(), set[str]()
    factors: Floats = np.empty(gallery.shape[0], dtype=np.float32)
    for begin, rows in _parts(gallery):
        lengths = _lengths(rows, shift)
        if not np.isfinite(lengths).all():
            raise _not_finite(rows, begin)
        longest_less = max(longest_less, float(lengths.max()))
        if distance == "euclidean":
            longest = max(longest, float(_lengths(rows).max()))
        if distance == "hamming":
            symbols |= _symbols(rows)
        with np.errstate(over="ignore"):  # such lengths are refused below
            factors[begin : begin + len(rows)] = _unit_factors(lengths) if distance == "cosine" else lengths**2 / 2
    if distance == "hamming":
        _check_codes(query_symbols, symbols)
    elif distance == "euclidean":
        _check_size(max(longest, longest_less), max(longest_less, float(_lengths(query, shift).max())))
    else:
        _check_size(longest_less, 1.0)
    if distance != "cosine":
        return Measure(distance, shift, NOTHING, factors)
    return Measure(distance, shift, NOTHING if (factors == 1).all() else factors, NOTHING)


def _blocks(vectors: Floats) -> Iterator[tuple[int, Doubles]]:
    for begin in range(0, len(vectors), ROWS):
        yield begin, vectors[begin : begin + ROWS].astype(np.float64)


def _lengths(vectors: Floats, shift: Doubles | None = None) -> Doubles:
    """Euclidean length of each row less ``shift``, float64 [rows]."""
    lengths = np.empty(len(vectors))
    for begin, rows in _blocks(vectors):
        if shift is not None:
            rows -= shift
        lengths[begin : begin + len(rows)] = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    return lengths


def _parts(gallery: Rows) -> Iterator[tuple[int, Floats]]:
    """Some megabytes at a time, cut where ``_blocks`` cuts."""
    photos = gallery.shape[0]
    for begin in range(0, photos, PART):
        yield begin, gallery.vectors(begin, min(begin + PART, photos))


def _mean(gallery: Rows) -> Doubles:
    total = np.zeros(gallery.shape[1])
    for begin, part in _parts(gallery):
        with np.errstate(invalid="ignore"):  # infinity less infinity
            for _, rows in _blocks(part):
                total += rows.sum(axis=0)
        if not np.isfinite(total).all():
            raise _not_finite(part, begin)
    return total / gallery.shape[0]


def _unit_factors(lengths: Doubles) -> Doubles:
    factors = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    factors[np.abs(lengths - 1) <= UNIT_TOLERANCE] = 1.0
    return factors


def _not_finite(rows: Floats, begin: int) -> DataError:
    row = begin + int(np.argmin(np.isfinite(rows).all(axis=1)))
    return DataError(f"Array 'gallery' holds NaN or infinity, first in row {row}: such scores cannot rank.")


def _check_size(one: float, other: float) -> None:
    if one * other > LARGEST_SCORE:
        raise DataError(
            f"Arrays 'query' and 'gallery' hold vectors as long as {max(one, other):.1e}, whose scores "
            "overflow float32: divide the embeddings by a constant."
        )


def _symbols(vectors: Floats) -> set[str]:
    """Which of -1, 0, 1 and other numbers occur."""
    found = set()
    for begin in range(0, len(vectors), ROWS):
        rows = vectors[begin : begin + ROWS]
        minus, zero, one = ((rows == symbol).sum() for symbol in (-1, 0, 1))
        found |= {name for name, count in (("-1", minus), ("0", zero), ("1", one)) if count}
        found |= {"other"} if minus + zero + one < rows.size else set()
    return found


def _check_codes(query: set[str], gallery: set[str]) -> None:
    # A -1 on either side tells which of the two alphabets is meant.
    wrong = {"other"} | ({"0"} if "-1" in query | gallery else set())
    for name, symbols in (("query", query), ("gallery", gallery)):
        if symbols & wrong:
            raise DataError(
                f"Array {name!r} is no binary code for distance 'hamming': give only 0 and 1, or only -1 and 1, "
                "in both 'query' and 'gallery'."
            )
