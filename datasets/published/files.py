"""What lies in a dataset's folders: class folders and image files, sorted, listed once and remembered."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.errors import DataError

IMAGE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff"))
OF_THE_SYSTEM = frozenset(("Thumbs.db", "desktop.ini", "__MACOSX"))  # like hidden files, nobody put them there


@dataclass(frozen=True, slots=True)
class Listing:
    """Names in one folder in code-point order: ``folders``, ``images`` and ``stray`` (files that are no images)."""

    folders: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    stray: tuple[str, ...] = ()


class Walker:
    """Listings of the folders below ``root`` by relative path with ``/``; the empty path is the root itself.

    Hidden files and those of the operating system are left out. A folder that does not exist is empty.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._known: dict[str, Listing] = {}
        self._images: dict[str, frozenset[str]] = {}

    def listing(self, folder: str) -> Listing:
        """What lies in ``folder``.

        Raises DataError when it cannot be read or a name in it is no text (undecodable bytes, control characters).
        """
        if folder not in self._known:
            self._known[folder] = self._list(folder)
        return self._known[folder]

    def is_folder(self, folder: str) -> bool:
        """Whether there is a folder of that path that may be looked at."""
        return os.path.isdir(self.root / folder)  # noqa: PTH112 (Path.is_dir raises where that is forbidden)

    def has_image(self, path: str) -> bool:
        """Whether there is an image file at ``path``; asks the file system once a folder, not once a file."""
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
            raise DataError(f"Folder {where} cannot be read ({error.strerror}): name one that you may read.") from error
        return Listing(tuple(sorted(folders)), tuple(sorted(images)), tuple(sorted(stray)))


def read_file(root: Path, path: str) -> bytes:
    """The file at ``path`` below ``root``; raises DataError that names it when it cannot be read."""
    try:
        return (root / path).read_bytes()
    except OSError as error:
        raise DataError(f"Image {path} cannot be read ({error.strerror}): restore or remove it.") from error


def stamp_of(root: Path, paths: Iterable[str]) -> str:
    """SHA-256 (64 hex digits) of paths below ``root`` with the size and the time of the last change of each file.

    A file that is not there counts as such: reading it says so.
    """
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
