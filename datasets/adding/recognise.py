"""Find a dataset's folders and file lists among the files of sources, by the layouts that the dataset declares."""

from __future__ import annotations

import os
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bench.datasets.adding.entries import Entry, Source
from bench.datasets.base import DATASETS
from bench.datasets.published.class_names import key
from bench.datasets.published.class_splits import read_class_split
from bench.datasets.published.files import Walker, image_suffixes
from bench.datasets.published.instances import by_class
from bench.datasets.published.layouts import KNOWN_SHARE, Layout
from bench.datasets.published.tree_dataset import TreeDataset
from bench.errors import DataError
from bench.types import MODALITIES, Modality

SHOWN = 6  # folders in a message


@dataclass(frozen=True, slots=True)
class Pick:
    """A file that is taken: an entry of a source, and its path below the dataset's folder."""

    source: Source
    entry: Entry
    target: str


@dataclass(frozen=True)
class Group:
    """The class folders in the folder ``path`` of one source: their images by class folder."""

    source: Source
    path: str
    classes: Mapping[str, Sequence[Entry]]

    @property
    def images(self) -> int:
        """Number of images."""
        return sum(map(len, self.classes.values()))

    def matches(self, folder: str) -> bool:
        """Whether the path ends in a folder of a layout."""
        return f"/{self.path}".endswith(f"/{folder}")


@dataclass(frozen=True)
class Found:
    """What is taken, in one layout.

    ``groups`` are by folder of the layout, ``picks`` are their images, then the file lists. ``classes`` are known names
    of classes with an image, also of images that were there. ``missing`` are folders that the layout still needs.
    ``others`` are further datasets in the sources. ``left_out`` counts files that are not taken.
    """

    layout: Layout
    groups: Mapping[str, Sequence[Group]]
    images: tuple[Pick, ...]
    lists: tuple[Pick, ...]
    classes: Mapping[Modality, frozenset[str]]
    missing: tuple[str, ...]
    others: tuple[str, ...]
    left_out: int

    def count(self, modality: Modality) -> int:
        """Images of one modality that are taken."""
        folders = tuple(f"{folder}/" for folder in self.layout.folders(modality, repeated=True))
        return sum(pick.target.startswith(folders) for pick in self.images)


def recognise(dataset: TreeDataset, sources: Sequence[Source], root: Path, words: Sequence[str]) -> Found:
    """The layout that fits best with what is in ``root``, the dataset's folder, already.

    ``words`` name the sources in an error.
    Raises DataError if there is no folder of this dataset, with the name of the one that is there, and if two files
    would be one, two names differ by case only, or two folders are one class.
    """
    groups = [group for source in sources for group in _group(source)]
    fits = {layout.name: _fit(dataset, layout, groups) for layout in dataset.layouts}
    lists = {layout.name: _pick_lists(dataset, layout, sources) for layout in dataset.layouts}
    here = Walker(root)

    def rank(layout: Layout) -> tuple[bool, int, int, int]:
        found = fits[layout.name]
        files = sum(group.images for each in found.values() for group in each) + len(lists[layout.name])
        whole = bool(files) and not _missing(layout, found, here)
        return whole, files, sum(map(len, found)), -dataset.layouts.index(layout)

    layout = max(dataset.layouts, key=rank)
    found = fits[layout.name]
    others = _find_others(dataset, [group for group in groups if not any(group in each for each in found.values())])
    if not found and not lists[layout.name]:
        raise DataError(_explain(dataset, words, groups, others))
    classes = {}
    for modality in MODALITIES:
        for folder in layout.folders(modality, repeated=True):
            spellings = {each for group in found.get(folder, ()) for each in group.classes}
            there = here.listing(folder).folders
            classes[modality, folder] = dataset.names.folders({*spellings, *there}, f"{root / folder}")
    known = {spelling for each in classes.values() for spelling in each.values()}
    images = tuple(
        Pick(group.source, entry, f"{folder}/{class_folder}/{entry.path.rpartition('/')[2]}")
        for folder, each in found.items()
        for group in each
        for class_folder, entries in group.classes.items()
        if class_folder in known
        for entry in entries
    )
    _refuse_twins((*images, *lists[layout.name]))
    return Found(
        layout=layout,
        groups=found,
        images=images,
        lists=lists[layout.name],
        classes={
            modality: frozenset(name for (each, _), names in classes.items() if each == modality for name in names)
            for modality in MODALITIES
        },
        missing=_missing(layout, found, here),
        others=others,
        left_out=sum(len(source.entries) for source in sources) - len(images) - len(lists[layout.name]),
    )


def _find_others(dataset: TreeDataset, groups: Sequence[Group]) -> tuple[str, ...]:
    """Further datasets that have a folder among the groups."""
    return tuple(
        name
        for name, kind in DATASETS.items()
        if name != dataset.name and issubclass(kind, TreeDataset)
        if any(_fit(kind(Path()), layout, groups) for layout in kind.layouts)
    )


