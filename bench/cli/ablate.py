"""``bench ablate``: a method beside itself with parts left out, on the same seeds."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.cli.app import app
from bench.cli.options import RunOptions, takes_run_options
from bench.errors import UsageError


@app.command(epilog="Example: [bold]bench ablate -d emoji --seeds 5[/bold]")
@takes_run_options
def ablate(
    ctx: typer.Context,
    *,
    method: Annotated[str, typer.Option("-m", "--method", help="Method whose parts are left out.")] = "ours",
    without: Annotated[
        list[str] | None, typer.Option(help="Leave out this term only; may be repeated.", show_default="each in turn")
    ] = None,
    all_subsets: Annotated[bool, typer.Option(help="Every choice of loss terms: each alone, pairs ...")] = False,
    structural: Annotated[bool, typer.Option(help="What is done otherwise: unbalanced, online-teacher.")] = False,
    options: RunOptions,
) -> None:
    """Run a method in full and with parts left out; same seeds for all, so that differences are paired.

    Cells that are stored are reused; an interrupted call goes on where it was. `bench report --kind ablation` shows
    the differences with their intervals.
    """
    from bench.cli.cells import chosen_seeds, request, run_all
    from bench.sweep import ablations

    if all_subsets and without:
        raise UsageError("--all-subsets leaves out every choice of terms: leave out --without.")
    rows = ablations(method, without=without or (), all_subsets=all_subsets, structural=structural)
    requests = [
        request(options, method, each_dataset, each_seed, without=row.without, structural=row.structural)
        for each_dataset in options.dataset
        for each_seed in chosen_seeds(options)  # a whole table of one seed first: an early end leaves whole tables
        for row in rows
    ]
    run_all(ctx, requests, options)
