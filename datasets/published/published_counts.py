"""Counts that were published, as data: images of each class and modality, totals of a split, copies known by name."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from functools import cache

from bench.datasets.published.split_lists import data_file, read_class_split
from bench.types import Modality


@dataclass(frozen=True, slots=True)
class ClassCounts:
    """Published images of one class; None where no list is published.

    ``repeated_photos`` are photos that lie in the archive a second time (Sketchy's originals beside EXTEND): they
    belong to the gallery ``full`` and not to ``unique``.
    """

    sketches: int | None
    photos: int | None
    repeated_photos: int | None

    def gallery(self, gallery_name: str) -> int | None:
        """Photos of the class in the gallery ``full`` or ``unique``."""
        if self.photos is None or gallery_name == "unique":
            return self.photos
        return self.photos + (self.repeated_photos or 0)


@dataclass(frozen=True, slots=True)
class Variant:
    """A total that is known by name: ``count`` images of one modality; ``evidence`` is ``lists`` or ``print``."""

    modality: Modality
    count: int
    name: str
    evidence: str


@cache
def class_counts(dataset: str) -> dict[str, ClassCounts]:
    """Published images of each class by canonical name; empty for a dataset without published lists.

    Raises DataError when the embedded table is missing.
    """
    if dataset not in ("sketchy", "tuberlin", "quickdraw"):
        return {}
    return {
        row["class_name"]: ClassCounts(*(int(row[c]) if row[c] else None for c in list(row)[1:]))
        for row in table(f"{dataset}.csv")
    }


def counts_of_split(dataset: str, split: str, gallery_name: str = "") -> dict[str, tuple[int | None, int | None]]:
    """Queries and gallery photos of each unseen class as published, None where no list is published.

    ``gallery_name`` is ``full`` or ``unique``; empty means the one that the publication of the split ranks. Lets
    embeddings from elsewhere be checked against a split whose images are not at hand.
    """
    known = class_counts(dataset)
    if not known:
        return {}
    classes = read_class_split(split)
    chosen = gallery_name or classes.gallery_name
    return {name: (known[name].sketches, known[name].gallery(chosen)) for name in classes.unseen}


@cache
def variants(dataset: str) -> tuple[Variant, ...]:
    """Totals of a dataset that are known by name."""
    return tuple(
        Variant("sketch" if row["modality"] == "sketch" else "photo", int(row["count"]), row["name"], row["evidence"])
        for row in table("variants.csv")
        if row["dataset"] == dataset
    )


def table(name: str) -> list[dict[str, str]]:
    """Rows of a comma-separated file in ``datasets/splits``, whose comment lines start with ``#``."""
    lines = [line for line in data_file(name).splitlines() if not line.startswith("#")]
    return list(csv.DictReader(io.StringIO("\n".join(lines))))
