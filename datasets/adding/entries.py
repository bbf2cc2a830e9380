"""What a source holds: files with safe names, and the limits that stop decompression bombs."""

from __future__ import annotations

import os
import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from bench.datasets.published.files import OF_THE_SYSTEM, escape
from bench.errors import DataError

LARGEST_FILE = 2**30  # bytes of one image; the decoder refuses smaller ones already
RATIO = 200  # unpacked to packed bytes; images are compressed already
UNCHECKED = 2**28  # bytes that may have any ratio
PART = 2**20  # bytes that are read at once
DRIVE = re.compile(r"[A-Za-z]:")

Put = Callable[["Entry", bytes], object]


class Progress(Protocol):
    """Shows what is done: begins a part of the work, and updates its bytes."""

    def phase(self, name: str) -> None:
        """Begin a part."""

    def progress(self, done: int, total: int) -> None:
        """Bytes that are done, and all."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A regular file in a source.

    ``path`` is safe: NFC, with ``/``, without ``..``, and it starts with the name of the source. ``size`` is in bytes,
    None if it is unknown before reading. ``member`` is what the source needs to read it.
    """

    path: str
    size: int | None
    member: Any


class Source(ABC):
    """Files that can be added: those of an archive, of a folder, or pictures made from other files.

    ``title`` is for messages. ``entries`` are all files that are not hidden and not the system's. ``packed`` is the
    size of an archive in bytes, 0 for other sources. ``drawn``: its pictures are sketches, in any layout.
    """

    title: str
    packed: int = 0
    drawn: bool = False
    entries: tuple[Entry, ...]

    @abstractmethod
    def read(self, wanted: Sequence[Entry], put: Put) -> None:
        """Call ``put(entry, content)`` once for each of ``wanted``, in any order; raises DataError if damaged."""

    def extract(self, entry: Entry, write: Callable[[bytes], object]) -> None:
        """Call ``write`` with the parts of a large file, an archive in this one; raises DataError if it is damaged."""
        self.read([entry], lambda _, content: write(content))


def safe_name(name: str, title: str) -> str | None:
    """The name in NFC with ``/``; None for hidden and system files. Raises DataError if it leads out of the source.

    >>> safe_name("./png\\\\cat/1.png", "a.zip"), safe_name("__MACOSX/cat/._1.png", "a.zip")
    ('png/cat/1.png', None)
    """
    name = name.replace("\\", "/")
    if not name.isascii():
        name = unicodedata.normalize("NFC", name)
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or DRIVE.match(name):
        raise DataError(f"{title} holds the path {escape(name)!r}, which leads out of it: do not use this file.")
    if not parts or any(part[0] == "." or part in OF_THE_SYSTEM for part in parts):
        return None
    return "/".join(parts)


def resolve_links(entries: Iterable[Entry], links: Mapping[str, str], title: str) -> tuple[Entry, ...]:
    """The entries, and for each link to one of them a further entry; ``links`` maps safe names to targets.

    Links to folders are left out. Raises DataError for a link that leads out of the source.
    """
    found = list(entries)
    known = {entry.path: entry for entry in found}
    for path, target in links.items():
        top, _, rest = path.partition("/")
        joined = os.path.normpath(os.path.join(os.path.dirname(rest), target))  # noqa: PTH118, PTH120
        if target.startswith("/") or joined.split("/")[0] == ".." or DRIVE.match(target):
            raise DataError(
                f"{title} holds the link {escape(path)!r} to {escape(target)!r}, which leads out of it: do not use it."
            )
        if (entry := known.get(f"{top}/{unicodedata.normalize('NFC', joined)}")) is not None:
            found.append(replace(entry, path=path))
    return tuple(found)


def check_size(entries: Iterable[Entry], packed: int, title: str) -> None:
    """Raise DataError for a file of more than ``LARGEST_FILE``, or if all are ``RATIO`` times as large as packed."""
    total = 0
    for entry in entries:
        size = entry.size or 0
        total += size
        if size > LARGEST_FILE:
            raise DataError(f"{title} holds {entry.path} of {size:,} bytes, which is no image: do not use this file.")
    if packed:
        check_ratio(total, packed, title)


def check_ratio(unpacked: int, packed: int, title: str) -> None:
    """Raise DataError for a decompression bomb."""
    if unpacked > UNCHECKED and unpacked > RATIO * packed:
        raise DataError(f"{title} unpacks to {unpacked:,} bytes from {packed:,}, a decompression bomb: do not use it.")
