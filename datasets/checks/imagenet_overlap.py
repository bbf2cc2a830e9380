"""Unseen classes that a network pre-trained on ImageNet-1k has seen.

A class overlaps with ImageNet-1k in one of three cases:
1. File names of its photos hold the WordNet id of one of the 1,000 classes, such as ``n03063073_5868.jpg``. Evidence
   ``file names``, with the number of photos. Known for EXTEND of Sketchy and for the 30 classes of tuberlin-30.
2. Its name is a lemma of one of the 1,000 classes. Evidence ``name``. Six homonyms are excluded, such as the crane
   that is a bird; tests/datasets/checks/test_imagenet_overlap.py lists them.
3. The class of the same name in Sketchy meets case 1. Evidence ``file names of sketchy``.
Each pair of class and WordNet id is listed once, under its first case. Hyponyms do not count: ``horse`` is no overlap,
although ``sorrel`` is one of the 1,000. So the list is a lower bound. ``datasets/splits/imagenet_overlap.csv`` holds
the result, and a test checks it against these rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from bench.datasets.published.published_counts import table
from bench.types import Item

WORDNET_ID = re.compile(r"n\d{8}(?=_)")


@dataclass(frozen=True, slots=True)
class Overlap:
    """A dataset's class and the ImageNet-1k class that it overlaps with.

    ``photos`` counts the file names that are the evidence, None for the evidence ``name``.
    """

    class_name: str
    wnid: str
    imagenet_name: str
    evidence: str
    photos: int | None


@cache
def imagenet_names() -> dict[str, str]:
    """Map the WordNet id of each of the 1,000 classes to its first lemma, in the order of the class index."""
    return {row["wnid"]: row["lemmas"].split(",")[0] for row in table("imagenet-1k.csv")}


def find_overlaps(dataset: str, classes: Iterable[str]) -> tuple[Overlap, ...]:
    """The known overlaps of ``classes`` with ImageNet-1k, in their order; empty for an unpublished dataset."""
    wanted = {name: position for position, name in enumerate(classes)}
    names = imagenet_names()
    rows = [row for row in table("imagenet_overlap.csv") if row["dataset"] == dataset and row["class_name"] in wanted]
    return tuple(
        Overlap(
            row["class_name"],
            row["wnid"],
            names[row["wnid"]],
            row["evidence"],
            int(row["photos"]) if row["photos"] else None,
        )
        for row in sorted(rows, key=lambda row: wanted[row["class_name"]])
    )


def count_imagenet_photos(items: Iterable[Item]) -> int:
    """Count the items whose file name starts with the WordNet id of an ImageNet-1k class."""
    names = imagenet_names()
    found = (WORDNET_ID.match(item.path.rsplit("/", 1)[-1]) for item in items)
    return sum(match is not None and match[0] in names for match in found)
