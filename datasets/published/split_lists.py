"""Frozen class splits as text files: ``datasets/splits/<split>.txt``.

A file holds comment lines (``# key: value``), then the section ``[unseen]`` and the section ``[seen]``, one class a
line in the published order: the position in its section is the integer label of the published file lists. The header
carries the SHA-256 of both sorted lists, which is verified whenever the file is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

from bench.errors import DataError

MEND = "restore it from the repository or reinstall the project."


@dataclass(frozen=True)
class ClassSplit:
    """Seen and unseen classes of one split, canonical names in published order, and what was published of it.

    ``published`` holds totals: ``queries``, ``gallery_full``, ``gallery_unique``, ``train_sketches``,
    ``train_photos_full``, ``train_photos_unique``, ``validation_sketches``, as far as they are known.
    ``gallery_name`` is the gallery that the publication ranks: ``full`` or ``unique``.
    """

    name: str
    title: str
    seen: tuple[str, ...]
    unseen: tuple[str, ...]
    sources: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    gallery_name: str = "full"
    published: Mapping[str, int] = field(default_factory=dict)


def hash_of_classes(names: Iterable[str]) -> str:
    """SHA-256 (64 hex digits) of the sorted names, joined by line feeds without one at the end, in UTF-8."""
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()


@cache
def read_class_split(name: str) -> ClassSplit:
    """The split of ``datasets/splits/<name>.txt``; raises DataError when the file is missing or altered."""
    return parse_class_split(name, data_file(f"{name}.txt"))


def data_file(name: str) -> str:
    """Text of a file in ``datasets/splits``; raises DataError when it is missing."""
    try:
        return (resources.files("bench.datasets") / "splits" / name).read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"The embedded file datasets/splits/{name} is missing or unreadable: {MEND}") from error


def parse_class_split(name: str, text: str) -> ClassSplit:
    """The split that ``text`` describes; raises DataError for a hash that differs or a class listed twice."""
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
        promised = headers.get(f"sha256-{role}", [""])[0]
        if hash_of_classes(classes) != promised or len(set(classes)) != len(classes):
            raise DataError(f"The {role} classes of datasets/splits/{name}.txt do not match their SHA-256: {MEND}")
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
    )
