"""Who is told what a run is doing, and how long each part of it takes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol


class Observer(Protocol):
    """Is told what a run is doing."""

    def phase(self, name: str) -> None:
        """A part of the run begins: decoding, preparing, training, embedding, scoring."""

    def progress(self, done: int, total: int, terms: Mapping[str, float]) -> None:
        """So much of the current part is done; while training, with the loss terms of the last step."""


@dataclass
class Clock:
    """Seconds of each part of a run by name."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def part(self, name: str, observer: Observer) -> Iterator[None]:
        """Tell the observer that a part begins, and add what it takes."""
        observer.phase(name)
        start = time.perf_counter()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - start, 2)
