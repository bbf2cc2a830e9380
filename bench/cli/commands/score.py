"""``bench score``: embeddings from anywhere, under every published definition."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.app import app
from bench.cli.commands.data import open_dataset
from bench.cli.output import OutputFormat, global_option, print_json, stderr
from bench.cli.score_table import as_json, print_figures, say_skipped
from bench.errors import MemoryExhaustedError, UsageError

if TYPE_CHECKING:
    from bench.embeddings.arrays import Embeddings, StreamedEmbeddings
    from bench.embeddings.files import EmbeddingFile
    from bench.evaluation.protocol_scores import Rankings
    from bench.evaluation.protocols.base import Protocol
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
    from bench.embeddings.arrays import StreamedEmbeddings
    from bench.evaluation.protocol_scores import figures_of

    check_shards(file, to_shards, deep)
    wanted = asked_for(protocol or [], metric or [], distance)
    embeddings, submission = opened(ctx, file, to_shards, dataset, split, assignments, unverified)
    if device == "auto":
        device = "cpu"
        if not isinstance(embeddings, StreamedEmbeddings):
            from bench.devices import choose_device  # imports torch, which takes seconds

            device = str(choose_device(device))
    how = How(seed=seed, device=device, title=f"scoring {file.name}", quiet=bool(global_option(ctx, "quiet")))
    run: dict[str, Any] = {}
    if name is None or submission is None:
        rankings = rank_all(embeddings, wanted, how)
    else:
        rankings, run = rank_and_store(
            ctx, name, submission, wanted, distance.value if distance else "cosine", file, how
        )
    found = {each.name: figures_of(rankings, each) for each in wanted}
    if format is OutputFormat.json:
        print_json({**run, **sizes(embeddings), "scores": as_json(found)})
    else:
        print_figures(found)
        say_skipped(found, embeddings)


def check_shards(file: Path, to_shards: Path | None, deep: bool) -> None:
    """Raise UsageError for options that do not fit the file, DataError for a shard that ``deep`` finds altered."""
    if to_shards is not None and file.is_dir():
        raise UsageError(f"{file} is a folder already: --to-shards writes the embeddings of a file.")
    if deep and file.is_file():
        raise UsageError(f"--deep looks at shards, and {file} is no folder of them.")
    if deep:
        from bench.embeddings.memmap import open_shards

        open_shards(file, deep=True)


def opened(
    ctx: typer.Context,
    file: Path,
    to_shards: Path | None,
    dataset: str | None,
    split: str | None,
    assignments: list[str] | None,
    unverified: bool,
) -> tuple[Embeddings | StreamedEmbeddings, Submission | None]:
    """What to rank; a folder's photos stay on the disk unless they are held against a dataset."""
    from bench.embeddings.files import read_embeddings
    from bench.embeddings.memmap import ShardWriter, open_shards

    if file.is_dir() and dataset is None:
        return open_shards(file), None
    read = read_embeddings(file)
    if to_shards is not None:
        if read.embeddings.query_groups is not None or read.embeddings.query_clusters is not None:
            raise UsageError("Shards hold labels alone, and the file has clusters or groups: leave --to-shards out.")
        with ShardWriter(to_shards) as writer:
            writer.add("query", read.embeddings.query, read.embeddings.query_labels, read.query_paths)
            writer.add("gallery", read.embeddings.gallery, read.embeddings.gallery_labels, read.gallery_paths)
    if dataset is None:
        return read.embeddings, None
    submission = submitted(ctx, read, dataset, split, assignments, unverified)
    return submission.embeddings, submission


@dataclass(frozen=True)
class How:
    """How to rank, and what the progress on stderr is called."""

    seed: int
    device: str
    title: str
    quiet: bool


def check_options(
    name: str | None, dataset: str | None, split: str | None, assignments: list[str] | None, unverified: bool
) -> None:
    """Raise UsageError for options that make no sense without others, and for a name that is taken."""
    if name is not None and dataset is None:
        raise UsageError("--as NAME stores a run of a dataset: name it with -d.")
    if unverified and name is None:
        raise UsageError("--unverified is a mark of a stored run: name the method with --as.")
    if dataset is None and (split or assignments):
        raise UsageError("--split and --set belong to a dataset: name it with -d.")
    if name is not None:
        from bench.experiments.external import check_name

        check_name(name)


