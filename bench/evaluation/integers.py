"""Vectors that hold integers, such as codes and counts: their scores tie exactly where they tie in exact arithmetic.

Their products are exact in float32. By cosine, a photo ranks by product / |photo|, where |photo|^2 = s^2 f with f free
of squares. Equal values have one f and one product / s, so (product / s) / sqrt(f) is the same float for them. If few
values are possible, each is replaced by its place in ascending order; then no two different values are equal, either.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bench.embeddings.arrays import Rows
from bench.types import Doubles, Floats

EXACT = 2**24  # float32 holds every integer up to this one
MOST_LEVELS = 2**22  # values that are numbered
ROWS = 1024  # converted to float64 together
PART = 2**14  # photos of a gallery that are read together


@dataclass(frozen=True)
class Integers:
    """Facts of a query and a gallery side that hold multiples of ``unit``, a power of two.

    ``squares`` float64 [photos] are the squared lengths of photos, ``largest`` is the largest possible product of a
    query and a photo: both exact, in units squared.
    """

    unit: float
    squares: Doubles
    largest: int


def find_integers(query: Floats, gallery: Rows) -> Integers | None:
    """The facts of integer vectors; None unless all products are exact in float32."""
    unit = min(_unit(query[:ROWS]), _unit(gallery[:ROWS]))
    longest = _squares(query, unit)
    squares = None if longest is None else _squares(gallery, unit)
    if longest is None or squares is None:
        return None
    largest = float(np.sqrt(longest.max() * squares.max()))
    return Integers(unit, squares, int(largest)) if max(largest, squares.max()) <= EXACT else None


def number_values(norms: Doubles, largest: int) -> Floats | None:
    """The places of all values product / |photo| in ascending order; None if they are too many.

    ``norms`` float64 [kinds] are squared lengths; float32 [kinds, products], products from ``-largest`` to ``largest``.
    """
    products = np.arange(-largest, largest + 1)
    if len(norms) * len(products) > MOST_LEVELS:
        return None
    roots, rest = split_squares(norms)
    _, places = np.unique(products / roots[:, None] * rest[:, None], return_inverse=True)
    return places.reshape(len(norms), -1).astype(np.float32)


def split_squares(norms: Doubles) -> tuple[Doubles, Doubles]:
    """s and 1 / sqrt(f) of integers s^2 f, with f free of squares: float64 [kinds]; 1 and 0 for 0.

    >>> split_squares(np.array([0.0, 1.0, 12.0]))[0].tolist()
    [1.0, 1.0, 2.0]
    """
    roots, free = np.ones(len(norms)), norms.astype(np.int64)
    factor = 2
    while factor**2 <= free.max(initial=0):
        while (divided := (free % factor**2 == 0) & (free > 0)).any():
            roots[divided] *= factor
            free[divided] //= factor**2
        factor += 1
    return roots, np.divide(1.0, np.sqrt(free), out=np.zeros(len(norms)), where=free > 0)


def blocks(vectors: Rows) -> Iterator[tuple[slice, Doubles]]:
    """All rows in float64, some at a time, each time with their positions; a gallery is read in larger parts."""
    for begin in range(0, vectors.shape[0], PART):
        part = vectors[begin : begin + PART]
        for first in range(0, len(part), ROWS):
            rows = part[first : first + ROWS].astype(np.float64)
            yield slice(begin + first, begin + first + len(rows)), rows


def _unit(rows: Floats) -> float:
    """The largest power of two up to 1 that may divide all numbers: that below the smallest."""
    smallest = float(np.abs(rows[rows != 0]).min(initial=1.0))
    return 2.0 ** np.floor(np.log2(smallest)) if smallest > 0 else 1.0


def _squares(vectors: Rows, unit: float) -> Doubles | None:
    """Squared lengths in units, float64 [rows]; None unless all numbers are multiples of ``unit``."""
    squares = np.empty(vectors.shape[0])
    for place, rows in blocks(vectors):
        rows /= unit
        if not (np.abs(rows) <= EXACT).all() or not (rows == np.rint(rows)).all():
            return None
        squares[place] = np.einsum("ij,ij->i", rows, rows)
    return squares
