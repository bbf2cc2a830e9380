"""A small dataset of real pictures in folders, cut from ``emoji``: what a user's own folder looks like."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from bench.datasets.emoji import Emoji

CLASSES = 14
IMAGES = 3  # of each class and modality
SMALL = ("--backbone", "test_efficientnet", "--weights", "none")  # a network of 0.4 million random numbers


def write_folder(root: Path, classes: int = CLASSES, images: int = IMAGES) -> Path:
    """``sketch/<class>/*`` and ``photo/<class>/*`` below ``root`` for the first classes with so many of both."""
    dataset = Emoji(root)
    split = dataset.split()
    items = sorted((*split.train, *split.queries, *split.gallery), key=lambda item: item.path)
    counts = Counter((item.class_name, item.modality) for item in items)
    names = sorted({item.class_name for item in items})
    chosen = [n for n in names if min(counts[n, "sketch"], counts[n, "photo"]) >= images][:classes]
    taken: Counter[tuple[str, str]] = Counter()
    for item in items:
        key = (item.class_name, item.modality)
        if item.class_name in chosen and taken[key] < images:
            taken[key] += 1
            folder = root / item.modality / item.class_name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / Path(item.path).name).write_bytes(dataset.read(item.path))
    return root


def words_of(root: Path, *more: str, device: str = "cpu") -> list[str]:
    """The words of a call of ``bench run`` on such a folder, with settings that take a second."""
    settings = [f"root={root}", "draw=4", "batch_size=16", "image_size=32", "frozen_blocks=5", "per_class=2"]
    backbone = [] if "--backbone" in more else ["--backbone", "tf_efficientnet_lite0"]
    words = [word for each in settings for word in ("--set", each)]
    return ["-d", "folder", *words, *backbone, "--device", device, *more]
