"""Progress on stderr: a bar for each part of a run, with the loss terms of the training."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)
from rich.table import Column

from bench.experiments.progress import Observer

SMOOTHING = 0.9  # of the loss terms shown
SECONDS_BETWEEN_LINES = 30.0  # without a terminal


class Bars(Observer):
    """An observer with bars on a terminal, lines elsewhere, and nothing if quiet.

    With ``in_bytes`` the progress is in bytes, and their rate is shown.
    """

    def __init__(self, title: str, *, quiet: bool, in_bytes: bool = False) -> None:
        self.title = title
        self.quiet = quiet
        self.in_bytes = in_bytes
        self.done = 0
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
                counts: tuple[ProgressColumn, ...] = (MofNCompleteColumn(),)
                if self.in_bytes:
                    counts = (DownloadColumn(table_column=Column(no_wrap=True)), TransferSpeedColumn())
                columns = (TextColumn("  {task.description:<24}"), BarColumn(), *counts, TimeElapsedColumn())
                self.bars = Progress(*columns, TextColumn("{task.fields[terms]}"), console=self.console)
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
        self.part, self.begun, self.smooth, self.done = name, time.perf_counter(), {}, 0
        if self.bars is not None:
            self.task = self.bars.add_task(name, total=None, terms="")

    def progress(self, done: int, total: int, terms: Mapping[str, float] | None = None) -> None:
        """Show how much of the part is done."""
        for name, value in (terms or {}).items():
            self.smooth[name] = SMOOTHING * self.smooth.get(name, value) + (1 - SMOOTHING) * value
        self.done = done
        if self.bars is not None and self.task is not None:
            self.bars.update(self.task, completed=done, total=total, terms=self._terms())
        elif (
            not self.quiet and (terms or self.in_bytes) and time.perf_counter() - self.last_line > SECONDS_BETWEEN_LINES
        ):
            self.last_line = time.perf_counter()
            counts = f"{decimal(done)} of {decimal(total)}" if self.in_bytes else f"{done}/{total}"
            self.console.print(f"  {self.part} {counts}  {self._terms()}", markup=False)

    def _terms(self) -> str:
        if self.in_bytes:
            rate = self.done / max(time.perf_counter() - self.begun, 1e-3)
            return f"{decimal(self.done)}, {decimal(int(rate))}/s" if self.done and self.bars is None else ""
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
