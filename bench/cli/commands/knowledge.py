"""``bench show knowledge``: the ImageNet classes of each seen class."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.cli.commands.show import showing
from bench.cli.options import DatasetSettings, Device, RunNumber, Weights, Workers
from bench.cli.output import Format, OutputFormat, global_option, load_run, make_resources, print_json, print_rows


@showing.command(epilog="Example: [bold]bench show knowledge 3 -k 5[/bold]")
def knowledge(
    ctx: typer.Context,
    number: RunNumber,
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="ImageNet classes of each seen class.")] = 3,
    weights: Weights = None,
    assignments: DatasetSettings = None,
    device: Device = "auto",
    workers: Workers = 0,
    format: Format = OutputFormat.table,
) -> None:
    """Show the likeliest ImageNet classes of each seen class, from the table that a run was trained with.

    The table is read from the cache, or computed again from the training photos.
    """
    from bench.cli.progress import Bars
    from bench.experiments.stored import load_experiment, load_knowledge
    from bench.methods.modules.class_knowledge import top_classes

    run = load_run(ctx, number)
    resources = make_resources(ctx, device=device, workers=workers)
    experiment = load_experiment(run, resources, assignments or (), weights)
    with Bars(f"knowledge of run {number}", quiet=bool(global_option(ctx, "quiet"))) as observer:
        table = load_knowledge(experiment, resources, observer)
    likeliest = dict(zip(experiment.split.seen, top_classes(table, k), strict=True))
    if format is OutputFormat.json:
        classes = {name: [{"imagenet": each, "probability": p} for each, p in row] for name, row in likeliest.items()}
        print_json({"run": number, "classes": classes})
        return
    column = "ImageNet classes and their probabilities"
    print_rows(
        [{"seen class": name, column: ", ".join(f"{c} {p:.3f}" for c, p in row)} for name, row in likeliest.items()]
    )
