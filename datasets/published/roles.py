"""Build the items of each role from folders or published file lists, and check them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bench.datasets.published.class_names import ClassNames
from bench.datasets.published.class_splits import ClassSplit
from bench.datasets.published.file_lists import read_file_list
from bench.datasets.published.files import Walker, check_name, escape
from bench.datasets.published.layouts import ListRole, Lists, Place
from bench.errors import DataError
from bench.types import Item, Modality

log = logging.getLogger("bench.datasets")
SHOWN = 5  # names in a message


@dataclass(frozen=True)
class Roles:
    """The items of a split by role; ``rebuilt`` names the roles that come from folders although others have lists."""

    train: tuple[Item, ...]
    validation: tuple[Item, ...]
    queries: tuple[Item, ...]
    gallery: tuple[Item, ...]
    rebuilt: tuple[str, ...] = field(default=())


class Assembly:
    """Builds the roles of class splits in one place; with ``repeated`` the gallery is ``full``, else ``unique``."""

    def __init__(self, place: Place, names: ClassNames, *, repeated: bool) -> None:
        self.place = place
        self.names = names
        self.repeated = repeated
        self.walker = Walker(place.root)

    def from_folders(self, classes: ClassSplit) -> Roles:
        """All images of the class folders: classes in the order of the split, names in code-point order.

        Train holds every image of the seen classes. Raises DataError for a class without a sketch or a photo.
        """
        return Roles(
            train=(*self.walk("sketch", classes.seen), *self.walk("photo", classes.seen)),
            validation=(),
            queries=self.walk("sketch", classes.unseen),
            gallery=self.walk("photo", classes.unseen),
        )

    def from_lists(self, classes: ClassSplit, lists: Lists) -> Roles:
        """The published lists in file order; a missing list of seen classes is rebuilt from their folders.

        Validation holds the sketches of the ``test`` list, or without it those missing from the ``train`` list. Train
        never holds sketches of the ``test`` list. Raises DataError for a missing ``zero`` list, and as ``read_list``.
        """
        queries = self.read_list(lists.path("sketch", "zero"), "sketch", classes.unseen)
        gallery = self.read_list(lists.path("photo", "zero"), "photo", classes.unseen)
        rebuilt: list[str] = []

        def seen(modality: Modality, role: ListRole) -> tuple[Item, ...] | None:
            name = lists.path(modality, role)
            return self.read_list(name, modality, classes.seen) if (self.place.root / name).is_file() else None

        sketches, validation, photos = seen("sketch", "train"), seen("sketch", "test"), seen("photo", "train")
        if sketches is None:
            sketches = exclude(self.walk("sketch", classes.seen), validation or ())
            rebuilt.append("training sketches")
        elif validation is None:
            validation = exclude(self.walk("sketch", classes.seen), sketches)
            rebuilt.append("validation sketches")
        if photos is None:
            photos = self.walk("photo", classes.seen)
            rebuilt.append("training photos")
        return Roles((*sketches, *photos), validation or (), queries, gallery, tuple(rebuilt))

    def walk(self, modality: Modality, classes: Sequence[str]) -> tuple[Item, ...]:
        """Every image of the ``classes`` in one modality; raises DataError with the classes that have none."""
        folders = self.place.layout.folders(modality, repeated=self.repeated)
        by_folder = {
            each: self.names.folders(self.walker.listing(each).folders, str(self.place.root / each)) for each in folders
        }
        items: list[Item] = []
        empty: list[str] = []
        for name in classes:
            before = len(items)
            for folder, found in by_folder.items():
                if name in found:
                    path = f"{folder}/{found[name]}"
                    items += [Item(f"{path}/{image}", name, modality) for image in self.walker.listing(path).images]
            if len(items) == before:
                empty.append(name)
        for item in items:
            check_name(item.path, self.place.root)
        if empty:
            raise DataError(
                f"No {modality} of {_some(empty, 'class', 'classes')}, of {len(classes)} needed, is in "
                f"{', '.join(folders)} below {self.place.root}: unpack the archive again."
            )
        return tuple(items)

    def read_list(self, name: str, modality: Modality, classes: Sequence[str]) -> tuple[Item, ...]:
        """The images of one file list in file order, without ``repeated`` folders unless the gallery is ``full``.

        Raises DataError for a missing or malformed list, a class or label that is not in ``classes``, a missing file,
        or a class without a line.
        """
        label_of = {each: label for label, each in enumerate(classes)}
        class_of: dict[str, str | None] = {}
        left_out = () if self.repeated else tuple(f"{folder}/" for folder in self.place.layout.repeated)
        items: list[Item] = []
        missing: list[str] = []
        for number, path, label in read_file_list(self.place.root, name):
            folder = path.rpartition("/")[0]
            if folder not in class_of:
                class_of[folder] = self.names.find(folder.rpartition("/")[2])
            class_name = class_of[folder]
            if class_name is None or label_of.get(class_name) != label:
                raise DataError(
                    f"Line {number} of file list {name} gives {path} the label {label}, but in this split "
                    f"{_expected(folder, class_name, label_of)}: restore the list, or pass --set files=folders."
                )
            if path.startswith(left_out) and left_out:
                continue
            check_name(path, self.place.root)
            if not self.walker.has_image(path):
                missing.append(path)
            items.append(Item(path, class_name, modality))
        if missing:
            raise DataError(
                f"List {name} names {_some(missing, 'file', 'files')}, of {len(items)}, not found below "
                f"{self.place.root}: unpack the archive again, or pass --set files=folders to use the existing files."
            )
        unlisted = sorted(set(classes) - {item.class_name for item in items})
        if unlisted:
            raise DataError(f"File list {name} has no line of {_some(unlisted, 'class', 'classes')}: restore the list.")
        return tuple(items)

    def stray(self) -> tuple[list[str], list[str]]:
        """Entries without a role: folders that are no class, and all others that are no image of a class."""
        foreign: list[str] = []
        others: list[str] = []
        layout = self.place.layout
        for folder in (*layout.sketches, *layout.repeated, *layout.photos):
            top = self.walker.listing(folder)
            others += [f"{folder}/{name}" for name in (*top.images, *top.stray)]
            for each in top.folders:
                if self.names.find(each) is None:
                    foreign.append(f"{folder}/{each}")
                else:
                    inner = self.walker.listing(f"{folder}/{each}")
                    others += [f"{folder}/{each}/{name}" for name in (*inner.stray, *inner.folders)]
        return [escape(each) for each in foreign], [escape(each) for each in others]

    def count(self, modality: Modality) -> dict[str, int]:
        """Count the images of each class folder, with repeated photos, for all splits."""
        counts: Counter[str] = Counter()
        for folder in self.place.layout.folders(modality, repeated=True):
            found = self.names.folders(self.walker.listing(folder).folders, str(self.place.root / folder))
            for name, each in found.items():
                counts[name] += len(self.walker.listing(f"{folder}/{each}").images)
        return dict(counts)


def exclude(items: Iterable[Item], others: Iterable[Item]) -> tuple[Item, ...]:
    """The items whose path is not among ``others``."""
    left_out = {item.path for item in others}
    return tuple(item for item in items if item.path not in left_out)


def _expected(folder: str, class_name: str | None, label_of: dict[str, int]) -> str:
    if class_name is None:
        return f"{folder.rpartition('/')[2]!r} is no class"
    if class_name not in label_of:
        return f"class {class_name!r} is not on this side"
    return f"class {class_name!r} has the label {label_of[class_name]}"


def _some(names: Sequence[str], one: str, many: str) -> str:
    """``3 classes (a, b, c)``, with at most ``SHOWN`` names."""
    shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
    return f"{len(names)} {one if len(names) == 1 else many} ({shown})"
