"""How ``bench score`` prints figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from bench.cli.output import print_table, stderr

if TYPE_CHECKING:
    from bench.embeddings.arrays import Embeddings, StreamedEmbeddings
    from bench.evaluation.protocol_scores import Figure
    from bench.experiments.submission import Submission

DIGITS = 4


def as_json(found: Mapping[str, Sequence[Figure]]) -> list[dict[str, Any]]:
    """One object a figure; ``protocol`` where it is one's, the bounds where it was ranked by hamming."""
    rows: list[dict[str, Any]] = []
    for name, figures in found.items():
        for each in figures:
            row: dict[str, Any] = {
                "metric": each.metric,
                "average": each.average,
                "value": number(each.value),
                "queries": each.queries,
                "skipped": each.skipped,
                "distance": each.distance,
            }
            if each.distance == "hamming":
                row |= {bound: number(getattr(each, bound)) for bound in ("pessimistic", "optimistic", "tied")}
            rows.append({"protocol": name, **row} if name else row)
    return rows


def number(value: float | None) -> float | None:
    """The value, None for what is no number: JSON has no NaN."""
    return None if value is None or math.isnan(value) else value


def print_figures(found: Mapping[str, Sequence[Figure]]) -> None:
    """One table of what was ranked by vectors, one with bounds of what was ranked by binary codes."""
    everything = [(name, each) for name, figures in found.items() for each in figures]
    real = [(name, each) for name, each in everything if each.distance != "hamming"]
    binary = [(name, each) for name, each in everything if each.distance == "hamming"]
    if real:
        averages = [average for average in ("queries", "classes") if any(each.average == average for _, each in real)]
        cells: dict[tuple[str, str, str], dict[str, str]] = {}
        for name, each in real:
            cells.setdefault((name, each.distance, each.metric), {})[each.average] = text(each.value)
        columns = ["protocol", "distance", "metric", *(f"mean over {average}" for average in averages)]
        show(columns, [[*key, *(row.get(average, "-") for average in averages)] for key, row in cells.items()])
    if binary:
        columns = ["protocol", "distance", "metric", "mean over", "value", "pessimistic", "optimistic", "mAP@all:tied"]
        rows = [
            [
                name,
                each.distance,
                each.metric,
                each.average,
                *(text(value) for value in (each.value, each.pessimistic, each.optimistic, each.tied)),
            ]
            for name, each in binary
        ]
        show(columns, rows)
        typer.echo(
            "Equal distances: value ranks them by gallery position, pessimistic and optimistic put irrelevant photos "
            "first or last, mAP@all:tied counts them as one."
        )


def show(columns: list[str], rows: list[list[str]]) -> None:
    """The table without the column of protocols where there are none, nor a distance that is everywhere the same."""
    kept = list(range(len(columns)))
    if not any(row[0] for row in rows):
        kept.remove(0)
        if len({row[1] for row in rows}) == 1:
            kept.remove(1)
    print_table([columns[i] for i in kept], [[row[i] for i in kept] for row in rows])


def text(value: float | None) -> str:
    """A figure with four digits, ``-`` where there is none."""
    shown = number(value)
    return "-" if shown is None else f"{shown:.{DIGITS}f}"


def say_skipped(found: Mapping[str, Sequence[Figure]], embeddings: Embeddings | StreamedEmbeddings) -> None:
    """Say on stderr how many queries have no relevant photo, and what became of them."""
    import numpy as np

    from bench.embeddings.arrays import labels_within_groups

    empty = np.count_nonzero(~np.isin(*labels_within_groups(embeddings)))
    if not empty:
        return
    zero = sorted({name for name, figures in found.items() for each in figures if not each.skipped})
    counted = f" (and count as 0 in {', '.join(zero)})" if zero else ""
    typer.echo(
        f"{empty} of {len(embeddings.query)} queries have no relevant photo: left out of means{counted}.", err=True
    )


def sizes(embeddings: Embeddings | StreamedEmbeddings) -> dict[str, int]:
    """What was ranked, for JSON."""
    return {
        "queries": len(embeddings.query),
        "photos": embeddings.photos.shape[0],
        "width": embeddings.query.shape[1],
        "classes": len(set(embeddings.clusters.tolist())),
    }


def stored_as(run: int, name: str, submission: Submission, seed: int) -> dict[str, Any]:
    """Print on stderr as which run the scores are stored; the same for JSON."""
    mark = "" if submission.verified else ", unverified"
    text = f"stored as run {run}: {name} (external{mark}) on {submission.split}"
    if not submission.classes:
        text += "; without query_paths and gallery_paths beside the images, reports show no interval for it"
    stderr().print(text, markup=False)
    return {
        "run": run,
        "method": name,
        "dataset": submission.dataset,
        "split": submission.split,
        "seed": seed,
        "fingerprint": submission.fingerprint,
        "verified": submission.verified,
    }
