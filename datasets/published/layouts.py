"""Folder layouts of the published archives, and the search for a dataset's folder.

To support another layout, add a ``Layout`` to the dataset's declaration.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bench.datasets.published.class_names import ClassNames, key
from bench.datasets.published.files import Walker
from bench.types import Modality

ListRole = Literal["train", "test", "zero"]  # published names: "test" are seen-class sketches, "zero" is unseen
KNOWN_SHARE = 0.9  # of the classes must exist in a folder without the dataset's name


@dataclass(frozen=True, slots=True)
class Lists:
    """Paths of one split's file lists below the root; ``{}`` stands for ``train``, ``test`` or ``zero``."""

    sketches: str
    photos: str

    def path(self, modality: Modality, role: ListRole) -> str:
        """The path of the list for one modality and role."""
        return (self.sketches if modality == "sketch" else self.photos).format(role)


@dataclass(frozen=True)
class Layout:
    """Folders below the dataset's folder, each with one folder per class.

    All of ``sketches`` and ``photos`` must exist. ``repeated`` are optional folders with copies of ``photos``; in the
    gallery ``full`` they come first, as in the published lists. ``lists`` maps a split to the possible places of its
    file lists. ``source`` names the project that uses this layout.
    """

    name: str
    source: str
    sketches: tuple[str, ...]
    photos: tuple[str, ...]
    repeated: tuple[str, ...] = ()
    lists: Mapping[str, tuple[Lists, ...]] = field(default_factory=dict)

    def folders(self, modality: Modality, *, repeated: bool) -> tuple[str, ...]:
        """Folders of one modality in canonical order, with or without the repeated photos."""
        if modality == "sketch":
            return self.sketches
        return (*self.repeated, *self.photos) if repeated else self.photos

    @property
    def tree(self) -> str:
        """The expected folders on one line."""
        return ", ".join(f"{folder}/<class>/*" for folder in (*self.sketches, *self.photos))


@dataclass(frozen=True)
class Place:
    """A dataset on disk: its folder and layout."""

    root: Path
    layout: Layout

    @property
    def has_repeated(self) -> bool:
        """Whether this layout has folders of repeated photos and all of them exist."""
        return bool(self.layout.repeated) and all(map(Walker(self.root).is_folder, self.layout.repeated))


def find_place(parents: Sequence[tuple[Path, bool]], layouts: Sequence[Layout], names: ClassNames) -> Place | None:
    """The first layout, in order of declaration, that matches one of the folders.

    ``parents`` are (folder, named). A folder that the user or its name identifies needs one class in each modality.
    Any other needs ``KNOWN_SHARE`` of the classes.
    """
    walkers = [(Walker(folder), named) for folder, named in parents]
    for layout in layouts:
        for walker, named in walkers:
            if _matches(walker, layout, names, 1 if named else int(KNOWN_SHARE * len(names.canonical))):
                return Place(walker.root, layout)
    return None


def missing_folders(parents: Sequence[tuple[Path, bool]], layouts: Sequence[Layout]) -> tuple[str, ...]:
    """What is missing where only a part of a layout's folders exists, for the layout with most; empty if none exists.

    An archive of photos without that of sketches is such a part.
    """
    found: list[tuple[str, ...]] = []
    for layout in layouts:
        folders = (*layout.sketches, *layout.photos)
        for parent, _ in parents:
            missing = tuple(str(parent / each) for each in folders if not Walker(parent).is_folder(each))
            if 0 < len(missing) < len(folders):
                found.append(missing)
    return min(found, key=len, default=())


def _matches(walker: Walker, layout: Layout, names: ClassNames, wanted: int) -> bool:
    if not all(walker.is_folder(folder) for folder in (*layout.sketches, *layout.photos)):
        return False
    for folders in (layout.sketches, layout.photos):
        found = {names.find(each) for folder in folders for each in walker.listing(folder).folders} - {None}
        if len(found) < wanted:
            return False
    return True


def candidates(data_root: Path, titles: Sequence[str], own: Path | None) -> list[tuple[Path, bool]]:
    """Folders to search, as (folder, named): the user's folder, else the data root, and folders below it.

    ``titles`` are names of the dataset's folder, compared without case and separators.
    """
    root = data_root if own is None else own
    found: list[tuple[Path, bool]] = [] if own is None else [(own, True)]
    for parent in (root, root / "datasets", root / "dataset"):
        found += [*_below(parent, titles), *([] if parent == own else [(parent, False)])]
    return found


def _below(parent: Path, titles: Sequence[str]) -> Iterator[tuple[Path, bool]]:
    wanted = {key(title) for title in titles}
    for folder in Walker(parent).listing("").folders:
        if key(folder) in wanted:
            yield parent / folder, True
