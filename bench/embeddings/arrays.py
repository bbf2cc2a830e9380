"""Embeddings of queries and gallery, in memory or read in blocks, checked when they are built."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from bench.errors import DataError
from bench.types import Floats, Labels

AT_ONCE = 2**16  # rows that ``Part`` reads together
COMPARED_AT_ONCE = 2**12  # rows that ``all_equal`` reads together; the first ones nearly always differ


class Rows(Protocol):
    """What slices read, several threads at once: an array, or files that need not fit into memory."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows, and the width of vectors."""

    def __getitem__(self, part: slice, /) -> npt.NDArray[Any]:
        """Rows of a slice with step 1, as an array."""


class Clustered:
    """What intervals resample and means over classes count once."""

    query_labels: Labels
    query_clusters: Labels | None

    @property
    def clusters(self) -> Labels:
        """``query_clusters``, by default the labels: int64 [queries]."""
        return self.query_labels if self.query_clusters is None else self.query_clusters


@dataclass(frozen=True)
class Embeddings(Clustered):
    """Vectors and labels of queries and gallery.

    - ``query`` float32 [queries, width], ``gallery`` float32 [photos, width];
    - ``query_labels`` int64 [queries], ``gallery_labels`` int64 [photos]: equal labels are relevant;
    - ``query_clusters`` int64 [queries]: what intervals resample and means over classes count once; the default is the
      label;
    - ``query_groups`` int64 [queries], ``gallery_groups`` int64 [photos]: a query sees the photos of its group, by
      default all.

    Raises DataError that names the array: wrong rank, width or length, no rows, NaN or infinity, a negative label,
    groups on one side only. Photos that are not in memory are checked while they are ranked.
    """

    query: Floats
    gallery: Rows
    query_labels: Labels
    gallery_labels: Rows
    query_clusters: Labels | None = None
    query_groups: Labels | None = None
    gallery_groups: Labels | None = None

    def __post_init__(self) -> None:
        if isinstance(self.gallery, np.ndarray):
            check_side("gallery", self.gallery, self.gallery_labels[:])
        check_side("query", self.query, self.query_labels)
        (queries, width), (photos, other) = self.query.shape, self.gallery.shape
        if width != other:
            raise DataError(f"Array 'query' has width {width}, 'gallery' has width {other}: both sides need one width.")
        _check_marks(self, queries, photos)

    @property
    def in_memory(self) -> bool:
        """Whether the photos are in memory."""
        return isinstance(self.gallery, np.ndarray)


def as_vectors(name: str, array: npt.NDArray[Any]) -> Floats:
    """Numbers of any type as float32; raises DataError for anything else."""
    if array.dtype.kind not in "fiub":
        raise DataError(f"Array {name!r} holds {array.dtype}: embeddings are numbers.")
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, which ``check_side`` refuses
        return np.ascontiguousarray(array, dtype=np.float32)


def as_labels(name: str, array: npt.NDArray[Any]) -> Labels:
    """Integers of any type as int64; raises DataError for anything else."""
    if array.dtype.kind in "US":
        raise DataError(
            f"Array {name!r} holds text: labels are integers from 0. Number the class names of both sides together, "
            "by numpy.unique(names, return_inverse=True)."
        )
    if array.dtype.kind not in "iu":
        raise DataError(f"Array {name!r} holds {array.dtype}: labels are integers from 0.")
    if array.size and array.max() > np.iinfo(np.int64).max:
        raise DataError(f"Array {name!r} holds {array.max()}: labels must be below 2^63.")
    return np.ascontiguousarray(array, dtype=np.int64)


def check_side(side: str, vectors: Floats, labels: Labels) -> None:
    """Raise DataError, as ``Embeddings`` does, for vectors and labels of one side."""
    if vectors.ndim != 2 or vectors.shape[0] == 0 or vectors.shape[1] == 0:
        raise DataError(f"Array {side!r} must be [rows, width] with at least one row; it is {vectors.shape}.")
    check_numbers(side, "label", labels, len(vectors))
    # A fast pass without a temporary array: a sum of squares is finite unless a number is not, or it overflows.
    if not np.isfinite(np.vdot(vectors, vectors)) and not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise DataError(f"Array {side!r} holds NaN or infinity, first in row {row}: such scores cannot rank.")


def check_numbers(side: str, what: str, numbers: Labels | None, rows: int) -> None:
    """Raise DataError unless ``numbers``, a ``what`` for each row, are int64 [rows] from 0; None is accepted."""
    if numbers is None:
        return
    if numbers.shape != (rows,):
        raise DataError(
            f"Array '{side}_{what}s' has shape {numbers.shape}, but {side!r} has {rows} rows: give one {what} a row."
        )
    if numbers.min() < 0:
        raise DataError(f"Array '{side}_{what}s' holds {numbers.min()}: {what}s are integers from 0.")


def _check_marks(embeddings: Rankable, queries: int, photos: int) -> None:
    if (embeddings.query_groups is None) != (embeddings.gallery_groups is None):
        raise DataError("Only one of 'query_groups' and 'gallery_groups' is given: give both or none.")
    check_numbers("query", "cluster", embeddings.query_clusters, queries)
    check_numbers("query", "group", embeddings.query_groups, queries)
    check_numbers("gallery", "group", embeddings.gallery_groups, photos)


