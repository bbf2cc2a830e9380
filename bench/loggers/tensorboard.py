"""TensorBoard: event files in a folder."""

from __future__ import annotations

import re
from collections.abc import Mapping

from bench.loggers.base import LOGGERS, Logger, Settings


@LOGGERS.register("tensorboard")
class TensorBoard(Logger):
    """One folder of event files for each run."""

    name = "tensorboard"
    summary = "Event files for TensorBoard. The place is a folder, by default runs."

    def __init__(self, place: str = "") -> None:
        from torch.utils.tensorboard import SummaryWriter

        super().__init__(place or "runs")
        self._writer = SummaryWriter

    def begin(self, title: str, key: str, settings: Settings) -> None:
        """Open the event file of a run."""
        folder = re.sub(r"[^\w.=+-]+", "-", f"{title} {key[:8]}")
        self._settings = {"key": key, **settings}
        self._events = self._writer(f"{self.place}/{folder}")

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Write one point of each curve."""
        for name, value in values.items():
            self._events.add_scalar(name, value, step)

    def end(self, scores: Mapping[str, float]) -> None:
        """Write settings and scores, for the page HParams."""
        named = {f"score/{metric}": value for metric, value in scores.items()}
        self._events.add_hparams(self._settings, named, run_name=".")
        self._events.close()
