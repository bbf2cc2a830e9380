"""``bench list``: what there is to name on a command line."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

import typer

from bench.cli.app import app
from bench.cli.output import OutputFormat, opened_store, print_json, print_table

listing = typer.Typer(no_args_is_help=True, help="What there is: methods, datasets, splits, backbones ...")
app.add_typer(listing, name="list")

Format = Annotated[OutputFormat, typer.Option("--format", help="How to print.")]


def show(rows: list[dict[str, str]], format: OutputFormat) -> None:
    """Rows of one listing as a table or as JSON."""
    if format is OutputFormat.json:
        print_json(rows)
    else:
        print_table(list(rows[0]) if rows else [], [list(row.values()) for row in rows])


@listing.command()
def methods(format: Format = OutputFormat.table) -> None:
    """Methods that `bench run -m NAME` can run."""
    from bench.methods.base import METHODS

    show(
        [{"method": n, "loss terms": ", ".join(m.terms) or "-", "what it is": m.summary} for n, m in METHODS.items()],
        format,
    )


@listing.command()
def datasets(format: Format = OutputFormat.table) -> None:
    """Datasets that `bench run -d NAME` can use."""
    from bench.datasets.base import DATASETS

    show(
        [{"dataset": n, "default split": d.split_names[0], "what it is": d.summary} for n, d in DATASETS.items()],
        format,
    )


@listing.command()
def splits(format: Format = OutputFormat.table) -> None:
    """Frozen class splits of every dataset."""
    from bench.datasets.base import DATASETS

    known = [(name, dataset.split_names) for name, dataset in DATASETS.items()]
    show(
        [
            {"split": split, "dataset": dataset, "default": "yes" if split == split_names[0] else ""}
            for dataset, split_names in known
            for split in split_names
        ],
        format,
    )


@listing.command()
def protocols(format: Format = OutputFormat.table) -> None:
    """Evaluation protocols that `bench score FILE --protocol NAME` carries out, and whose code each follows."""
    from dataclasses import asdict

    from bench.evaluation.protocols.base import PROTOCOLS

    known = [protocol for _, protocol in PROTOCOLS.items()]
    if format is OutputFormat.json:
        rows = [asdict(each) for each in known]
        print_json([{"protocol": row.pop("name"), **row} for row in rows])
        return
    show(
        [
            {
                "protocol": each.name,
                "ranks by": each.distance + (", paired gallery" if each.gallery == "paired" else ""),
                "metrics": ", ".join(each.metrics).replace("@queries", ""),
                "what it computes": each.summary,
                "used by": each.used_by,
            }
            for each in known
        ],
        format,
    )


@listing.command()
def settings(
    method: Annotated[str, typer.Argument(help="A method, for its own settings, too.")] = "ours",
    dataset: Annotated[str, typer.Option("-d", "--dataset", help="Whose defaults and settings.")] = "emoji",
    format: Format = OutputFormat.table,
) -> None:
    """Settings that `--set KEY=VALUE` of a run changes: of the run, a method, a dataset, what follows embedding."""
    from dataclasses import asdict

    from bench.datasets.base import DATASETS
    from bench.experiments.resolve import settings_of
    from bench.methods.base import METHODS
    from bench.settings.describe import describe
    from bench.settings.request import Request

    parts = settings_of(Request(method, dataset), METHODS.get(method), DATASETS.get(dataset))
    owners = ("run", method, dataset, "after embedding")
    rows = [
        {"setting": each.name, "of": owner, **{name: value for name, value in asdict(each).items() if name != "name"}}
        for owner, part in zip(owners, parts, strict=True)
        for each in describe(part)
    ]
    show(rows, format)


@listing.command()
def reports(format: Format = OutputFormat.table) -> None:
    """Kinds of tables and pictures that `bench report --kind NAME` makes, and formats that it writes them in."""
    from bench.reports.base import FORMATS, KINDS, PICTURES

    pictured = dict(PICTURES.items())
    rows = [
        {"name": name, "option": "--kind", "what it is": _first_sentence(kind), "pictures": "yes" * (name in pictured)}
        for name, kind in KINDS.items()
    ]
    rows += [
        {
            "name": name,
            "option": "--format",
            "what it is": f"{each.ending} files",
            "pictures": "yes" * each.pictures,
        }
        for name, each in FORMATS.items()
    ]
    show(rows, format)


def _first_sentence(function: Any) -> str:
    """The first line of a function's docstring."""
    return (inspect.getdoc(function) or "").partition("\n")[0].rstrip(".")


@listing.command()
def metrics(format: Format = OutputFormat.table) -> None:
    """Metrics that `bench score FILE --metric ID` computes; K is any number, @classes behind an id takes that mean."""
    from bench.evaluation.metrics.base import definitions

    show([{"metric": each.name, "what it is": each.summary, "used by": each.used_by} for each in definitions()], format)


@listing.command()
def backbones(
    pattern: Annotated[str, typer.Argument(help="Only names like this, for example 'resnet*'.")] = "*",
    format: Format = OutputFormat.table,
) -> None:
    """Networks that `bench run --backbone NAME` takes, and where their ImageNet weights come from."""
    import timm  # takes seconds to import

    from bench.datasets.base import DATASETS
    from bench.errors import UsageError, nearest
    from bench.methods.backbone.published_weights import PACKAGED, default_file
    from bench.settings.run_settings import RunSettings, with_recipe

    def weights_of(name: str) -> str:
        if name == PACKAGED:
            return "come with the project"
        return str(default_file(name) or "--weights FILE")

    names = timm.list_models(pattern)
    if not names:
        raise UsageError(f"There is no backbone {pattern!r}. {nearest(pattern, timm.list_models())}")
    default: dict[str, list[str]] = {}
    for name, dataset in DATASETS.items():
        default.setdefault(with_recipe(RunSettings(), dataset.recipe).backbone, []).append(name)
    show(
        [
            {
                "backbone": name,
                "ImageNet weights": weights_of(name),
                "default for": ", ".join(default.get(name, ())),
            }
            for name in names
        ],
        format,
    )


@listing.command()
def runs(
    ctx: typer.Context,
    status: Annotated[
        list[str] | None,
        typer.Option(help="Only queued, running, done, failed, interrupted or superseded; may be repeated."),
    ] = None,
    format: Format = OutputFormat.table,
) -> None:
    """Stored runs: what is done, what failed and why, what is being computed and how far it is."""
    from bench.cli.run_table import STATUSES, row_of
    from bench.errors import UsageError, nearest

    for each in status or ():
        if each not in STATUSES:
            raise UsageError(f"There is no status {each!r}. {nearest(each, STATUSES)}")
    store = opened_store(ctx)
    try:
        wanted: dict[str, Any] = {"status": status} if status else {}
        found, doing = store.runs(**wanted), store.doing()
    finally:
        store.close()
    rows = [row_of(run, doing.get(run.id)) for run in found]
    if format is OutputFormat.json:
        print_json(rows)
        return
    shown = ("run", "status", "title", "split", "seed", "mAP@all", "note")
    print_table(list(shown), [["-" if row[name] is None else str(row[name]) for name in shown] for row in rows])
