"""A kind of report with one row per run; other kinds show means over seeds."""

from __future__ import annotations

from bench.reports.base import KINDS, Options, Table, number
from bench.reports.rows import Source

METRICS = ("mAP@all:plain", "P@100:k")


@KINDS.register("runs")
def runs_tables(source: Source, options: Options) -> list[Table]:
    """One table per dataset, split and gallery: a row per run, best first."""
    tables = []
    for group in source.groups:
        runs = sorted(group.runs, key=lambda run: (-run.value(METRICS[0]), run.id))
        rows = [
            (number(run.id), run.title, number(run.seed), *(number(run.value(m), options.digits) for m in METRICS))
            for run in runs
        ]
        tables.append(Table(f"Runs: {group.title}", ("run", "method", "seed", *METRICS), tuple(rows)))
    return tables
