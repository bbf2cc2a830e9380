"""List and read the class folders and image files of a dataset."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.errors import DataError

IMAGE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff"))
OF_THE_SYSTEM = frozenset(("Thumbs.db", "desktop.ini", "__MACOSX"))  # skipped like hidden files


@dataclass(frozen=True, slots=True)
class Listing:
    """Names in one folder in code-point order; ``stray`` are files that are no images."""

    folders: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    stray: tuple[str, ...] = ()


class Walker:
    """Lists and caches the folders below ``root`` by relative path with ``/``; the empty path is the root.

    Hidden and system files are skipped. A missing folder is empty.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._known: dict[str, Listing] = {}
        self._images: dict[str, frozenset[str]] = {}

    def listing(self, folder: str) -> Listing:
        """The names in ``folder``; raises DataError if it is unreadable or a name is not valid, printable UTF-8."""
        if folder not in self._known:
            self._known[folder] = self._list(folder)
        return self._known[folder]

    def is_folder(self, folder: str) -> bool:
        """Whether the path is a readable folder."""
        return os.path.isdir(self.root / folder)  # noqa: PTH112 (Path.is_dir raises without permission)

    def has_image(self, path: str) -> bool:
        """Whether there is an image file at ``path``; reads each folder once."""
        folder, _, name = path.rpartition("/")
        if folder not in self._images:
            self._images[folder] = frozenset(self.listing(folder).images)
        return name in self._images[folder]

    def _list(self, folder: str) -> Listing:
        where = self.root / folder
        folders: list[str] = []
        images: list[str] = []
        stray: list[str] = []
        try:
            with os.scandir(where) as entries:
                for entry in entries:
                    if entry.name.startswith(".") or entry.name in OF_THE_SYSTEM:
                        continue
                    _check_name(entry.name, where)
                    if entry.is_dir():
                        folders.append(entry.name)
                    elif os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES:  # noqa: PTH122 (200,000 times)
                        images.append(entry.name)
                    else:
                        stray.append(entry.name)
        except FileNotFoundError:
            return Listing()
        except OSError as error:
            raise DataError(
                f"Folder {where} cannot be read ({error.strerror}): check its permissions or pass another folder."
            ) from error
        return Listing(tuple(sorted(folders)), tuple(sorted(images)), tuple(sorted(stray)))


def read_file(root: Path, path: str) -> bytes:
    """The content of ``path`` below ``root``; raises DataError with the path if it cannot be read."""
    try:
        return (root / path).read_bytes()
    except OSError as error:
        raise DataError(f"Image {path} cannot be read ({error.strerror}): restore or remove it.") from error


def stamp_of(root: Path, paths: Iterable[str]) -> str:
    """SHA-256 (64 hex digits) of the paths below ``root``, with size and modification time of each existing file."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            found = os.stat(root / path)  # noqa: PTH116 (200,000 times)
            digest.update(f"{path}\t{found.st_size}\t{found.st_mtime_ns}\n".encode())
        except OSError:
            digest.update(f"{path}\n".encode())
    return digest.hexdigest()


def _check_name(name: str, where: Path) -> None:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"A name in {where} is not valid UTF-8 ({name!r}): rename it.") from error
    if not name.isprintable():
        raise DataError(f"A name in {where} holds a control character ({name!r}): rename it.")
