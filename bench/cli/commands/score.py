"""``bench score``: embeddings from anywhere, under every published definition."""

from __future__ import annotations

from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bench.cli.app import app
from bench.cli.commands.data import open_dataset
from bench.cli.options import DatasetSettings, Many, SplitName
from bench.cli.output import Format, cache_dir, global_option, print_json, show_progress
from bench.cli.score_table import print_figures, print_skipped, report_stored
from bench.errors import UsageError

if TYPE_CHECKING:
    from bench.datasets.base import Dataset
    from bench.embeddings.arrays import Rankable
    from bench.experiments.external_embeddings import ExternalEmbeddings


@app.command(epilog="Example: bench score embeddings.npz --protocol all")
def score(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="A .npz or .safetensors file, or a folder of shards.")],
    protocol: Annotated[
        Many, typer.Option(metavar="NAME", help="Protocol (`bench list protocols`), or all; repeatable.")
    ] = None,
    metric: Annotated[
        Many, typer.Option(metavar="ID", help="Metric such as mAP@200:min or P@10:k@classes; repeatable.")
    ] = None,
    distance: Annotated[
        Literal["cosine", "euclidean", "hamming"] | None,
        typer.Option(help="Distance to rank by.", show_default="cosine, and each protocol's own"),
    ] = None,
    gallery: Annotated[
        Literal["full", "paired", "diagonal"] | None,
        typer.Option(
            help="All photos, a random one of its class for each query, or photo i for query i.",
            show_default="full, and each protocol's own",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option("--as", metavar="NAME", help="Store as this external method.")] = None,
    dataset: Annotated[str | None, typer.Option("-d", "--dataset", help="Check against this dataset.")] = None,
    split: SplitName = None,
    assignments: DatasetSettings = None,
    unverified: Annotated[bool, typer.Option("--unverified", help="Store unchecked, marked in reports.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of random protocols, and of a stored run.")] = 0,
    device: Annotated[str, typer.Option(help="Where to rank: cpu, auto, cuda, cuda:N or mps.")] = "cpu",
    to_shards: Annotated[Path | None, typer.Option(metavar="DIR", help="Write the embeddings as shards, too.")] = None,
    trec_run: Annotated[Path | None, typer.Option(metavar="FILE", help="Write all ranks as a TREC run.")] = None,
    trec_qrels: Annotated[Path | None, typer.Option(metavar="FILE", help="Write relevance as TREC qrels.")] = None,
    deep: Annotated[bool, typer.Option("--deep", help="Check the SHA-256 of every shard.")] = False,
    format: Format = "table",
) -> None:
    """Rank embeddings that any program made and print their figures under published definitions.

    The file has query [Q, D], gallery [G, D], query_labels [Q], gallery_labels [G]; or scores [Q, G] in place of query
    and gallery. The gallery of a folder of shards may be larger than memory. Without --protocol and --metric: every
    default metric at K = 100 and 200, the mean over queries and over classes.

    With -d, each class must have as many sketches and photos as in the split; arrays query_paths and gallery_paths
    (as `bench data list` writes them) put rows into its order. --as stores the default figures as well.
    --trec-run and --trec-qrels write files for ranx, ir_measures and trec_eval; ranked by --distance.
    """
    if name is not None and dataset is None:
        raise UsageError("--as NAME stores a run of a dataset: name it with -d.")
    if unverified and name is None:
        raise UsageError("--unverified is a mark of a stored run: name the method with --as.")
    if dataset is None and (split or assignments):
        raise UsageError("--split and --set belong to a dataset: name it with -d.")
    from bench.evaluation.protocol_scores import figures_of, rank_protocols, requested_protocols, without_refusing
    from bench.evaluation.score_json import count_rows, figure_rows, find_warnings
    from bench.evaluation.trec import write_qrels, write_run

    if name is not None:  # imports torch and SQLAlchemy
        from bench.experiments.external_run import check_name, rank_and_store
        from bench.results.outcomes import open_store

        check_name(name)
    protocols = requested_protocols(protocol or [], metric or [], distance, gallery)
    chosen = open_dataset(ctx, dataset, assignments) if dataset is not None else None
    fine_grained = [each.name for each in protocols if each.relevance == "instance"]
    if fine_grained and chosen and chosen.relevance_of(own := split or chosen.split_names[0]) == "class":
        raise UsageError(f"Protocol {fine_grained[0]} is for fine-grained splits, and {own!r} names no instances.")
    embeddings, external = read(file, to_shards, deep, chosen, split, unverified, global_option(ctx, "quiet"))
    protocols = without_refusing(embeddings, protocols, [*(protocol or []), ""])
    if device == "auto" and embeddings.in_memory:
        from bench.devices import choose_device  # imports torch, which takes seconds

        device = str(choose_device("auto"))
    elif device == "auto":  # a gallery on disk, or a matrix of scores
        device = "cpu"
    run = superseded = None
    # The store is opened first: a mistake in --store shows before minutes of ranking.
    store = open_store(global_option(ctx, "store"), cache_dir(ctx))[0] if name is not None else None
    with closing(store) if store else nullcontext(), show_progress(ctx, f"scoring {file.name}", "ranking") as bars:
        how: dict[str, Any] = {"seed": seed, "device": device, "progress": bars.progress}
        if store is None or name is None or external is None:
            rankings = rank_protocols(embeddings, protocols, **how)
        else:
            how |= {"distance": distance or "cosine", "file": file}
            rankings, run, superseded = rank_and_store(store, name, external, protocols, **how)
    if trec_run is not None:
        write_run(trec_run, embeddings, distance or "cosine", device)
    if trec_qrels is not None:
        write_qrels(trec_qrels, embeddings)
    found = {each.name: figures_of(rankings, each) for each in protocols}
    stored: dict[str, Any] = {}
    if name is not None and run is not None and external is not None:
        stored = report_stored(run, name, external, seed, superseded)
    warnings = find_warnings(embeddings)
    for warning in warnings:
        typer.echo(f"WARNING: {warning}", err=True)
    if format == "json":
        print_json({**stored, **count_rows(embeddings), "scores": figure_rows(found), "warnings": warnings})
    else:
        print_figures(found)
        print_skipped(found, embeddings)


