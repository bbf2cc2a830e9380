"""Means and spreads in table cells, and the choice of rows for plots."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from bench.reports.base import Cell, number
from bench.reports.rows import Row

UNTRAINED_BASELINE = "imagenet"  # frozen features, shown beside every trained method


def select_rows(rows: Sequence[Row], count: int) -> list[Row]:
    """At most ``count`` rows, best first by the first metric.

    The untrained baseline is always among them. Full methods come before ablations, which have their own section.
    """
    ordered = sorted(rows, key=lambda row: (-mean(row.values(row.metric)), row.name))
    preferred = sorted(ordered, key=lambda row: (row.name != UNTRAINED_BASELINE, bool(row.runs[0].ablation)))  # stable
    names = {row.name for row in preferred[:count]}
    return [row for row in ordered if row.name in names]


def mean(values: Sequence[float]) -> float:
    """The mean; -1 without values, so that such rows sort last."""
    return statistics.fmean(values) if values else -1.0


def format_seeds(row: Row, note: str = "") -> Cell:
    """The seeds of a row: ``0-4``, or ``0, 7``; ``note`` follows in brackets."""
    seeds = [run.seed for run in row.runs]
    text = ", ".join(str(seed) for seed in seeds)
    if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        text = f"{seeds[0]}-{seeds[-1]}"
    return Cell(f"{text} ({note})" if note else text, value=seeds)


def format_spread(values: Sequence[float], digits: int) -> Cell:
    """The mean with the standard deviation of several values: ``0.546 ± 0.007``; ``-`` without values."""
    if not values:
        return number(None)
    middle = statistics.fmean(values)
    if len(values) == 1:
        return number(middle, digits)
    # statistics.stdev computes with exact fractions and takes 10 % of the time of a large report.
    deviation = math.sqrt(math.fsum((value - middle) ** 2 for value in values) / (len(values) - 1))
    return Cell(f"{middle:.{digits}f} ± {deviation:.{digits}f}", value=middle, sd=deviation)