def asked_for(protocols: list[str], metrics: list[str], distance: DistanceChoice | None) -> list[Protocol]:
    """What to compute; raises UsageError for an unknown protocol or metric."""
    from bench.evaluation.metrics.base import DEFAULT_METRICS
    from bench.evaluation.protocol_scores import chosen_metrics, every_protocol, ranked_by, under_both_means
    from bench.evaluation.protocols.base import PROTOCOLS

    wanted: list[Protocol] = []
    for each in dict.fromkeys(protocols):
        wanted += every_protocol() if each == "all" else [PROTOCOLS.get(each)]
    if distance is not None:
        wanted = [ranked_by(each, distance.value) for each in wanted]
    if metrics or not wanted:
        ids = metrics or under_both_means(DEFAULT_METRICS)
        wanted.append(chosen_metrics(ids, distance.value if distance else "cosine"))
    return list({each.name: each for each in wanted}.values())


def submitted(
    ctx: typer.Context,
    read: EmbeddingFile,
    dataset: str,
    split: str | None,
    assignments: list[str] | None,
    unverified: bool,
) -> Submission:
    """The embeddings held against the split, unless unchecked ones are wanted; says on stderr what was compared."""
    from bench.experiments import submission as submissions

    opened = open_dataset(ctx, dataset, assignments)
    if unverified:
        return submissions.unverified(read, opened, split)
    found = submissions.verify(read, opened, split)
    if not global_option(ctx, "quiet"):
        against = "its images" if found.evidence == "split" else "the published counts (the images are not at hand)"
        what = f"{found.dataset}, split {found.split}, gallery {found.gallery_name}"
        typer.echo(f"{what}: numbers per class agree with {against}", err=True)
    return found


def rank_all(
    embeddings: Embeddings | StreamedEmbeddings, protocols: list[Protocol], how: How, top: int = 0
) -> Rankings:
    """Every ranking that the protocols need, with progress on stderr."""
    from bench.cli.progress import Bars
    from bench.evaluation.protocol_scores import rank_protocols

    with Bars(how.title, quiet=how.quiet) as bars:
        bars.phase("ranking")
        try:
            return rank_protocols(
                embeddings,
                protocols,
                seed=how.seed,
                device=how.device,
                top=top,
                progress=lambda done, total: bars.progress(done, total, {}),
            )
        except MemoryError as error:
            raise MemoryExhaustedError(
                f"Memory does not suffice to rank {embeddings.photos.shape[0]} photos ({error}): free some, or write "
                "the embeddings as shards where there is more (--to-shards) and rank those here."
            ) from error


def rank_and_store(
    ctx: typer.Context,
    name: str,
    submission: Submission,
    protocols: list[Protocol],
    distance: Distance,
    file: Path,
    how: How,
) -> tuple[Rankings, dict[str, Any]]:
    """As ``rank_all``, and what identifies the run as which the default figures by ``distance`` are stored."""
    from bench.embeddings.files import digest_of
    from bench.evaluation.protocol_scores import chosen_metrics, recipe
    from bench.experiments.external import TOP, store_ranking
    from bench.results.details import RANKED
    from bench.results.store import Store

    database = Store(global_option(ctx, "store"))  # a mistake there shows before minutes of ranking
    try:
        stored = chosen_metrics(RANKED, distance, "to store")
        begun = time.perf_counter()
        rankings = rank_all(submission.embeddings, [*protocols, stored], how, TOP)
        run = store_ranking(
            database,
            name,
            submission,
            rankings[recipe(stored)]["index"],
            distance=distance,
            seed=how.seed,
            file_sha256=digest_of(file),
            device=how.device,
            seconds=time.perf_counter() - begun,
        )
    finally:
        database.close()
    mark = "" if submission.verified else ", unverified"
    say = f"stored as run {run}: {name} (external{mark}) on {submission.split}"
    if not submission.classes:
        say += "; without query_paths and gallery_paths beside the images, reports show no interval for it"
    stderr().print(say, markup=False)
    return rankings, {
        "run": run,
        "method": name,
        "dataset": submission.dataset,
        "split": submission.split,
        "seed": how.seed,
        "fingerprint": submission.fingerprint,
        "verified": submission.verified,
    }


def sizes(embeddings: Embeddings | StreamedEmbeddings) -> dict[str, int]:
    """What was ranked, for JSON."""
    return {
        "queries": len(embeddings.query),
        "photos": embeddings.photos.shape[0],
        "width": embeddings.query.shape[1],
        "classes": len(set(embeddings.clusters.tolist())),
    }
