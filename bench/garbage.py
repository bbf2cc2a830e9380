"""Garbage collection in a process that imports torch."""

from __future__ import annotations

import atexit
import gc


def spare_imports() -> None:
    """Collect garbage less often, and none at the exit.

    torch makes a million objects that stay: collections while it is imported and at the exit would cost two seconds.
    """
    gc.set_threshold(50_000, 50, 100)
    atexit.register(gc.freeze)
