"""What networks make of images: vectors with labels, at hand or read in blocks, checked when they are built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from bench.errors import DataError
from bench.types import Floats, Labels


@dataclass(frozen=True)
class Embeddings:
    """Vectors of the queries and of the gallery with their labels.

    ``query`` float32 [queries, width], ``gallery`` float32 [photos, width], ``query_labels`` int64 [queries],
    ``gallery_labels`` int64 [photos]; one number means one class on both sides.

    Raises DataError that names the array: wrong rank, different widths or lengths, nothing in it, NaN or infinity,
    a negative label.
    """

    query: Floats
    gallery: Floats
    query_labels: Labels
    gallery_labels: Labels

    def __post_init__(self) -> None:
        _check_side("query", self.query, self.query_labels)
        _check_side("gallery", self.gallery, self.gallery_labels)
        _check_widths(self.query.shape[1], self.gallery.shape[1])

    @property
    def photos(self) -> Whole:
        """The gallery as what is read in blocks."""
        return Whole(self.gallery, self.gallery_labels)


def _check_side(side: str, vectors: Floats, labels: Labels) -> None:
    if vectors.ndim != 2 or vectors.shape[0] == 0 or vectors.shape[1] == 0:
        raise DataError(f"Array {side!r} must be [rows, width] with at least one row; it is {vectors.shape}.")
    if labels.shape != (len(vectors),):
        raise DataError(
            f"Array '{side}_labels' has shape {labels.shape}, but {side!r} has {len(vectors)} rows: "
            "give one label a row."
        )
    if labels.min() < 0:
        raise DataError(f"Array '{side}_labels' holds {labels.min()}: labels are integers from 0.")
    # One pass and no temporary of the array's size: a sum is finite unless a term is not (or it overflows).
    with np.errstate(invalid="ignore"):  # infinity less infinity
        total = vectors.sum(dtype=np.float64)
    if not np.isfinite(total) and not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise DataError(f"Array {side!r} holds NaN or infinity, first in row {row}: such scores cannot rank.")


def _check_widths(query: int, gallery: int) -> None:
    if query != gallery:
        raise DataError(f"Array 'query' has width {query}, 'gallery' has width {gallery}: both sides need one width.")


class Rows(Protocol):
    """Vectors that are read in blocks."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and width."""

    def vectors(self, begin: int, end: int) -> Floats:
        """float32 [end - begin, width]."""


class Gallery(Rows, Protocol):
    """Photos that are read in blocks, by several threads at once, and need not fit into memory."""

    def labels(self, begin: int, end: int) -> Labels:
        """int64 [end - begin]."""


class Whole:
    """A gallery that is at hand: ``array`` float32 [photos, width], ``classes`` int64 [photos]."""

    def __init__(self, array: Floats, classes: Labels) -> None:
        self.array, self.classes = array, classes

    @property
    def shape(self) -> tuple[int, ...]:
        """Photos and width."""
        return self.array.shape

    def vectors(self, begin: int, end: int) -> Floats:
        """A view of some rows."""
        return self.array[begin:end]

    def labels(self, begin: int, end: int) -> Labels:
        """A view of their labels."""
        return self.classes[begin:end]


@dataclass(frozen=True)
class Labelled:
    """A gallery of rows that are read in blocks and ``classes`` int64 [photos] that are at hand."""

    rows: Rows
    classes: Labels

    @property
    def shape(self) -> tuple[int, ...]:
        """Photos and width."""
        return self.rows.shape

    def vectors(self, begin: int, end: int) -> Floats:
        """As the rows give them."""
        return self.rows.vectors(begin, end)

    def labels(self, begin: int, end: int) -> Labels:
        """A view of some labels."""
        return self.classes[begin:end]


@dataclass(frozen=True)
class StreamedEmbeddings:
    """As ``Embeddings``, with photos that are read in blocks; those are checked while they are ranked.

    Raises DataError as ``Embeddings`` for the queries, for a gallery without photos and for different widths.
    """

    query: Floats
    query_labels: Labels
    photos: Gallery

    def __post_init__(self) -> None:
        _check_side("query", self.query, self.query_labels)
        if not self.photos.shape[0]:
            raise DataError("The gallery has no photos.")
        _check_widths(self.query.shape[1], self.photos.shape[1])
