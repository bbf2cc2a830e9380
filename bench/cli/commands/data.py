"""``bench data``: where a dataset lies, whether it is what it claims, and its canonical lists."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.app import app
from bench.cli.data_table import as_json, print_findings, summary
from bench.cli.output import OutputFormat, global_option, print_json
from bench.errors import DataError, UsageError

if TYPE_CHECKING:
    from bench.datasets.base import Dataset
    from bench.types import Item, Labels, Split

data = typer.Typer(no_args_is_help=True, help="Datasets on disk: where they lie, what is in them, their lists.")
app.add_typer(data, name="data")

Name = Annotated[str, typer.Argument(metavar="DATASET", help="Dataset, as `bench list datasets` names it.")]
SplitName = Annotated[str | None, typer.Option("--split", help="Frozen class split.", show_default="the dataset's")]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Setting of the dataset, such as root=PATH; may be repeated."),
]
Format = Annotated[OutputFormat, typer.Option("--format", help="How to print.")]


@data.command(epilog="Example: [bold]bench data check tuberlin --deep[/bold]")
def check(
    ctx: typer.Context,
    dataset: Name,
    split: SplitName = None,
    deep: Annotated[bool, typer.Option(help="Read, decode and hash every image.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Threads that decode with --deep.")] = 2,
    assignments: Assignments = None,
    format: Format = OutputFormat.table,
) -> None:
    """Hold a dataset against what was published: layout, counts, classes, unreadable and repeated images.

    Exits with 3 when something keeps the split from being what it claims.
    """
    from bench.cli.progress import Bars
    from bench.datasets.checks.check import check as find

    chosen = open_dataset(ctx, dataset, assignments)
    if split is not None and split not in chosen.split_names and dataset != "folder":
        chosen.split(split)  # raises the sentence about unknown splits
    with Bars(f"checking {dataset}", quiet=bool(global_option(ctx, "quiet")) or not deep) as bars:
        if deep:
            bars.phase("reading images")
        found = find(chosen, split, deep=deep, workers=workers, progress=lambda done, all: bars.progress(done, all, {}))
    if format is OutputFormat.json:
        print_json(as_json(chosen, found))
    else:
        print_findings(chosen, found)
    if found.problems:
        raise typer.Exit(DataError.exit_code)


@data.command(epilog="Example: [bold]bench data path sketchy --data-root /data[/bold]")
def path(
    ctx: typer.Context, dataset: Name, assignments: Assignments = None, format: Format = OutputFormat.table
) -> None:
    """Say where a dataset is looked for, what was found, the trees that are understood, archives and licence."""
    chosen = open_dataset(ctx, dataset, assignments)
    where = chosen.whereabouts()
    if format is OutputFormat.json:
        print_json(
            {
                "dataset": dataset,
                "found": str(where.root) if where.root else None,
                "layout": where.layout,
                "looked": [str(each) for each in where.looked],
                "nearby": list(where.nearby),
                "expected": dict(where.expected),
                "archives": list(where.archives),
                "licence": chosen.licence,
            }
        )
        return
    typer.echo(f"found:    {where.root or where.layout or 'no'}")
    if where.root:
        typer.echo(f"layout:   {where.layout}")
    for title, lines in (
        ("looked in", [str(each) for each in where.looked]),
        ("there is", list(where.nearby)),
        ("understood trees, one <class> folder for each class", [f"{k}: {v}" for k, v in where.expected.items()]),
        ("archives in circulation (not downloaded by bench)", list(where.archives)),
    ):
        if lines:
            typer.echo(f"{title}:\n" + "\n".join(f"  {line}" for line in lines))
    typer.echo(f"licence:  {chosen.licence}")


@data.command("list", epilog="Example: [bold]bench data list sketchy --split sketchy-21 -o lists/[/bold]")
def list_(
    ctx: typer.Context,
    dataset: Name,
    split: SplitName = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for one file a role.", show_default="stdout")
    ] = None,
    assignments: Assignments = None,
    format: Format = OutputFormat.table,
) -> None:
    """Write the canonical lists of a split, for code that makes its own embeddings.

    Columns, separated by tabs: path, label, class. Labels of queries and gallery count the unseen classes from 0 (seen
    ones follow), those of train and validation count the seen classes. With -o: queries.tsv, gallery.tsv, train.tsv,
    validation.tsv, classes.txt (which `--set unseen=@FILE` of dataset folder reads) and split.json.
    """
    chosen = open_dataset(ctx, dataset, assignments)
    found = chosen.split(split)
    if output is not None:
        write_lists(found, output)
        typer.echo(f"wrote {found.name} (fingerprint {found.fingerprint}) to {output}", err=True)
    elif format is OutputFormat.json:
        roles = {
            role: [{"path": item.path, "label": label, "class": item.class_name} for item, label in rows]
            for role, rows in labelled(found)
        }
        print_json({**summary(found), "seen": found.seen, "unseen": found.unseen, **roles})
    else:
        typer.echo("role\tpath\tlabel\tclass")
        for role, rows in labelled(found):
            for item, label in rows:
                typer.echo(f"{role}\t{item.path}\t{label}\t{item.class_name}")


def open_dataset(ctx: typer.Context, name: str, assignments: list[str] | None) -> Dataset:
    """The dataset with its settings; raises UsageError for an unknown name or setting."""
    from bench.datasets.base import DATASETS
    from bench.settings.run_settings import assign

    kind = DATASETS.get(name)
    (settings,) = assign([kind.Settings()], assignments or [])
    return kind(Path(global_option(ctx, "data_root")), settings)


def labelled(split: Split) -> Iterator[tuple[str, list[tuple[Item, int]]]]:
    """Each role with its items and their labels, in canonical order."""

    def pairs(items: tuple[Item, ...], labels: Labels) -> list[tuple[Item, int]]:
        return list(zip(items, labels.tolist(), strict=True))

    yield "queries", pairs(split.queries, split.test_labels(split.queries))
    yield "gallery", pairs(split.gallery, split.test_labels(split.gallery))
    yield "train", pairs(split.train, split.train_labels(split.train))
    yield "validation", pairs(split.validation, split.train_labels(split.validation))


def write_lists(split: Split, folder: Path) -> None:
    """One file a role, the classes and a summary; raises UsageError when the folder cannot be written."""
    from bench.datasets.published.split_lists import hash_of_classes

    classes = [
        f"# {split.dataset}, split {split.name}",
        f"# sha256-unseen: {hash_of_classes(split.unseen)}",
        f"# sha256-seen: {hash_of_classes(split.seen)}",
        "[unseen]",
        *split.unseen,
        "[seen]",
        *split.seen,
    ]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for role, rows in labelled(split):
            lines = (f"{item.path}\t{label}\t{item.class_name}\n" for item, label in rows)
            (folder / f"{role}.tsv").write_text("path\tlabel\tclass\n" + "".join(lines), encoding="utf-8")
        (folder / "classes.txt").write_text("\n".join(classes) + "\n", encoding="utf-8")
        (folder / "split.json").write_text(json.dumps(summary(split), indent=2, ensure_ascii=False) + "\n", "utf-8")
    except OSError as error:
        raise UsageError(f"The lists cannot be written to {folder} ({error.strerror}): choose another -o.") from error
