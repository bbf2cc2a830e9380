"""The images of a split as a dataset of torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image
from torch.utils.data import Dataset as TorchDataset

from bench.datasets.base import Dataset
from bench.datasets.images.decode import decode
from bench.errors import UsageError
from bench.types import Item


class TorchImages(TorchDataset[tuple[Any, int]]):
    """Pairs of an image and its label, in the order of ``items``; ``labels`` has the label of each."""

    def __init__(
        self, dataset: Dataset, items: Sequence[Item], labels: list[int], transform: Callable[[Any], Any] | None
    ) -> None:
        if getattr(dataset.settings, "ink_crop", False):
            raise UsageError("torch_dataset gives whole images: leave ink_crop out, and crop in the transform.")
        self.dataset, self.items, self.labels, self.transform = dataset, items, labels, transform

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, position: int) -> tuple[Any, int]:
        path = self.items[position].path
        pixels = decode(self.dataset.read(path), path)  # uint8 [3, height, width]
        picture = Image.fromarray(pixels.permute(1, 2, 0).numpy())
        return picture if self.transform is None else self.transform(picture), self.labels[position]
