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

from bench.errors import DataError, UsageError, nearest
from bench.types import Distance, Doubles, Embeddings, Floats

UNIT_TOLERANCE = 1e-6
LARGEST_SCORE = 1e37  # float32 ends at 3.4e38; sums and differences of scores must stay inside
ROWS = 1024  # rows looked at together where a temporary of float64 is needed


@dataclass(frozen=True)
class Scorer:
    """The factors of one gallery: ``scale`` and ``offset`` float32 [photos], or [0] where they would change nothing.

    ``shift`` float64 [width] is subtracted from queries, ``normalise`` scales them to length 1.
    """

    scale: Floats
    offset: Floats
    shift: Doubles | None
    normalise: bool

    def queries(self, rows: Floats) -> Floats:
        """query' of the module's text for ``rows`` float32 [rows, width]: float32 [rows, width]."""
        if self.normalise:
            factors = _unit_factors(_lengths(rows))
            return rows if (factors == 1).all() else (rows * factors[:, None]).astype(np.float32)
        return rows if self.shift is None else (rows - self.shift).astype(np.float32)


def scorer(embeddings: Embeddings, distance: Distance) -> Scorer:
    """The factors for ranking ``embeddings.gallery`` by ``distance``.

    Raises UsageError for an unknown distance, DataError for vectors so long that scores would overflow, and for
    ``hamming`` where an array is no code of 0 and 1 (or of -1 and 1, the same on both sides).
    """
    if distance not in get_args(Distance):
        raise UsageError(f"There is no distance {distance!r}. {nearest(distance, get_args(Distance))}")
    query, gallery = embeddings.query, embeddings.gallery
    nothing = np.empty(0, dtype=np.float32)
    if distance == "cosine":
        lengths = _lengths(gallery)
        _check_size(lengths, np.ones(1))
        factors = _unit_factors(lengths)
        scale = nothing if (factors == 1).all() else factors.astype(np.float32)
        return Scorer(scale, nothing, shift=None, normalise=True)
    if distance == "hamming":
        _check_codes(query, gallery)
        return Scorer(nothing, (_lengths(gallery) ** 2 / 2).astype(np.float32), shift=None, normalise=False)
    mean = _mean(gallery)
    lengths = _lengths(gallery, mean)
    _check_size(np.concatenate((lengths, _lengths(gallery))), np.concatenate((lengths, _lengths(query, mean))))
    return Scorer(nothing, (lengths**2 / 2).astype(np.float32), shift=mean, normalise=False)


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


def _mean(vectors: Floats) -> Doubles:
    total = np.zeros(vectors.shape[1])
    for _, rows in _blocks(vectors):
        total += rows.sum(axis=0)
    return total / len(vectors)


def _unit_factors(lengths: Doubles) -> Doubles:
    factors = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    factors[np.abs(lengths - 1) <= UNIT_TOLERANCE] = 1.0
    return factors


def _check_size(one: Doubles, other: Doubles) -> None:
    if one.max() * other.max() > LARGEST_SCORE:
        raise DataError(
            f"Arrays 'query' and 'gallery' hold vectors as long as {max(one.max(), other.max()):.1e}, whose scores "
            "overflow float32: divide the embeddings by a constant."
        )


def _check_codes(query: Floats, gallery: Floats) -> None:
    # The lowest value of either side tells which of the two alphabets is meant.
    lowest = min(query.min(), gallery.min())
    zero = np.float32(-1 if lowest < 0 else 0)
    for name, vectors in (("query", query), ("gallery", gallery)):
        if any(((rows != zero) & (rows != 1)).any() for _, rows in _blocks(vectors)):
            raise DataError(
                f"Array {name!r} is no binary code for distance 'hamming': give only 0 and 1, or only -1 and 1, "
                "in both 'query' and 'gallery'."
            )
