"""Kind ``fine-grained``: how often the photo that a sketch was drawn from is among the first."""

from __future__ import annotations

import numpy as np

from bench.errors import IncompleteError
from bench.reports import plots
from bench.reports.base import KINDS, PICTURES, Options, Plot, RetrievalExamples, Table
from bench.reports.cells import select_rows
from bench.reports.pictures import ROWS, assign_styles, draw_training
from bench.reports.rows import Source
from bench.reports.tables import make_tables
from bench.results import details


@KINDS.register("fine-grained")
def fine_grained_tables(source: Source, options: Options) -> list[Table]:
    """As the main tables, for runs on fine-grained splits.

    Raises IncompleteError without such a run, and as ``make_tables``.
    """
    groups = source.of("instance")
    if not groups:
        raise IncompleteError("No run is on a fine-grained split: run one first, such as --split emoji-93-fine.")
    return make_tables(source, groups, options)


@PICTURES.register("fine-grained")
def draw_fine_grained(source: Source, options: Options) -> list[Plot | RetrievalExamples]:
    """For each table: acc@K, and the training curve of each loss term."""
    found: list[Plot | RetrievalExamples] = []
    for group in source.of("instance"):
        rows = select_rows(group.rows, ROWS)
        series: list[tuple[str, list[float], list[float]]] = []
        for row in rows:
            contents = [source.detail(run, details.CURVE) for run in row.runs]
            curves = [details.curve(content) for content in contents if content is not None]
            if curves:  # with one relevant photo, recall is acc@K but for equal scores
                recall = np.mean([each.recall for each in curves], axis=0).tolist()
                series.append((row.name, curves[0].ks.tolist(), recall))
        if series:
            first = ", ".join(f"{name} {ys[0]:.2f}" for name, _, ys in series)
            found.append(
                plots.draw_lines(
                    f"True photo among the first K: {group.title}",
                    f"Line plot of {len(series)} methods. Share of queries whose true photo is first: {first}.",
                    [("True photo among the first K", "K photos", "share of queries", series)],
                    assign_styles(source),
                    logarithmic=True,
                    caption="Means over queries and seeds; equal scores rank by gallery position.",
                )
            )
        found += draw_training(source, group, rows)
    return found
