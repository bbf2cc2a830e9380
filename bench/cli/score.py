"""``bench score``: embeddings from anywhere, under every published definition."""

from __future__ import annotations

import hashlib
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.app import app
from bench.cli.common import OutputFormat, global_option, print_json, stderr
from bench.cli.data import open_dataset
from bench.cli.figures import as_json, print_figures, say_skipped
from bench.errors import UsageError

if TYPE_CHECKING:
    from bench.embedding_files import EmbeddingFile
    from bench.protocols.base import Protocol
    from bench.scoring import Figure
    from bench.store import Store
    from bench.submissions import Submission
    from bench.types import Distance, Embeddings

TO_STORE = "to store"  # a name that no protocol has


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
            help="A .npz or .safetensors file with query [Q, D], gallery [G, D], query_labels [Q], gallery_labels [G]."
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
    format: Annotated[OutputFormat, typer.Option("--format", help="How to print.")] = OutputFormat.table,
) -> None:
    """Rank embeddings that any program made and print their figures under published definitions.

    Without --protocol and --metric: every definition at K = 100 and 200, the mean over queries and over classes.

    With -d, each class must have as many sketches and photos as in the split; arrays query_paths and gallery_paths
    (as `bench data list` writes them) put rows into its order. --as stores the default figures as well.
    """
    check_options(name, dataset, split, assignments, unverified)
    from bench.embedding_files import read_embeddings
    from bench.metric_ids import STORED_METRICS
    from bench.scoring import chosen_metrics, under_both_means

    wanted = asked_for(protocol or [], metric or [], distance)
    ranked_by: Distance = distance.value if distance else "cosine"
    read = read_embeddings(file)
    submission = None if dataset is None else submitted(ctx, read, dataset, split, assignments, unverified)
    embeddings = read.embeddings if submission is None else submission.embeddings
    if name is not None:
        wanted.append(chosen_metrics(under_both_means(STORED_METRICS), ranked_by, TO_STORE))
    database = None if name is None else open_store(ctx)  # a mistake there shows before minutes of ranking
    begun = time.perf_counter()
    found = rank_all(embeddings, wanted, seed, device, f"scoring {file.name}", quiet=bool(global_option(ctx, "quiet")))
    run: dict[str, Any] = {}
    if name is not None and submission is not None and database is not None:
        seconds = time.perf_counter() - begun
        run = store(database, name, submission, found.pop(TO_STORE), ranked_by, seed, file, device, seconds)
    if format is OutputFormat.json:
        print_json({**run, **sizes(embeddings), "scores": as_json(found)})
    else:
        print_figures(found)
        say_skipped(found, embeddings)


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
        from bench.external import check_name

        check_name(name)


def asked_for(protocols: list[str], metrics: list[str], distance: DistanceChoice | None) -> list[Protocol]:
    """What to compute; raises UsageError for an unknown protocol or metric."""
    from bench.metric_ids import DEFAULT_METRICS
    from bench.protocols.base import PROTOCOLS
    from bench.scoring import chosen_metrics, every_protocol, ranked_by, under_both_means

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
    from bench import submissions

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
    embeddings: Embeddings, protocols: list[Protocol], seed: int, device: str, title: str, *, quiet: bool
) -> dict[str, list[Figure]]:
    """The figures of each protocol, with progress on stderr."""
    from bench.cli.progress import Bars
    from bench.scoring import score_protocols

    if device == "auto":
        from bench.devices import choose_device  # imports torch, which takes seconds

        device = str(choose_device(device))
    with Bars(title, quiet=quiet) as bars:
        bars.phase("ranking")
        return score_protocols(
            embeddings,
            protocols,
            seed=seed,
            device=device,
            progress=lambda done, total: bars.progress(done, total, {}),
        )


def open_store(ctx: typer.Context) -> Store:
    """The results database; it is closed when the command ends."""
    from bench.store import Store

    opened = Store(global_option(ctx, "store"))
    ctx.call_on_close(opened.close)
    return opened


def store(
    database: Store,
    name: str,
    submission: Submission,
    figures: list[Figure],
    distance: Distance,
    seed: int,
    file: Path,
    device: str,
    seconds: float,
) -> dict[str, Any]:
    """Store the default figures as a run; what identifies it, for JSON."""
    from bench.external import store_scores

    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    run = store_scores(
        database,
        name,
        submission,
        figures,
        distance=distance,
        seed=seed,
        file_sha256=digest,
        device=device,
        seconds=seconds,
    )
    mark = "" if submission.verified else ", unverified"
    stderr().print(f"stored as run {run}: {name} (external{mark}) on {submission.split}", markup=False)
    return {
        "run": run,
        "method": name,
        "dataset": submission.dataset,
        "split": submission.split,
        "seed": seed,
        "fingerprint": submission.fingerprint,
        "verified": submission.verified,
    }


def sizes(embeddings: Embeddings) -> dict[str, int]:
    """What was ranked, for JSON."""
    return {
        "queries": len(embeddings.query),
        "photos": len(embeddings.gallery),
        "width": embeddings.query.shape[1],
        "classes": len(set(embeddings.query_labels.tolist())),
    }
