"""Embeddings on disk under the hash of network, settings and images, so that nothing is embedded twice.

Those that memory holds are one file each, a gallery that it does not hold is a folder of shards.
"""

from __future__ import annotations

import logging
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path

import torch

from bench.embeddings.binary_codes import Itq
from bench.embeddings.memmap import Shards, ShardWriter, open_side
from bench.errors import DataError, StorageError
from bench.io import read_tensors, write_tensors
from bench.types import Floats
from bench.write_files import ABANDONED_SECONDS

log = logging.getLogger("bench.training.embed")


@dataclass(frozen=True)
class EmbeddingCache:
    """Embeddings below a cache folder, by key."""

    cache_dir: Path

    def path(self, key: str) -> Path:
        """The file of an entry."""
        return self.cache_dir / "embeddings" / f"{key}.safetensors"

    def read(self, key: str) -> Floats | None:
        """float32 [images, width]; None when there is no entry, or one that is damaged, which is dropped."""
        path = self.path(key)
        found = read_tensors(path)
        if found is None or "embeddings" not in found[0]:
            if path.exists():
                log.warning("The cached embeddings %s are damaged: dropped, computed again.", path.name)
                with suppress(OSError):  # a cache that may only be read
                    path.unlink()
            return None
        vectors: Floats = found[0]["embeddings"].numpy()
        return vectors

    def write(self, key: str, vectors: Floats) -> None:
        """Keep ``vectors``; where the disk does not take them the run goes on without."""
        try:
            write_tensors(self.path(key), {"embeddings": torch.from_numpy(vectors)}, {})
        except StorageError as error:
            log.warning("The embeddings are not kept: %s", error)

    def read_quantiser(self, key: str) -> Itq | None:
        """What makes binary codes of an entry's embeddings; None when there is none, or one that is damaged."""
        found = read_tensors(self._quantiser(key))
        if found is None or found[0].keys() != {each.name for each in fields(Itq)}:
            return None
        return Itq(**{name: tensor.numpy() for name, tensor in found[0].items()})

    def write_quantiser(self, key: str, quantiser: Itq) -> None:
        """Keep a quantiser; where the disk does not take it the run goes on without."""
        tensors = {each.name: torch.from_numpy(getattr(quantiser, each.name)) for each in fields(Itq)}
        try:
            write_tensors(self._quantiser(key), tensors, {})
        except StorageError as error:
            log.warning("The binary codes' rotation is not kept: %s", error)

    def _quantiser(self, key: str) -> Path:
        return self.cache_dir / "embeddings" / f"{key}.itq.safetensors"

    def folder(self, key: str) -> Path:
        """The folder of an entry that is read in blocks."""
        return self.cache_dir / "embeddings" / key

    def read_shards(self, key: str) -> Shards | None:
        """The rows of an entry, to be read in blocks; None when there is none, or one that is damaged: it is dropped.

        Every file is compared with its SHA-256.
        """
        folder = self.folder(key)
        if not folder.is_dir():
            return None
        try:
            return open_side(folder, "gallery", deep=True)
        except DataError as error:
            log.warning("The cached embeddings %s are damaged: dropped, computed again (%s)", folder.name, error)
            shutil.rmtree(folder, ignore_errors=True)  # also of a cache that may only be read
            return None

    @contextmanager
    def writing_shards(self, key: str) -> Iterator[ShardWriter]:
        """A writer of the entry, which is there when the block ends; nothing is when it raises.

        Raises StorageError when the disk does not take it.
        """
        folder = self.folder(key)
        for other in folder.parent.glob(f"{key}.*.tmp"):  # of processes that were killed
            with suppress(OSError):
                if time.time() - other.stat().st_mtime > ABANDONED_SECONDS:
                    shutil.rmtree(other, ignore_errors=True)
        aside = folder.with_name(f"{key}.{uuid.uuid4().hex[:12]}.tmp")
        try:
            with ShardWriter(aside) as writer:
                yield writer
            # Another process may have written the same rows meanwhile, and may be reading them.
            if self.read_shards(key) is None:
                try:
                    aside.rename(folder)
                except OSError:
                    if not folder.is_dir():  # otherwise that process was faster
                        raise
        except OSError as error:
            raise StorageError(
                f"Embeddings cannot be kept in {folder.parent} ({error.strerror}): check the folder, or choose another "
                "by --cache-dir."
            ) from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)
