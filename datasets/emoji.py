"""The embedded dataset ``emoji``: line drawings and colour pictures of 406 everyday things, shipped with the project.

Sources, licences and limits: ``datasets/emoji/CARD.md``.
"""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from collections.abc import Mapping
from functools import cached_property
from importlib import resources
from typing import Any, ClassVar

from bench.datasets.base import DATASETS, Dataset
from bench.errors import DataError
from bench.fine_grained import FineGrainedSplit
from bench.types import Item, Modality, Split

ARCHIVE_SHA256 = "f447c57743ce2313a01379e53df20d73fa79ff3602c6decc9544f0a3dad81649"
FAMILY = "twemoji"  # pictures of the fine-grained gallery: a design family that has every class
MODALITY_OF_FOLDER: dict[str, Modality] = {"sketch": "sketch", "image": "photo"}


@DATASETS.register("emoji")
class Emoji(Dataset):
    """406 classes, 313 of them seen; 1,869 sketches and 2,618 photos (clip-art in the photo modality) of 128x128."""

    name = "emoji"
    summary = "Embedded: 406 classes of line drawings and colour pictures from emoji sets (313 seen, 93 unseen)."
    licence = "per drawing: CC BY 4.0, CC BY-SA 4.0, MIT, Apache 2.0, OFL 1.1, Symbola (see datasets/emoji/CARD.md)"
    split_names = ("emoji-93", "emoji-93-fine", "emoji-93-fine-subgroup")
    caution = (
        "`emoji` holds designers' icons and clip-art, not free-hand sketches and photographs: "
        "its figures do not compare with those of Sketchy, TU-Berlin or QuickDraw."
    )
    recipe: ClassVar[Mapping[str, Any]] = {
        "image_size": 96,
        "backbone": "tf_efficientnet_lite0",
        "epochs": 4.0,
        "batch_size": 64,
        "optimiser": "adamw",
        "lr": 3e-4,
        "head_lr": 3e-3,
        "weight_decay": 1e-4,
        "schedule": "one-cycle",
        "frozen_blocks": 5,
        "grayscale": 0.5,
        "rank_by": "feature",
        "initialisation": "random",  # SAKE's scores lower on held-out seen classes: docs/results/emoji.md
    }

    def load_split(self, name: str) -> Split:
        """Classes and roles of ``split.csv``; the canonical order is that of the member names."""
        roles = {row["class"]: row["split"] for row in self._rows("split.csv")}
        classes = {role: tuple(sorted(c for c, r in roles.items() if r == role)) for role in ("seen", "unseen")}
        items = [self._item(member) for member in sorted(self._archive.namelist())]
        unknown = sorted({item.class_name for item in items} - roles.keys())
        if unknown:
            raise DataError(f"The embedded archive holds class {unknown[0]!r}, which split.csv does not list.")
        unseen = set(classes["unseen"])
        if name != self.split_names[0]:
            return self._fine_grained(name, items, unseen)
        return Split(
            dataset=self.name,
            name=name,
            seen=classes["seen"],
            unseen=classes["unseen"],
            train=tuple(item for item in items if item.class_name not in unseen),
            validation=(),
            queries=tuple(item for item in items if item.class_name in unseen and item.modality == "sketch"),
            gallery=tuple(item for item in items if item.class_name in unseen and item.modality == "photo"),
            content=f"sha256:{ARCHIVE_SHA256}",
        )

    def _fine_grained(self, name: str, items: list[Item], unseen: set[str]) -> Split:
        """Instances are the classes of ``emoji-93``, classes are their Unicode subgroups: seen and unseen ones.

        The gallery holds one picture of each unseen instance, all of one design family; the other pictures of unseen
        instances are not used.
        """
        subgroups = {row["class"]: row["subgroup"] for row in self._rows("classes.csv")}
        named = [Item(each.path, subgroups[each.class_name], each.modality, each.class_name) for each in items]
        test = [item for item in named if item.instance in unseen]
        train = [item for item in named if item.instance not in unseen]
        return FineGrainedSplit(
            dataset=self.name,
            name=name,
            seen=tuple(sorted({item.class_name for item in train})),
            unseen=tuple(sorted({item.class_name for item in test})),
            train=tuple(train),
            validation=(),
            queries=tuple(item for item in test if item.modality == "sketch"),
            gallery=tuple(item for item in test if item.path.endswith(f"/{FAMILY}.webp")),
            content=f"sha256:{ARCHIVE_SHA256}",
            gallery_name=FAMILY,
            grouped=name.endswith("-subgroup"),
        )

    def read(self, path: str) -> bytes:
        """The member ``path`` of the archive."""
        try:
            return self._archive.read(path)
        except (KeyError, zipfile.BadZipFile) as error:
            raise DataError(f"The embedded archive has no readable member {path}: reinstall the project.") from error

    def __getstate__(self) -> dict[str, Any]:
        """Without the open archive, because the dataset is pickled to loader processes that are not forked."""
        return {name: value for name, value in self.__dict__.items() if name != "_archive"}

    _opened: ClassVar[zipfile.ZipFile | None] = None

    @cached_property
    def _archive(self) -> zipfile.ZipFile:
        # Opened once a process; in memory (7.5 MB), because forked processes would share the position of an open file.
        content = self._file("emoji.zip")
        found = hashlib.sha256(content).hexdigest()
        if found != ARCHIVE_SHA256:
            raise DataError(
                f"The embedded archive datasets/emoji/emoji.zip is damaged (SHA-256 {found[:12]}..., "
                f"expected {ARCHIVE_SHA256[:12]}...): restore it from the repository or reinstall the project."
            )
        if Emoji._opened is None:
            Emoji._opened = zipfile.ZipFile(io.BytesIO(content))
        return Emoji._opened

    def _rows(self, name: str) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self._file(name).decode())))

    def _file(self, name: str) -> bytes:
        try:
            return (resources.files("bench.datasets") / "emoji" / name).read_bytes()
        except OSError as error:
            raise DataError(
                f"The embedded file datasets/emoji/{name} is missing or unreadable: "
                "restore it from the repository or reinstall the project."
            ) from error

    @staticmethod
    def _item(member: str) -> Item:
        folder, class_name, _ = member.split("/")
        return Item(path=member, class_name=class_name, modality=MODALITY_OF_FOLDER[folder])
