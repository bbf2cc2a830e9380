"""The scores that the gallery is ranked by, highest first, in float32.

cosine
    dot(query / |query|, photo) / |photo|, with norms in float64. A length within 1e-6 of 1 counts as 1, so normalised
    embeddings are ranked by their plain product. A vector of length 0 scores 0.
    Where the photos lie in a narrow cone, both sides are centred: (query' - m) (photo' - c) + m (photo' - c), with c
    the mean photo' and m the mean query'. The order is the same, and float32 keeps its digits for the differences.
euclidean
    dot(query - m, photo) - |photo - m|^2 / 2, with m the mean photo. The order is that of the distance:
    |query - photo|^2 = |query'|^2 + 2 dot(query', m) - 2 score. Without m, a common shift of all vectors would cost
    digits; with it, the error is about 1e-7 |query - m| |photo|, which is also that of rounding a photo to float32.
hamming
    dot(query, photo) - |photo|^2 / 2, on codes of 0 and 1 or of -1 and 1. The order is that of the number of different
    bits.

With ``eps``, it is added to each coordinate of the query (of length 1 for cosine). The order is then that of torch's
``pairwise_distance``, which adds eps to each difference.

Vectors of integers (``bench.evaluation.integers``) are neither normalised nor shifted: their scores are exact.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import get_args

import numpy as np

from bench.embeddings.arrays import Rows
from bench.errors import DataError, check_known
from bench.evaluation.integers import EXACT, Integers, blocks, find_integers, number_values, split_squares
from bench.types import Distance, Doubles, Floats, Labels

log = logging.getLogger("bench.evaluation.similarity")

UNIT_TOLERANCE = 1e-6
NARROW = 0.5  # mean cosine between photos from which on their mean is subtracted
COLLAPSED = 1 - 1e-5  # mean cosine from which on rounding of the embeddings to float32 shows in the figures
LARGEST_SCORE = 1e37  # float32 ends at 3.4e38; sums and differences of scores must not overflow


@dataclass(frozen=True)
class Measure:
    """Turns embeddings into scores; None changes nothing.

    - ``unit``: of vectors of integers, the power of two that they are multiples of; 0 for other vectors;
    - ``shift`` float64 [width] is subtracted from queries, ``centre`` float64 [width] from photos of length 1;
    - ``divisor``, ``scale`` and ``offset`` float32 [photos]: a product is divided, multiplied, and lessened by them;
    - ``levels`` float32 [kinds, products]: the score of each product, from the middle on, of photos of each kind;
      ``kinds`` int64 [photos] are the photos' kinds.
    """

    distance: Distance
    eps: float = 0.0
    unit: float = 0.0
    shift: Doubles | None = None
    centre: Doubles | None = None
    divisor: Floats | None = None
    scale: Floats | None = None
    offset: Floats | None = None
    levels: Floats | None = None
    kinds: Labels | None = None

    def queries(self, rows: Floats) -> Floats:
        """What is multiplied with photos, of queries float32 [rows, width]: float32 [rows, width]."""
        if self.unit:
            return rows if self.unit == 1 else rows * np.float32(self.unit**-2)
        factors = np.ones(len(rows))
        if self.distance == "cosine":
            factors = _unit_factors(_lengths(rows.astype(np.float64)), self.eps != 0 or self.shift is not None)
        if self.shift is None and self.eps == 0:
            return rows if (factors == 1).all() else (rows * factors[:, None]).astype(np.float32)
        return (rows * factors[:, None] + (self.eps - (0 if self.shift is None else self.shift))).astype(np.float32)

    def photos(self, rows: Floats) -> Floats:
        """What is multiplied with queries, of photos float32 [rows, width]: float32 [rows, width]."""
        if self.centre is None:
            return rows
        centred = np.empty_like(rows)
        for place, block in blocks(rows):
            centred[place] = _unit_vectors(block) - self.centre
        return centred

    def finish(self, scores: Floats, photos: slice | Labels) -> None:
        """Turn products into scores, in place: float32 [queries, photos], for these positions in the gallery."""
        if self.kinds is not None and self.levels is not None:
            kinds, middle = self.kinds[photos], self.levels.shape[1] // 2
            for row in scores:
                row[:] = self.levels[kinds, row.astype(np.int64) + middle]
        if self.divisor is not None:
            scores /= self.divisor[photos]
        if self.scale is not None:
            scores *= self.scale[photos]
        if self.offset is not None:
            scores -= self.offset[photos]


def measure(query: Floats, gallery: Rows, distance: Distance, *, eps: float = 0.0, cosines: bool = False) -> Measure:
    """Read a gallery and compute what its scores need; ``cosines`` asks for cosines themselves, not only their order.

    Raises UsageError for an unknown distance, DataError for NaN or infinity, for vectors so long that scores would
    overflow, and for ``hamming`` unless both sides are codes of 0 and 1, or of -1 and 1.
    """
    check_known("There is no distance", distance, get_args(Distance))
    if distance == "hamming":
        _check_codes(query, gallery)
    whole = None if eps or cosines else find_integers(query, gallery)
    if distance == "cosine":
        return _cosine(query, gallery, eps, cosines) if whole is None else _exact_cosine(whole)
    if whole is not None and whole.largest + whole.squares.max() / 2 <= EXACT / 2:
        return Measure(distance, unit=whole.unit, offset=(whole.squares / 2).astype(np.float32))
    return _euclidean(query, gallery, eps)


def _exact_cosine(whole: Integers) -> Measure:
    norms, kinds = np.unique(whole.squares, return_inverse=True)
    if len(norms) == 1:
        return Measure("cosine", unit=whole.unit)
    levels = number_values(norms, whole.largest)
    if levels is not None:
        return Measure("cosine", unit=whole.unit, levels=levels, kinds=kinds.astype(np.int64))
    divisor, scale = (each[kinds].astype(np.float32) for each in split_squares(norms))
    return Measure("cosine", unit=whole.unit, divisor=divisor, scale=scale)


def _cosine(query: Floats, gallery: Rows, eps: float, cosines: bool) -> Measure:
    factors: Floats = np.empty(gallery.shape[0], dtype=np.float32)
    total, longest = np.zeros(gallery.shape[1]), 0.0
    for place, rows, lengths in _finite_blocks(gallery):
        longest = max(longest, float(lengths.max()))
        factors[place] = _unit_factors(lengths, exactly=eps != 0)
        total += np.einsum("ij,i->j", rows, _unit_factors(lengths, exactly=True))
    _check_size(longest, 1.0)
    centre = total / len(factors)
    mean_cosine = float(centre @ centre)
    if mean_cosine > COLLAPSED and len(factors) > 1:
        log.warning(
            "The photos have nearly one direction (mean cosine %.8f): the network may have collapsed, and the rounding "
            "of its embeddings to float32 shows in the figures.",
            mean_cosine,
        )
    if mean_cosine > NARROW and not cosines:
        return _narrow_cosine(query, gallery, eps, centre)
    return Measure("cosine", eps, scale=None if (factors == 1).all() else factors)


def _narrow_cosine(query: Floats, gallery: Rows, eps: float, centre: Doubles) -> Measure:
    """The centred form; query' and photo' have length 1."""
    shift = np.zeros(len(centre))
    for _, rows in blocks(query):
        shift += _unit_vectors(rows).sum(axis=0)
    shift = shift / len(query) + eps
    offset: Floats = np.empty(gallery.shape[0], dtype=np.float32)
    for place, rows in blocks(gallery):
        offset[place] = np.einsum("ij,j->i", centre - _unit_vectors(rows), shift)
    return Measure("cosine", eps, shift=shift, centre=centre, offset=offset)


def _euclidean(query: Floats, gallery: Rows, eps: float) -> Measure:
    shift, longest, farthest = np.zeros(gallery.shape[1]), 0.0, 0.0
    for _, rows, lengths in _finite_blocks(gallery):
        longest = max(longest, float(lengths.max()))
        shift += rows.sum(axis=0)
    shift /= gallery.shape[0]
    offset: Floats = np.empty(gallery.shape[0], dtype=np.float32)
    for place, rows in blocks(gallery):
        lengths = _lengths(rows - shift)
        farthest = max(farthest, float(lengths.max()))
        with np.errstate(over="ignore"):  # such lengths are refused below
            offset[place] = lengths**2 / 2
    of_queries = max(float(_lengths(rows - shift).max()) for _, rows in blocks(query))
    _check_size(max(longest, farthest), max(farthest, of_queries))
    return Measure("euclidean", eps, shift=shift, offset=offset)


def _finite_blocks(gallery: Rows) -> Iterator[tuple[slice, Doubles, Doubles]]:
    """Positions, vectors and lengths of some photos at a time; raises DataError for NaN or infinity."""
    for place, rows in blocks(gallery):
        lengths = _lengths(rows)
        if not np.isfinite(lengths).all():
            row = place.start + int(np.argmin(np.isfinite(lengths)))
            raise DataError(f"Array 'gallery' holds NaN or infinity, first in row {row}: such scores cannot rank.")
        yield place, rows, lengths


def _lengths(rows: Doubles) -> Doubles:
    """Euclidean length of each row: float64 [rows]."""
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", rows, rows)))


def _unit_vectors(rows: Doubles) -> Doubles:
    lengths = _lengths(rows)[:, None]
    return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)


def _unit_factors(lengths: Doubles, exactly: bool) -> Doubles:
    """What makes vectors of these lengths unit vectors, 0 for length 0; not ``exactly``: 1 for lengths near 1."""
    factors = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    if not exactly:
        factors[np.abs(lengths - 1) <= UNIT_TOLERANCE] = 1.0
    return factors


def _check_size(one: float, other: float) -> None:
    if one * other > LARGEST_SCORE:
        raise DataError(
            f"Arrays 'query' and 'gallery' hold vectors as long as {max(one, other):.1e}, whose scores "
            "overflow float32: divide the embeddings by a constant."
        )


def _check_codes(query: Floats, gallery: Rows) -> None:
    """Raise DataError unless both sides are codes of 0 and 1, or of -1 and 1."""
    own = _lower_symbols(rows for _, rows in blocks(query))
    found = _lower_symbols(rows for _, rows, _ in _finite_blocks(gallery))
    if not own & found:
        name = "query" if not own or (found and 0 in own) else "gallery"
        raise DataError(
            f"Array {name!r} is no binary code for distance 'hamming': use only 0 and 1, or only -1 and 1, "
            "in both 'query' and 'gallery'."
        )


def _lower_symbols(parts: Iterable[Doubles]) -> set[int]:
    """{0} if all numbers are 0 or 1, {-1} if -1 or 1, both if all are 1, otherwise empty."""
    found = {0, -1}
    for rows in parts:
        found = {low for low in found if np.isin(rows, (low, 1)).all()}
    return found
