"""Trained networks on disk: what a run's training left, under the key of everything that could change it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from bench.distributed.process_group import ALONE, Processes
from bench.io import digest_of, write_tensors
from bench.methods.base import Method
from bench.training.state import Checkpoint, load_exactly, read_file


@dataclass(frozen=True)
class Networks:
    """Trained networks and unfinished trainings below a cache folder, by training key."""

    cache_dir: Path

    def path(self, key: str) -> Path:
        """The file of a trained network."""
        return self.cache_dir / "networks" / f"{key}.safetensors"

    def checkpoint(self, key: str) -> Checkpoint:
        """The checkpoint of an unfinished training."""
        return Checkpoint(self.cache_dir / "checkpoints" / f"{key}.safetensors", key)

    def save(
        self,
        key: str,
        method: Method,
        seconds: Mapping[str, float],
        history: list[dict[str, float]],
        commit: str = "",
        trained: Mapping[str, Any] | None = None,
        limit: int | None = None,
    ) -> None:
        """Keep a trained method, with what its training took, the code's commit and what was asked (``trained``).

        ``limit`` is the number of images a class that a smoke run had.
        Raises StorageError when the disk is full.
        """
        facts = {
            "key": key,
            "seconds": dict(seconds),
            "history": history,
            "commit": commit,
            "trained": dict(trained) if trained is not None else None,
            "seen": list(method.context.seen),
            "limit": limit,
            "network": network_hash(method),
        }
        write_tensors(self.path(key), state_of(method), facts)

    def load(self, key: str, method: Method, processes: Processes = ALONE) -> dict[str, Any] | None:
        """Put the trained network of ``key`` into ``method``: what was kept with it; None when there is none to use.

        Of several processes the leader reads it, and all have it.
        """
        saved = None
        if processes.leads:
            saved = read_file(self.path(key), key, "The trained network %s is damaged: it is trained again.")
        saved = processes.broadcast_tensors(saved)
        if saved is None:
            return None
        load_exactly(method, saved[0], self.path(key))
        return dict(saved[1])


def state_of(method: Method) -> dict[str, Tensor]:
    """Parameters and buffers of a method by name."""
    return dict(method.state_dict())


def network_hash(method: Method) -> str:
    """What identifies the numbers inside a method: 64 hex digits."""
    return digest_of(state_of(method))
