"""Ctrl-C and SIGTERM: while training the step ends and a checkpoint is written, then the run unwinds."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

NUMBERS = (signal.SIGINT, signal.SIGTERM)


class Terminated(KeyboardInterrupt):
    """SIGTERM, so that it unwinds as Ctrl-C does."""


class Deferred:
    """A signal that waits: ``raise_if_asked`` raises it where the caller can bear it."""

    def __init__(self) -> None:
        self.asked: KeyboardInterrupt | None = None
        self.waits = True

    def raise_if_asked(self) -> None:
        """Raise the KeyboardInterrupt (or Terminated) that came since the block began, if one did."""
        if self.asked is not None:
            raise self.asked

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Within the block a signal is raised when it comes, and one that waits is raised now."""
        self.raise_if_asked()
        self.waits = False
        try:
            yield
        finally:
            self.waits = True


@contextmanager
def deferred_signals() -> Iterator[Deferred]:
    """Within the block a first SIGINT or SIGTERM is only noted; a second one is raised at once.

    Outside the main thread, where Python handles no signals, the block changes nothing.
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


@contextmanager
def last_signals() -> Iterator[Deferred]:
    """Within the block SIGINT and SIGTERM are only noted, and after it ignored: it decides how the process ends."""
    deferred = Deferred()

    def note(number: int, frame: FrameType | None) -> None:
        deferred.asked = deferred.asked or _kind(number)

    if _in_main_thread():
        for number in NUMBERS:
            signal.signal(number, note)
    try:
        yield deferred
    finally:
        ignore_signals()


def ignore_signals() -> None:
    """How the process ends is decided: from here on no SIGINT or SIGTERM changes it."""
    if _in_main_thread():
        for number in NUMBERS:
            signal.signal(number, signal.SIG_IGN)


def _kind(number: int) -> KeyboardInterrupt:
    return Terminated() if number == signal.SIGTERM else KeyboardInterrupt()


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
