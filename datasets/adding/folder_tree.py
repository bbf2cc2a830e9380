"""Folders as sources."""

from __future__ import annotations

import logging
import os
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.datasets.adding.entries import Entry, Put, Source
from bench.datasets.published.files import OF_THE_SYSTEM
from bench.errors import DataError

log = logging.getLogger("bench.datasets")


class FolderTree(Source):
    """The files below a folder; links that lead out of it are left out with a warning.

    The paths of its entries are absolute, without the first slash, because its parents may name the dataset. A file is
    a folder with that file alone. Raises DataError for an unreadable folder.
    """

    def __init__(self, path: Path, title: str) -> None:
        self.path, self.title = path.resolve(), title
        if path.is_file():
            self.entries = (Entry(str(self.path).lstrip("/"), path.stat().st_size, str(self.path)),)
        else:
            self.entries = tuple(self._walk(self.path))

    def read(self, wanted: Sequence[Entry], put: Put) -> None:
        """The content of the files."""
        for entry in wanted:
            try:
                content = Path(entry.member).read_bytes()
            except OSError as error:
                raise DataError(f"{entry.member} cannot be read ({error.strerror}): check its permissions.") from error
            put(entry, content)

    def _walk(self, folder: Path) -> Iterator[Entry]:
        try:
            found = sorted(os.scandir(folder), key=lambda each: each.name)
        except OSError as error:
            raise DataError(f"Folder {folder} cannot be read ({error.strerror}): check its permissions.") from error
        for each in found:
            if each.name.startswith(".") or each.name in OF_THE_SYSTEM:
                continue
            if each.is_symlink():
                origin = Path(os.path.realpath(each.path))  # Path.resolve raises for links in a circle
                if not origin.is_relative_to(self.path):
                    log.warning("link %s leads out of %s: to take it, add %s, too", each.path, self.title, origin)
                    continue
                if not origin.is_file():  # the files of a folder are found under their own path
                    continue
            if each.is_dir():
                yield from self._walk(Path(each.path))
            elif each.is_file():
                path = unicodedata.normalize("NFC", each.path.lstrip("/"))
                yield Entry(path, each.stat().st_size, each.path)
