"""The scores that the gallery is ranked by, highest first.

Each distance has the form ``dot(query', photo) * scale[photo] - offset[photo]`` in float32, so that the gallery is
never copied:

cosine
    query' = query / |query|, scale = 1 / |photo|, offset = 0, with norms in float64. A length within 1e-6 of 1 counts
    as 1, so normalised embeddings are ranked by their plain product. A vector of length 0 scores 0.
euclidean
    query' = query - m, scale = 1, offset = |photo - m|^2 / 2 in float64, with m the mean photo. The order is that of
    the distance: |query - photo|^2 = |query'|^2 + 2 dot(query', m) - 2 (dot(query', photo) - offset). Without m, a
    common shift of all vectors would cost digits; with it, the error is about 1e-7 |query - m| |photo|, which is also
    that of rounding a photo to float32.
hamming
    query' = query, scale = 1, offset = |photo|^2 / 2, on codes of 0 and 1 or of -1 and 1. The order is that of the
    number of different bits. All terms are multiples of 1/2 below 2^24, so scores are exact.
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
LARGEST_SCORE = 1e37  # float32 ends at 3.4e38; sums and differences of scores must not overflow
ROWS = 1024  # converted to float64 together
PART = 16 * ROWS  # photos of a gallery that are read together
NOTHING: Floats = np.empty(0, dtype=np.float32)


@dataclass(frozen=True)
class Measure:
    """Turns products into scores: ``scale`` and ``offset`` float32 [photos], or [0] for no change.

    For ``euclidean``, ``shift`` float64 [width] is subtracted from both sides.
    """

    distance: Distance
    shift: Doubles | None
    scale: Floats
    offset: Floats

    def queries(self, rows: Floats) -> Floats:
        """query' as defined above, of ``rows``: float32 [rows, width]."""
        if self.distance == "cosine":
            factors = _unit_factors(_lengths(rows))
            return rows if (factors == 1).all() else (rows * factors[:, None]).astype(np.float32)
        return rows if self.shift is None else (rows - self.shift).astype(np.float32)


def measure(query: Floats, gallery: Rows, distance: Distance) -> Measure:
    """Read a gallery once (for ``euclidean`` twice) and compute what its scores need.

    Raises UsageError for an unknown distance, DataError for NaN or infinity, for vectors so long that scores would
    overflow, and for ``hamming`` unless both sides are codes of 0 and 1, or of -1 and 1.
    """
    if distance not in get_args(Distance):
        raise UsageError(f"There is no distance {distance!r}. {nearest(distance, get_args(Distance))}")
    shift = _mean(gallery) if distance == "euclidean" else None
    longest, longest_shifted, symbols = 0.0, 0.0, {0, -1}
    factors: Floats = np.empty(gallery.shape[0], dtype=np.float32)
    for begin, rows in _parts(gallery):
        lengths = _lengths(rows, shift)
        if not np.isfinite(lengths).all():
            raise _not_finite(rows, begin)
        longest_shifted = max(longest_shifted, float(lengths.max()))
        if distance == "euclidean":
            longest = max(longest, float(_lengths(rows).max()))
        if distance == "hamming":
            symbols &= _code_symbols(rows)
        with np.errstate(over="ignore"):  # such lengths are refused below
            factors[begin : begin + len(rows)] = _unit_factors(lengths) if distance == "cosine" else lengths**2 / 2
    if distance == "hamming":
        _check_codes(_code_symbols(query), symbols)
    elif distance == "euclidean":
        _check_size(max(longest, longest_shifted), max(longest_shifted, float(_lengths(query, shift).max())))
    else:
        _check_size(longest_shifted, 1.0)
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
    for begin in range(0, gallery.shape[0], PART):
        yield begin, gallery.vectors(begin, min(begin + PART, gallery.shape[0]))


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


def _code_symbols(rows: Floats) -> set[int]:
    """{0} if all numbers of ``rows`` are 0 or 1, {-1} if -1 or 1, both if all are 1, otherwise empty."""
    return {low for low in (0, -1) if all(np.isin(part, (low, 1)).all() for _, part in _blocks(rows))}


def _check_codes(query: set[int], gallery: set[int]) -> None:
    if not query & gallery:
        name = "query" if not query or (gallery and 0 in query) else "gallery"
        raise DataError(
            f"Array {name!r} is no binary code for distance 'hamming': use only 0 and 1, or only -1 and 1, "
            "in both 'query' and 'gallery'."
        )
