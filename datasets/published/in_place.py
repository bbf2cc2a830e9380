"""Images that stay in a zip archive: an index beside the dataset's lists states where each one begins.

``bench data add --in-place`` writes ``ROOT/.in-place/<archive>.json``. Reading an image is one read at a position, so
that threads and forked processes share an open archive.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from bench.errors import DataError
from bench.io import write_whole

FOLDER = ".in-place"


class Member(NamedTuple):
    """One stored or deflated member of a zip: the position of its data, sizes in bytes, and the CRC of its content."""

    start: int
    packed: int
    size: int
    crc: int
    deflated: bool


def read_member(file: int, member: Member) -> bytes:
    """The content of a member of an open file; raises ValueError if it is damaged."""
    content = os.pread(file, member.packed, member.start)
    if member.deflated:
        try:
            stream = zlib.decompressobj(-zlib.MAX_WBITS)
            content = stream.decompress(content, member.size + 1)
        except zlib.error as error:
            raise ValueError(str(error)) from error
    if len(content) != member.size or zlib.crc32(content) != member.crc:
        raise ValueError("wrong checksum")
    return content


class Archive:
    """An indexed archive, opened at its first read."""

    def __init__(self, path: Path, facts: Mapping[str, object]) -> None:
        self.path, self.facts = path, facts
        self._files: list[int] = []  # one, or a few if threads read their first images at the same time

    def read(self, member: Member) -> bytes:
        """The content of a member; raises OSError or ValueError."""
        if not self._files:
            self._files.append(self._open())
        return read_member(self._files[0], member)

    def _open(self) -> int:
        file = os.open(self.path, os.O_RDONLY)
        if facts_of(file) != self.facts:
            os.close(file)
            raise ValueError(f"{self.path} has changed since it was added: add it again")
        return file

    def __del__(self) -> None:
        for file in self._files:
            os.close(file)


def facts_of(file: int) -> dict[str, object]:
    """What must stay the same of an archive."""
    found = os.fstat(file)
    return {"bytes": found.st_size, "modified": found.st_mtime_ns}


class Indexed:
    """All images below a dataset's folder that are in archives, by path."""

    def __init__(self) -> None:
        self.images: dict[str, tuple[Archive, Member]] = {}
        self.names: dict[str, list[str]] = defaultdict(list)  # of images, by folder
        self.folders: dict[str, set[str]] = defaultdict(set)  # names of folders, by parent folder

    def add(self, path: str, archive: Archive, member: Member) -> None:
        """Add an image."""
        self.images[path] = archive, member
        folder, _, name = path.rpartition("/")
        if folder not in self.names:
            inner = folder
            while inner:
                parent, _, own = inner.rpartition("/")
                self.folders[parent].add(own)
                inner = parent
        self.names[folder].append(name)

    def is_folder(self, folder: str) -> bool:
        """Whether there are images in the folder or below it."""
        return folder in self.names or folder in self.folders

    def read(self, path: str) -> bytes:
        """The content of an image; raises DataError if the archive is gone, changed or damaged."""
        archive, member = self.images[path]
        try:
            return archive.read(member)
        except OSError as error:
            raise DataError(
                f"Image {path} cannot be read from {archive.path} ({error.strerror}): put the archive back, or add it "
                "again by `bench data add`."
            ) from error
        except ValueError as error:
            raise DataError(f"Image {path} cannot be read from {archive.path}: {error}.") from error


NOTHING = Indexed()


def indexed_images(root: Path) -> Indexed:
    """The images below ``root`` that are in archives, often none; raises DataError for a damaged index."""
    try:
        changed = os.stat(f"{root}/{FOLDER}").st_mtime_ns  # noqa: PTH116 (for each image)
    except OSError:
        return NOTHING
    return _read_indexes(root, changed)


@lru_cache(maxsize=8)
def _read_indexes(root: Path, changed: int) -> Indexed:
    found = Indexed()
    for file in sorted((root / FOLDER).glob("*.json")):
        archive, images = _read_index(root, file)
        for path, member in images.items():
            found.add(path, archive, member)
    return found


def _read_index(root: Path, file: Path) -> tuple[Archive, dict[str, Member]]:
    """The archive of an index, and its images by path; raises DataError if it is damaged."""
    try:
        index = json.loads(file.read_bytes())
        archive = Archive(root / index["archive"], index["facts"])
        return archive, {path: Member(*member) for path, member in index["images"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"Index {file} cannot be read ({error}): delete it, and add the archive again.") from error


def write_index(root: Path, archive: Path, images: Mapping[str, Member], data_root: Path) -> None:
    """Write the index of the ``images`` below ``root`` that are in an archive.

    Older indexes of these images alone are removed, such as that of the archive at another place. An archive below
    ``data_root`` is found again when that folder moves. Raises StorageError, and DataError for a damaged older index.
    """
    file = os.open(archive, os.O_RDONLY)
    try:
        facts = facts_of(file)
    finally:
        os.close(file)
    place, home = archive.resolve(), root.resolve()
    digest = hashlib.sha256(os.fsencode(place)).hexdigest()[:8]
    moves_along = place.is_relative_to(data_root.resolve()) and home.is_relative_to(data_root.resolve())
    index = {"archive": os.path.relpath(place, home) if moves_along else str(place), "facts": facts, "images": images}
    target = root / FOLDER / f"{archive.stem}-{digest}.json"
    others = [each for each in target.parent.glob("*.json") if each != target]
    superseded = [each for each in others if _read_index(root, each)[1].keys() <= images.keys()]
    write_whole(target, json.dumps(index).encode(), "--data-root")
    for each in superseded:
        each.unlink(missing_ok=True)
