"""Progress on stderr: a bar for each part of a run, with the loss terms of the training."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from bench.experiments.progress import Observer

SMOOTHING = 0.9  # of the loss terms shown
SECONDS_BETWEEN_LINES = 30.0  # without a terminal


class Bars(Observer):
    """An observer with bars on a terminal, lines elsewhere, and nothing if quiet."""

    def __init__(self, title: str, *, quiet: bool) -> None:
        self.title = title
        self.quiet = quiet
        self.console = Console(file=sys.stderr, highlight=False)
        if self.console.is_jupyter:  # lines: a notebook shows stderr, but moves no cursor
            self.console = Console(file=sys.stderr, highlight=False, force_jupyter=False, force_terminal=False)
        self.bars: Progress | None = None
        self.task: TaskID | None = None
        self.part = ""
        self.begun = self.last_line = time.perf_counter()
        self.smooth: dict[str, float] = {}

    def __enter__(self) -> Bars:
        if not self.quiet:
            self.console.print(self.title, markup=False)
            if self.console.is_terminal:
                columns = (TextColumn("  {task.description:<24}"), BarColumn(), MofNCompleteColumn())
                terms = TextColumn("{task.fields[terms]}")
                self.bars = Progress(*columns, TimeElapsedColumn(), terms, console=self.console)
                self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_part(finished=error is None)
        if self.bars is not None:
            self.bars.stop()

    def phase(self, name: str) -> None:
        """Begin a part of the run."""
        self._end_part()
        self.part, self.begun, self.smooth = name, time.perf_counter(), {}
        if self.bars is not None:
            self.task = self.bars.add_task(name, total=None, terms="")

    def progress(self, done: int, total: int, terms: Mapping[str, float] | None = None) -> None:
        """Show how much of the part is done."""
        for name, value in (terms or {}).items():
            self.smooth[name] = SMOOTHING * self.smooth.get(name, value) + (1 - SMOOTHING) * value
        if self.bars is not None and self.task is not None:
            self.bars.update(self.task, completed=done, total=total, terms=self._terms())
        elif not self.quiet and terms and time.perf_counter() - self.last_line > SECONDS_BETWEEN_LINES:
            self.last_line = time.perf_counter()
            self.console.print(f"  {self.part} {done}/{total}  {self._terms()}", markup=False)

    def _terms(self) -> str:
        return "  ".join(f"{name} {value:.3f}" for name, value in self.smooth.items())

    def _end_part(self, finished: bool = True) -> None:
        if self.bars is not None and self.task is not None:
            total = self.bars.tasks[self.task].total or 1
            if finished:
                self.bars.update(self.task, completed=total, total=total)
            self.bars.stop_task(self.task)
            self.task = None
        elif self.part and not self.quiet:
            seconds = f"{time.perf_counter() - self.begun:.1f} s"
            self.console.print(f"  {self.part}: {'  '.join(filter(None, (seconds, self._terms())))}", markup=False)
        self.part = ""
