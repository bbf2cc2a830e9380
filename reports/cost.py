"""Kind ``cost``: time, memory and size of each method beside its score."""

from __future__ import annotations

import statistics

from bench.reports.base import KINDS, Options, Table, number
from bench.reports.cells import format_spread, mean
from bench.reports.rows import Group, Row, Source

COLUMNS = (
    "method",
    "runs",
    "score",
    "parameters, M",
    "GFLOP an image",
    "preparing, s",
    "training, s",
    "embedding, s",
    "scoring, s",
    "images/s",
    "peak memory, GB",
    "device memory, GB",
)


@KINDS.register("cost")
def cost_tables(source: Source, options: Options) -> list[Table]:
    """One table per dataset, split and gallery: means over the runs of a row, for peak memory the maximum."""
    return [_table(group, options.digits) for group in source.groups]


def _table(group: Group, digits: int) -> Table:
    rows = sorted(group.rows, key=lambda row: (-mean(row.values(row.metric)), row.name))
    notes = (
        "Parameters and operations are those of the network that embeds an image; a multiplication and an addition are "
        "two operations.",
        "Preparing is the knowledge table, near 0 when it came from the cache.",
        "Images/s is the embedding of queries and gallery, of the runs that did not find it in the cache.",
        "Peak memory is what the process held while it computed the run.",
    )
    cells = [_cells(row, digits) for row in rows]
    # Empty columns are left out, such as device memory on a machine without a GPU.
    used = [column for column in range(len(COLUMNS)) if any(row[column] != "-" for row in cells)]
    columns = tuple(group.metrics[0] if COLUMNS[column] == "score" else COLUMNS[column] for column in used)
    rows_used = tuple(tuple(row[n] for n in used) for row in cells)
    return Table(f"Cost: {group.title}", columns, rows_used, notes, facts=group.facts())


def _cells(row: Row, digits: int) -> tuple[str, ...]:
    def cost(name: str, unit: float, places: int, largest: bool = False) -> str:
        values = [run.cost[name] / unit for run in row.runs if run.cost.get(name)]
        if not values:
            return number(None)
        return number(max(values) if largest else statistics.fmean(values), places)

    def seconds(name: str) -> str:
        values = [run.seconds[name] for run in row.runs if name in run.seconds]
        return number(statistics.fmean(values) if values else None, 1)

    return (
        row.name,
        number(len(row.runs)),
        format_spread(row.values(row.metric), digits),
        cost("parameters", 1e6, 1),
        cost("flops", 1e9, 2),
        *(seconds(part) for part in ("preparing", "training", "embedding", "scoring")),
        cost("images_per_second", 1, 0),
        cost("peak_memory", 1e9, 1, largest=True),
        cost("peak_device_memory", 1e9, 1, largest=True),
    )