def _group(source: Source) -> Iterable[Group]:
    suffixes = image_suffixes()
    found: dict[str, dict[str, list[Entry]]] = defaultdict(lambda: defaultdict(list))
    for entry in source.entries:
        if os.path.splitext(entry.path)[1].lower() in suffixes:  # noqa: PTH122 (200,000 times)
            folder, _, class_folder = entry.path.rpartition("/")[0].rpartition("/")
            found[folder][class_folder].append(entry)
    return [Group(source, path, classes) for path, classes in found.items()]


def _fit(dataset: TreeDataset, layout: Layout, groups: Sequence[Group]) -> dict[str, list[Group]]:
    """The groups of each folder of a layout."""
    folders = (*layout.sketches, *layout.repeated, *layout.photos)
    found = {
        folder: [
            group
            for group in groups
            if group.matches(folder) or (group.source.drawn and layout.sketches == (folder,))
            if _belongs(dataset, group, folder)
        ]
        for folder in folders
    }
    return {folder: each for folder, each in found.items() if each}


def _belongs(dataset: TreeDataset, group: Group, folder: str) -> bool:
    """Whether class folders are those of this dataset: by the name of the folder around them, else by their names."""
    around = group.path.removesuffix(folder).rstrip("/").rpartition("/")[2]
    named = _titles().get(key(around))
    known = sum(dataset.names.find(each) is not None for each in group.classes)
    return named in (None, dataset.name) and known >= (1 if named else KNOWN_SHARE * len(group.classes))


@cache
def _titles() -> dict[str, str]:
    """The dataset of each folder name."""
    kinds = {name: kind for name, kind in DATASETS.items() if issubclass(kind, TreeDataset)}
    return {key(title): name for name, kind in kinds.items() for title in kind.titles}


def _pick_lists(dataset: TreeDataset, layout: Layout, sources: Sequence[Source]) -> tuple[Pick, ...]:
    """The published lists of a layout, and the class lists beside them."""
    wanted: set[str] = set()
    for lists in (lists for each in layout.lists.values() for lists in each):
        for role in ("train", "test", "zero"):
            wanted |= {lists.path(modality, role) for modality in MODALITIES}
        folder = lists.sketches.rpartition("/")[0]
        wanted |= {f"{folder}/cname_cid.txt", f"{folder}/cname_cid_zero.txt"}
    found = []
    for source in sources:
        for entry in source.entries:
            if not entry.path.endswith(".txt"):
                continue
            parts = entry.path.split("/")
            target = "/".join(parts[-2:])
            if target in wanted and _titles().get(key(parts[-3]) if len(parts) > 2 else "") in (None, dataset.name):
                found.append(Pick(source, entry, target))
    return tuple(found)


def _missing(layout: Layout, found: Mapping[str, Sequence[Group]], here: Walker) -> tuple[str, ...]:
    return tuple(
        each for each in (*layout.sketches, *layout.photos) if each not in found and not here.listing(each).folders
    )


def _refuse_twins(picks: Iterable[Pick]) -> None:
    known: dict[str, Pick] = {}
    for pick in picks:
        other = known.setdefault(pick.target.casefold(), pick)
        if other is not pick:
            how = "are one file" if other.target == pick.target else "differ only by case"
            raise DataError(
                f"{other.entry.path} in {other.source.title} and {pick.entry.path} in {pick.source.title} {how} in "
                "the dataset: remove one of them."
            )


def served_splits(dataset: TreeDataset, found: Found, root: Path) -> dict[str, str]:
    """The splits whose classes all have a sketch and a photo, with what lists their images."""
    whole = found.classes["sketch"] & found.classes["photo"]
    there = {pick.target for pick in found.lists}
    served = {}
    for name in (each for each in dataset.split_names if by_class(each) == each):
        classes = read_class_split(name)
        if {*classes.seen, *classes.unseen} <= whole:
            paths = [
                [lists.path(modality, "zero") for modality in MODALITIES]
                for lists in found.layout.lists.get(classes.subset_of or name, ())
            ]
            listed = any(all(path in there or (root / path).is_file() for path in each) for each in paths)
            served[name] = "published file lists" if listed else "class folders"
    return served


def _explain(dataset: TreeDataset, words: Sequence[str], groups: Sequence[Group], others: Sequence[str]) -> str:
    titles = " and ".join(words)
    if others:
        return f"{titles} holds {others[0]}, not {dataset.name}: run `bench data add {others[0]} {shlex.join(words)}`."
    counts = Counter({group.path: len(group.classes) for group in groups})
    held = ", ".join(f"{path}/ with {count} folders of images" for path, count in counts.most_common(SHOWN))
    return (
        f"{titles} holds no folders of {dataset.name} ({held or 'no images'}): "
        f"`bench data path {dataset.name}` prints every tree that is understood."
    )
