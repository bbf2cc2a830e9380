"""``bench data``: add a dataset, where it is, whether it matches the published one, and its canonical lists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli import data_table
from bench.cli.app import app
from bench.cli.options import DatasetSettings, SplitName, refuse_repeated
from bench.cli.output import Format, global_option, print_facts, print_json, print_rows, show_progress, write_output
from bench.errors import DataError, UsageError

if TYPE_CHECKING:
    from bench.datasets.base import Dataset
    from bench.types import Split

data = typer.Typer(no_args_is_help=True, help="Datasets on disk: where they are, checks, canonical lists.")
app.add_typer(data, name="data")

Name = Annotated[str, typer.Argument(metavar="DATASET", help="Dataset, see `bench list datasets`.")]


@data.command(epilog="Example: bench data add tuberlin png.zip ImageResized.zip")
def add(
    ctx: typer.Context,
    dataset: Name,
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Archives (zip, tar, 7z), folders, drawings (.ndjson, .npy, .svg) or http(s) addresses, in any order.",
        ),
    ],
    copy: Annotated[
        bool, typer.Option("--copy", help="Copy folders, too; default: link folders, unpack archives.")
    ] = False,
    link: Annotated[bool, typer.Option("--link", help="Link to folders; refuse archives.")] = False,
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Read images from zip archives without unpacking them.")
    ] = False,
    sketches: Annotated[
        int, typer.Option(min=1, help="Sketches of each class to draw from files of Quick, Draw! (.ndjson, .npy).")
    ] = 3000,
    seed: Annotated[int, typer.Option(min=0, help="Seed that chooses the drawings.")] = 0,
) -> None:
    """Put a downloaded dataset below --data-root, and check it.

    The archives are those of the publication or of a repository: see `bench data path DATASET`. An interrupted command
    resumes when it is repeated. Exits with 3 if the dataset is whole but not usable.
    """
    from bench.datasets.adding.add import Adding
    from bench.datasets.adding.drawings import Draw
    from bench.datasets.published.tree_dataset import TreeDataset

    modes = [name for name, given in (("copy", copy), ("link", link), ("in-place", in_place)) if given]
    if len(modes) > 1:
        raise UsageError(f"--{modes[0]} and --{modes[1]} exclude each other: pass one of them.")
    tree = open_dataset(ctx, dataset, None)
    if not isinstance(tree, TreeDataset):
        cure = "it is read where it is, by --set root=PATH" if tree.whereabouts().expected else "it is here already"
        raise UsageError(f"Dataset {dataset!r} cannot be added: {cure}.")
    with Adding(tree, sources, Draw(sketches, seed)) as adding:
        with show_progress(ctx, f"looking for {dataset}", in_bytes=True) as bars:
            found = adding.find(bars)
        data_table.print_lines(data_table.found_lines(adding, found))  # not between bars, which take over stdout
        with show_progress(ctx, f"adding {dataset}", in_bytes=True) as bars:
            placed = adding.place(found, "".join(modes), bars)
    data_table.print_lines(data_table.placed_lines(adding, placed))
    if found.missing:
        typer.echo(
            f"not usable yet: {', '.join(found.missing)} is missing; add it by `bench data add {dataset} SOURCE`"
        )
    else:
        check(ctx, dataset)


@data.command(epilog="Example: bench data check tuberlin --deep")
def check(
    ctx: typer.Context,
    dataset: Name,
    split: SplitName = None,
    deep: Annotated[bool, typer.Option(help="Read, decode and hash every image.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Threads that decode with --deep.")] = 2,
    assignments: DatasetSettings = None,
    format: Format = "table",
) -> None:
    """Compare a dataset with the published one: layout, counts, classes, unreadable and repeated images.

    Exits with 3 if the split is not usable.
    """
    from bench.datasets.checks.check import check as find

    chosen = open_dataset(ctx, dataset, assignments)
    if split is not None and split not in chosen.split_names and dataset != "folder":
        chosen.split(split)  # raises for an unknown split
    with show_progress(ctx, f"checking {dataset}", "reading images", quiet=not deep) as bars:
        found = find(chosen, split, deep=deep, workers=workers, progress=bars.progress)
    if format == "json":
        print_json(data_table.make_json(chosen, found))
    else:
        data_table.print_findings(chosen, found)
    if found.problems:
        raise typer.Exit(DataError.exit_code)


@data.command(epilog="Example: bench data path sketchy --data-root /data")
def path(ctx: typer.Context, dataset: Name, assignments: DatasetSettings = None, format: Format = "table") -> None:
    """Show where a dataset is searched, what was found, the accepted folder trees, archives and licence."""
    chosen = open_dataset(ctx, dataset, assignments)
    where = chosen.whereabouts()
    facts = {
        "dataset": dataset,
        "found": bool(where.layout),
        "root": str(where.root) if where.root else None,
        "layout": where.layout,
        "looked_in": [str(each) for each in where.looked],
        "nearby": list(where.nearby),
        "missing": list(where.missing),
        "expected": dict(where.expected),
        "archives": list(where.archives),
        "addresses": list(chosen.addresses),
        "licence": chosen.licence,
    }
    (print_json if format == "json" else print_facts)(facts)


@data.command(epilog="Example: bench data where --data-root /data")
def where(ctx: typer.Context, format: Format = "table") -> None:
    """Show every dataset: where it is, what is missing, the next command, official addresses. It fetches nothing."""
    from bench.datasets.base import DATASETS

    rows = [data_table.describe_place(open_dataset(ctx, name, None)) for name, _ in DATASETS.items()]
    columns = [column for column in rows[0] if column != "addresses"]
    print_rows("datasets", rows, format, columns)
    wanted = [(row["dataset"], address) for row in rows for address in row["addresses"]]
    if wanted and format == "table":  # whole lines, to copy
        typer.echo("\n".join(["addresses:", *(f"  {name:<12} {address}" for name, address in wanted)]))


@data.command("list", epilog="Example: bench data list sketchy --split sketchy-21 -o lists/")
def list_(
    ctx: typer.Context,
    dataset: Name,
    split: SplitName = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for one file per role.", show_default="stdout")
    ] = None,
    gallery: Annotated[
        str, typer.Option(help="unseen; generalized: all, sem-pcyc, ocean, dr-clip, all-seen or amf.")
    ] = "unseen",
    assignments: DatasetSettings = None,
    format: Format = "table",
) -> None:
    """Write the canonical lists of a split, for code that makes its own embeddings.

    Columns, separated by tabs: path, label, class. In queries and gallery, labels count the unseen classes from 0, then
    the seen ones; in train and validation they count the seen classes. With -o: queries.tsv, gallery.tsv, train.tsv,
    validation.tsv, classes.txt (for `--set unseen=@FILE` of dataset folder) and split.json.
    """
    from bench.generalized import extend

    found = extend(open_dataset(ctx, dataset, assignments).split(split), gallery)
    lists = data_table.label_items(found)
    if output is not None:
        write_lists(found, lists, output)
        typer.echo(f"wrote {found.name} (fingerprint {found.fingerprint}) to {output}", err=True)
    elif format == "json":
        print_json({**data_table.summarize(found), "seen": found.seen, "unseen": found.unseen, **lists})
    else:
        typer.echo("role\tpath\tlabel\tclass")
        for role, rows in lists.items():
            for row in rows:
                typer.echo("\t".join(map(str, (role, *row.values()))))


def open_dataset(ctx: typer.Context, name: str, assignments: list[str] | None) -> Dataset:
    """The dataset with its settings; raises UsageError for an unknown name or setting."""
    from bench.datasets.base import DATASETS
    from bench.settings.run_settings import assign

    kind = DATASETS.get(name)
    refuse_repeated(assignments or [])
    (settings,) = assign([kind.Settings()], assignments or [])
    return kind(Path(global_option(ctx, "data_root")), settings)


def write_lists(split: Split, lists: data_table.Lists, folder: Path) -> None:
    """Write one file per role, the classes and a summary."""
    from bench.datasets.published.class_splits import hash_of_classes, quote_class

    classes = [
        f"# {split.dataset}, split {split.name}",
        f"# sha256-unseen: {hash_of_classes(split.unseen)}",
        f"# sha256-seen: {hash_of_classes(split.seen)}",
        *("[unseen]", *map(quote_class, split.unseen), "[seen]", *map(quote_class, split.seen)),
    ]
    texts = {
        f"{role}.tsv": "".join(
            "\t".join(map(str, row)) + "\n" for row in (("path", "label", "class"), *(each.values() for each in rows))
        )
        for role, rows in lists.items()
    }
    texts["classes.txt"] = "\n".join(classes) + "\n"
    texts["split.json"] = json.dumps(data_table.summarize(split), indent=2, ensure_ascii=False) + "\n"
    for name, text in texts.items():
        write_output(folder / name, text)
