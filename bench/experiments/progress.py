"""Progress of a run: observers, the heartbeat that renews its lease, seconds of each part."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol

from bench.errors import StorageError
from bench.results.store import Store

SECONDS = 5.0  # between two heartbeats


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


class Heartbeat:
    """An observer that passes everything on; within its block a thread renews the lease of ``run``.

    A store that is out of reach does not stop the run.
    """

    def __init__(self, store: Store, run: int, listener: Observer, seconds: float = SECONDS) -> None:
        self._store, self._run, self._listener, self._seconds = store, run, listener, seconds
        self._doing = ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def phase(self, name: str) -> None:
        """A part of the run begins."""
        self._doing = name
        self._listener.phase(name)

    def progress(self, done: int, total: int, terms: Mapping[str, float]) -> None:
        """So much of the current part is done."""
        self._doing = f"{self._doing.split(' (')[0]} ({done}/{total})"
        self._listener.progress(done, total, terms)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._over.wait(self._seconds):
            try:
                self._store.beat(self._run, self._doing)
            except StorageError:
                continue
