"""``bench show``: one stored run in full; ``bench show knowledge``: the ImageNet classes of each seen class."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from bench.cli.app import app
from bench.cli.options import DatasetSettings, Device, RunNumber, Weights, Workers
from bench.cli.output import (
    Format,
    cache_dir,
    load_run,
    make_resources,
    open_store,
    print_facts,
    print_json,
    print_rows,
    show_progress,
    write_output,
)
from bench.errors import UsageError

SIDES = {"query": "queries", "gallery": "gallery"}
SHOWN = 10  # points of the loss curve in a table


class Show(TyperGroup):
    """``bench show 3`` is ``bench show run 3``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command in front of a number."""
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            args = ["run", *args]
        return super().parse_args(ctx, args)


showing = typer.Typer(cls=Show, no_args_is_help=True, help="One stored run: `bench show RUN`.")
app.add_typer(showing, name="show")


@showing.command("run", epilog="Example: bench show 3")
def show_run(
    ctx: typer.Context,
    number: RunNumber,
    embeddings: Annotated[bool, typer.Option("--embeddings", help="Write the run's embeddings to -o.")] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="A .npz file for --embeddings.")
    ] = None,
    weights: Weights = None,
    device: Device = "auto",
    format: Format = "table",
) -> None:
    """Show everything stored of one run: request, settings, machine, how it ended, scores, loss curve.

    Also the files of this machine: the trained network, and the folder of your own images. --embeddings -o FILE writes
    the embeddings of queries and gallery instead, as `bench score FILE` takes them, before binary codes and re-ranking.
    """
    if embeddings or output is not None:
        if not embeddings or output is None:
            raise UsageError("--embeddings and -o FILE belong together.")
        write_embeddings(ctx, number, output, weights)
        return
    from bench.cli.run_table import find_networks, make_page, make_scores
    from bench.datasets.published.request_split import remembered_folder
    from bench.results import details

    with open_store(ctx) as store:
        run, doing = store.run(number), store.doing()
        content = store.detail(number, details.HISTORY)
    facts, scores = make_page(run, doing.get(run.id), find_networks(cache_dir(ctx))), make_scores(run)
    root, curve = remembered_folder(run.fingerprint, cache_dir(ctx)), details.history(content) if content else []
    facts["root"] = str(root) if root else None
    if format == "json":
        print_json({**facts, "scores": scores, "curve": curve})
        return
    print_facts(facts)
    for name, rows in (("scores", scores), ("curve", curve[:: -(-len(curve) // SHOWN) or 1])):
        if rows:
            typer.echo()
            print_rows(name, rows)


def write_embeddings(ctx: typer.Context, number: int, path: Path, weights: Path | None) -> None:
    """Write the embeddings of a run, from the cache or computed again, with labels and paths."""
    import numpy as np

    from bench.experiments.stored_run import load_embedder

    run = load_run(ctx, number, finished=True)
    write_output(path, b"")  # a mistake shows before thousands of images are embedded
    with show_progress(ctx, f"{run.title}, run {number}", "embedding") as bars:
        embedder = load_embedder(run, make_resources(ctx), weights)
        found = embedder.embed_split(bars)
    split = embedder.experiment.split
    arrays: dict[str, Any] = {"query": found.query, "gallery": found.gallery[:], **split.label_arrays()}
    arrays |= {f"{side}_paths": [item.path for item in getattr(split, role)] for side, role in SIDES.items()}
    with path.open("wb") as file:
        np.savez(file, **arrays)
    typer.echo(f"wrote {len(found.query)} queries and {found.gallery.shape[0]} photos to {path}", err=True)


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
    from bench.experiments.stored_run import load_experiment, load_knowledge
    from bench.methods.modules.class_knowledge import top_classes

    run = load_run(ctx, number)
    resources = make_resources(ctx)
    experiment = load_experiment(run, resources, assignments or (), weights)
    with show_progress(ctx, f"knowledge of run {number}") as observer:
        table = load_knowledge(experiment, resources, observer)
    rows = [
        {"seen_class": seen, "imagenet_class": imagenet, "probability": probability}
        for seen, classes in zip(experiment.split.seen, top_classes(table, k), strict=True)
        for imagenet, probability in classes
    ]
    print_rows("classes", rows, format)
