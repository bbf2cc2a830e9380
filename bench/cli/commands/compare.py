"""``bench compare``: the paired difference of two runs or score files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.app import app
from bench.cli.output import Format, global_option, number_or_none, print_json, print_rows
from bench.errors import UsageError

if TYPE_CHECKING:
    from bench.api.result import Result

Side = Annotated[str, typer.Argument(metavar="RUN|FILE", help="Number of a stored run, or a file as in `score`.")]


@app.command(epilog="Example: bench compare 2 1 --metric mAP@200:min")
def compare(
    ctx: typer.Context,
    a: Side,
    b: Side,
    metric: Annotated[str, typer.Option(metavar="ID", help="Metric such as P@100:k@classes.")] = "mAP@all:plain",
    format: Format = "table",
) -> None:
    """Compare two results on the same queries: A minus B in points (hundredths), 95 % interval over classes, p.

    Runs and files can be mixed; the queries of a file must be in the order of the split.
    """
    from bench.api.comparison import compare as compare_results
    from bench.evaluation.metrics.base import parse_metric
    from bench.reports.ablation import format_comparison

    parsed = parse_metric(metric)
    one, other = (_open(each, metric, global_option(ctx, "store")) for each in (a, b))
    found = compare_results(one, other, metric)
    values = [one.score(metric), other.score(metric)]
    if format == "json":
        numbers = [*values, found.points, found.low, found.high, found.p]
        names = ("value_a", "value_b", "points", "low", "high", "p")
        facts = {"metric": parsed.id, "average": parsed.average or "queries", "a": a, "b": b}
        print_json({**facts, **dict(zip(names, map(number_or_none, numbers), strict=True))})
        return
    difference, limits, p = format_comparison(found)
    if found.low != found.low:  # a single class
        limits = "-"
    row = {"A": values[0], "B": values[1], "difference": difference, "95 % interval": limits, "p": p}
    print_rows("comparison", [{"metric": metric, **row}])
    typer.echo("Difference: A minus B in points (hundredths), paired by query. Interval and p: over classes.")


def _open(side: str, metric: str, where: str) -> Result:
    """A stored run by its number, or the figures of a file of embeddings."""
    if side.isdecimal():
        from bench.api.runs import Run, stored_run

        return Run(stored_run(int(side), where), where)
    from bench.api.evaluation import evaluate_file

    path = Path(side)
    if not path.exists():
        raise UsageError(f"There is no file {side}: give the number of a run, or a file of embeddings.")
    return evaluate_file(path, metric)
