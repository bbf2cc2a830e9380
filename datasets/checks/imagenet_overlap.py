"""Which unseen classes a network pre-trained on ImageNet-1k has seen: the leak behind most published figures.

Rule. A class overlaps with ImageNet-1k when
1. photos of it carry the WordNet id of one of the 1,000 classes in their file name, as Sketchy's and TU-Berlin's do
   (``n03063073_5868.jpg``): evidence ``file names``, with the number of photos (TU-Berlin: known for the 30 classes of
   tuberlin-30; Sketchy: EXTEND); or
2. its name is a lemma of one of the 1,000 classes: evidence ``name``; homonyms are left out (the harp that is a
   mouth organ, the computer mouse, the crane that is a bird, an ear of corn, a headland, the hedgehog that is a
   porcupine); or
3. the class of the same name in Sketchy falls under 1: evidence ``file names of sketchy``.
A pair of class and WordNet id stands once, with the first of these.
Only identical WordNet ids count (no hyponyms: ``horse`` is free although ``sorrel`` is one of the 1,000), so the list
is a lower bound. The result is data, ``datasets/splits/imagenet_overlap.csv``, which a test derives anew.
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
    """One ImageNet-1k class behind one class of a dataset.

    ``photos`` counts the file names behind the evidence (Sketchy's own where it is ``file names of sketchy``) and is
    None where the evidence is a name.
    """

    class_name: str
    wnid: str
    imagenet_name: str
    evidence: str
    photos: int | None


@cache
def imagenet_names() -> dict[str, str]:
    """WordNet id of each of the 1,000 classes to its first lemma, in the order of the class index."""
    return {row["wnid"]: row["lemmas"].split(",")[0] for row in table("imagenet-1k.csv")}


def overlaps(dataset: str, classes: Iterable[str]) -> tuple[Overlap, ...]:
    """What of ``classes`` is known to overlap with ImageNet-1k, in that order; nothing for an unpublished dataset."""
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


def photos_from_imagenet(items: Iterable[Item]) -> int:
    """How many of the items carry the WordNet id of an ImageNet-1k class in their file name."""
    names = imagenet_names()
    found = (WORDNET_ID.match(item.path.rsplit("/", 1)[-1]) for item in items)
    return sum(match is not None and match[0] in names for match in found)
