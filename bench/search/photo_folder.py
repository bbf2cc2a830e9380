"""A folder of photos to search: every image below it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from bench.datasets.base import Dataset
from bench.datasets.images.image_files import turn_upright
from bench.datasets.published.files import Walker, escape, needed_for, read_file, stamp_of
from bench.errors import DataError
from bench.types import Item, Split

log = logging.getLogger("bench.search.photo_folder")


class PhotoFolder(Dataset):
    """Images in ``root`` and its subfolders; the class of each is the name of its folder.

    It has no sketches and no split, so it is not registered as a dataset.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._walker = Walker(root)

    @property
    def items(self) -> list[Item]:
        """All images in code-point order of their folders and names; each folder once, also if links lead to it.

        Raises DataError if the folder is missing, cannot be read, or holds no image.
        """
        if not self.data_root.is_dir():
            raise DataError(f"There is no folder {self.data_root}: name one that holds photos.")
        found: list[Item] = []
        ignored: list[str] = []
        waiting, visited = [""], set[tuple[int, int]]()
        while waiting:
            folder = waiting.pop(0)
            status = (self.data_root / folder).stat()
            if (status.st_dev, status.st_ino) in visited:  # a link to a folder that was visited
                continue
            visited.add((status.st_dev, status.st_ino))
            listing = self._walker.listing(folder)
            above = f"{folder}/" if folder else ""
            for path in (f"{above}{name}" for name in listing.images):
                if (shown := escape(path)) == path:
                    found.append(Item(path, folder.rpartition("/")[2], "photo"))
                else:
                    ignored.append(shown)
            ignored += [escape(f"{above}{name}") for name in listing.stray]
            waiting += [f"{above}{name}" for name in listing.folders]
        if ignored:
            needed = needed_for(ignored)
            log.warning("Ignored files that are no image: %d (%s ...%s)", len(ignored), ignored[0], needed)
        if not found:
            raise DataError(
                f"Folder {self.data_root} holds no picture: name one with .jpg, .png, .webp or other photos."
            )
        return found

    def load_split(self, name: str) -> Split:
        """There is none."""
        raise NotImplementedError

    def read(self, path: str) -> bytes:
        """The file at ``path`` below the folder, turned by its EXIF orientation."""
        return turn_upright(read_file(self.data_root, path))

    def stamp(self, paths: Iterable[str]) -> str:
        """Sizes and times of the files."""
        return stamp_of(self.data_root, paths)
