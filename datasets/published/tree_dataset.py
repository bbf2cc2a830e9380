"""Published datasets in folders: found in any known layout, read by file lists or by class folders."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from bench.datasets.base import AVAILABLE, Dataset, Survey, Whereabouts
from bench.datasets.published.class_names import ClassNames
from bench.datasets.published.class_splits import ClassSplit, read_class_split
from bench.datasets.published.files import Walker, needed_for, read_file, stamp_of
from bench.datasets.published.layouts import Layout, Lists, Place, candidates, find_place, missing_folders
from bench.datasets.published.roles import Assembly, Roles
from bench.errors import DataError
from bench.settings.run_settings import setting
from bench.types import Split

log = logging.getLogger("bench.datasets")
SHOWN = 8  # folders in a message

PUBLISHED_RECIPE: Mapping[str, Any] = {
    "image_size": 224,
    "backbone": "resnet50",
    "batch_size": 96,
    "lr": 1e-4,
    "weight_decay": 5e-4,
    "epochs": 10,
}  # common in published code: docs/method.md, "Settings"


@dataclass(frozen=True)
class TreeSettings:
    """Settings of a dataset in folders.

    ``root`` is its folder; empty searches below the data root. ``files`` selects published file lists or whole class
    folders; ``auto`` uses the lists if they exist. ``ink_crop`` crops each sketch to its ink, as ZSE-SBIR does.
    """

    root: str = setting("", "the dataset's folder; empty: search below the data root")
    files: Literal["auto", "lists", "folders"] = setting("auto", "published file lists, or whole class folders")
    ink_crop: bool = setting(False, "crop each sketch to its ink, as ZSE-SBIR does")


class TreeDataset(Dataset):
    """Base class of the published datasets.

    ``titles`` are possible names of the dataset's folder. ``layouts`` are the supported trees, the first match wins.
    ``aliases`` are class spellings that no rule covers, ``archives`` the published files. ``drawn`` are suffixes of
    files from which ``bench data add`` draws sketches.
    """

    titles: ClassVar[tuple[str, ...]]
    layouts: ClassVar[tuple[Layout, ...]]
    aliases: ClassVar[Mapping[str, str]] = {}
    archives: ClassVar[tuple[str, ...]]
    drawn: ClassVar[tuple[str, ...]] = ()
    recipe = PUBLISHED_RECIPE
    Settings = TreeSettings

    @cached_property
    def names(self) -> ClassNames:
        """The canonical class names, from the default split."""
        classes = read_class_split(self.split_names[0])
        return ClassNames(sorted(classes.seen + classes.unseen), self.aliases)

    @cached_property
    def place(self) -> Place:
        """The dataset's folder and layout; raises DataError with the expected tree if it is not found."""
        found = self._find()
        if found is None:
            where = self.whereabouts()
            layout = self.layouts[0]
            nearby = "; ".join(where.nearby) or "none of these folders exists"
            nearby += f"; a part is there, but not {', '.join(where.missing)}" if where.missing else ""
            raise DataError(
                f"Dataset {self.name!r} was not found (searched {_join(where.looked)}; {nearby}): unpack it to "
                f"{self._root_or_data_root / self.titles[0] if not self.settings.root else self._root_or_data_root} "
                f"as {layout.tree}, or give its folder with --set root=PATH; "
                f"'bench data path {self.name}' prints every supported tree."
            )
        return found

    def load_split(self, name: str) -> Split:
        """The split from its published lists if they exist, else from the class folders."""
        classes = read_class_split(name)
        if classes.subset_of:
            return _only_classes(self.load_split(classes.subset_of), classes)
        gallery_name = self.gallery_name(classes)
        assembly = Assembly(self.place, self.names, repeated=gallery_name == "full")
        lists = self.lists(name)
        roles = assembly.from_folders(classes) if lists is None else assembly.from_lists(classes, lists)
        self._log_split(classes, gallery_name, roles, assembly, lists)
        return Split(
            dataset=self.name,
            name=name,
            seen=classes.seen,
            unseen=classes.unseen,
            train=roles.train,
            validation=roles.validation,
            queries=roles.queries,
            gallery=roles.gallery,
            gallery_name=gallery_name,
        )

    def load_available(self, name: str) -> Split:
        """The split of the classes with a sketch and a photo, from the class folders: ``NAME:available-12-of-250``.

        Raises DataError if no seen or no unseen class is there.
        """
        classes, survey = read_class_split(name), self.survey()
        absent = {class_name for _, class_name in survey.missing}
        kept = replace(
            classes,
            seen=tuple(each for each in classes.seen if each not in absent),
            unseen=tuple(each for each in classes.unseen if each not in absent),
        )
        if not kept.unseen or (classes.seen and not kept.seen):
            side = "unseen" if not kept.unseen else "seen"
            raise DataError(
                f"No {side} class of split {name!r} has a sketch and a photo in {self.place.root}: add class folders, "
                "or take them as a dataset of your own, -d folder."
            )
        roles = Assembly(self.place, self.names, repeated=True).from_folders(kept)
        here, all_classes = len(kept.seen) + len(kept.unseen), len(classes.seen) + len(classes.unseen)
        log.warning("%s: a subset, %d of the %d classes of split %s", self.name, here, all_classes, name)
        return Split(
            dataset=self.name,
            name=f"{name}:{AVAILABLE}-{here}-of-{all_classes}",
            seen=kept.seen,
            unseen=kept.unseen,
            train=roles.train,
            validation=roles.validation,
            queries=roles.queries,
            gallery=roles.gallery,
        )

    def gallery_name(self, classes: ClassSplit) -> str:
        """``full``, unless a subclass has photos twice."""
        return "full"

    def lists(self, name: str) -> Lists | None:
        """The file lists of a split, None to use the class folders.

        A set of lists exists if one of its two ``zero`` lists does. Raises DataError if ``files=lists`` and none exist.
        """
        if self.settings.files == "folders":
            return None
        known = self.place.layout.lists.get(name, ())
        for lists in known:
            if any((self.place.root / lists.path(modality, "zero")).is_file() for modality in ("sketch", "photo")):
                return lists
        if self.settings.files == "lists":
            wanted = known[0].path("sketch", "zero") if known else "none are published for it in this layout"
            raise DataError(
                f"Split {name!r} has no file lists below {self.place.root} ({wanted}): "
                "put them there, or pass --set files=folders."
            )
        return None

    def read(self, path: str) -> bytes:
        """The file at ``path`` below the dataset's folder."""
        return read_file(self.place.root, path)

    def stamp(self, paths: Iterable[str]) -> str:
        """Sizes and modification times of the files, because no hash of the images is published."""
        return stamp_of(self.place.root, paths)

    def whereabouts(self) -> Whereabouts:
        """The searched folders, the folder in use, and every supported layout."""
        place = self._find()
        looked = tuple(folder for folder, _ in self._candidates)
        return Whereabouts(
            looked=looked,
            root=place.root if place else None,
            layout=place.layout.name if place else "",
            expected={layout.name: f"{layout.tree} ({layout.source})" for layout in self.layouts},
            missing=() if place else missing_folders(self._candidates, self.layouts),
            archives=self.archives,
            nearby=() if place else tuple(_contents(folder) for folder in looked if folder.is_dir()),
        )

    def survey(self) -> Survey:
        """Images on disk of every class, and ignored entries."""
        assembly = Assembly(self.place, self.names, repeated=True)
        counts = {modality: assembly.count(modality) for modality in ("sketch", "photo")}
        foreign, stray = assembly.stray()
        return Survey(
            counts={"sketch": counts["sketch"], "photo": counts["photo"]},
            missing=(
                *(("sketch", name) for name in self.names.canonical if not counts["sketch"].get(name)),
                *(("photo", name) for name in self.names.canonical if not counts["photo"].get(name)),
            ),
            foreign=tuple(foreign),
            stray=tuple(stray),
        )

    def _find(self) -> Place | None:
        return find_place(self._candidates, self.layouts, self.names)

    @property
    def _root_or_data_root(self) -> Path:
        return Path(self.settings.root).expanduser() if self.settings.root else self.data_root

    @cached_property
    def _candidates(self) -> list[tuple[Path, bool]]:
        own = self._root_or_data_root if self.settings.root else None
        return candidates(self.data_root, self.titles, own)

    def _log_split(
        self, classes: ClassSplit, gallery_name: str, roles: Roles, assembly: Assembly, lists: Lists | None
    ) -> None:
        log.info(
            "%s: %s in layout %s, split %s from %s, gallery %s",
            self.name,
            self.place.root,
            self.place.layout.name,
            classes.name,
            "class folders" if lists is None else "published file lists",
            gallery_name,
        )
        if gallery_name != classes.gallery_name:
            log.warning("%s: %s", self.name, other_gallery(classes, gallery_name))
        if roles.rebuilt:
            log.warning(
                "%s: there is no file list of the %s; rebuilt from the class folders",
                self.name,
                " and ".join(roles.rebuilt),
            )
        foreign, stray = assembly.stray()
        for kind, ignored in (("folders that are no class", foreign), ("entries that are no image of a class", stray)):
            if ignored:
                needed = needed_for(ignored)
                log.warning("%s: ignored %s: %d (%s ...%s)", self.name, kind, len(ignored), ignored[0], needed)


def _only_classes(split: Split, classes: ClassSplit) -> Split:
    """The test images of some unseen classes of a split, without training images."""
    chosen = set(classes.unseen)
    queries, gallery = (
        tuple(item for item in items if item.class_name in chosen) for items in (split.queries, split.gallery)
    )
    trained = replace(split, queries=queries, gallery=gallery)  # the roles before the classes, which must contain them
    return replace(trained, name=classes.name, seen=(), unseen=classes.unseen, train=(), validation=())


def other_gallery(classes: ClassSplit, gallery_name: str) -> str:
    """The warning that a gallery is not the one of a split's publication."""
    return (
        f"gallery {gallery_name!r}, but published figures of split {classes.name} rank gallery "
        f"{classes.gallery_name!r} ({classes.published[f'gallery_{classes.gallery_name}']:,} photos)"
    )


def _join(folders: tuple[Path, ...]) -> str:
    return ", ".join(str(folder) for folder in folders)


def _contents(folder: Path) -> str:
    found = Walker(folder).listing("").folders
    shown = ", ".join(f"{name}/" for name in found[:SHOWN]) + (", ..." if len(found) > SHOWN else "")
    return f"{folder} holds {shown or 'no folders'}"
