"""Sketchy Extended: 125 classes, sketches of Sketchy, photos of Sketchy and its extension.

The layout ``sake`` has published file lists; ``datasets/published/file_lists.py`` reads them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from bench.datasets.base import DATASETS
from bench.datasets.published.class_splits import ClassSplit
from bench.datasets.published.instances import by_class, fine_grained, readings, stem
from bench.datasets.published.layouts import Layout, Lists
from bench.datasets.published.tree_dataset import TreeDataset, TreeSettings
from bench.errors import DataError
from bench.settings.run_settings import setting
from bench.types import Item, Split

# Published file lists; {} is train, test or zero.
SKETCH_LIST = "sketch_tx_000000000000_ready_filelist_{}.txt"
PHOTO_LIST = "all_photo_filelist_{}.txt"
ORIGINAL = re.compile(r"n\d{8}_\d+")  # photos that sketches were drawn from; those of EXTEND are named ext_<number>


def _lists(*folders: str) -> tuple[Lists, ...]:
    return tuple(Lists(f"{folder}/{SKETCH_LIST}", f"{folder}/{PHOTO_LIST}") for folder in folders)


@dataclass(frozen=True)
class SketchySettings(TreeSettings):
    """Settings of Sketchy.

    ``photos`` selects the gallery and the training photos. ``full``: EXTEND and the originals, most of which are also
    in EXTEND. ``unique``: EXTEND alone. ``auto``: the gallery of the split's publication, or ``unique`` without a
    folder of originals.
    """

    photos: Literal["auto", "full", "unique"] = setting(
        "auto", "the gallery: with Sketchy's originals, or EXTEND alone"
    )


@DATASETS.register("sketchy")
class Sketchy(TreeDataset):
    """75,481 sketches and 73,002 photos, 85,502 with the originals repeated; layouts and counts: docs/datasets.md."""

    name = "sketchy"
    summary = "Sketchy Extended: 125 classes; three class splits, galleries full and unique; fine-grained splits."
    licence = "Sketchy: research use, see the dataset's site; the photos are ImageNet's and Flickr's"
    addresses = ("https://sketchy.eye.gatech.edu",)
    split_names = (
        *("sketchy-25", "sketchy-21", "sketchy-25-sempcyc"),
        *(*readings("sketchy-25"), *readings("sketchy-21")),
    )
    titles = ("Sketchy", "Sketchy_Extended", "SketchyExt", "Sketchy_Ext")
    archives = (
        "dataset.zip of SAKE, also used by ZSE-SBIR (Sketchy/, TUBerlin/ with file lists)",
        "the 256x256 release of Sketchy (.7z) and EXTEND_image_sketchy (.zip): SEM-PCYC, doodle2search",
        "the train/val archives of ACNet and ClipPrompt",
    )
    Settings = SketchySettings
    layouts = (
        Layout(
            name="sake",
            source="SAKE and ZSE-SBIR archives, also DSN, TCN, ICFRR",
            sketches=("256x256/sketch/tx_000000000000_ready",),
            photos=("EXTEND_image_sketchy_ready",),
            repeated=("256x256/photo/tx_000000000000_ready",),
            lists={"sketchy-25": _lists("zeroshot1"), "sketchy-21": _lists("zeroshot0", "zeroshot2")},
        ),
        Layout(
            name="sem-pcyc",
            source="download_datasets.sh of SEM-PCYC and doodle2search; MA-ZS-SBIR",
            sketches=("sketch/tx_000000000000",),
            photos=("extended_photo",),
            repeated=("photo/tx_000000000000",),
        ),
        Layout(
            name="release",
            source="the two archives as they unpack",
            sketches=("256x256/sketch/tx_000000000000",),
            photos=("EXTEND_image_sketchy",),
            repeated=("256x256/photo/tx_000000000000",),
        ),
        Layout(
            name="doodle2search",
            source="doodle2search src/data/sketchy_extended.py lines 86-127, untransformed sketches alone",
            sketches=("Sketchy/sketch/tx_000000000000",),
            photos=("EXTEND_image_sketchy",),
            repeated=("Sketchy/photo/tx_000000000000",),
        ),
        Layout(
            name="acnet",
            source="ACNet and ClipPrompt",
            sketches=("train/sketch", "val/sketch"),
            photos=("train/photo", "val/photo"),
        ),
        Layout(name="plain", source="Sketch_LVM", sketches=("sketch",), photos=("photo",)),
    )

    def gallery_name(self, classes: ClassSplit) -> str:
        """The gallery of the settings; raises DataError for ``full`` if the originals are missing."""
        photos: str = self.settings.photos
        if photos == "full" and not self.place.has_repeated:
            folders = ", ".join(self.place.layout.repeated) or "the layout 'sake'"
            raise DataError(
                f"Gallery 'full' of Sketchy needs the original photos beside EXTEND ({folders} below "
                f"{self.place.root}): add them, or pass --set photos=unique."
            )
        if photos == "auto":
            return classes.gallery_name if self.place.has_repeated else "unique"
        return photos

    def load_split(self, name: str) -> Split:
        """As ``TreeDataset.load_split``; a fine-grained split has the original photos and the sketches of them.

        A sketch belongs to the photo whose name stands before the first hyphen of its own. Raises DataError for a
        sketch without its photo, and for a photo in both a seen and an unseen class.
        """
        base = by_class(name)
        split = super().load_split(base)
        return split if base == name else self._fine_grained(split, name)

    def load_available(self, name: str) -> Split:
        """As ``TreeDataset.load_available``, also of a fine-grained split."""
        base = by_class(name)
        split = super().load_available(base)
        return split if base == name else self._fine_grained(split, name + split.name.removeprefix(base))

    @staticmethod
    def _fine_grained(split: Split, name: str) -> Split:
        split = replace(split, train=_originals(split.train), gallery=_originals(split.gallery))
        trained = {stem(item.path).partition("-")[0]: item for item in split.train}
        for item in split.gallery:
            if (other := trained.get(stem(item.path))) is not None:
                raise DataError(
                    f"Photo {stem(item.path)} is in unseen class {item.class_name!r}, and {other.path} in seen class "
                    f"{other.class_name!r} shows it, too: remove it from one of them."
                )
        return fine_grained(split, name, lambda item: stem(item.path).partition("-")[0], gallery_name="originals")


def _originals(items: tuple[Item, ...]) -> tuple[Item, ...]:
    """The sketches, and of the photos the originals, each once, although EXTEND repeats them."""
    known: dict[tuple[str, str], str] = {}
    return tuple(
        item
        for item in items
        if item.modality == "sketch"
        or (
            ORIGINAL.fullmatch(name := stem(item.path))
            and known.setdefault((item.class_name, name), item.path) == item.path
        )
    )
