"""A user's own images as a dataset: ``sketch/<class>/*`` and ``photo/<class>/*`` under one folder."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bench.datasets.base import DATASETS, TUNING, Dataset, Survey, Whereabouts
from bench.datasets.published.class_splits import hash_of_classes, split_classes, unquote_class
from bench.datasets.published.files import Walker, check_name, escape, needed_for, read_file, stamp_of
from bench.datasets.published.instances import by_class, fine_grained, readings, stem, without_number
from bench.errors import DataError, UsageError, nearest, reason
from bench.settings.run_settings import setting
from bench.types import Item, Modality, Split, salted_order

log = logging.getLogger("bench.datasets")

FOLDERS: Mapping[Modality, tuple[str, ...]] = {
    "sketch": ("sketch", "sketches"),
    "photo": ("photo", "photos", "image", "images"),
}
TREE = "sketch/<class>/* and photo/<class>/* (or image/)"


@dataclass(frozen=True)
class FolderSettings:
    """Settings of a user's own dataset.

    ``root`` is its folder, ``name`` its name in results. ``unseen`` selects the test classes: ``all``, names separated
    by commas, or ``@FILE`` with one name per line (``#`` starts a comment). Or ``draw`` selects that many classes: the
    first by the SHA-256 of ``seed``, a line feed and the class name. ``ink_crop`` crops each sketch to its ink.
    """

    root: str = setting("", "the folder, with sketch/<class>/* and photo/<class>/*")
    name: str = setting("folder", "name of the dataset in results")
    unseen: str = setting(
        "",
        "test classes: all, names separated by commas (in double quotes if they have one), or @FILE with one per line",
    )
    draw: int = setting(0, "number of test classes to draw instead")
    seed: int = setting(0, "seed of that draw")
    ink_crop: bool = setting(False, "crop each sketch to its ink")


@DATASETS.register("folder")
class Folder(Dataset):
    """Every class needs a sketch and a photo, under the same name.

    The name of the split holds the hash of its unseen classes: ``all-<hash>``, ``unseen-<hash>`` or
    ``draw20-seed0-<hash>``. ``bench data list -o`` writes these classes to ``classes.txt``, which ``unseen=@FILE``
    reads. A draw is logged in full.

    ``--split folder-fine`` is fine-grained: the photo of sketch ``<instance>-<number>`` is ``<instance>`` of its class.
    """

    name = "folder"
    summary = f"Your own images: {TREE} under --set root=PATH, with --set unseen=all|@FILE|name,name or draw=N."
    licence = "your own"
    split_names = ("folder", *readings("folder"))
    Settings = FolderSettings
    locating = frozenset(("root", "unseen", "draw", "seed"))

    def split(self, name: str | None = None) -> Split:
        """The split that the settings describe; ``name`` is its name, one of ``split_names`` or None.

        A name may end in ``:tuning``. Raises UsageError for another name or incomplete settings, DataError for an
        incomplete folder.
        """
        wanted = (name or "folder").removesuffix(f":{TUNING}")
        base = by_class(wanted)
        split = self.load_split("folder" + wanted.removeprefix(base))
        if wanted not in (split.name, *self.split_names):
            raise UsageError(f"The folder's split is {split.name!r}, not {name!r}: omit --split.")
        return split.for_tuning(f"{split.name}:{TUNING}") if name not in (None, wanted) else split

    def load_split(self, name: str) -> Split:
        """Load a reading of the split; classes, and images of a class, are in code-point order."""
        if self.settings.name in set(DATASETS.names()) - {self.name} or not self.settings.name.strip():
            raise UsageError(f"--set name={self.settings.name} is taken by another dataset: choose a name of your own.")
        items = {modality: self._items(modality) for modality in FOLDERS}
        classes = self._classes(items)
        if stray := self.survey().stray:
            log.warning(
                "%s: ignored entries that are no image of a class: %d (%s ...%s)",
                self.settings.name,
                len(stray),
                stray[0],
                needed_for(stray),
            )
        title, unseen = self._unseen(classes)
        chosen = set(unseen)
        seen = tuple(each for each in classes if each not in chosen)
        everything = [item for found in items.values() for item in found]
        split = Split(
            dataset=self.settings.name,
            name=f"{title}-{hash_of_classes(unseen)[:8]}",
            seen=seen,
            unseen=unseen,
            train=tuple(item for item in everything if item.class_name not in chosen),
            validation=(),
            queries=tuple(item for item in items["sketch"] if item.class_name in chosen),
            gallery=tuple(item for item in items["photo"] if item.class_name in chosen),
        )
        if name == by_class(name):
            return split
        photos = {(item.class_name, stem(item.path)) for item in items["photo"]}

        def instance(item: Item) -> str:
            own = stem(item.path)
            return own if item.modality == "photo" or (item.class_name, own) in photos else without_number(own)

        return fine_grained(split, split.name + name.removeprefix("folder"), instance, gallery_name="full")

    def read(self, path: str) -> bytes:
        """The file at ``path`` below the root."""
        return read_file(self._root, path)

    def stamp(self, paths: Iterable[str]) -> str:
        """Sizes and modification times of the files."""
        return stamp_of(self._root, paths)

    def whereabouts(self) -> Whereabouts:
        """The folder of the settings."""
        if not self.settings.root:
            return Whereabouts(expected={"folder": TREE}, nearby=("no folder is set: pass --set root=PATH",))
        root = Path(self.settings.root).expanduser()
        return Whereabouts(
            looked=(root,),
            root=root if root.is_dir() else None,
            layout="folder" if root.is_dir() else "",
            expected={"folder": TREE},
        )

    def survey(self) -> Survey:
        """Images of every class, and ignored entries."""
        counts: dict[Modality, dict[str, int]] = {}
        stray: list[str] = []
        for modality in FOLDERS:
            folder = self._folder(modality)
            inner = {each: self._walker.listing(f"{folder}/{each}") for each in self._walker.listing(folder).folders}
            counts[modality] = {unicodedata.normalize("NFC", each): len(found.images) for each, found in inner.items()}
            top = self._walker.listing(folder)
            stray += [f"{folder}/{name}" for name in (*top.images, *top.stray)]
            stray += [
                f"{folder}/{each}/{name}" for each, found in inner.items() for name in (*found.stray, *found.folders)
            ]
        names = sorted({name for found in counts.values() for name in found})
        missing = tuple((modality, name) for modality in FOLDERS for name in names if not counts[modality].get(name))
        return Survey(counts=counts, missing=missing, stray=tuple(escape(each) for each in stray))

    @cached_property
    def _root(self) -> Path:
        if not self.settings.root:
            raise UsageError(f"Dataset 'folder' needs --set root=PATH, a folder with {TREE}.")
        root = Path(self.settings.root).expanduser()
        if not root.is_dir():
            raise DataError(f"There is no folder {root}: --set root=PATH names a folder with {TREE}.")
        return root

    @cached_property
    def _walker(self) -> Walker:
        return Walker(self._root)

    def _folder(self, modality: Modality) -> str:
        found = [each for each in self._walker.listing("").folders if each in FOLDERS[modality]]
        if len(found) != 1:
            holds = ", ".join(f"{each}/" for each in self._walker.listing("").folders[:8]) or "no folders"
            problem = f"both {found[0]}/ and {found[1]}/" if found else f"no {FOLDERS[modality][0]}/ (it holds {holds})"
            raise DataError(f"Folder {self._root} has {problem}: give it {TREE}.")
        return found[0]

    def _items(self, modality: Modality) -> list[Item]:
        folder = self._folder(modality)
        items: list[Item] = []
        known: dict[str, str] = {}
        for each in self._walker.listing(folder).folders:
            # macOS decomposes names with accents, so one class can have two spellings.
            name = unicodedata.normalize("NFC", each)
            twin = known.setdefault(name.casefold(), each)
            if twin != each:
                raise DataError(f"Class folders {twin!r} and {each!r} in {folder}/ differ only by case: merge them.")
            images = self._walker.listing(f"{folder}/{each}").images
            if not images:
                raise DataError(
                    f"Class folder {folder}/{escape(each)} of {self._root} holds no image: add one or remove it."
                )
            items += [Item(f"{folder}/{each}/{image}", name, modality) for image in images]
        for item in items:
            check_name(item.path, self._root)
        return items

    def _classes(self, items: Mapping[Modality, list[Item]]) -> tuple[str, ...]:
        have = {modality: {item.class_name for item in found} for modality, found in items.items()}
        pairs: tuple[tuple[Modality, Modality], ...] = (("photo", "sketch"), ("sketch", "photo"))
        for modality, other in pairs:
            for name in sorted(have[other] - have[modality]):
                hint = nearest(name, have[modality] - have[other])
                near = f" ({hint})" if hint.startswith("Did") else ""
                raise DataError(
                    f"Class {name!r} has a {other} but no {modality}{near}: add one, or remove the class from both "
                    f"folders of {self._root}."
                )
        if not have["sketch"]:
            raise DataError(f"Folder {self._root} holds no images: give it {TREE}.")
        return tuple(sorted(have["sketch"]))

    def _unseen(self, classes: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
        chosen, draw, seed = self.settings.unseen.strip(), self.settings.draw, self.settings.seed
        if bool(chosen) == bool(draw):
            both = "not both" if chosen else "to select the test classes"
            raise UsageError(f"Dataset 'folder' needs --set unseen=all|@FILE|name,name or --set draw=N, {both}.")
        if chosen == "all":
            return "all", classes
        if draw:
            if not 0 < draw <= len(classes):
                raise UsageError(f"--set draw={draw} is out of range: the folder has {len(classes)} classes.")
            first = set(salted_order(classes, str(seed))[:draw])
            drawn = tuple(each for each in classes if each in first)
            log.info(
                "%s: %d of %d classes drawn with seed %d (%s; sha256 %s)",
                self.settings.name,
                draw,
                len(classes),
                seed,
                ", ".join(drawn),
                hash_of_classes(drawn),
            )
            return f"draw{draw}-seed{seed}", drawn
        names = _read_names(Path(chosen[1:])) if chosen.startswith("@") else split_classes(chosen)
        wanted = {unicodedata.normalize("NFC", each) for each in names if each}
        unknown = sorted(wanted - set(classes))
        if unknown:
            raise UsageError(f"Unseen class {unknown[0]!r} is not in {self._root}. {nearest(unknown[0], classes)}")
        if not wanted:
            raise UsageError(f"--set unseen={chosen} names no class: write one name per line.")
        return "unseen", tuple(each for each in classes if each in wanted)


def _read_names(path: Path) -> list[str]:
    """One class per line; of a file with sections, as ``bench data list`` writes it, those of ``[unseen]``.

    Raises UsageError if they do not match the SHA-256 that such a file has.
    """
    try:
        lines = path.expanduser().read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The list of unseen classes {path} cannot be read ({reason(error)}).") from error
    names: list[str] = []
    wanted, expected = True, ""
    for line in (each.strip() for each in lines):
        if line in ("[unseen]", "[seen]"):
            wanted = line == "[unseen]"
        elif line.startswith("# sha256-unseen:"):
            expected = line.partition(":")[2].strip()
        elif line and not line.startswith("#") and wanted:
            names.append(unquote_class(line))
    if expected not in ("", hash_of_classes(names)):
        raise UsageError(
            f"The unseen classes of {path} do not match its sha256-unseen: write class names as `bench data list` does "
            "(in double quotes if they begin with #), or remove that line."
        )
    return names
