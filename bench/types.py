"""The data that flows through the harness: Item, Split, Batch, Score. All are frozen; a Split checks itself."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from bench.errors import DataError, UsageError

if TYPE_CHECKING:  # torch takes seconds to import and nothing here needs it at run time
    from torch import Tensor

Modality = Literal["sketch", "photo"]
Average = Literal["queries", "classes"]
AVERAGES: tuple[Average, ...] = ("queries", "classes")
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Item:
    """One image: its path (relative, or an archive member, with ``/``), its class and its modality."""

    path: str
    class_name: str
    modality: Modality


@dataclass(frozen=True)
class Split:
    """Seen and unseen classes, and the images of each role: training, validation, queries, gallery.

    The order of ``queries`` and ``gallery`` is the canonical order: equal scores rank by gallery position.
    ``content`` is a hash of the files' content if known, otherwise empty. ``gallery_name`` is ``full``, or ``unique``
    without repeated photos. ``held_out`` are classes that are neither trained on nor tested: those of ``validation``
    when a model is selected by zero-shot retrieval.
    """

    dataset: str
    name: str
    seen: tuple[str, ...]
    unseen: tuple[str, ...]
    train: tuple[Item, ...]
    validation: tuple[Item, ...]
    queries: tuple[Item, ...]
    gallery: tuple[Item, ...]
    content: str = ""
    gallery_name: str = "full"
    held_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        both = sorted(set(self.seen) & set(self.unseen))
        if both:
            raise self._wrong(f"class {both[0]!r} is both seen and unseen")
        again = sorted(set(self.held_out) & {*self.seen, *self.unseen})
        if again:
            raise self._wrong(f"class {again[0]!r} is held out, but also seen or unseen")
        seen, everyone = set(self.seen), set(self.seen) | set(self.unseen)
        self._check_role("train", self.train, seen, None)
        self._check_role("validation", self.validation, seen | set(self.held_out), None)
        self._check_role("queries", self.queries, everyone, "sketch")
        self._check_role("gallery", self.gallery, everyone, "photo")
        paths: set[str] = set()
        for item in (*self.train, *self.validation, *self.queries, *self.gallery):
            if item.path in paths:
                raise self._wrong(f"{item.path} is listed twice")
            paths.add(item.path)
        if not self.queries or not self.gallery:
            raise self._wrong("it has no queries or no gallery")

    def _check_role(self, role: str, items: tuple[Item, ...], classes: set[str], modality: Modality | None) -> None:
        for item in items:
            if item.class_name not in classes:
                raise self._wrong(f"{role} holds {item.path} of class {item.class_name!r}, which does not belong there")
            if modality is not None and item.modality != modality:
                raise self._wrong(f"{role} holds {item.path}, which is no {modality}")

    def _wrong(self, what: str) -> DataError:
        return DataError(f"Split {self.name!r} of dataset {self.dataset!r} is not usable: {what}.")

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (64 hex digits) of the sorted list of (role, modality, class, path) and of ``content``.

        Two runs with one fingerprint were trained and scored on the same images.
        """
        digest = hashlib.sha256(f"{self.dataset}\n{self.content}\n".encode())
        roles = (("train", self.train), ("validation", self.validation))
        lines = [_line(role, item) for role, items in roles for item in items]
        lines += [_line("query", item) for item in self.queries] + [_line("gallery", item) for item in self.gallery]
        for line in sorted(lines):
            digest.update(line.encode())
        return digest.hexdigest()

    def train_labels(self, items: Sequence[Item]) -> Labels:
        """Position of each item's class in ``seen``: int64 [items]."""
        return _labels(items, self.seen)

    def test_labels(self, items: Sequence[Item]) -> Labels:
        """Position of each item's class in ``unseen + seen``: int64 [items]; unseen classes come first."""
        return _labels(items, self.unseen + self.seen)

    def limited(self, per_class: int) -> Split:
        """The first ``per_class`` images of each class, role and modality, for smoke runs."""
        roles = ("train", "validation", "queries", "gallery")
        first: dict[str, Any] = {role: tuple(_first(getattr(self, role), per_class)) for role in roles}
        return replace(self, **first)

    def without(self, paths: Iterable[str]) -> Split:
        """The split without the images at ``paths``; its fingerprint changes with them.

        Raises DataError if a path is not in the split, or if no query or no photo is left.
        """
        dropped = set(paths)
        roles = {role: getattr(self, role) for role in ("train", "validation", "queries", "gallery")}
        unknown = sorted(dropped - {item.path for items in roles.values() for item in items})
        if unknown:
            raise self._wrong(f"{unknown[0]} is to be dropped, but it is no image of the split")
        kept: dict[str, Any] = {k: tuple(item for item in v if item.path not in dropped) for k, v in roles.items()}
        return replace(self, **kept)

    def generalized(self, fraction: float = 0.2) -> Split:
        """The split of generalized retrieval: held-out photos of the seen classes join the gallery.

        ``hold_out_images`` chooses them. Its sketches leave training too, so that both domains lose the same share.
        The queries stay those of the unseen classes.
        """
        split = self.hold_out_images(fraction, salt="generalized")
        kept = set(self.validation)
        moved = [item for item in split.validation if item not in kept]
        photos = tuple(item for item in moved if item.modality == "photo")
        return replace(
            split,
            validation=(*self.validation, *(item for item in moved if item.modality == "sketch")),
            gallery=(*self.gallery, *photos),
        )

    def hold_out_classes(self, fraction: float, salt: str = "validation") -> Split:
        """The split with some of its seen classes, at least one and not all, moved to validation.

        They are the first by ``salted_order``, so they depend on the class names alone. ``validation`` then holds only
        their images; images that were held out of other classes stay out of training. Their photos leave a gallery of
        all classes. Raises UsageError unless 0 < fraction < 1, DataError for fewer than two seen classes.
        """
        if not 0 < fraction < 1:
            raise UsageError(f"The share of the seen classes to hold out must be between 0 and 1, not {fraction}.")
        if len(self.seen) < 2:
            raise self._wrong("it has fewer than two seen classes, so none can be held out")
        count = min(max(1, round(fraction * len(self.seen))), len(self.seen) - 1)
        chosen = set(salted_order(self.seen, salt)[:count])
        return replace(
            self,
            seen=tuple(name for name in self.seen if name not in chosen),
            held_out=tuple(name for name in self.seen if name in chosen),
            train=tuple(item for item in self.train if item.class_name not in chosen),
            validation=tuple(item for item in (*self.train, *self.validation) if item.class_name in chosen),
            gallery=tuple(item for item in self.gallery if item.class_name not in chosen),
        )

    def for_tuning(self, name: str, fraction: float = 0.25) -> Split:
        """The split for choosing settings: the classes of ``hold_out_classes`` replace the unseen ones.

        It has no image of an unseen class.
        """
        split = self.hold_out_classes(fraction, salt="tuning")
        return replace(
            split,
            name=name,
            unseen=split.held_out,
            held_out=(),
            validation=(),
            queries=tuple(item for item in split.validation if item.modality == "sketch"),
            gallery=tuple(item for item in split.validation if item.modality == "photo"),
        )

    def hold_out_images(self, fraction: float, salt: str = "validation") -> Split:
        """The split with some training images of every class and modality moved to validation.

        They are the first by ``salted_order`` of their paths; a class with one image keeps it. Files of one name in
        several folders are copies of one image, as in Sketchy, and stay together.
        Raises UsageError unless 0 < fraction < 1.
        """
        if not 0 < fraction < 1:
            raise UsageError(f"The share of the images to hold out must be between 0 and 1, not {fraction}.")
        groups: dict[tuple[str, str], dict[str, list[str]]] = {}
        for item in self.train:
            images = groups.setdefault((item.class_name, item.modality), {})
            images.setdefault(item.path.rpartition("/")[2], []).append(item.path)
        chosen: set[str] = set()
        for images in groups.values():
            copies = {min(paths): paths for paths in images.values()}
            count = min(max(1, round(fraction * len(copies))), len(copies) - 1)
            chosen.update(path for first in salted_order(copies, salt)[:count] for path in copies[first])
        moved = tuple(item for item in self.train if item.path in chosen)
        kept = tuple(item for item in self.train if item.path not in chosen)
        return replace(self, train=kept, validation=(*self.validation, *moved))


