"""The main table: methods beside each other, one table for each dataset, split and gallery, never merged."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np

from bench.comparison import clear_best
from bench.statistics import interval
from bench.types import Labels
from reports.base import KINDS, Options, Table
from reports.source import Group, Row, Source

MAIN_METRICS = ("mAP@all:plain", "mAP@200:min", "P@5:k", "P@100:k", "P@200:k")
YARDSTICK = "imagenet"  # frozen features: what a trained method is always seen beside
SEED = 0  # of the resamples, so that a report has the same bytes each time


@KINDS.register("main")
def main_tables(source: Source, options: Options) -> list[Table]:
    """A row for each method and ablation: means over its seeds, and the 95 % interval of the first metric."""
    return [_table(source, group, options.digits) for group in source.groups]


def _table(source: Source, group: Group, digits: int) -> Table:
    first_metric = MAIN_METRICS[0]
    rows = sorted(group.rows, key=lambda row: (-mean(row.values(first_metric)), row.name))
    bold = best_row(source, rows, first_metric)
    cells = []
    for position, row in enumerate(rows):
        figures = [spread(row.values(metric), digits) for metric in MAIN_METRICS]
        if position == bold:
            figures[0] = f"**{figures[0]}**"
        cells.append((row.name, row.seeds, figures[0], interval_cell(source, row, first_metric, digits), *figures[1:]))
    columns = ("method", "seeds", first_metric, "95 % interval", *MAIN_METRICS[1:])
    return Table(group.title, columns, tuple(cells), _notes(group, bold is not None))


def _notes(group: Group, bold: bool) -> tuple[str, ...]:
    runs, first = group.runs, group.first
    queries = max((score.queries for run in runs for score in run.scores), default=0)
    several = any(len(row.runs) > 1 for row in group.rows)
    notes = [f"{queries} queries; means over queries{', ± standard deviation over seeds' if several else ''}."]
    notes.append("The interval says how the method would do on other classes and after other trainings.")
    if bold:
        notes.append("Bold: better than every other row by more than the 95 % interval of the difference.")
    skipped = max((score.skipped for run in runs for score in run.scores), default=0)
    if skipped:
        notes.append(f"{skipped} queries have no relevant photo and are left out.")
    dropped = {path for run in runs for path in run.configuration.get("dropped", {})}
    if dropped:
        notes.append(f"{len(dropped)} broken pictures were dropped, first {min(dropped)}.")
    if not any(run.method == YARDSTICK for run in runs):
        command = f"`bench run -m {YARDSTICK} -d {first.dataset} --split {first.split}`"
        notes.append(f"No frozen-feature yardstick is stored for this table: {command} adds it.")
    if first.configuration.get("caution"):
        notes.append(str(first.configuration["caution"]))
    notes.append(f"Fingerprint of the images: {first.fingerprint[:16]}.")
    return tuple(notes)


def best_row(source: Source, rows: Sequence[Row], metric: str) -> int | None:
    """The row to print in bold: better than every other beyond the interval of the difference; None when none is.

    Rows whose runs were stored without the values of every query are in nobody's way and never bold.
    """
    known = [(n, found) for n, row in enumerate(rows) if (found := source.results(row, metric)) is not None]
    if len(known) < 2:
        return None
    generator = np.random.default_rng(SEED)
    best = clear_best([found for _, found in known], labels_of(source, rows[known[0][0]]), "queries", generator)
    return None if best is None else known[best][0]


def labels_of(source: Source, row: Row) -> Labels:
    """Classes of the queries of a row whose values are stored: int64 [queries]."""
    kept = source.per_query(row.runs[0].id)
    if kept is None:
        raise KeyError(f"run {row.runs[0].id} was stored without the values of its queries")
    return kept.labels


def interval_cell(source: Source, row: Row, metric: str, digits: int) -> str:
    """``0.512 to 0.580``; ``-`` for a run without the values of its queries."""
    found = source.results(row, metric)
    if found is None:
        return "-"
    around = interval(found.values, labels_of(source, row), "queries", np.random.default_rng(SEED))
    return f"{around.low:.{digits}f} to {around.high:.{digits}f}"


def mean(values: Sequence[float]) -> float:
    """The mean, -1 of nothing, so that rows without a figure come last."""
    return statistics.fmean(values) if values else -1.0


def spread(values: Sequence[float], digits: int) -> str:
    """The mean, and with several values their standard deviation: ``0.546 ± 0.007``; ``-`` where there is none."""
    if not values:
        return "-"
    text = f"{statistics.fmean(values):.{digits}f}"
    return text if len(values) == 1 else f"{text} ± {statistics.stdev(values):.{digits}f}"
