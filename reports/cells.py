"""What tables put into their cells: the metrics that are shown, means and spreads, the rows that are shown."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from bench.evaluation.metrics.base import MAIN_METRICS
from bench.reports.stored_runs import Row

YARDSTICK = "imagenet"  # frozen features: what a trained method is always seen beside


def shown_rows(rows: Sequence[Row], count: int) -> list[Row]:
    """The best ``count`` rows by the first metric, best first.

    Where there are more, methods in full go before ablations, which have a section of their own, and the yardstick
    before all.
    """
    ordered = sorted(rows, key=lambda row: (-mean(row.values(MAIN_METRICS[0])), row.name))
    wanted = sorted(ordered, key=lambda row: (row.name != YARDSTICK, bool(row.runs[0].ablation)))  # keeps the order
    chosen = {row.name for row in wanted[:count]}
    return [row for row in ordered if row.name in chosen]


def mean(values: Sequence[float]) -> float:
    """The mean, -1 of nothing, so that rows without a figure come last."""
    return statistics.fmean(values) if values else -1.0


def spread(values: Sequence[float], digits: int) -> str:
    """The mean, and with several values their standard deviation: ``0.546 ± 0.007``; ``-`` where there is none."""
    if not values:
        return "-"
    middle = statistics.fmean(values)
    if len(values) == 1:
        return f"{middle:.{digits}f}"
    # Not by statistics.stdev: its exact fractions cost a large table a tenth of its time.
    deviation = math.sqrt(math.fsum((value - middle) ** 2 for value in values) / (len(values) - 1))
    return f"{middle:.{digits}f} ± {deviation:.{digits}f}"
