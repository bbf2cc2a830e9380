"""A cache of embeddings by the hash of network, settings and images.

An entry is a file; for a gallery larger than memory it is a folder of shards.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch

from bench.embeddings.memmap import Shards, ShardWriter, open_side
from bench.errors import DataError, StorageError
from bench.io import read_tensors, remove_abandoned, temporary_beside, write_tensors
from bench.types import Floats

log = logging.getLogger("bench.training.embed")


@dataclass(frozen=True)
class EmbeddingCache:
    """Embeddings in a cache folder, by key. Entries that are damaged are removed; a full disk is a warning."""

    cache_dir: Path

    def path(self, key: str) -> Path:
        """The file of an entry."""
        return self.cache_dir / "embeddings" / f"{key}.safetensors"

    def read(self, key: str) -> Floats | None:
        """float32 [images, width]; None without a whole entry."""
        found = self.read_arrays(key)
        return None if found is None else found["embeddings"]

    def write(self, key: str, vectors: Floats) -> None:
        """Write ``vectors`` float32 [images, width]."""
        self.write_arrays(key, {"embeddings": vectors})

    def read_arrays(self, key: str) -> dict[str, npt.NDArray[Any]] | None:
        """The arrays of an entry, by name; None without a whole entry."""
        content = read_tensors(self.path(key))
        if content is not None:
            return {name: tensor.numpy() for name, tensor in content[0].items()}
        if self.path(key).exists():
            log.warning("The cached embeddings %s are damaged: dropped, computed again.", self.path(key).name)
            with suppress(OSError):  # the cache may be read-only
                self.path(key).unlink()
        return None

    def write_arrays(self, key: str, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Write arrays by name."""
        try:
            write_tensors(self.path(key), {name: torch.from_numpy(array) for name, array in arrays.items()}, {})
        except StorageError as error:
            log.warning("The embeddings are not kept: %s", error)

    def folder(self, key: str) -> Path:
        """The folder of an entry of shards."""
        return self.cache_dir / "embeddings" / key

    def read_shards(self, key: str) -> Shards | None:
        """The vectors of an entry, every file compared with its SHA-256; None without a whole entry."""
        folder = self.folder(key)
        if not folder.is_dir():
            return None
        try:
            return open_side(folder, "gallery", deep=True)[""]
        except DataError as error:
            log.warning("The cached embeddings %s are damaged: dropped, computed again (%s)", folder.name, error)
            shutil.rmtree(folder, ignore_errors=True)  # the cache may be read-only
            return None

    @contextmanager
    def writing_shards(self, key: str) -> Iterator[ShardWriter]:
        """A writer of an entry, which exists when the block ends, and does not if it raises.

        Raises StorageError when it cannot be written.
        """
        folder = self.folder(key)
        aside = temporary_beside(folder)
        try:
            remove_abandoned(folder)
            with ShardWriter(aside) as writer:
                yield writer
            # Another process may have written the same rows, and may be reading them.
            if self.read_shards(key) is None:
                try:
                    aside.rename(folder)
                except OSError:
                    if not folder.is_dir():  # otherwise another process was faster
                        raise
        except OSError as error:
            raise StorageError(
                f"Embeddings cannot be kept in {folder.parent} ({error.strerror}): check the folder, or choose another "
                "by --cache-dir."
            ) from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)
