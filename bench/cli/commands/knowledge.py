"""``bench show knowledge``: the ImageNet classes of each seen class."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli import options
from bench.cli.commands.show import showing
from bench.cli.output import OutputFormat, cache_dir, global_option, load_run, print_json, print_table


@showing.command(epilog="Example: [bold]bench show knowledge 3 -k 5[/bold]")
def knowledge(
    ctx: typer.Context,
    number: Annotated[int, typer.Argument(metavar="RUN", help="Number of the run, see `bench list runs`.")],
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="ImageNet classes of each seen class.")] = 3,
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Weights file that the run began with, if any.")
    ] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="root=PATH", help="Folder of your own images.")
    ] = None,
    device: options.Device = "auto",
    workers: options.Workers = 0,
    format: Annotated[OutputFormat, typer.Option("--format", help="How to print.")] = OutputFormat.table,
) -> None:
    """Show the likeliest ImageNet classes of each seen class, from the table that a run was trained with.

    The table is read from the cache, or computed again from the training photos.
    """
    from bench.cli.progress import Bars
    from bench.experiments.experiment import Resources
    from bench.experiments.stored import load_experiment, load_knowledge
    from bench.methods.modules.class_knowledge import top_classes

    run = load_run(ctx, number)
    resources = Resources(global_option(ctx, "data_root"), cache_dir(ctx), device=device, workers=workers)
    experiment = load_experiment(run, resources, assignments or (), weights)
    with Bars(f"knowledge of run {number}", quiet=bool(global_option(ctx, "quiet"))) as observer:
        table = load_knowledge(experiment, resources, observer)
    named = dict(zip(experiment.split.seen, top_classes(table, k), strict=True))
    if format is OutputFormat.json:
        classes = {name: [{"imagenet": each, "probability": p} for each, p in row] for name, row in named.items()}
        print_json({"run": number, "classes": classes})
        return
    rows = [[name, ", ".join(f"{each} {p:.3f}" for each, p in row)] for name, row in named.items()]
    print_table(["seen class", "ImageNet classes and their probabilities"], rows)
