"""Frozen class splits as text files: ``datasets/splits/<split>.txt``.

A file holds comment lines (``# key: value``), then the sections ``[unseen]`` and ``[seen]`` with one class per line.
The position in a section is the label in the published file lists. The header holds the SHA-256 of both sorted lists,
which is verified on reading.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources

from bench.datasets.published.instances import by_class
from bench.errors import DataError

REMEDY = "restore it from the repository or reinstall the project."


@dataclass(frozen=True)
class ClassSplit:
    """Seen and unseen classes of one split, in published order, and its published totals.

    ``published`` holds the known ones of ``queries``, ``gallery_full``, ``gallery_unique``, ``train_sketches``,
    ``train_photos_full``, ``train_photos_unique`` and ``validation_sketches``. ``gallery_name`` is the gallery of the
    publication: ``full``, ``unique`` or ``originals``. ``subset_of`` is the split whose test images these classes
    have; such a split has no training images.
    """

    name: str
    title: str
    seen: tuple[str, ...]
    unseen: tuple[str, ...]
    sources: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    gallery_name: str = "full"
    published: Mapping[str, int] = field(default_factory=dict)
    subset_of: str = ""


def hash_of_classes(names: Iterable[str]) -> str:
    """SHA-256 (64 hex digits) of the sorted names in UTF-8, joined by line feeds."""
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()


def quote_class(name: str) -> str:
    """A class name for text: in double quotes if it would be read as something else.

    >>> quote_class("ice cream"), quote_class("t-shirt, red"), quote_class("#1 fan"), quote_class("all")
    ('ice cream', '"t-shirt, red"', '"#1 fan"', '"all"')
    """
    plain = name == name.strip() and name != "all" and not {*',"'} & {*name} and not name.startswith(("#", "@", "["))
    return name if plain else '"' + name.replace('"', '""') + '"'


def unquote_class(text: str) -> str:
    """The class name of a text: what is between double quotes, or the text without blanks around it."""
    quoted = re.fullmatch(r'\s*"((?:[^"]|"")*)"\s*', text)
    return quoted[1].replace('""', '"') if quoted else text.strip()


def split_classes(text: str) -> list[str]:
    """The class names of a text that separates them by commas.

    >>> split_classes('cat, "t-shirt, red",#1 fan')
    ['cat', 't-shirt, red', '#1 fan']
    """
    parts = re.findall(r'\s*"(?:[^"]|"")*"\s*(?=,|$)|[^,]+', text)
    return [name for name in map(unquote_class, parts) if name]


@cache
def read_class_split(name: str) -> ClassSplit:
    """Read ``datasets/splits/<name>.txt``; raises DataError if the file is missing or altered.

    A fine-grained split has the classes of its split by class, and 100 original photos of each (all in Sketchy).
    """
    base = by_class(name)
    found = parse_class_split(base, data_file(f"{base}.txt"))
    if base == name:
        return found
    photos = {"gallery_originals": 100 * len(found.unseen), "train_photos_originals": 100 * len(found.seen)}
    kept = {title: count for title, count in found.published.items() if not title.partition("_photos")[1]}
    return replace(found, name=name, gallery_name="originals", published=kept | photos)


def data_file(name: str) -> str:
    """Text of a file in ``datasets/splits``; raises DataError if it is missing."""
    try:
        return (resources.files("bench.datasets") / "splits" / name).read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"The embedded file datasets/splits/{name} is missing or unreadable: {REMEDY}") from error


def parse_class_split(name: str, text: str) -> ClassSplit:
    """Parse a split; raises DataError for a wrong hash or a repeated class."""
    headers: dict[str, list[str]] = {}
    sections: dict[str, list[str]] = {"unseen": [], "seen": []}
    section = ""
    lines = text.splitlines()
    for line in lines:
        if line.startswith("#"):
            title, colon, value = line[1:].partition(":")
            headers.setdefault(title.strip(), []).append(value.strip() if colon else "")
        elif line.startswith("["):
            section = line.strip("[]")
        elif line and section in sections:
            sections[section].append(line)
    for role, classes in sections.items():
        expected = headers.get(f"sha256-{role}", [""])[0]
        if hash_of_classes(classes) != expected or len(set(classes)) != len(classes):
            raise DataError(f"The {role} classes of datasets/splits/{name}.txt do not match their SHA-256: {REMEDY}")
    published = dict(pair.split("=") for pair in " ".join(headers.get("published", [])).split())
    gallery_name = published.pop("gallery_name", "full")
    return ClassSplit(
        name=name,
        title=lines[0].lstrip("# "),
        seen=tuple(sections["seen"]),
        unseen=tuple(sections["unseen"]),
        sources=tuple(headers.get("source", [])),
        notes=tuple(headers.get("note", [])),
        gallery_name=gallery_name,
        published={title: int(count) for title, count in published.items()},
        subset_of=headers.get("subset-of", [""])[0],
    )
