"""A dataset without files: outlines and coloured areas of geometric shapes, drawn when they are read.

It shows the interface of a dataset. For a dataset in folders use `bench run -d folder` or a ``TreeDataset``.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from PIL import Image, ImageDraw

from bench.datasets.base import DATASETS, Dataset
from bench.errors import DataError
from bench.types import Item, Modality, Split

SIDE = 96  # pixels of an image
SKETCHES, PHOTOS = 6, 8  # images of a class
# Class name: corners, and the relative radius of every second corner.
SEEN = {
    "triangle": (3, 1.0),
    "square": (4, 1.0),
    "hexagon": (6, 1.0),
    "disc": (40, 1.0),
    "star of 4": (8, 0.4),
    "star of 6": (12, 0.5),
    "star of 9": (18, 0.7),
    "splinter": (6, 0.15),
}
UNSEEN = {"pentagon": (5, 1.0), "star of 5": (10, 0.4), "star of 8": (16, 0.6), "rhombus": (4, 0.45)}
SHAPES = {**SEEN, **UNSEEN}


@DATASETS.register("shapes")
class Shapes(Dataset):
    """12 classes, 8 of them seen, with 6 sketches and 8 photos each."""

    name = "shapes"
    summary = "Example of a plug-in: 12 geometric shapes (8 seen, 4 unseen), drawn on the fly."
    licence = "CC0"
    split_names = ("shapes-4",)
    caution = "`shapes` is drawn by a formula: its scores show only that a method runs."
    recipe: ClassVar[Mapping[str, Any]] = {"image_size": 64, "backbone": "tf_efficientnet_lite0", "batch_size": 32}

    def load_split(self, name: str) -> Split:
        """All images of the seen classes train, those of the unseen ones test."""
        seen = [item for class_name in sorted(SEEN) for item in _items(class_name)]
        unseen = [item for class_name in sorted(UNSEEN) for item in _items(class_name)]
        return Split(
            dataset=self.name,
            name=name,
            seen=tuple(sorted(SEEN)),
            unseen=tuple(sorted(UNSEEN)),
            train=tuple(seen),
            validation=(),
            queries=tuple(item for item in unseen if item.modality == "sketch"),
            gallery=tuple(item for item in unseen if item.modality == "photo"),
            content="drawn 1",  # increase when drawing changes, so that the fingerprint changes
        )

    def read(self, path: str) -> bytes:
        """The picture as a PNG file; raises DataError for an unknown path."""
        modality, _, rest = path.partition("/")
        class_name = rest.partition("/")[0]
        if class_name not in SHAPES or path not in {item.path for item in _items(class_name)}:
            raise DataError(f"Dataset 'shapes' has no image {path}.")
        buffer = io.BytesIO()
        _draw(class_name, path, filled=modality == "photo").save(buffer, "PNG")
        return buffer.getvalue()


def _items(class_name: str) -> list[Item]:
    counts: tuple[tuple[Modality, int], ...] = (("sketch", SKETCHES), ("photo", PHOTOS))
    return [
        Item(f"{modality}/{class_name}/{number}.png", class_name, modality)
        for modality, count in counts
        for number in range(count)
    ]


def _draw(class_name: str, path: str, *, filled: bool) -> Image.Image:
    """A shape turned, moved and scaled at random; the path is the seed, so that an image never changes."""
    generator = np.random.default_rng(list(hashlib.sha256(path.encode()).digest()))
    corners, inner = SHAPES[class_name]
    turn, radius = generator.uniform(0, math.tau), generator.uniform(0.28, 0.4) * SIDE
    x, y = generator.uniform(0.45, 0.55, size=2) * SIDE
    points = []
    for corner in range(corners):
        angle, reach = turn + math.tau * corner / corners, radius * (inner if corner % 2 else 1.0)
        points.append((x + reach * math.cos(angle), y + reach * math.sin(angle)))
    colours = [tuple(int(channel) for channel in generator.integers(low, low + 90, size=3)) for low in (150, 20)]
    picture = Image.new("RGB", (SIDE, SIDE), colours[0] if filled else "white")
    pen = ImageDraw.Draw(picture)
    if filled:
        pen.polygon(points, fill=colours[1])
    else:
        pen.line([*points, points[0]], fill="black", width=2)
    return picture
