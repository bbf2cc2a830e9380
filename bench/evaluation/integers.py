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


@dataclass(frozen=True)
class Integers:
    """Facts of a query and a gallery side that hold multiples of ``unit``, a power of two.

    ``squares`` float64 [photos] are the squared lengths of photos, ``largest`` is the largest possible product of a
    query and a photo: both exact, in units squared.
    """

    unit: float
    squares: Doubles
    largest: int


def find_integers(query: Floats, gallery: Rows, part: int) -> Integers | None:
    """The facts of integer vectors; None unless all products are exact in float32. Reads ``part`` photos at a time."""
    unit = min(_unit(query[:ROWS]), _unit(gallery[:ROWS]))
    squares = np.empty(gallery.shape[0])
    longest = _squares(query, unit)
    if longest is None:
        return None
    for begin in range(0, len(squares), part):
        found = _squares(gallery[begin : begin + part], unit)
        if found is None:
            return None
        squares[begin : begin + len(found)] = found
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


def blocks(vectors: Floats) -> Iterator[tuple[int, Doubles]]:
    """The rows of ``vectors`` in float64, some at a time, each time with the number of the first."""
    for begin in range(0, len(vectors), ROWS):
        yield begin, vectors[begin : begin + ROWS].astype(np.float64)


def _unit(rows: Floats) -> float:
    """The largest power of two up to 1 that may divide all numbers: that below the smallest."""
    smallest = float(np.abs(rows[rows != 0]).min(initial=1.0))
    return 2.0 ** np.floor(np.log2(smallest)) if smallest > 0 else 1.0


def _squares(vectors: Floats, unit: float) -> Doubles | None:
    """Squared lengths in units, float64 [rows]; None unless all numbers are multiples of ``unit``."""
    squares = np.empty(len(vectors))
    for begin, rows in blocks(vectors):
        rows /= unit
        if not (np.abs(rows) <= EXACT).all() or not (rows == np.rint(rows)).all():
            return None
        squares[begin : begin + len(rows)] = np.einsum("ij,ij->i", rows, rows)
    return squares
