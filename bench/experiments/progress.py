"""Progress of a run: observers, and the heartbeat that renews its lease."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from bench.errors import IncompleteError, StorageError

if TYPE_CHECKING:
    from bench.results.store import Store

SECONDS = 5.0  # between two heartbeats


class Observer:
    """Receives the progress of a run, and passes it on to the observer ``inner`` if there is one."""

    inner: Observer | None = None

    def phase(self, name: str) -> None:
        """A part of the run begins, such as training."""
        if self.inner:
            self.inner.phase(name)

    def progress(self, done: int, total: int, terms: Mapping[str, float]) -> None:
        """Progress within the part; while training, with the loss terms of the last step."""
        if self.inner:
            self.inner.progress(done, total, terms)

    def measure(self, step: int, values: Mapping[str, float]) -> None:
        """Other values of a training step: ``lr/0``; after an epoch, ``epoch`` and its validation score."""
        if self.inner:
            self.inner.measure(step, values)

    def finish(self, scores: Mapping[str, float]) -> None:
        """The scores of the run by metric id, means over queries."""
        if self.inner:
            self.inner.finish(scores)


class PrunedError(IncompleteError):
    """An observer ended the run, because other settings do better; the run is stored as pruned."""


class Heartbeat(Observer):
    """Passes progress on, while a thread renews the lease of ``run``. An unreachable store does not stop the run."""

    def __init__(self, store: Store, run: int, inner: Observer, seconds: float = SECONDS) -> None:
        self._store, self._run, self.inner, self._seconds = store, run, inner, seconds
        self._activity, self._stop = "", threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def phase(self, name: str) -> None:
        """As ``Observer.phase``."""
        self._activity = name
        super().phase(name)

    def progress(self, done: int, total: int, terms: Mapping[str, float]) -> None:
        """As ``Observer.progress``."""
        self._activity = f"{self._activity.split(' (')[0]} ({done}/{total})"
        super().progress(done, total, terms)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._stop.wait(self._seconds):
            with suppress(StorageError):
                self._store.beat(self._run, self._activity)