def read(
    file: Path,
    to_shards: Path | None,
    deep: bool,
    dataset: Dataset | None,
    split: str | None,
    unchecked: bool,
    quiet: bool,
) -> tuple[Rankable, ExternalEmbeddings | None]:
    """What to rank, checked against the split. Without a dataset, a folder's photos stay on disk.

    Raises UsageError for options that do not fit the file, DataError for a shard with another hash (``deep``).
    """
    from bench.embeddings.arrays import ScoreMatrix
    from bench.embeddings.files import read_file, write_shards
    from bench.embeddings.memmap import open_shards

    if file.is_dir():
        if to_shards is not None:
            raise UsageError(f"{file} is a folder already: --to-shards writes the embeddings of a file.")
        shards = open_shards(file, deep=deep)
        if dataset is None:
            return shards, None
    elif deep and file.is_file():
        raise UsageError(f"--deep checks shards: {file} is not a folder of shards.")
    content = read_file(file)
    if isinstance(content, ScoreMatrix):
        if to_shards is not None or dataset is not None:
            raise UsageError(f"{file} holds scores, not embeddings: leave out --to-shards, -d and --as.")
        return content, None
    if to_shards is not None:
        write_shards(to_shards, content)
    if dataset is None:
        return content.embeddings, None
    from bench.experiments.external_embeddings import unverified, verify

    external = (unverified if unchecked else verify)(content, dataset, split)
    if external.verified and not quiet:
        by_images = external.evidence == "split"
        against = "its images" if by_images else "the published counts (the images are not on this machine)"
        what = f"{external.dataset}, split {external.split}, gallery {external.gallery_name}"
        typer.echo(f"{what}: numbers per class agree with {against}", err=True)
    return external.embeddings, external
