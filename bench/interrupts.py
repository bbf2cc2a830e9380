"""Ctrl-C and SIGTERM while training: the step ends, a checkpoint is written, then the run unwinds."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM, so that it unwinds as Ctrl-C does."""


class Deferred:
    """A signal that waits: ``raise_if_asked`` raises it where the caller can bear it."""

    def __init__(self) -> None:
        self.asked: KeyboardInterrupt | None = None

    def raise_if_asked(self) -> None:
        """Raise the KeyboardInterrupt (or Terminated) that came since the block began, if one did."""
        if self.asked is not None:
            raise self.asked


@contextmanager
def deferred_signals() -> Iterator[Deferred]:
    """Within the block a first SIGINT or SIGTERM is only noted; a second one is raised at once.

    Outside the main thread, where Python handles no signals, the block changes nothing.
    """
    deferred = Deferred()
    if threading.current_thread() is not threading.main_thread():
        yield deferred
        return

    def note(number: int, frame: FrameType | None) -> None:
        kind = Terminated() if number == signal.SIGTERM else KeyboardInterrupt()
        if deferred.asked is not None:
            raise kind
        deferred.asked = kind

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield deferred
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
