"""Ctrl-C and SIGTERM wait until the training step ends and a checkpoint is written; then the run stops."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

NUMBERS = (signal.SIGINT, signal.SIGTERM)


class Terminated(KeyboardInterrupt):
    """SIGTERM, handled like Ctrl-C."""


class Deferred:
    """A ``pending`` signal; the caller raises it by ``raise_pending`` where that is safe."""

    def __init__(self) -> None:
        self.pending: KeyboardInterrupt | None = None
        self.waits = True

    def raise_pending(self) -> None:
        """Raise the KeyboardInterrupt (or Terminated) that arrived since the block began, if any."""
        if self.pending is not None:
            raise self.pending

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Raise a pending signal now, and others as soon as they arrive."""
        self.raise_pending()
        self.waits = False
        try:
            yield
        finally:
            self.waits = True


@contextmanager
def deferred_signals() -> Iterator[Deferred]:
    """Within the block a first SIGINT or SIGTERM waits; a second one is raised at once.

    Outside the main thread the block changes nothing, because Python handles no signals there.
    """
    deferred = Deferred()
    if not _in_main_thread():
        yield deferred
        return

    def note(number: int, frame: FrameType | None) -> None:
        kind = Terminated() if number == signal.SIGTERM else KeyboardInterrupt()
        waits = deferred.waits and deferred.pending is None
        deferred.pending = deferred.pending or kind
        if not waits:
            raise kind

    before = {number: signal.signal(number, note) for number in NUMBERS}
    try:
        yield deferred
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is note:  # unless ignore_signals replaced it
                signal.signal(number, handler)


def ignore_signals() -> None:
    """Ignore SIGINT and SIGTERM from now on: the process is about to end."""
    if _in_main_thread():
        for number in NUMBERS:
            signal.signal(number, signal.SIG_IGN)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
