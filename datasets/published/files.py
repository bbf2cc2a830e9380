"""List and read the class folders and image files of a dataset."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from bench.datasets.published.in_place import indexed_images
from bench.errors import DataError

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff"),
    *(".jp2", ".ppm", ".pgm", ".pbm", ".avif", ".heic", ".heif"),
)
NEEDED = {".avif": "Pillow with AVIF", ".heic": "the package pillow-heif", ".heif": "the package pillow-heif"}
ESCAPED = ("Cc", "Zl", "Zp")  # Unicode categories: control characters and line separators
OF_THE_SYSTEM = frozenset(  # skipped like hidden files
    ("Thumbs.db", "desktop.ini", "__MACOSX", "Icon\r", "@eaDir", "#recycle", "$RECYCLE.BIN", "lost+found")
)


@dataclass(frozen=True, slots=True)
class Listing:
    """Names in one folder in code-point order; ``stray`` are files that are no images."""

    folders: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    stray: tuple[str, ...] = ()


class Walker:
    """Lists and caches the folders below ``root`` by relative path with ``/``; the empty path is the root.

    Images in indexed archives count as files. Hidden and system files are skipped. A missing folder is empty. Names may
    be invalid: ``check_name`` checks those of images in a split.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._known: dict[str, Listing] = {}
        self._images: dict[str, frozenset[str]] = {}

    def listing(self, folder: str) -> Listing:
        """The names in ``folder``; raises DataError if it is unreadable."""
        if folder not in self._known:
            self._known[folder] = self._list(folder)
        return self._known[folder]

    def is_folder(self, folder: str) -> bool:
        """Whether the path is a readable folder."""
        # Path.is_dir raises without permission.
        return os.path.isdir(self.root / folder) or indexed_images(self.root).is_folder(folder)  # noqa: PTH112

    def has_image(self, path: str) -> bool:
        """Whether there is an image file at ``path``; reads each folder once."""
        folder, _, name = path.rpartition("/")
        if folder not in self._images:
            self._images[folder] = frozenset(self.listing(folder).images)
        return name in self._images[folder]

    def _list(self, folder: str) -> Listing:
        where, suffixes = self.root / folder, image_suffixes()
        folders: list[str] = []
        images: list[str] = []
        stray: list[str] = []
        try:
            with os.scandir(where) as entries:
                for entry in entries:
                    if entry.name.startswith(".") or entry.name in OF_THE_SYSTEM:
                        continue
                    if entry.is_dir():
                        folders.append(entry.name)
                    elif os.path.splitext(entry.name)[1].lower() in suffixes:  # noqa: PTH122 (200,000 times)
                        images.append(entry.name)
                    else:
                        stray.append(entry.name)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise DataError(
                f"Folder {where} cannot be read ({error.strerror}): check its permissions or pass another folder."
            ) from error
        indexed = indexed_images(self.root)
        folders += indexed.folders.get(folder, set()).difference(folders)
        images += set(indexed.names.get(folder, ())).difference(images)
        return Listing(tuple(sorted(folders)), tuple(sorted(images)), tuple(sorted(stray)))


def read_file(root: Path, path: str) -> bytes:
    """The content of ``path`` below ``root``, or in an indexed archive; raises DataError if it cannot be read."""
    try:
        with open(f"{root}/{path}", "rb") as file:  # noqa: PTH123 (a path object takes a third of the time)
            return file.read()
    except OSError as error:
        if path in (indexed := indexed_images(root)).images:
            return indexed.read(path)
        raise DataError(f"Image {path} cannot be read ({error.strerror}): restore or remove it.") from error


def stamp_of(root: Path, paths: Iterable[str]) -> str:
    """SHA-256 (64 hex digits) of the paths below ``root``, with size and modification time of each existing file.

    An image in an archive counts with its CRC.
    """
    digest = hashlib.sha256()
    for path in paths:
        try:
            found = os.stat(root / path)  # noqa: PTH116 (200,000 times)
            digest.update(f"{path}\t{found.st_size}\t{found.st_mtime_ns}\n".encode())
        except OSError:
            member = indexed_images(root).images.get(path)
            digest.update((f"{path}\t{member[1].crc}\n" if member else f"{path}\n").encode())
    return digest.hexdigest()


def size_of(root: Path, path: str) -> int:
    """Bytes of the image at ``path`` below ``root``, also in an indexed archive; raises OSError if there is none."""
    try:
        return (root / path).stat().st_size
    except OSError:
        if (found := indexed_images(root).images.get(path)) is None:
            raise
        return found[1].size


@cache
def image_suffixes() -> frozenset[str]:
    """Suffixes of the image files that Pillow can read here, in lower case."""
    from PIL import features

    known = set(SUFFIXES)
    if not features.check("avif"):
        known -= {".avif"}
    if find_spec("pillow_heif") is None:
        known -= {".heic", ".heif"}
    return frozenset(known)


def needed_for(names: Iterable[str]) -> str:
    """What must be installed to read the images among ignored files, for the end of a message; or empty."""
    suffixes = {os.path.splitext(name)[1].lower() for name in names} & NEEDED.keys()  # noqa: PTH122
    needed = [f"{suffix} needs {NEEDED[suffix]}" for suffix in sorted(suffixes - image_suffixes())]
    return "; " + ", ".join(needed) if needed else ""


def check_name(path: str, root: Path) -> None:
    """Raise DataError if a path of a split has a character that ``escape`` escapes."""
    if not path.isprintable() and (shown := escape(path)) != path:
        raise DataError(f"The name {shown} in {root} has a control character, or is not valid UTF-8: rename it.")


def escape(name: str) -> str:
    """The name with escapes for control characters, line separators, and bytes that are not UTF-8."""
    printable = name.encode(errors="surrogateescape").decode(errors="backslashreplace")
    return "".join(ascii(each)[1:-1] if unicodedata.category(each) in ESCAPED else each for each in printable)