def salted_order(names: Iterable[str], salt: str) -> list[str]:
    """Names by the SHA-256 of ``salt``, a line feed and the name: the same order on every machine."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{salt}\n{name}".encode()).digest())


def _line(role: str, item: Item) -> str:
    return f"{role}\t{item.modality}\t{item.class_name}\t{item.path}\n"


def _labels(items: Sequence[Item], classes: Sequence[str]) -> Labels:
    position = {name: label for label, name in enumerate(classes)}
    return np.fromiter((position[item.class_name] for item in items), dtype=np.int64, count=len(items))


def _first(items: Iterable[Item], per_class: int) -> Iterable[Item]:
    taken: dict[tuple[str, str], int] = {}
    for item in items:
        key = (item.class_name, item.modality)
        taken[key] = taken.get(key, 0) + 1
        if taken[key] <= per_class:
            yield item


@dataclass(frozen=True)
class Batch:
    """A training batch after augmentation.

    ``images`` float32 [batch, 3, size, size] in 0..1, ``labels`` int64 [batch] (positions in ``Split.seen``),
    ``is_photo`` bool [batch].
    """

    images: Tensor
    labels: Tensor
    is_photo: Tensor


@dataclass(frozen=True, slots=True)
class Score:
    """One figure of one run: ``metric`` as in ``mAP@200:min``, ``value`` 0..1 (NaN where no query counted).

    ``queries`` is the number of queries, ``skipped`` the number of those left out without a relevant photo.
    """

    metric: str
    average: Average
    value: float
    queries: int
    skipped: int = field(default=0)


EmptyQueries = Literal["skip", "zero"]
Distance = Literal["cosine", "euclidean", "hamming"]
