"""Galleries of generalized retrieval: which seen images join the unseen ones, by every definition in circulation.

Public code takes them from the training images, so such a test holds images that were trained on. ``all`` is this
project's: a fifth of the seen photos, which leave training. Draws are by ``salted_order`` of paths or class names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
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
    sketches, photos = RULES[name](split, f"generalized {name}")
    if not photos:
        raise DataError(f"Split {split.name!r} has no seen photos for the gallery {name!r}: leave out --gallery.")
    facts = {each.name: getattr(split, each.name) for each in fields(Split)}
    facts |= {"queries": (*split.queries, *sketches), "gallery": (*split.gallery, *photos)}
    return GeneralizedSplit(**facts)


def mark_of(gallery: str) -> list[str]:
    """The mark of a gallery in the names of runs; none for unseen classes."""
    return {"unseen": list[str](), "all": ["generalized"]}.get(gallery, [f"generalized {gallery}"])


def _images(split: Split, salt: str, share: float) -> Chosen:
    """As many seen sketches and photos as this share of the unseen ones."""
    sketches, photos = by_modality(split.train)
    return (
        _first(sketches, int(share * len(split.queries)), salt),
        _first(photos, int(share * len(split.gallery)), salt),
    )


def _classes(split: Split, salt: str, count: float) -> Chosen:
    """All images of so many seen classes."""
    chosen = set(salted_order(split.seen, salt)[: round(count)])
    return by_modality(item for item in split.train if item.class_name in chosen)


def _first(items: Sequence[Item], count: int, salt: str) -> list[Item]:
    chosen = set(salted_order((item.path for item in items), salt)[:count])
    return [item for item in items if item.path in chosen]


# Whose code or paper uses it, and the seen images that it takes.
RULES: Mapping[str, Callable[[Split, str], Chosen]] = {
    # SEM-PCYC test.py: 20 % of the unseen ones, also as queries
    "sem-pcyc": lambda split, salt: _images(split, salt, 0.2),
    # OCEAN: whole classes, 0.2 x the unseen ones (25 + 5, 30 + 6), also as queries
    "ocean": lambda split, salt: _classes(split, salt, 0.2 * len(split.unseen)),
    # Dr. CLIP: whole classes, 0.2 x the seen ones (21 + 21, 30 + 44), also as queries
    "dr-clip": lambda split, salt: _classes(split, salt, 0.2 * len(split.seen)),
    # HiCroPL_SBIR: all photos, queries unchanged
    "all-seen": lambda split, salt: ([], by_modality(split.train)[1]),
    # AMF-GZS: as many as the unseen ones, also as queries
    "amf": lambda split, salt: _images(split, salt, 1.0),
}
GALLERIES = ("unseen", "all", *RULES)
