"""``bench run``: train (if needed), embed, score, store."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.cli.app import app
from bench.cli.options import RunOptions, takes_run_options
from bench.errors import UsageError


@app.command(epilog="Example: [bold]bench run -m imagenet -m ours -d emoji --seeds 3[/bold]")
@takes_run_options
def run(
    ctx: typer.Context,
    *,
    method: Annotated[
        list[str] | None,
        typer.Option("-m", "--method", help="Method; may be repeated.", show_default="required without --checkpoint"),
    ] = None,
    without: Annotated[list[str] | None, typer.Option(help="Drop a loss term; may be repeated.")] = None,
    checkpoint: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RUN|PATH",
            help="Score a trained network as it is, also on another dataset: a stored run's, or a file; repeatable.",
            show_default=False,
        ),
    ] = None,
    options: RunOptions,
) -> None:
    """Run methods on datasets: train (if needed), embed, rank, score, store.

    Every combination of method, dataset and seed is one run. A run that is stored already is not computed again.
    """
    from bench.cli.run_cells import chosen_seeds, request, run_all, run_checkpoints

    if checkpoint:
        run_checkpoints(ctx, checkpoint, method or [], without or [], options)
        return
    if not method:
        raise UsageError("Name a method by -m ('bench list methods' shows them), or a trained network by --checkpoint.")
    requests = [
        request(options, each_method, each_dataset, each_seed, without=tuple(without or ()))
        for each_dataset in options.dataset
        for each_method in method
        for each_seed in chosen_seeds(options)
    ]
    run_all(ctx, requests, options)
