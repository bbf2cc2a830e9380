"""``bench run``: train (if needed), embed, score, store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.app import app
from bench.cli.options import Many, RunOptions, takes_run_options
from bench.cli.output import cache_dir, load_run
from bench.errors import UsageError

if TYPE_CHECKING:
    from bench.settings.request import Request


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

    methods, terms = method or [], tuple(without or ())
    if checkpoint and test_on:
        raise UsageError("--test-on follows a training: with --checkpoint, name the datasets by -d.")
    if checkpoint:
        requests = checkpoint_requests(ctx, checkpoint, methods, terms, options)
    elif methods:
        requests = [
            options.make_request(each, dataset, seed, terms)
            for dataset in options.chosen_datasets
            for each in methods
            for seed in options.chosen_seeds
        ]
    else:
        raise UsageError("Name a method by -m ('bench list methods' shows them), or a trained network by --checkpoint.")
    run_requests(ctx, requests, options, test_datasets=test_on or ())


def checkpoint_requests(
    ctx: typer.Context, checkpoints: list[str], methods: list[str], without: tuple[str, ...], options: RunOptions
) -> list[Request]:
    """Requests that score trained networks on each dataset; a number is the network of a stored run."""
    from bench.training.trained_networks import find_network

    if len(methods) > 1 or options.seed or options.seeds or options.compile:
        raise UsageError(
            "--checkpoint scores a network as it was trained: leave out --seed, --compile and a second -m."
        )
    files = [
        str(find_network(load_run(ctx, int(each), finished=True), cache_dir(ctx))) if each.isdecimal() else each
        for each in checkpoints
    ]
    method = methods[0] if methods else ""
    return [
        options.make_request(method, dataset, 0, without, checkpoint=file)
        for dataset in options.chosen_datasets
        for file in files
    ]