@dataclass(frozen=True)
class Part:
    """The rows at the positions ``chosen`` int64 [rows], in that order, also repeatedly; read in blocks."""

    rows: Rows
    chosen: Labels

    @property
    def shape(self) -> tuple[int, ...]:
        """As ``Rows.shape``."""
        return len(self.chosen), *self.rows.shape[1:]

    def __getitem__(self, part: slice, /) -> npt.NDArray[Any]:
        """A copy of some of the rows."""
        chosen = self.chosen[part]
        found = np.empty((len(chosen), *self.shape[1:]), self.rows[:0].dtype)
        for first in np.unique(chosen // AT_ONCE) * AT_ONCE:
            places = np.flatnonzero(chosen // AT_ONCE * AT_ONCE == first)
            found[places] = self.rows[int(first) : int(first) + AT_ONCE][chosen[places] - first]
        return found


def rows_at(rows: Rows, chosen: Labels) -> Rows:
    """The rows at the positions ``chosen`` int64 [rows]: in memory where ``rows`` are."""
    return rows[chosen] if isinstance(rows, np.ndarray) else Part(rows, chosen)


@dataclass(frozen=True)
class ScoreMatrix(Clustered):
    """Scores of every query and photo in place of vectors, for networks that compare pairs and for mixed distances.

    ``scores`` are numbers [queries, photos], in memory or mapped from a file: higher is more similar. They are ranked
    in float32. The rest is as in ``Embeddings``, but NaN and infinity are refused while the scores are ranked.
    """

    scores: npt.NDArray[Any]
    query_labels: Labels
    gallery_labels: Labels
    query_clusters: Labels | None = None
    query_groups: Labels | None = None
    gallery_groups: Labels | None = None
    in_memory: ClassVar[bool] = False  # vectors, of which there are none

    def __post_init__(self) -> None:
        if self.scores.ndim != 2 or 0 in self.scores.shape or self.scores.dtype.kind not in "fiub":
            found = f"{self.scores.dtype} {self.scores.shape}"
            raise DataError(f"Array 'scores' must be numbers [queries, photos], such as float32; it is {found}.")
        check_numbers("query", "label", self.query_labels, self.scores.shape[0])
        check_numbers("gallery", "label", self.gallery_labels, self.scores.shape[1])
        _check_marks(self, *self.scores.shape)

    @property
    def query(self) -> Floats:
        """Vectors of width 0, float32 [queries, 0]."""
        return np.empty((len(self.query_labels), 0), dtype=np.float32)

    @property
    def gallery(self) -> Floats:
        """Vectors of width 0, float32 [photos, 0]."""
        return np.empty((len(self.gallery_labels), 0), dtype=np.float32)

    def rows(self, queries: Labels) -> Floats:
        """The scores of some queries, float32 [rows, photos]; raises DataError for NaN and infinity."""
        with np.errstate(over="ignore"):  # refused below
            scores = self.scores[queries].astype(np.float32)
        if not np.isfinite(scores).all():
            row = int(queries[np.argmin(np.isfinite(scores).all(axis=1))])
            raise DataError(
                f"Array 'scores' holds NaN or numbers beyond float32, first in row {row}: they cannot rank."
            )
        return scores


Rankable = Embeddings | ScoreMatrix


def select(embeddings: Rankable, queries: Labels | None = None, photos: Labels | None = None) -> Rankable:
    """The queries and photos at these positions, int64, in that order, also repeatedly; None: all.

    Photos that are not in memory are still read when they are needed.
    """
    changed: dict[str, Any] = {}
    for name in (field.name for field in fields(embeddings) if field.name != "scores"):
        rows, chosen = getattr(embeddings, name), queries if name.startswith("query") else photos
        if rows is not None and chosen is not None:
            changed[name] = rows_at(rows, chosen)
    if isinstance(embeddings, ScoreMatrix):
        lines, columns = (
            np.arange(count) if chosen is None else chosen
            for count, chosen in zip(embeddings.scores.shape, (queries, photos), strict=True)
        )
        changed["scores"] = embeddings.scores[lines[:, None], columns]
    return replace(embeddings, **changed)


def labels_within_groups(embeddings: Rankable) -> tuple[Labels, Labels]:
    """int64 [queries] and [photos], equal where a query sees a relevant photo; without groups, the labels."""
    wanted, labels = embeddings.query_labels, embeddings.gallery_labels[:]
    if embeddings.query_groups is None or embeddings.gallery_groups is None:
        return wanted, labels
    groups = np.concatenate((embeddings.query_groups, embeddings.gallery_groups))
    pairs = np.stack((np.concatenate((wanted, labels)), groups))
    _, numbers = np.unique(pairs, axis=1, return_inverse=True)
    return numbers[: len(wanted)], numbers[len(wanted) :]


def all_equal(rows: Rows, tolerance: float) -> bool:
    """Whether all of several vectors are equal, up to ``tolerance`` in each number."""
    count, first = rows.shape[0], rows[:1]
    for begin in range(0, count, COMPARED_AT_ONCE):
        if np.abs(rows[begin : begin + COMPARED_AT_ONCE] - first).max() > tolerance:
            return False
    return count > 1
