"""Splits of fine-grained retrieval, where the one true photo of a sketch is the one that it was drawn from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from bench.types import TUNING, Item, Labels, Relevance, Split, first_of_class, part_of, salted_order

Instance = tuple[str, str]  # class and name


@dataclass(frozen=True)
class FineGrainedSplit(Split):
    """A split in which every item names its instance, and a query is to find the photo of its instance.

    ``grouped``: a query sees the photos of its own class alone. A class may be both seen and unseen, with other
    instances on each side; then ``zero_shot`` is false. Raises DataError for an item without an instance, two gallery
    photos of one instance, and an instance in both training and test.
    """

    grouped: bool = False
    relevance: ClassVar[Relevance] = "instance"

    def _check_sides(self) -> None:
        test = (*self.queries, *self.gallery)
        for item in (*self.train, *self.validation, *test):
            if not item.instance:
                raise self._wrong(f"{item.path} names no instance")
        photos: dict[Instance, Item] = {}
        for item in self.gallery:
            if (other := photos.setdefault(instance_of(item), item)) is not item:
                raise self._wrong(f"{other.path} and {item.path} are both the photo of instance {item.instance!r}")
        tested = {instance_of(item) for item in test}
        for item in (*self.train, *self.validation):
            if instance_of(item) in tested:
                raise self._wrong(f"instance {item.instance!r} of {item.path} is in training and in the test")

    @property
    def facts(self) -> dict[str, Any]:
        """What reports say of the split; ``chance``: the acc@1 of a random order, mean over queries."""
        photos = Counter(item.class_name for item in self.gallery)
        seen = [photos[item.class_name] if self.grouped else len(self.gallery) for item in self.queries]
        chance = sum(1 / each for each in seen if each) / len(seen)
        return {"relevance": self.relevance, "zero_shot": self.zero_shot, "chance": round(chance, 6)}

    @property
    def one_class(self) -> bool:
        """Whether the test has a single class, so that intervals resample instances."""
        return len(self.unseen) == 1

    @property
    def clusters(self) -> tuple[str, ...]:
        """The names of the classes, or of the instances where the test has one class."""
        if not self.one_class:
            return super().clusters
        return tuple(dict.fromkeys(item.instance for item in (*self.gallery, *self.queries)))

    def cluster_of(self, item: Item) -> str:
        """The one of ``clusters`` that an item belongs to."""
        return item.instance if self.one_class else item.class_name

    def label_arrays(self) -> dict[str, Labels]:
        """The label, cluster and group arrays of queries and gallery, by their names in ``Embeddings``."""
        gallery, query = number_instances(self.gallery, self.queries)
        found = {"query_labels": query, "gallery_labels": gallery, "query_clusters": self.cluster_labels(self.queries)}
        if self.grouped:
            found |= {"query_groups": self.test_labels(self.queries), "gallery_groups": self.test_labels(self.gallery)}
        return found

    def limited(self, per_class: int) -> FineGrainedSplit:
        """The first ``per_class`` photos of each class and role, and as many sketches of them, for smoke runs."""
        kept: dict[str, Any] = {"validation": ()}
        photos = tuple(first_of_class(self.gallery, per_class))
        kept |= {"gallery": photos, "queries": tuple(first_of_class(_drawn_from(self.queries, photos), per_class))}
        photos = tuple(first_of_class((item for item in self.train if item.modality == "photo"), per_class))
        sketches = first_of_class(_drawn_from(self.train, photos), per_class)
        return replace(self, train=(*sketches, *photos), **kept)

    def for_tuning(self, name: str) -> Split:
        """As ``Split.for_tuning``; where the test has instances of seen classes, instances are held out.

        The photo of a held-out instance is the one that is named like a photo of the gallery, else its first.
        """
        chosen = {item.class_name for item in self.train}
        if self.zero_shot:
            chosen = set(salted_order(self.seen, "tuning")[: part_of(len(self.seen), TUNING)])
        own = {instance_of(item) for item in self.train if item.class_name in chosen}
        if not self.zero_shot:
            names = salted_order(("/".join(each) for each in own), "tuning")
            held = set(names[: max(1, round(TUNING * len(names)))])
            own = {each for each in own if "/".join(each) in held}
        test = [item for item in self.train if instance_of(item) in own]
        usual = {item.path.rpartition("/")[2] for item in self.gallery}
        photos: dict[Instance, Item] = {}
        for item in sorted(test, key=lambda item: item.path.rpartition("/")[2] not in usual):
            if item.modality == "photo":
                photos.setdefault(instance_of(item), item)
        paths = {item.path for item in photos.values()}
        tested = {item.class_name for item in test}
        return replace(
            self,
            name=name,
            seen=tuple(each for each in self.seen if not (self.zero_shot and each in chosen)),
            unseen=tuple(each for each in self.seen if each in tested),
            train=tuple(item for item in self.train if instance_of(item) not in own),
            validation=(),
            queries=tuple(item for item in test if item.modality == "sketch" and instance_of(item) in photos),
            gallery=tuple(item for item in test if item.path in paths),
        )


def instance_of(item: Item) -> Instance:
    """What identifies the instance of an item."""
    return item.class_name, item.instance


def number_instances(*sides: Sequence[Item]) -> tuple[Labels, ...]:
    """A number for each item, int64 [items] of each side; equal numbers are one instance."""
    numbers: dict[Instance, int] = {}
    return tuple(
        np.fromiter((numbers.setdefault(instance_of(item), len(numbers)) for item in side), np.int64, len(side))
        for side in sides
    )


def _drawn_from(items: Iterable[Item], photos: Iterable[Item]) -> Iterable[Item]:
    """The sketches of ``items`` that show an instance of ``photos``."""
    kept = {instance_of(item) for item in photos}
    return (item for item in items if item.modality == "sketch" and instance_of(item) in kept)
