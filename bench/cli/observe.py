"""The observer of a run: progress bars, and the loggers of ``--log``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from bench.experiments.progress import Observer
from bench.experiments.progress_bars import Bars
from bench.loggers.base import log_curves


@contextmanager
def observe(title: str, identity: Mapping[str, Any], loggers: Sequence[str], *, quiet: bool) -> Iterator[Observer]:
    """Show and log the progress of the run with the columns ``identity``."""
    with Bars(title, quiet=quiet) as bars, log_curves(bars, loggers, identity) as observer:
        yield observer
