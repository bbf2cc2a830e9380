"""``bench ablate``: a method and its ablations, on the same seeds."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.app import app
from bench.cli.options import Many, RunOptions, takes_run_options
from bench.errors import IncompleteError, UsageError

if TYPE_CHECKING:
    from bench.results.models import RunRecord
    from bench.results.store import Store


@app.command(epilog="Example: bench ablate -d emoji --seeds 5")
@takes_run_options
def ablate(
    ctx: typer.Context,
    *,
    method: Annotated[str, typer.Option("-m", "--method", help="Method to ablate.")] = "ours",
    without: Annotated[
        Many, typer.Option(help="Ablate this loss term only; repeatable.", show_default="each in turn")
    ] = None,
    all_subsets: Annotated[bool, typer.Option(help="Run every subset of the loss terms.")] = False,
    structural: Annotated[bool, typer.Option(help="Add the structural ablations, such as unbalanced.")] = False,
    options: RunOptions,
) -> None:
    """Run a method in full and with parts left out, on the same seeds, so that differences are paired.

    A table then shows what each part contributes: the difference to the full method, its 95 % interval and adjusted p.
    `bench report --kind ablation` shows the same for all stored runs, also as JSON. Stored runs are reused.
    """
    from bench.cli.run_requests import run_requests
    from bench.experiments.ablations import ablations

    if all_subsets and without:
        raise UsageError("--all-subsets leaves out every choice of terms: leave out --without.")
    rows = ablations(method, without=without or (), all_subsets=all_subsets, structural=structural)
    requests = [
        options.make_request(method, dataset, seed, row.without, structural=row.structural)
        for dataset in options.chosen_datasets
        for seed in options.chosen_seeds  # all rows of one seed first: an early end leaves whole tables
        for row in rows
    ]
    run_requests(ctx, requests, options, _show_differences)


def _show_differences(runs: list[RunRecord], store: Store) -> None:
    """Print the differences to the full method."""
    from bench.cli.commands.report import show_tables
    from bench.reports.ablation import ablation_tables
    from bench.reports.base import Options
    from bench.reports.rows import Source

    source = Source(store, runs, include_smoke=True, include_oracle=True)
    with suppress(IncompleteError):  # the full method failed, or all ablations did
        show_tables(ablation_tables(source, Options()))
