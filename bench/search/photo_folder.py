"""Any folder of photos, to be searched: every picture below it, whatever its folders are called."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bench.datasets.base import Dataset, Whereabouts
from bench.datasets.images.image_files import turn_upright
from bench.datasets.published.files import Walker, read_file, stamp_of
from bench.errors import DataError
from bench.types import Item, Split


class PhotoFolder(Dataset):
    """Pictures of ``root`` and its folders; the class of each is the name of the folder that it lies in.

    No dataset that can be named on a command line: it has no sketches and no split.
    """

    name = "photos"
    summary = "A folder of photos."
    licence = "your own"
    split_names = ()

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._walker = Walker(root)

    @property
    def items(self) -> list[Item]:
        """All pictures in code-point order of their folders and names.

        Raises DataError when the folder is missing, cannot be read, or holds no picture.
        """
        if not self.data_root.is_dir():
            raise DataError(f"There is no folder {self.data_root}: name one that holds photos.")
        found: list[Item] = []
        waiting = [""]
        while waiting:
            folder = waiting.pop(0)
            listing = self._walker.listing(folder)
            above = f"{folder}/" if folder else ""
            found += [Item(f"{above}{name}", folder.rpartition("/")[2], "photo") for name in listing.images]
            waiting += [f"{above}{name}" for name in listing.folders]
        if not found:
            raise DataError(
                f"Folder {self.data_root} holds no picture: name one with .jpg, .png, .webp or other photos."
            )
        return found

    def load_split(self, name: str) -> Split:
        """Raises DataError: there is none."""
        raise DataError("A folder of photos has no split.")

    def read(self, path: str) -> bytes:
        """The file at ``path`` below the folder, turned as the camera that took it says."""
        return turn_upright(read_file(self.data_root, path))

    def stamp(self, paths: Iterable[str]) -> str:
        """Sizes and times of the files."""
        return stamp_of(self.data_root, paths)

    def whereabouts(self) -> Whereabouts:
        """The folder that was named."""
        return Whereabouts(looked=(self.data_root,), root=self.data_root, layout="folder")
