"""``bench show knowledge``: the ImageNet classes of each seen class."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.cli.commands.show import showing
from bench.cli.options import DatasetSettings, Device, RunNumber, Weights, Workers
from bench.cli.output import Format, global_option, load_run, make_resources, print_rows


@showing.command(epilog="Example: bench show knowledge 3 -k 5")
def knowledge(
    ctx: typer.Context,
    number: RunNumber,
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="ImageNet classes of each seen class.")] = 3,
    weights: Weights = None,
    assignments: DatasetSettings = None,
    device: Device = "auto",
    workers: Workers = 0,
    format: Format = "table",
) -> None:
    """Show the likeliest ImageNet classes of each seen class, from the table that a run was trained with.

    The table is read from the cache, or computed again from the training photos.
    """
    from bench.experiments.progress_bars import Bars
    from bench.experiments.stored_run import load_experiment, load_knowledge
    from bench.methods.modules.class_knowledge import top_classes

    run = load_run(ctx, number)
    resources = make_resources(ctx, device=device, workers=workers)
    experiment = load_experiment(run, resources, assignments or (), weights)
    with Bars(f"knowledge of run {number}", quiet=bool(global_option(ctx, "quiet"))) as observer:
        table = load_knowledge(experiment, resources, observer)
    rows = [
        {"seen_class": seen, "imagenet_class": imagenet, "probability": probability}
        for seen, classes in zip(experiment.split.seen, top_classes(table, k), strict=True)
        for imagenet, probability in classes
    ]
    print_rows("classes", rows, format)
