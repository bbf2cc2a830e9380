"""Small datasets on disk for tests: every layout, from the project's own class lists, with tiny pictures."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from bench.datasets.published.class_splits import read_class_split
from bench.datasets.published.layouts import Layout
from bench.datasets.published.tree_dataset import TreeDataset

PER_CLASS = 2
SHARED = Path(__file__).resolve().parents[3] / "shared" / "protocols"  # not in the repository: published file lists
GLUED_OR_MISSPELT = {
    "space shuttle": "spacesshuttle",
    "wrist-watch": "wristwatching",
    "trombone": "tromobone",
    "chandelier": "chandeler",
    "giraffe": "griaffe",
    "diamond": "diamod",
    "spider": "spidar",
    "mouse (animal)": "mouse",
    "pipe (for smoking)": "pipe",
}
Spelling = Callable[[str], str]


def picture(kind: str = "PNG", size: tuple[int, int] = (12, 10), mode: str = "RGB", seed: int = 0) -> bytes:
    """The bytes of a small picture file."""
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(values).convert(mode).save(buffer, kind)
    return buffer.getvalue()


def as_published(name: str) -> str:
    return name


def with_underscores(name: str) -> str:
    """How SEM-PCYC's download script spells classes."""
    return name.replace(" ", "_").replace("-", "_")


def as_in_the_photo_archive(name: str) -> str:
    """How the folders of TU-Berlin's photo archive are spelt before anybody renames them."""
    glued = name.translate(str.maketrans("", "", " -()"))
    return GLUED_OR_MISSPELT.get(name, glued)


def spelling_of(layout: Layout, folder: str) -> Spelling:
    """The spelling that a folder of a layout has in circulation."""
    if layout.name == "release" and folder == "ImageResized":
        return as_in_the_photo_archive
    return with_underscores if layout.name in ("sem-pcyc", "ma-zs-sbir") else as_published


def plant(root: Path, kind: type[TreeDataset], layout: Layout, per_class: int = PER_CLASS) -> None:
    """Every class of a dataset in every folder of one layout, ``per_class`` images each, all different files."""
    classes = read_class_split(kind.split_names[0])
    for folder in (*layout.sketches, *layout.repeated, *layout.photos):
        spell = spelling_of(layout, folder)
        suffix = ".png" if folder in layout.sketches else ".JPEG"
        for position, name in enumerate((*classes.unseen, *classes.seen)):
            for number in range(per_class):
                file = f"{position} {number}{suffix}"
                if kind.name == "sketchy":  # its names tell which photo a sketch shows
                    file = f"n{position:08}_{number}{'-1' * (folder in layout.sketches)}{suffix}"
                write(root / folder / spell(name) / file, folder in layout.sketches)


def plant_qmul(root: Path, photos: int = 3) -> None:
    """A QMUL dataset: in each half ``photos`` photos and two sketches of each."""
    for half, first in (("train", 0), ("test", photos)):
        for number in range(first, first + photos):
            write(root / f"{half}B" / f"10{number}.png")
            for drawing in (1, 2):
                write(root / f"{half}A" / f"10{number}_{drawing}.png", sketch=True)


def write(path: Path, sketch: bool = False) -> None:
    """A picture of a few pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(TINY_SKETCH if sketch else TINY_PHOTO)


def plant_lists(root: Path, kind: type[TreeDataset], layout: Layout, split: str) -> None:
    """The file lists of a split as the publishers write them, for a tree that ``plant`` made."""
    classes = read_class_split(split)
    for lists in layout.lists.get(split, ())[:1]:
        for modality in ("sketch", "photo"):
            folders = layout.folders(modality, repeated=True)
            for role, names in (("train", classes.seen), ("zero", classes.unseen)):
                lines = [
                    f"{folder}/{name}/{image.name} {label}"
                    for folder in folders
                    for label, name in enumerate(names)
                    for image in sorted((root / folder / name).iterdir(), reverse=True)
                ]
                put_list(root / lists.path(modality, role), lines)


def put_list(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def touch_all(root: Path, paths: Iterable[str]) -> None:
    """Empty files at all these paths."""
    made: set[str] = set()
    for path in paths:
        folder = os.path.dirname(path)  # noqa: PTH120 (a quarter of a million times)
        if folder not in made:
            (root / folder).mkdir(parents=True, exist_ok=True)
            made.add(folder)
        os.close(os.open(root / path, os.O_CREAT | os.O_WRONLY))


TINY_SKETCH = picture("PNG", (4, 4), "L")
TINY_PHOTO = picture("JPEG", (4, 4))
