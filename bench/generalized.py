"""Galleries of generalized retrieval: which seen images join the unseen ones, by every definition in circulation.

Public code takes them from the training images, so such a test holds images that were trained on. ``all`` is this
project's: a fifth of the seen photos, which leave training. Draws are by ``salted_order`` of paths or class names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.errors import DataError, UsageError, check_known
from bench.types import Item, Split, by_modality, salted_order

Chosen = tuple[Sequence[Item], Sequence[Item]]  # sketches that become queries, and photos that join the gallery


@dataclass(frozen=True)
class GeneralizedSplit(Split):
    """A split whose test holds seen images that are also trained on."""

    def _check_paths(self) -> None:
        self._check_once((*self.train, *self.validation))
        self._check_once((*self.queries, *self.gallery))

    @property
    def facts(self) -> dict[str, Any]:
        """What reports say of the split: the seen classes that have queries."""
        unseen = set(self.unseen)
        return {"seen_tested": sorted({item.class_name for item in self.queries} - unseen)}


@dataclass(frozen=True)
class GalleryRule:
    """A named gallery: its rule in words, the code or paper that uses it, and the seen images that it takes."""

    rule: str
    source: str
    choose: Callable[[Split, str], Chosen]


def extend(split: Split, name: str) -> Split:
    """The split with the gallery ``name``, one of ``GALLERIES``.

    Raises UsageError for an unknown name and a fine-grained split, DataError without seen images to add.
    """
    check_known("There is no gallery", name, GALLERIES)
    if name == "unseen":
        return split
    if split.relevance == "instance":
        raise UsageError(f"Split {split.name!r} is fine-grained, but --gallery is for retrieval by class: omit it.")
    if name == "all":
        return split.generalized()
    rule = RULES[name]
    sketches, photos = rule.choose(split, f"generalized {name}")
    if not photos:
        raise DataError(f"Split {split.name!r} has no seen photos for the gallery {name!r}: leave out --gallery.")
    names = ("dataset", "name", "seen", "unseen", "train", "validation", "content", "gallery_name", "held_out")
    same = {each: getattr(split, each) for each in names}
    return GeneralizedSplit(**same, queries=(*split.queries, *sketches), gallery=(*split.gallery, *photos))


def mark_of(gallery: str) -> list[str]:
    """The mark of a gallery in the names of runs; none for unseen classes."""
    return {"unseen": list[str](), "all": ["generalized"]}.get(gallery, [f"generalized {gallery}"])


def _images(share: float) -> Callable[[Split, str], Chosen]:
    """As many seen sketches and photos as this share of the unseen ones."""

    def choose(split: Split, salt: str) -> Chosen:
        sketches, photos = by_modality(split.train)
        return (
            _first(sketches, int(share * len(split.queries)), salt),
            _first(photos, int(share * len(split.gallery)), salt),
        )

    return choose


def _classes(count: Callable[[Split], float]) -> Callable[[Split, str], Chosen]:
    """All images of so many seen classes."""

    def choose(split: Split, salt: str) -> Chosen:
        chosen = set(salted_order(split.seen, salt)[: round(count(split))])
        return by_modality(item for item in split.train if item.class_name in chosen)

    return choose


def _distractors(split: Split, salt: str) -> Chosen:
    return [], by_modality(split.train)[1]


def _first(items: Sequence[Item], count: int, salt: str) -> list[Item]:
    chosen = set(salted_order((item.path for item in items), salt)[:count])
    return [item for item in items if item.path in chosen]


RULES = {
    "sem-pcyc": GalleryRule("seen images, 20 % of the unseen ones, also as queries", "SEM-PCYC test.py", _images(0.2)),
    "ocean": GalleryRule(
        "whole seen classes, 0.2 x the unseen ones (25 + 5, 30 + 6), also as queries",
        "OCEAN",
        _classes(lambda split: 0.2 * len(split.unseen)),
    ),
    "dr-clip": GalleryRule(
        "whole seen classes, 0.2 x the seen ones (21 + 21, 30 + 44), also as queries",
        "Dr. CLIP",
        _classes(lambda split: 0.2 * len(split.seen)),
    ),
    "all-seen": GalleryRule("all seen photos, queries unchanged", "HiCroPL_SBIR", _distractors),
    "amf": GalleryRule("as many seen images as unseen ones, also as queries", "AMF-GZS", _images(1.0)),
}
GALLERIES = ("unseen", "all", *RULES)
