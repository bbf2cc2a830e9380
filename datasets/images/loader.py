"""Images of a split: decoded when asked for or held in memory, streamed in batches by worker processes."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from bench.datasets.base import Dataset
from bench.datasets.images.decode import decode, ink_to_square, to_square
from bench.datasets.images.parallel import in_order
from bench.devices import out_of_memory
from bench.errors import DataError
from bench.types import Item

log = logging.getLogger("bench.images")

CACHE_BYTES = 1 << 30  # decoded images up to this size stay in memory, so that later epochs cost no decoding


def load(dataset: Dataset, path: str, size: int) -> Tensor:
    """The image at ``path``, resized to a square whatever its shape: uint8 [3, size, size].

    Raises DataError that names a file which cannot be read or decoded.
    """
    return to_square(decode(dataset.read(path), path), size)


class Images(TorchDataset[Tensor]):
    """Images of a list of items at one size, decoded when asked for, or once where all of them fit into memory.

    Element i is uint8 [3, size, size]. ``stream`` is the way to read many. ``workers`` is the number of decoding
    processes, 0 for none. ``ink_crop`` cuts sketches to the box of their ink; None takes the dataset's own setting.
    """

    def __init__(
        self, dataset: Dataset, items: Sequence[Item], size: int, *, workers: int = 0, ink_crop: bool | None = None
    ) -> None:
        self.dataset = dataset
        self.items = items
        self.size = size
        self.workers = workers
        self.ink_crop = bool(getattr(dataset.settings, "ink_crop", False)) if ink_crop is None else ink_crop
        self._pixels: Tensor | None = None
        self._too_many = False

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Tensor:
        item = self.items[index]
        if self.ink_crop and item.modality == "sketch":
            return ink_to_square(decode(self.dataset.read(item.path), item.path), self.size)
        return load(self.dataset, item.path, self.size)

    @property
    def fit_into_memory(self) -> bool:
        """Whether all of them, decoded, take no more than ``CACHE_BYTES``, and memory did not fail to hold them."""
        return not self._too_many and len(self) * 3 * self.size**2 <= CACHE_BYTES

    def stream(self, batches: Iterable[Sequence[int]]) -> Iterator[Tensor]:
        """The images of each batch of positions, in that order: uint8 [batch, 3, size, size].

        Order and pixels do not depend on ``workers``. Raises DataError that names a broken image.
        """
        if self.fit_into_memory:
            self.preload()
        if self._pixels is not None:
            for batch in batches:
                yield self._pixels[torch.as_tensor(batch)]
        elif self.workers == 0:
            for batch in batches:
                yield self.stack(batch)
        else:
            yield from self._from_workers([list(batch) for batch in batches])

    def warm(self, progress: Callable[[int, int], None]) -> None:
        """Decode every image now where all of them fit into memory, so that what follows need not; else nothing."""
        if self.fit_into_memory:
            self.preload(progress)

    def preload(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Decode every image into memory once; ``progress`` is told (done, all)."""
        if self._pixels is not None:
            return
        try:
            self._pixels = self._decoded(progress)
        except Exception as error:
            if not out_of_memory(error):
                raise
            self._too_many = True
            log.warning("Memory did not suffice to hold %d decoded images: every epoch decodes them anew.", len(self))

    def _decoded(self, progress: Callable[[int, int], None] | None) -> Tensor:
        """Every image: uint8 [images, 3, size, size]."""
        pixels = self._room_for(len(self))
        workers = self.workers or min(4, os.cpu_count() or 1)
        # Each of the threads would have torch resize its picture on threads of its own, which wait for each other.
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            for position, image in enumerate(in_order(self.__getitem__, range(len(self)), workers)):
                pixels[position] = image
                if progress is not None:
                    progress(position + 1, len(self))
        finally:
            torch.set_num_threads(threads)
        return pixels

    def stack(self, batch: Sequence[int]) -> Tensor:
        """One batch, decoded now: uint8 [batch, 3, size, size]."""
        pixels = self._room_for(len(batch))
        for row, position in enumerate(batch):
            pixels[row] = self[position]
        return pixels

    def _room_for(self, count: int) -> Tensor:
        # Channels last in memory is how decoders and resizing leave an image: copying it in costs a quarter.
        shape = (count, 3, self.size, self.size)
        return torch.empty(shape, dtype=torch.uint8, memory_format=torch.channels_last)

    def _from_workers(self, batches: list[list[int]]) -> Iterator[Tensor]:
        loader: DataLoader[Tensor | DataError] = DataLoader(
            _WholeBatches(self),
            batch_sampler=batches,
            num_workers=self.workers,
            prefetch_factor=4,
            collate_fn=_as_it_is,
        )
        for found in loader:
            if isinstance(found, DataError):
                raise found
            yield found


class _WholeBatches(TorchDataset[Tensor]):
    """What a worker process computes: a batch, or the user's mistake as a value.

    Raised in a worker, an exception would reach the user with the worker's traceback as its message.
    """

    def __init__(self, images: Images) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitems__(self, batch: list[int]) -> Tensor | DataError:
        try:
            return self.images.stack(batch)
        except DataError as error:
            return DataError(str(error))


def _as_it_is(batch: Any) -> Any:
    return batch
