"""Progress of a run on stderr: a bar for each part, with the loss terms while training."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from bench.cli.output import stderr

SMOOTHING = 0.9  # of the loss terms shown
SECONDS_BETWEEN_LINES = 30.0  # where no terminal shows bars


class Bars:
    """Bars on a terminal; elsewhere a line a part, and one now and then while training; nothing if quiet."""

    def __init__(self, title: str, *, quiet: bool) -> None:
        self.title = title
        self.quiet = quiet
        self.console = stderr()
        self.bars: Progress | None = None
        self.task: TaskID | None = None
        self.part = ""
        self.begun = self.last_line = time.perf_counter()
        self.smooth: dict[str, float] = {}

    def __enter__(self) -> Bars:
        if not self.quiet:
            self.console.print(self.title, markup=False)
        if not self.quiet and self.console.is_terminal:
            columns: list[Any] = [TextColumn("  {task.description:<24}"), BarColumn(), MofNCompleteColumn()]
            self.bars = Progress(
                *columns, TimeElapsedColumn(), TextColumn("{task.fields[terms]}"), console=self.console
            )
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

    def progress(self, done: int, total: int, terms: Mapping[str, float]) -> None:
        """Show how far the part is."""
        for name, value in terms.items():
            self.smooth[name] = SMOOTHING * self.smooth.get(name, value) + (1 - SMOOTHING) * value
        text = "  ".join(f"{name} {value:.3f}" for name, value in self.smooth.items())
        if self.bars is not None and self.task is not None:
            self.bars.update(self.task, completed=done, total=total, terms=text)
        elif not self.quiet and terms and time.perf_counter() - self.last_line > SECONDS_BETWEEN_LINES:
            self.last_line = time.perf_counter()
            self.console.print(f"  {self.part} {done}/{total}  {text}", markup=False)

    def _end_part(self, finished: bool = True) -> None:
        if self.bars is not None and self.task is not None:
            task = self.bars.tasks[self.task]
            if finished:
                total = task.total or 1
                self.bars.update(self.task, completed=total, total=total)
            self.bars.stop_task(self.task)
            self.task = None
        elif self.part and not self.quiet:
            terms = "".join(f"  {name} {value:.3f}" for name, value in self.smooth.items())
            self.console.print(f"  {self.part}: {time.perf_counter() - self.begun:.1f} s{terms}", markup=False)
        self.part = ""
