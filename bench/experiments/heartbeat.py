"""Signs of life of a run: what it is doing, told to the store every few seconds and to the screen at once."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from types import TracebackType

from bench.errors import StorageError
from bench.experiments.progress import Observer
from bench.results.store import Store

SECONDS = 5.0


class Heartbeat:
    """An observer that passes everything on; within its block a thread renews the lease of ``run``.

    A store that cannot be reached for a while is not a reason to stop: the run says so when it is finished.
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
