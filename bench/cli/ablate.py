"""``bench ablate``: a method beside itself with parts left out, on the same seeds."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.cli import options
from bench.cli.app import app
from bench.cli.common import OutputFormat
from bench.cli.options import Precision


@app.command(epilog="Example: [bold]bench ablate -d emoji --seeds 5[/bold]")
def ablate(
    ctx: typer.Context,
    dataset: options.Datasets = ["emoji"],  # noqa: B006
    method: Annotated[str, typer.Option("-m", "--method", help="Method whose parts are left out.")] = "ours",
    split: options.Split = None,
    seed: options.Seed = None,
    seeds: options.Seeds = None,
    without: Annotated[
        list[str] | None, typer.Option(help="Leave out this term only; may be repeated.", show_default="each in turn")
    ] = None,
    all_subsets: Annotated[bool, typer.Option(help="Every choice of loss terms: each alone, pairs ...")] = False,
    structural: Annotated[bool, typer.Option(help="What is done otherwise: unbalanced, online-teacher.")] = False,
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
    """Run a method in full and with parts left out; same seeds for all, so that differences are paired.

    Cells that are stored are reused; an interrupted call goes on where it was. `bench report --kind ablation` shows
    the differences with their intervals.
    """
    from bench.cli.cells import chosen_seeds, named_settings, resources_of, run_all
    from bench.experiment import Request
    from bench.sweep import ablations

    rows = ablations(method, without=without or (), all_subsets=all_subsets, structural=structural)
    requests = [
        Request(
            method=method,
            dataset=each_dataset,
            split=split,
            seed=each_seed,
            without=row.without,
            structural=row.structural,
            assignments=named_settings(assignments, backbone, weights, image_size, epochs, batch_size, lr),
            selection=select,
            gallery=gallery,
            per_class_limit=limit,
            on_bad_image=on_bad_image,
        )
        for each_dataset in dataset
        for each_seed in chosen_seeds(seed, seeds)  # a whole table of one seed first: an early end leaves whole tables
        for row in rows
    ]
    resources = resources_of(ctx, device, precision, workers, resume, save_topk)
    run_all(ctx, requests, resources, force=force, keep_going=keep_going, dry_run=dry_run, format=format)
