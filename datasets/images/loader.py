"""Load the images of a split, and stream them in batches from memory or from worker processes."""

from __future__ import annotations

import logging
import math
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from bench.datasets.base import Dataset
from bench.datasets.images.decode import decode, ink_to_square, to_square
from bench.devices import out_of_memory
from bench.errors import DataError
from bench.types import Item

log = logging.getLogger("bench.images")
A = TypeVar("A")
R = TypeVar("R")

CACHE_BYTES = 1 << 30  # decoded images up to this size stay in memory
PREFETCH = 4  # batches of a worker that are ready or in work
WINDOW = 16  # tasks per thread that are queued ahead


def load(dataset: Dataset, path: str, size: int) -> Tensor:
    """The image at ``path``, resized to a square: uint8 [3, size, size].

    Raises DataError with the path when it cannot be read or decoded.
    """
    return to_square(decode(dataset.read(path), path), size)


def map_in_order(function: Callable[[A], R], arguments: Iterable[A], workers: int) -> Iterator[R]:
    """Results of ``function`` in the order of ``arguments``, computed on ``workers`` threads (below 2: on this one).

    At most ``WINDOW`` tasks per thread are queued. A task's exception is raised in place of its result, and the queued
    tasks are cancelled.
    """
    if workers < 2:
        yield from map(function, arguments)
        return
    queue: deque[Future[R]] = deque()
    with ThreadPoolExecutor(max_workers=workers) as pool:
        try:
            for argument in arguments:
                queue.append(pool.submit(function, argument))
                if len(queue) >= workers * WINDOW:
                    yield queue.popleft().result()
            while queue:
                yield queue.popleft().result()
        finally:
            for task in queue:
                task.cancel()


class Images(TorchDataset[Tensor]):
    """Images of a list of items at one size: element i is uint8 [3, size, size]. ``stream`` reads many.

    ``workers`` is the number of decoding processes. ``ink_crop`` crops sketches to their ink; None takes the dataset's
    own setting.
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
        self._out_of_memory = False

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Tensor:
        item = self.items[index]
        if self.ink_crop and item.modality == "sketch":
            return ink_to_square(decode(self.dataset.read(item.path), item.path), self.size)
        return load(self.dataset, item.path, self.size)

    @property
    def fit_into_memory(self) -> bool:
        """Whether all decoded images take at most ``CACHE_BYTES`` and no allocation for them has failed."""
        return not self._out_of_memory and len(self) * 3 * self.size**2 <= CACHE_BYTES

    def stream(self, batches: Iterable[Sequence[int]]) -> Iterator[Tensor]:
        """The images of each batch of positions: uint8 [batch, 3, size, size], independent of ``workers``.

        Raises DataError with the path of a broken image.
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
        """Decode every image now if all fit into memory, else do nothing; ``progress`` gets (done, all)."""
        if self.fit_into_memory:
            self.preload(progress)

    def preload(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Decode every image into memory once; ``progress`` gets (done, all)."""
        if self._pixels is not None:
            return
        try:
            self._pixels = self._decode_all(progress)
        except Exception as error:
            if not out_of_memory(error):
                raise
            self._out_of_memory = True
            log.warning("Not enough memory for %d decoded images: every epoch decodes them again.", len(self))

    def _decode_all(self, progress: Callable[[int, int], None] | None) -> Tensor:
        """Every image: uint8 [images, 3, size, size]."""
        pixels = self._allocate(len(self))
        workers = self.workers or min(4, os.cpu_count() or 1)
        # Without this each thread resizes on further torch threads, which wait for each other.
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            for position, image in enumerate(map_in_order(self.__getitem__, range(len(self)), workers)):
                pixels[position] = image
                if progress is not None:
                    progress(position + 1, len(self))
        finally:
            torch.set_num_threads(threads)
        return pixels

    def stack(self, batch: Sequence[int]) -> Tensor:
        """Decode one batch: uint8 [batch, 3, size, size]."""
        pixels = self._allocate(len(batch))
        for row, position in enumerate(batch):
            pixels[row] = self[position]
        return pixels

    def _allocate(self, count: int) -> Tensor:
        # Decoded images are channels-last in memory: copying to the same layout takes a quarter of the time.
        shape = (count, 3, self.size, self.size)
        return torch.empty(shape, dtype=torch.uint8, memory_format=torch.channels_last)

    def _from_workers(self, batches: list[list[int]]) -> Iterator[Tensor]:
        largest = max(map(len, batches), default=0) * 3 * self.size**2
        shared = free_shared_memory() >= 2 * largest * self.workers * PREFETCH
        if not shared:
            log.warning("/dev/shm is too small for --workers %d: batches take a slower way.", self.workers)
        loader: DataLoader[Tensor | npt.NDArray[np.uint8] | DataError] = DataLoader(
            _Batches(self, shared),
            batch_sampler=batches,
            num_workers=self.workers,
            prefetch_factor=PREFETCH,
            collate_fn=_keep_batch,
        )
        for batch in loader:
            if isinstance(batch, DataError):
                raise batch
            yield torch.from_numpy(batch).permute(0, 3, 1, 2) if isinstance(batch, np.ndarray) else batch


class _Batches(TorchDataset[Tensor]):
    """What a worker process computes: a batch, or a DataError as a value.

    A raised exception would carry the worker's traceback in its message. A tensor reaches this process in shared
    memory, an array [batch, size, size, 3] through a pipe.
    """

    def __init__(self, images: Images, shared: bool) -> None:
        self.images, self.shared = images, shared

    def __len__(self) -> int:
        return len(self.images)

    def __getitems__(self, batch: list[int]) -> Tensor | npt.NDArray[np.uint8] | DataError:
        try:
            pixels = self.images.stack(batch)
            return pixels if self.shared else pixels.permute(0, 2, 3, 1).numpy()
        except DataError as error:
            return DataError(str(error))


def free_shared_memory() -> float:
    """Free bytes of shared memory, of which a container may have 64 MB; unlimited where it is no file system."""
    try:
        return shutil.disk_usage("/dev/shm").free
    except OSError:
        return math.inf


def _keep_batch(batch: Any) -> Any:
    return batch
