"""Make a fine-grained split from a split by class: name the instance of each image, and keep one photo of each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace

from bench.errors import DataError
from bench.fine_grained import FineGrainedSplit, instance_of
from bench.types import Item, Split

FINE = "-fine"  # NAME-fine ranks the photos of a query's class, NAME-fine-all those of all test classes
ALL = "-all"
NUMBER = re.compile(r"-\d+$")


def readings(name: str) -> tuple[str, str]:
    """The names of both fine-grained readings of a split.

    >>> readings("sketchy-21")
    ('sketchy-21-fine', 'sketchy-21-fine-all')
    """
    return name + FINE, name + FINE + ALL


def by_class(name: str) -> str:
    """The split by class of a fine-grained one; any other name as it is.

    >>> by_class("sketchy-21-fine-all"), by_class("sketchy-21")
    ('sketchy-21', 'sketchy-21')
    """
    base = name.removesuffix(ALL).removesuffix(FINE)
    return base if name in readings(base) else name


def fine_grained(split: Split, name: str, named: Callable[[Item], str], *, gallery_name: str) -> FineGrainedSplit:
    """The reading ``name`` of a split, whose images ``named`` gives an instance; without one an image is left out.

    Raises DataError for a sketch of the test whose photo is missing, and as ``FineGrainedSplit`` does.
    """
    gallery = name_instances(split.gallery, named)
    photos = {instance_of(item) for item in gallery}
    queries = name_instances(split.queries, named)
    for item in queries:
        if instance_of(item) not in photos:
            raise DataError(
                f"Sketch {item.path} shows {item.instance!r} of class {item.class_name!r}, whose photo is missing: "
                "restore the photo, or remove the sketch."
            )
    return FineGrainedSplit(
        dataset=split.dataset,
        name=name,
        seen=split.seen,
        unseen=split.unseen,
        train=name_instances(split.train, named),
        validation=name_instances(split.validation, named),
        queries=queries,
        gallery=gallery,
        content=split.content,
        gallery_name=gallery_name,
        grouped=not name.partition(":")[0].endswith(ALL),
    )


def name_instances(items: Iterable[Item], named: Callable[[Item], str]) -> tuple[Item, ...]:
    """The items with their instance, without those that have none."""
    return tuple(replace(item, instance=instance) for item in items if (instance := named(item)))


def stem(path: str) -> str:
    """The file name without folders and ending."""
    name = path.rpartition("/")[2]
    return name.rpartition(".")[0] or name


def without_number(name: str) -> str:
    """The instance of a sketch that is numbered.

    >>> without_number("red-boot-2"), without_number("red-boot")
    ('red-boot', 'red-boot')
    """
    return NUMBER.sub("", name)
