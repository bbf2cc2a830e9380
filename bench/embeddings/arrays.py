"""Embeddings of queries and gallery, in memory or read in blocks, checked when they are built."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from bench.errors import DataError
from bench.types import Floats, Labels

AT_ONCE = 2**16  # photos of which some are taken


@dataclass(frozen=True)
class Embeddings:
    """Vectors of the queries and of the gallery, with what is relevant, what is resampled and who sees whom.

    ``query`` float32 [queries, width], ``gallery`` float32 [photos, width]. ``query_labels`` int64 [queries] and
    ``gallery_labels`` int64 [photos] are relevance: a photo is relevant to a query of the same label.
    ``query_clusters`` int64 [queries] are the units that intervals resample, and that a mean over classes counts once:
    the class; by default the labels. ``query_groups`` int64 [queries] and ``gallery_groups`` int64 [photos] restrict
    what is ranked: a query sees the photos of its own group only; by default all.

    Raises DataError that names the array: wrong rank, different widths or lengths, nothing in it, NaN or infinity,
    a negative number in place of a label, groups on one side only.
    """

    query: Floats
    gallery: Floats
    query_labels: Labels
    gallery_labels: Labels
    query_clusters: Labels | None = None
    query_groups: Labels | None = None
    gallery_groups: Labels | None = None

    def __post_init__(self) -> None:
        check_side("query", self.query, self.query_labels)
        check_side("gallery", self.gallery, self.gallery_labels)
        _check_widths(self.query.shape[1], self.gallery.shape[1])
        _check_marks(self, len(self.gallery))

    @property
    def photos(self) -> Whole:
        """The gallery as what is read in blocks."""
        return Whole(self.gallery, self.gallery_labels)

    @property
    def clusters(self) -> Labels:
        """``query_clusters``, or the labels where none are given."""
        return self.query_labels if self.query_clusters is None else self.query_clusters


def as_vectors(name: str, array: npt.NDArray[Any]) -> Floats:
    """An array of numbers of any kind as float32; raises DataError for anything else."""
    if array.dtype.kind not in "fiub":
        raise DataError(f"Array {name!r} holds {array.dtype}: embeddings are numbers.")
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, which ``check_side`` refuses
        return np.ascontiguousarray(array, dtype=np.float32)


def as_labels(name: str, array: npt.NDArray[Any]) -> Labels:
    """An array of integers as int64; raises DataError for anything else."""
    if array.dtype.kind not in "iu":
        raise DataError(f"Array {name!r} holds {array.dtype}: labels are integers from 0.")
    if array.size and array.max() > np.iinfo(np.int64).max:
        raise DataError(f"Array {name!r} holds {array.max()}: labels must be below 2^63.")
    return np.ascontiguousarray(array, dtype=np.int64)


def check_side(side: str, vectors: Floats, labels: Labels) -> None:
    """Raise DataError, as ``Embeddings`` does, for vectors and labels of one side."""
    if vectors.ndim != 2 or vectors.shape[0] == 0 or vectors.shape[1] == 0:
        raise DataError(f"Array {side!r} must be [rows, width] with at least one row; it is {vectors.shape}.")
    _check_numbers(side, "label", labels, len(vectors))
    # One pass and no temporary of the array's size: a sum is finite unless a term is not (or it overflows).
    with np.errstate(invalid="ignore"):  # infinity less infinity
        total = vectors.sum(dtype=np.float64)
    if not np.isfinite(total) and not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise DataError(f"Array {side!r} holds NaN or infinity, first in row {row}: such scores cannot rank.")


def _check_numbers(side: str, what: str, numbers: Labels, rows: int) -> None:
    if numbers.shape != (rows,):
        raise DataError(
            f"Array '{side}_{what}s' has shape {numbers.shape}, but {side!r} has {rows} rows: give one {what} a row."
        )
    if numbers.min() < 0:
        raise DataError(f"Array '{side}_{what}s' holds {numbers.min()}: {what}s are integers from 0.")


def _check_marks(embeddings: Embeddings | StreamedEmbeddings, photos: int) -> None:
    queries = len(embeddings.query)
    if embeddings.query_clusters is not None:
        _check_numbers("query", "cluster", embeddings.query_clusters, queries)
    if (embeddings.query_groups is None) != (embeddings.gallery_groups is None):
        raise DataError("Only one of 'query_groups' and 'gallery_groups' is given: give both or none.")
    if embeddings.query_groups is not None and embeddings.gallery_groups is not None:
        _check_numbers("query", "group", embeddings.query_groups, queries)
        _check_numbers("gallery", "group", embeddings.gallery_groups, photos)


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
    """A gallery in memory: ``array`` float32 [photos, width], row by row, and ``classes`` int64 [photos]."""

    def __init__(self, array: Floats, classes: Labels) -> None:
        self.array: Floats = np.ascontiguousarray(array, dtype=np.float32)
        self.classes = classes

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
    """Rows that are read in blocks, with ``classes`` int64 [photos] in memory."""

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
class Part:
    """The photos of a gallery at the positions ``chosen`` int64 [photos], in that order; one may occur twice."""

    photos: Gallery
    chosen: Labels

    @property
    def shape(self) -> tuple[int, ...]:
        """Photos and width."""
        return len(self.chosen), self.photos.shape[1]

    def vectors(self, begin: int, end: int) -> Floats:
        """float32 [end - begin, width], a copy."""
        vectors = np.empty((end - begin, self.photos.shape[1]), dtype=np.float32)
        for first, rows, here in self._spans(self.chosen[begin:end]):
            vectors[rows] = self.photos.vectors(first, min(first + AT_ONCE, self.photos.shape[0]))[here]
        return vectors

    def labels(self, begin: int, end: int) -> Labels:
        """int64 [end - begin], a copy."""
        labels = np.empty(end - begin, dtype=np.int64)
        for first, rows, here in self._spans(self.chosen[begin:end]):
            labels[rows] = self.photos.labels(first, min(first + AT_ONCE, self.photos.shape[0]))[here]
        return labels

    def in_memory(self) -> Whole:
        """A copy of the photos."""
        return Whole(self.vectors(0, len(self.chosen)), self.labels(0, len(self.chosen)))

    def _spans(self, chosen: Labels) -> Iterator[tuple[int, Labels, Labels]]:
        """Where each span of the gallery with chosen photos begins, which of ``chosen`` they are, where in the span."""
        spans = chosen // AT_ONCE
        for span in np.unique(spans):
            rows = np.flatnonzero(spans == span)
            yield int(span) * AT_ONCE, rows, chosen[rows] - span * AT_ONCE


@dataclass(frozen=True)
class StreamedEmbeddings:
    """As ``Embeddings``, with photos that are read in blocks; those are checked while they are ranked.

    Raises DataError as ``Embeddings`` for the queries, for a gallery without photos and for different widths.
    """

    query: Floats
    query_labels: Labels
    photos: Gallery
    query_clusters: Labels | None = None
    query_groups: Labels | None = None
    gallery_groups: Labels | None = None

    def __post_init__(self) -> None:
        check_side("query", self.query, self.query_labels)
        if not self.photos.shape[0]:
            raise DataError("The gallery has no photos.")
        _check_widths(self.query.shape[1], self.photos.shape[1])
        _check_marks(self, self.photos.shape[0])

    @property
    def clusters(self) -> Labels:
        """``query_clusters``, or the labels where none are given."""
        return self.query_labels if self.query_clusters is None else self.query_clusters


def labels_within_groups(embeddings: Embeddings | StreamedEmbeddings) -> tuple[Labels, Labels]:
    """Numbers of queries and photos, int64 [queries] and [photos], equal where a query sees a photo as relevant.

    Without groups they are the labels.
    """
    asked, labels = embeddings.query_labels, embeddings.photos.labels(0, embeddings.photos.shape[0])
    if embeddings.query_groups is None or embeddings.gallery_groups is None:
        return asked, labels
    groups = np.concatenate((embeddings.query_groups, embeddings.gallery_groups))
    pairs = np.stack((np.concatenate((asked, labels)), groups))
    _, numbers = np.unique(pairs, axis=1, return_inverse=True)
    return numbers[: len(asked)], numbers[len(asked) :]
