"""``bench run``: train (if needed), embed, score, store."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.cli import options
from bench.cli.app import app
from bench.cli.common import OutputFormat
from bench.cli.options import Precision


@app.command(epilog="Example: [bold]bench run -m imagenet -m ours -d emoji --seeds 3[/bold]")
def run(
    ctx: typer.Context,
    method: Annotated[list[str], typer.Option("-m", "--method", help="Method; may be repeated.")],
    dataset: options.Datasets = ["emoji"],  # noqa: B006
    split: options.Split = None,
    seed: options.Seed = None,
    seeds: options.Seeds = None,
    without: options.Without = None,
    assignments: options.Assignments = None,
    backbone: options.BackboneName = None,
    weights: options.Weights = None,
    image_size: options.ImageSize = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    lr: options.Lr = None,
    select: options.Select = "last",
    gallery: options.Gallery = "unseen",
    on_bad_image: options.OnBadImage = "error",
    workers: options.Workers = 0,
    device: options.Device = "auto",
    precision: options.PrecisionOption = Precision.fp32,
    limit: options.Limit = None,
    save_topk: options.SaveTopk = 10,
    force: options.Force = False,
    resume: options.Resume = True,
    keep_going: options.KeepGoing = True,
    dry_run: options.DryRun = False,
    format: Annotated[OutputFormat, typer.Option("--format", help="How to print.")] = OutputFormat.table,
) -> None:
    """Run methods on datasets: train (if needed), embed, rank, score, store.

    Every combination of method, dataset and seed is one run. A run that is stored already is not computed again.
    """
    from bench.cli.cells import chosen_seeds, named_settings, resources_of, run_all
    from bench.experiment import Request

    requests = [
        Request(
            method=each_method,
            dataset=each_dataset,
            split=split,
            seed=each_seed,
            without=tuple(without or ()),
            assignments=named_settings(assignments, backbone, weights, image_size, epochs, batch_size, lr),
            selection=select,
            gallery=gallery,
            per_class_limit=limit,
            on_bad_image=on_bad_image,
        )
        for each_dataset in dataset
        for each_method in method
        for each_seed in chosen_seeds(seed, seeds)
    ]
    resources = resources_of(ctx, device, precision, workers, resume, save_topk)
    run_all(ctx, requests, resources, force=force, keep_going=keep_going, dry_run=dry_run, format=format)
