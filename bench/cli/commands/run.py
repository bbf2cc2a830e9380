"""``bench run``: train (if needed), embed, score, store."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.cli.app import app
from bench.cli.options import Many, RunOptions, takes_run_options
from bench.cli.output import cache_dir, load_run
from bench.errors import UsageError


@app.command(epilog="Example: bench run -m imagenet -m ours -d emoji --seeds 3")
@takes_run_options
def run(
    ctx: typer.Context,
    *,
    method: Annotated[
        Many, typer.Option("-m", "--method", help="Method; repeatable.", show_default="required without --checkpoint")
    ] = None,
    without: Annotated[Many, typer.Option(help="Drop a loss term; repeatable.")] = None,
    checkpoint: Annotated[
        Many, typer.Option(metavar="RUN|PATH", help="Score a trained network as it is; repeatable.", show_default=False)
    ] = None,
    test_on: Annotated[
        Many, typer.Option(metavar="DATASET", help="Then test each network on this dataset, too; repeatable.")
    ] = None,
    options: RunOptions,
) -> None:
    """Run methods on datasets: train (if needed), embed, rank, score, store.

    Every combination of method, dataset and seed is one run. Stored runs are reused. --checkpoint takes the network
    of a stored run or a file, and scores it on any dataset.
    """
    from bench.cli.run_requests import run_requests
    from bench.training.trained_networks import find_network

    methods, files = method or [""], [""]
    if checkpoint:
        if test_on:
            raise UsageError("--test-on follows a training: with --checkpoint, name the datasets by -d.")
        if len(methods) > 1 or options.seed or options.seeds or options.compile:
            raise UsageError(
                "--checkpoint scores a network as it was trained: leave out --seed, --compile and a second -m."
            )
        files = [
            str(find_network(load_run(ctx, int(each), finished=True), cache_dir(ctx))) if each.isdecimal() else each
            for each in checkpoint
        ]
    elif not method:
        raise UsageError("Name a method by -m ('bench list methods' shows them), or a trained network by --checkpoint.")
    requests = [
        options.make_request(each, dataset, seed, without or (), checkpoint=file)
        for dataset in options.chosen_datasets
        for each in methods
        for file in files
        for seed in options.chosen_seeds
    ]
    run_requests(ctx, requests, options, test_datasets=test_on or ())
