"""``bench score``: embeddings from anywhere, under every published definition."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.app import app
from bench.cli.commands.data import open_dataset
from bench.cli.output import OutputFormat, cache_dir, global_option, print_json
from bench.cli.score_table import as_json, print_figures, say_skipped, sizes, stored_as
from bench.errors import MemoryExhaustedError, UsageError

if TYPE_CHECKING:
    from bench.datasets.base import Dataset
    from bench.embeddings.arrays import Embeddings, StreamedEmbeddings
    from bench.experiments.submission import Submission
    from bench.types import Distance


class DistanceChoice(StrEnum):
    """What the gallery is ranked by."""

    cosine = "cosine"
    euclidean = "euclidean"
    hamming = "hamming"


@app.command(epilog="Example: [bold]bench score embeddings.npz --protocol all[/bold]")
def score(
    ctx: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            help="A .npz or .safetensors file with query [Q, D], gallery [G, D], query_labels [Q], gallery_labels [G]; "
            "or a folder of shards, whose gallery may be larger than memory."
        ),
    ],
    protocol: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Protocol that `bench list protocols` names, or all; may be repeated."),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Metric such as mAP@200:min or P@10:k@classes; may be repeated."),
    ] = None,
    distance: Annotated[
        DistanceChoice | None,
        typer.Option(help="What to rank by.", show_default="cosine, and each protocol's own"),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="Store the scores as a run of this external method.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("-d", "--dataset", help="The embeddings are of this dataset: check that they are.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Frozen class split.", show_default="the dataset's")] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Setting of the dataset, such as root=PATH; may be repeated."),
    ] = None,
    unverified: Annotated[bool, typer.Option("--unverified", help="Store unchecked: every report says so.")] = False,
    seed: Annotated[
        int, typer.Option(min=0, help="Draws what a protocol draws at random; the seed of a stored run.")
    ] = 0,
    device: Annotated[str, typer.Option(help="Where to rank: cpu, auto, cuda, cuda:N or mps.")] = "cpu",
    to_shards: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write the embeddings of the file as shards into this folder, too."),
    ] = None,
    deep: Annotated[bool, typer.Option("--deep", help="Compare every shard with its SHA-256 before.")] = False,
    format: Annotated[OutputFormat, typer.Option("--format", help="How to print.")] = OutputFormat.table,
) -> None:
    """Rank embeddings that any program made and print their figures under published definitions.

    Without --protocol and --metric: every definition at K = 100 and 200, the mean over queries and over classes.

    With -d, each class must have as many sketches and photos as in the split; arrays query_paths and gallery_paths
    (as `bench data list` writes them) put rows into its order. --as stores the default figures as well.
    """
    check_options(name, dataset, split, assignments, unverified)
    check_shards(file, to_shards, deep)
    from bench.cli.progress import Bars
    from bench.evaluation.protocol_scores import figures_of, rank_protocols, requested_protocols

    if name is not None:  # imports torch and SQLAlchemy
        from bench.experiments.external import check_name, rank_and_store
        from bench.results.merge import open_store

        check_name(name)
    wanted = requested_protocols(protocol or [], metric or [], distance.value if distance else None)
    quiet = bool(global_option(ctx, "quiet"))
    opened = open_dataset(ctx, dataset, assignments) if dataset is not None else None
    embeddings, submission = read(file, to_shards, opened, split, unverified, quiet)
    if device == "auto":
        device = auto_device(embeddings)
    # Opened first: a mistake in --store shows before minutes of ranking.
    store = open_store(global_option(ctx, "store"), cache_dir(ctx))[0] if name is not None else None
    try:
        with Bars(f"scoring {file.name}", quiet=quiet) as bars:
            bars.phase("ranking")
            how: dict[str, Any] = {
                "seed": seed,
                "device": device,
                "progress": lambda n, total: bars.progress(n, total, {}),
            }
            if store is None or name is None or submission is None:
                rankings, run = rank_protocols(embeddings, wanted, **how), None
            else:
                by: Distance = distance.value if distance else "cosine"
                rankings, run = rank_and_store(store, name, submission, wanted, distance=by, file=file, **how)
    except MemoryError as error:
        raise MemoryExhaustedError(
            f"Memory does not suffice to rank {embeddings.photos.shape[0]} photos ({error}): free some, or write "
            "the embeddings as shards where there is more (--to-shards) and rank those here."
        ) from error
    finally:
        if store is not None:
            store.close()
    found = {each.name: figures_of(rankings, each) for each in wanted}
    stored: dict[str, Any] = {}
    if name is not None and run is not None and submission is not None:
        stored = stored_as(run, name, submission, seed)
    if format is OutputFormat.json:
        print_json({**stored, **sizes(embeddings), "scores": as_json(found)})
    else:
        print_figures(found)
        say_skipped(found, embeddings)


def check_options(
    name: str | None, dataset: str | None, split: str | None, assignments: list[str] | None, unverified: bool
) -> None:
    """Raise UsageError for options that need others."""
    if name is not None and dataset is None:
        raise UsageError("--as NAME stores a run of a dataset: name it with -d.")
    if unverified and name is None:
        raise UsageError("--unverified is a mark of a stored run: name the method with --as.")
    if dataset is None and (split or assignments):
        raise UsageError("--split and --set belong to a dataset: name it with -d.")


def check_shards(file: Path, to_shards: Path | None, deep: bool) -> None:
    """Raise UsageError for options that do not fit the file, DataError for a shard that ``deep`` finds altered."""
    if to_shards is not None and file.is_dir():
        raise UsageError(f"{file} is a folder already: --to-shards writes the embeddings of a file.")
    if deep and file.is_file():
        raise UsageError(f"--deep looks at shards, and {file} is no folder of them.")
    if deep:
        from bench.embeddings.memmap import open_shards

        open_shards(file, deep=True)


def read(
    file: Path, to_shards: Path | None, dataset: Dataset | None, split: str | None, unchecked: bool, quiet: bool
) -> tuple[Embeddings | StreamedEmbeddings, Submission | None]:
    """What to rank, checked against the dataset's split. Without a dataset, a folder's photos stay on the disk."""
    from bench.embeddings.files import read_embeddings, write_shards
    from bench.embeddings.memmap import open_shards

    if file.is_dir() and dataset is None:
        return open_shards(file), None
    content = read_embeddings(file)
    if to_shards is not None:
        write_shards(to_shards, content)
    if dataset is None:
        return content.embeddings, None
    from bench.experiments.submission import unverified, verify

    submission = (unverified if unchecked else verify)(content, dataset, split)
    if submission.verified and not quiet:
        against = "its images" if submission.evidence == "split" else "the published counts (the images are missing)"
        what = f"{submission.dataset}, split {submission.split}, gallery {submission.gallery_name}"
        typer.echo(f"{what}: numbers per class agree with {against}", err=True)
    return submission.embeddings, submission


def auto_device(embeddings: Embeddings | StreamedEmbeddings) -> str:
    """The best device of this machine; a gallery on disk is ranked by the processor."""
    from bench.embeddings.arrays import StreamedEmbeddings

    if isinstance(embeddings, StreamedEmbeddings):
        return "cpu"
    from bench.devices import choose_device  # imports torch, which takes seconds

    return str(choose_device("auto"))
