"""Embeddings on disk under the hash of network, settings and images, so that nothing is embedded twice."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from bench.errors import StorageError
from bench.files import read_tensors, write_tensors
from bench.types import Floats

log = logging.getLogger("bench.embedding")


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
