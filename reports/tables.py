"""Stored runs to tables: one table for each dataset, split and gallery, never merged."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from itertools import groupby

from bench.errors import IncompleteError
from bench.models import RunRecord
from reports.base import Report, Table

MAIN_METRICS = ("mAP@all:plain", "mAP@200:min", "P@5:k", "P@100:k", "P@200:k")
YARDSTICK = "imagenet"  # frozen features: what a trained method is always seen beside


def main_report(
    runs: Sequence[RunRecord], *, metrics: Sequence[str] = MAIN_METRICS, digits: int = 3, include_smoke: bool = False
) -> Report:
    """Every finished run: a row for each method and ablation, the mean over its seeds and their standard deviation.

    Raises IncompleteError when nothing is left to report.
    """
    finished = [run for run in runs if run.status == "done" and (include_smoke or run.per_class_limit is None)]
    if not finished:
        if any(run.status == "done" for run in runs):
            raise IncompleteError("Only smoke runs fit this report: add --include-smoke to see them.")
        raise IncompleteError("No finished run fits this report: run something first, such as `bench run -m ours`.")
    tables = [
        _main_table(list(group), metrics, digits)
        for _, group in groupby(sorted(finished, key=_table_key), key=_table_key)
    ]
    return Report(tuple(tables), footer(finished))


def _table_key(run: RunRecord) -> tuple[object, ...]:
    return (run.dataset, run.split, run.gallery, run.fingerprint, run.per_class_limit or 0)


def _row_key(run: RunRecord) -> tuple[object, ...]:
    own, common = run.configuration["method"], run.configuration["run"]
    return (run.title, sorted(own.items(), key=str), sorted(common.items(), key=str))


def _main_table(runs: list[RunRecord], metrics: Sequence[str], digits: int) -> Table:
    rows: list[tuple[float, tuple[str, ...]]] = []
    for _, group in groupby(sorted(runs, key=lambda run: (str(_row_key(run)), run.seed)), key=_row_key):
        same = list(group)
        figures = [_values(same, metric) for metric in metrics]
        cells = (same[0].title, _seeds(same), *(spread(values, digits) for values in figures))
        rows.append((statistics.fmean(figures[0]) if figures[0] else -1.0, cells))
    rows.sort(key=lambda row: (-row[0], row[1]))
    first = runs[0]
    queries = max((score.queries for run in runs for score in run.scores), default=0)
    title = f"{first.dataset}, split {first.split}, gallery: {first.gallery} classes"
    if first.per_class_limit is not None:
        title += f" (smoke: {first.per_class_limit} images a class)"
    notes = [f"{queries} queries; means over queries; rows by {metrics[0]}."]
    skipped = max((score.skipped for run in runs for score in run.scores), default=0)
    if skipped:
        notes.append(f"{skipped} queries have no relevant photo and are left out.")
    if not any(run.method == YARDSTICK for run in runs):
        command = f"`bench run -m {YARDSTICK} -d {first.dataset} --split {first.split}`"
        notes.append(f"No frozen-feature yardstick is stored for this table: {command} adds it.")
    if first.configuration.get("caution"):
        notes.append(str(first.configuration["caution"]))
    notes.append(f"Fingerprint of the images: {first.fingerprint[:16]}.")
    return Table(title, ("method", "seeds", *metrics), tuple(row for _, row in rows), tuple(notes))


def _seeds(runs: Sequence[RunRecord]) -> str:
    seeds = [run.seed for run in runs]
    if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}-{seeds[-1]}"
    return ", ".join(str(seed) for seed in seeds)


def _values(runs: Iterable[RunRecord], metric: str) -> list[float]:
    scores = [score for run in runs for score in run.scores if score.metric == metric and score.average == "queries"]
    return [score.value for score in scores if not math.isnan(score.value)]


def spread(values: Sequence[float], digits: int) -> str:
    """The mean, and with several values their standard deviation: ``0.546 ± 0.007``; ``-`` where there is none."""
    if not values:
        return "-"
    mean = f"{statistics.fmean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.{digits}f}"


def footer(runs: Sequence[RunRecord]) -> tuple[str, ...]:
    """What the runs ran on: every distinct environment with the numbers of its runs."""
    environments: dict[str, list[int]] = {}
    for run in runs:
        text = ", ".join(f"{name} {value}" for name, value in run.environment.items())
        environments.setdefault(text, []).append(run.id)
    return tuple(f"Runs {', '.join(map(str, sorted(ids)))}: {text}." for text, ids in sorted(environments.items()))
