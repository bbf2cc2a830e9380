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
    """A pending signal: the caller raises it by ``raise_if_asked`` where it is safe."""

    def __init__(self) -> None:
        self.asked: KeyboardInterrupt | None = None
        self.waits = True

    def raise_if_asked(self) -> None:
        """Raise the KeyboardInterrupt (or Terminated) that has come since the block began, if any."""
        if self.asked is not None:
            raise self.asked

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Raise a pending signal now, and any other as soon as it comes."""
        self.raise_if_asked()
        self.waits = False
        try:
            yield
        finally:
            self.waits = True


@contextmanager
def deferred_signals() -> Iterator[Deferred]:
    """Within the block a first SIGINT or SIGTERM waits; a second one is raised at once.

    Outside the main thread Python handles no signals, and the block changes nothing.
    """
    deferred = Deferred()
    if not _in_main_thread():
        yield deferred
        return

    def note(number: int, frame: FrameType | None) -> None:
        kind, waits = _kind(number), deferred.waits and deferred.asked is None
        deferred.asked = deferred.asked or kind
        if not waits:
            raise kind

    before = {number: signal.signal(number, note) for number in NUMBERS}
    try:
        yield deferred
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is note:  # and not ignored since, for good
                signal.signal(number, handler)


def ignore_signals() -> None:
    """Ignore SIGINT and SIGTERM from now on: the process is about to end."""
    if _in_main_thread():
        for number in NUMBERS:
            signal.signal(number, signal.SIG_IGN)


def _kind(number: int) -> KeyboardInterrupt:
    return Terminated() if number == signal.SIGTERM else KeyboardInterrupt()


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
