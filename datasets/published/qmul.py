"""QMUL's fine-grained datasets of one class: numbered sketches of each photo, half a dozen ways to keep them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from bench.datasets.base import Dataset, Survey, Whereabouts
from bench.datasets.published.files import Walker, read_file, stamp_of
from bench.datasets.published.instances import stem
from bench.datasets.published.layouts import candidates
from bench.datasets.published.tree_dataset import PUBLISHED_RECIPE
from bench.errors import DataError, reason
from bench.fine_grained import FineGrainedSplit
from bench.settings.run_settings import setting
from bench.types import MODALITIES, Item, Modality, Relevance, Split

SIDES = ("train", "test")
FOLDERS: dict[str, dict[Modality, str]] = {
    "train": {"sketch": "trainA", "photo": "trainB"},
    "test": {"sketch": "testA", "photo": "testB"},
}


@dataclass(frozen=True)
class QmulSettings:
    """Settings of a QMUL dataset: ``root`` is its folder; empty searches below the data root."""

    root: str = setting("", "the dataset's folder; empty: search below the data root")
    ink_crop: bool = setting(False, "crop each sketch to its ink")


class QmulDataset(Dataset):
    """Base class: sketch ``<photo>_<number>.png`` shows photo ``<photo>.png``, and training and test share one class.

    Layout ``sides``: folders trainA, testA (sketches), trainB, testB (photos). Layout ``lists``: folders
    ``<title>_sketch`` and ``<title>_photo``, and photo_train.txt and photo_test.txt with one photo a line.
    ``title`` is the usual name of the folder.
    """

    title: ClassVar[str]
    class_name: ClassVar[str]
    Settings = QmulSettings
    recipe: ClassVar[dict[str, Any]] = {**PUBLISHED_RECIPE, "positives": "instance"}
    caution = "Fine-grained, not zero-shot: training and test hold other instances of one class."

    @classmethod
    def relevance_of(cls, split_name: str) -> Relevance:
        """Every split is fine-grained."""
        return "instance"

    def load_split(self, name: str) -> Split:
        """The published halves; names in code-point order."""
        root, lists = self._place
        items = self._from_lists(root) if lists else self._from_sides(root)
        photos = {item.instance for item in items["test"] if item.modality == "photo"}
        for item in items["test"]:
            if item.instance not in photos:
                raise DataError(
                    f"Sketch {item.path} shows photo {item.instance!r}, which is missing: restore it, or remove the "
                    "sketch."
                )
        return FineGrainedSplit(
            dataset=self.name,
            name=name,
            seen=(self.class_name,),
            unseen=(self.class_name,),
            train=tuple(items["train"]),
            validation=(),
            queries=tuple(item for item in items["test"] if item.modality == "sketch"),
            gallery=tuple(item for item in items["test"] if item.modality == "photo"),
        )

    def read(self, path: str) -> bytes:
        """The file at ``path`` below the dataset's folder."""
        return read_file(self._place[0], path)

    def stamp(self, paths: Iterable[str]) -> str:
        """Sizes and modification times of the files."""
        return stamp_of(self._place[0], paths)

    def whereabouts(self) -> Whereabouts:
        """The searched folders, and both layouts."""
        found = self._find()
        return Whereabouts(
            looked=tuple(folder for folder, _ in self._candidates),
            root=found[0] if found else None,
            layout="" if not found else "lists" if found[1] else "sides",
            expected={
                "sides": "trainA/*, testA/* (sketches), trainB/*, testB/* (photos) (DLI-Net and others)",
                "lists": f"{self.title}_sketch/*, {self.title}_photo/*, photo_train.txt, photo_test.txt (TC-Net)",
            },
            archives=(f"{self.title} of QMUL's SketchX group; sketches as pictures, not as pickled coordinates",),
        )

    def survey(self) -> Survey:
        """Images on disk; lists are not read."""
        root, lists = self._place
        folders = [f"{self.title}_{each}" for each in ("sketch", "photo")] if lists else []
        counts: dict[Modality, dict[str, int]] = {}
        for number, modality in enumerate(MODALITIES):
            own = folders[number : number + 1] or [FOLDERS[side][modality] for side in SIDES]
            counts[modality] = {self.class_name: sum(len(Walker(root).listing(each).images) for each in own)}
        return Survey(counts)

    def _from_sides(self, root: Path) -> dict[str, list[Item]]:
        walker = Walker(root)
        return {
            side: [
                self._item(f"{folder}/{image}", modality)
                for modality, folder in FOLDERS[side].items()
                for image in walker.listing(folder).images
            ]
            for side in SIDES
        }

    def _from_lists(self, root: Path) -> dict[str, list[Item]]:
        walker = Walker(root)
        side_of: dict[str, str] = {}
        for side in SIDES:
            try:
                lines = (root / f"photo_{side}.txt").read_text(encoding="utf-8-sig").split()
            except (OSError, UnicodeDecodeError) as error:
                raise DataError(
                    f"List photo_{side}.txt in {root} cannot be read ({reason(error)}): restore it."
                ) from error
            for line in lines:
                if side_of.setdefault(stem(line), side) != side:
                    raise DataError(f"Photo {stem(line)!r} is in both lists of {root}: remove it from one.")
        items = [
            self._item(f"{self.title}_{modality}/{image}", modality)
            for modality in MODALITIES
            for image in walker.listing(f"{self.title}_{modality}").images
        ]
        missing = sorted(side_of.keys() - {item.instance for item in items if item.modality == "photo"})
        if missing:
            raise DataError(
                f"The lists of {root} name {len(missing)} missing photos, first {missing[0]!r}: restore them."
            )
        return {side: [item for item in items if side_of.get(item.instance) == side] for side in SIDES}

    def _item(self, path: str, modality: Modality) -> Item:
        own = stem(path)
        return Item(path, self.class_name, modality, own if modality == "photo" else own.rpartition("_")[0] or own)

    @cached_property
    def _place(self) -> tuple[Path, bool]:
        found = self._find()
        if found is None:
            where = self.whereabouts()
            looked = ", ".join(map(str, where.looked)) or f"{self.data_root} for a folder {self.title}"
            raise DataError(
                f"Dataset {self.name!r} was not found (searched {looked}): unpack it to {self.data_root / self.title} "
                f"as {where.expected['sides']}, or as {where.expected['lists']}, or pass --set root=PATH."
            )
        return found

    @cached_property
    def _candidates(self) -> list[tuple[Path, bool]]:
        own = Path(self.settings.root).expanduser() if self.settings.root else None
        return [each for each in candidates(self.data_root, (self.title,), own) if each[1]]

    def _find(self) -> tuple[Path, bool] | None:
        """The dataset's folder, and whether its halves stand in lists."""
        for folder, _ in self._candidates:
            if all((folder / each).is_dir() for half in FOLDERS.values() for each in half.values()):
                return folder, False
            if all((folder / f"{self.title}_{each}").is_dir() for each in ("sketch", "photo")):
                return folder, True
        return None
