"""``bench list``: the names that a command line can use, and the stored runs."""

from __future__ import annotations

import inspect
from dataclasses import asdict
from typing import Annotated, Any

import typer

from bench.cli.app import app
from bench.cli.options import Many
from bench.cli.output import Format, cache_dir, open_store, print_rows
from bench.errors import check_known

listing = typer.Typer(no_args_is_help=True, help="List methods, datasets, splits, backbones, runs ...")
app.add_typer(listing, name="list")


@listing.command()
def methods(format: Format = "table") -> None:
    """Methods of `bench run -m NAME`."""
    from bench.methods.base import METHODS

    rows = [
        {"method": n, "loss_terms": list(m.terms), "recipes": list(m.recipes), "summary": m.summary}
        for n, m in METHODS.items()
    ]
    print_rows("methods", rows, format)


@listing.command()
def datasets(format: Format = "table") -> None:
    """Datasets of `bench run -d NAME`."""
    from bench.datasets.base import DATASETS

    rows = [{"dataset": n, "default_split": d.split_names[0], "summary": d.summary} for n, d in DATASETS.items()]
    print_rows("datasets", rows, format)


@listing.command()
def loggers(format: Format = "table") -> None:
    """Programs that show live curves: `bench run --log NAME`."""
    from bench.loggers.base import LOGGERS

    print_rows("loggers", [{"logger": name, "summary": each.summary} for name, each in LOGGERS.items()], format)


@listing.command()
def splits(format: Format = "table") -> None:
    """Class splits of every dataset; NAME:tuning is for choosing settings."""
    from bench.datasets.base import DATASETS, TUNING

    rows = [
        {"split": split, "dataset": name, "default": split == dataset.split_names[0]}
        for name, dataset in DATASETS.items()
        for each in dataset.split_names
        for split in (each, *([f"{each}:{TUNING}"] if name != "folder" else ()))
    ]
    print_rows("splits", rows, format)


@listing.command()
def protocols(format: Format = "table") -> None:
    """Evaluation protocols of `bench score FILE --protocol NAME`, and whose code each follows."""
    from bench.evaluation.protocols.base import PROTOCOLS

    columns = ("protocol", "version", "distance", "gallery", "metrics", "summary", "used_by")
    rows = [{"protocol": name, **asdict(each)} for name, each in PROTOCOLS.items()]
    for row in rows:
        del row["name"]
    print_rows("protocols", rows, format, columns)


@listing.command()
def settings(
    method: Annotated[str, typer.Argument(help="Method.")] = "ours",
    dataset: Annotated[str, typer.Option("-d", "--dataset", help="Dataset.")] = "emoji",
    recipe: Annotated[str | None, typer.Option(help="Named recipe of the method.", show_default="none")] = None,
    format: Format = "table",
) -> None:
    """Settings of `bench run --set KEY=VALUE`, with defaults: of the run, method, dataset and post-processing."""
    from bench.experiments.recipes import with_recipe_named
    from bench.experiments.resolve import settings_of
    from bench.settings.describe import describe
    from bench.settings.request import Request

    assignments = with_recipe_named(method, recipe, ()) if recipe is not None else ()
    parts = settings_of(Request(method, dataset, assignments=assignments))
    rows = [
        {"setting": each.name, "of": owner, "default": each.default, "takes": each.takes, "meaning": each.meaning}
        for owner, part in zip(("run", method, dataset, "test"), parts, strict=True)
        for each in describe(part)
    ]
    print_rows("settings", rows, format)


@listing.command()
def reports(format: Format = "table") -> None:
    """Kinds and formats of `bench report --kind NAME --format NAME`."""
    from bench.reports.base import FORMATS, KINDS, PICTURES

    rows: list[dict[str, Any]] = []
    for name, kind in KINDS.items():
        summary = (inspect.getdoc(kind) or "").partition("\n")[0].rstrip(".")
        rows.append({"name": name, "option": "--kind", "summary": summary, "pictures": name in PICTURES.names()})
    for name, each in FORMATS.items():
        files = f"{each.ending} files"
        rows.append({"name": name, "option": "--format", "summary": files, "pictures": each.pictures})
    print_rows("reports", rows, format)


@listing.command()
def metrics(format: Format = "table") -> None:
    """Metrics of `bench score FILE --metric ID`; K is any number, and @classes after an id takes that mean."""
    from bench.evaluation.metrics.base import definitions

    rows = [{"metric": each.name, "summary": each.summary, "used_by": each.used_by} for each in definitions()]
    print_rows("metrics", rows, format)


@listing.command()
def backbones(
    pattern: Annotated[str, typer.Argument(help="Only names like this, for example 'resnet*'.")] = "*",
    usable: Annotated[bool, typer.Option("--usable", help="Only those whose weights are on this machine.")] = False,
    format: Format = "table",
) -> None:
    """Networks of `bench run --backbone NAME`, and where their ImageNet weights come from."""
    from bench.datasets.base import DATASETS
    from bench.methods.backbone.architectures import find_backbones
    from bench.methods.backbone.published_weights import default_file, packaged_file
    from bench.settings.run_settings import RunSettings

    default = {name: dataset.recipe.get("backbone", RunSettings.backbone) for name, dataset in DATASETS.items()}
    files = {name: default_file(name) for name in find_backbones(pattern)}
    rows = [
        {
            "backbone": name,
            "imagenet_weights": "installed" if packaged_file(name) else str(file or "--weights FILE"),
            "default_for": [dataset for dataset, backbone in default.items() if backbone == name],
        }
        for name, file in files.items()
        if file or not usable
    ]
    print_rows("backbones", rows, format)


@listing.command()
def runs(
    ctx: typer.Context,
    status: Annotated[
        Many, typer.Option(help="Only queued, running, done, failed, interrupted or superseded; repeatable.")
    ] = None,
    format: Format = "table",
) -> None:
    """Stored runs: results, failures with their reason, progress of running ones."""
    from bench.cli.run_table import STATUSES, find_networks, make_row

    for each in status or ():
        check_known("There is no status", each, STATUSES)
    with open_store(ctx) as store:
        found, doing = store.runs(status=status or list(STATUSES)), store.doing()
    networks = find_networks(cache_dir(ctx)) if format == "json" else {}
    rows = [make_row(run, doing.get(run.id), networks) for run in found]
    figures = [name for name in ("map_all", "acc_1") if any(row.get(name) is not None for row in rows)] or ["map_all"]
    print_rows("runs", rows, format, ("run", "status", "title", "split", "seed", *figures, "note"))
