"""Published image counts: by class and modality, by split, and of known copies."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from functools import cache

from bench.datasets.published.class_splits import data_file, read_class_split
from bench.types import Modality


@dataclass(frozen=True, slots=True)
class ClassCounts:
    """Published images of one class; None where no list is published.

    ``repeated_photos`` are in the archive twice (Sketchy's originals are also in EXTEND). They belong to the gallery
    ``full`` but not to ``unique``.
    """

    sketches: int | None
    photos: int | None
    repeated_photos: int | None

    def gallery(self, gallery_name: str) -> int | None:
        """Photos of the class in the gallery ``full``, ``unique`` or ``originals`` (those with sketches)."""
        if gallery_name == "originals":
            return self.repeated_photos
        if self.photos is None or gallery_name == "unique":
            return self.photos
        return self.photos + (self.repeated_photos or 0)


@dataclass(frozen=True, slots=True)
class Variant:
    """A known copy of a dataset: ``count`` images of one modality; ``evidence`` is ``lists`` or ``print``."""

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
    """Published counts of queries and gallery photos of each unseen class; None where no list is published.

    ``gallery_name`` is ``full`` or ``unique``; empty takes the one of the publication. External embeddings are checked
    with these counts if the images are missing.
    """
    known = class_counts(dataset)
    if not known:
        return {}
    classes = read_class_split(split)
    chosen = gallery_name or classes.gallery_name
    return {name: (known[name].sketches, known[name].gallery(chosen)) for name in classes.unseen}


@cache
def variants(dataset: str) -> tuple[Variant, ...]:
    """Known copies of a dataset."""
    return tuple(
        Variant("sketch" if row["modality"] == "sketch" else "photo", int(row["count"]), row["name"], row["evidence"])
        for row in table("variants.csv")
        if row["dataset"] == dataset
    )


def table(name: str) -> list[dict[str, str]]:
    """Rows of a CSV file in ``datasets/splits``; lines that start with ``#`` are comments."""
    lines = [line for line in data_file(name).splitlines() if not line.startswith("#")]
    return list(csv.DictReader(io.StringIO("\n".join(lines))))
