"""The data that flows through the harness: Item, Split, Batch, Score. All are frozen; a Split checks itself."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from bench.errors import DataError

if TYPE_CHECKING:  # torch takes seconds to import and nothing here needs it at run time
    from torch import Tensor

Modality = Literal["sketch", "photo"]
MODALITIES: tuple[Modality, ...] = ("sketch", "photo")
Relevance = Literal["class", "instance"]
Average = Literal["queries", "classes"]
AVERAGES: tuple[Average, ...] = ("queries", "classes")
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
ROLES = ("train", "validation", "queries", "gallery")  # of the images of a split
TUNING = 0.25  # share of the seen classes, or of the instances, that replace the unseen ones for choosing settings
GENERALIZED = 0.2  # share of the training images of a class that leave training for generalized retrieval


@dataclass(frozen=True, slots=True)
class Item:
    """One image: its path (relative, or an archive member, with ``/``), its class and its modality.

    ``instance`` names the thing that it shows, unique within the class; only fine-grained splits have it.
    """

    path: str
    class_name: str
    modality: Modality
    instance: str = ""


@dataclass(frozen=True)
class Split:
    """Seen and unseen classes, and the images of each role: training, validation, queries, gallery.

    The order of ``queries`` and ``gallery`` is the canonical order: equal scores rank by gallery position.
    ``content`` is a hash of the files' content if known, otherwise empty. ``gallery_name`` is ``full``, or ``unique``
    without repeated photos. ``held_out`` are classes that are neither trained on nor tested: those of ``validation``
    when an epoch is selected by zero-shot retrieval.
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
    relevance: ClassVar[Relevance] = "class"

    def __post_init__(self) -> None:
        self._check_sides()
        seen, unseen, held_out = set(self.seen), set(self.unseen), set(self.held_out)
        self._check_role("train", self.train, seen, None)
        self._check_role("validation", self.validation, seen | held_out, None)
        self._check_role("queries", self.queries, seen | unseen, "sketch")
        self._check_role("gallery", self.gallery, seen | unseen, "photo")
        self._check_paths()
        if not self.queries or not self.gallery:
            raise self._wrong("it has no queries or no gallery")

    def _check_sides(self) -> None:
        seen, unseen = set(self.seen), set(self.unseen)
        for name in sorted(seen & unseen):
            raise self._wrong(f"class {name!r} is both seen and unseen")
        for name in sorted(set(self.held_out) & (seen | unseen)):
            raise self._wrong(f"class {name!r} is held out, but also seen or unseen")

    def _check_paths(self) -> None:
        self._check_once([item for role in ROLES for item in getattr(self, role)])

    def _check_once(self, items: Iterable[Item]) -> None:
        paths = Counter(item.path for item in items)
        path, count = max(paths.items(), key=lambda each: each[1], default=("", 0))
        if count > 1:
            raise self._wrong(f"{path} is listed twice")

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
        """SHA-256 (64 hex digits) of the sorted list of (role, modality, class, path, any instance) and of ``content``.

        Two runs with one fingerprint used the same images.
        """
        digest = hashlib.sha256(f"{self.dataset}\n{self.content}\n".encode())
        lines = [
            f"{'query' if role == 'queries' else role}\t{item.modality}\t{item.class_name}\t{item.path}"
            f"{item.instance and chr(9)}{item.instance}\n"
            for role in ROLES
            for item in getattr(self, role)
        ]
        for line in sorted(lines):
            digest.update(line.encode())
        return digest.hexdigest()

    def train_labels(self, items: Sequence[Item]) -> Labels:
        """Position of each item's class in ``seen``: int64 [items]."""
        return _positions((item.class_name for item in items), self.seen)

    def test_labels(self, items: Sequence[Item]) -> Labels:
        """Position of each item's class in ``unseen + seen``: int64 [items]; unseen classes come first."""
        return _positions((item.class_name for item in items), self.unseen + self.seen)

    @property
    def zero_shot(self) -> bool:
        """Whether no class of the test is trained on."""
        return not set(self.seen) & set(self.unseen)

    @property
    def clusters(self) -> tuple[str, ...]:
        """The names of what intervals resample: the classes, in the order of ``test_labels``."""
        return self.unseen + self.seen

    def cluster_labels(self, items: Sequence[Item]) -> Labels:
        """Position of each item in ``clusters``: int64 [items]."""
        return _positions(map(self.cluster_of, items), self.clusters)

    def cluster_of(self, item: Item) -> str:
        """The one of ``clusters`` that an item belongs to."""
        return item.class_name

    def label_arrays(self) -> dict[str, Labels]:
        """The label arrays of queries and gallery, by their names in ``Embeddings``."""
        return {"query_labels": self.test_labels(self.queries), "gallery_labels": self.test_labels(self.gallery)}

    def limited(self, per_class: int) -> Split:
        """The first ``per_class`` images of each class, role and modality, for smoke tests."""
        roles: dict[str, Any] = {role: tuple(first_of_class(getattr(self, role), per_class)) for role in ROLES}
        return replace(self, **roles)

    def without(self, paths: Iterable[str]) -> Split:
        """The split without the images at ``paths``; its fingerprint changes with them.

        Raises DataError if a path is not in the split, or if no query or no photo is left.
        """
        dropped = set(paths)
        unknown = sorted(dropped - {item.path for role in ROLES for item in getattr(self, role)})
        if unknown:
            raise self._wrong(f"{unknown[0]} is to be dropped, but it is no image of the split")
        roles: dict[str, Any] = {
            role: tuple(item for item in getattr(self, role) if item.path not in dropped) for role in ROLES
        }
        return replace(self, **roles)

    def generalized(self) -> Split:
        """The split of generalized retrieval: a fifth of the training photos of each class joins the gallery.

        They are the first by ``salted_order`` of their paths; a class keeps at least one. Files of one name in several
        folders are copies of one image, as in Sketchy, and stay together. As many sketches move to validation, so that
        both domains lose the same share of training.
        """
        groups: dict[tuple[str, str], dict[str, list[str]]] = {}
        for item in self.train:
            images = groups.setdefault((item.class_name, item.modality), {})
            images.setdefault(item.path.rpartition("/")[2], []).append(item.path)
        chosen: set[str] = set()
        for images in groups.values():
            copies = {min(paths): paths for paths in images.values()}
            count = part_of(len(copies), GENERALIZED)
            chosen.update(path for first in salted_order(copies, "generalized")[:count] for path in copies[first])
        sketches, photos = by_modality(item for item in self.train if item.path in chosen)
        return replace(
            self,
            train=tuple(item for item in self.train if item.path not in chosen),
            validation=(*self.validation, *sketches),
            gallery=(*self.gallery, *photos),
        )

    def hold_out_classes(self, fraction: float, salt: str = "validation") -> Split:
        """The split with some of its seen classes, at least one and not all, moved to validation.

        They are the first by ``salted_order``, so they depend on the class names alone. ``validation`` then has only
        their images, and a gallery of all classes loses their photos. Raises DataError for fewer than two seen classes.
        """
        if len(self.seen) < 2:
            raise self._wrong("it has fewer than two seen classes, so none can be held out")
        chosen = set(salted_order(self.seen, salt)[: part_of(len(self.seen), fraction)])
        return replace(
            self,
            seen=tuple(name for name in self.seen if name not in chosen),
            held_out=tuple(name for name in self.seen if name in chosen),
            train=tuple(item for item in self.train if item.class_name not in chosen),
            validation=tuple(item for item in (*self.train, *self.validation) if item.class_name in chosen),
            queries=tuple(item for item in self.queries if item.class_name not in chosen),
            gallery=tuple(item for item in self.gallery if item.class_name not in chosen),
        )

    def for_tuning(self, name: str) -> Split:
        """The split for choosing settings: a quarter of the seen classes replaces the unseen ones."""
        split = self.hold_out_classes(TUNING, salt="tuning")
        queries, gallery = by_modality(split.validation)
        return replace(
            split,
            name=name,
            unseen=split.held_out,
            held_out=(),
            validation=(),
            queries=queries,
            gallery=gallery,
        )


def salted_order(names: Iterable[str], salt: str) -> list[str]:
    """Names by the SHA-256 of ``salt``, a line feed and the name: the same order on every machine."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{salt}\n{name}".encode()).digest())


def part_of(count: int, fraction: float) -> int:
    """A fraction of a number, rounded: at least one, and not all."""
    return min(max(1, round(fraction * count)), count - 1)


def _positions(names: Iterable[str], known: Sequence[str]) -> Labels:
    """The first position of each name among the ``known`` ones: int64 [names]."""
    position = {name: number for number, name in reversed([*enumerate(known)])}
    return np.array([position[name] for name in names], dtype=np.int64)


def by_modality(items: Iterable[Item]) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
    """The sketches and the photos of ``items``."""
    found = list(items)
    sketches, photos = (tuple(each for each in found if each.modality == modality) for modality in ("sketch", "photo"))
    return sketches, photos


def first_of_class(items: Iterable[Item], per_class: int) -> Iterator[Item]:
    """The first ``per_class`` items of each class and modality."""
    counts: Counter[tuple[str, str]] = Counter()
    for item in items:
        counts[item.class_name, item.modality] += 1
        if counts[item.class_name, item.modality] <= per_class:
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
    skipped: int = 0

    @property
    def name(self) -> str:
        """The metric, with its mean where that is over classes."""
        return self.metric if self.average == "queries" else f"{self.metric}@{self.average}"


EmptyQueries = Literal["skip", "zero"]
Distance = Literal["cosine", "euclidean", "hamming"]
