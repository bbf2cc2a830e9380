"""How ``bench score`` prints figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from bench.cli.output import print_rows

if TYPE_CHECKING:
    from bench.embeddings.arrays import Rankable
    from bench.evaluation.score_json import Figures
    from bench.experiments.external_embeddings import ExternalEmbeddings

AVERAGES, TIED = ("queries", "classes"), "mAP@all:tied"


def print_figures(found: Figures) -> None:
    """Print a table of figures ranked by vectors, and one with bounds of those ranked by binary codes."""
    from bench.evaluation.score_json import figure_rows

    vectors: dict[tuple[Any, ...], dict[str, Any]] = {}
    codes = []
    for row in figure_rows(found):
        if row["distance"] == "hamming":
            codes.append({**row, "mean_over": row["average"], TIED: row["tied"]})
        else:
            key = (row.get("protocol"), row["distance"], row["metric"])
            vectors.setdefault(key, row)[f"mean_over_{row['average']}"] = row["value"]
    columns = [f"mean_over_{name}" for name in AVERAGES]
    _print([*vectors.values()], [name for name in columns if any(name in row for row in vectors.values())])
    _print(codes, ["mean_over", "value", "pessimistic", "optimistic", TIED])
    if codes:
        typer.echo(
            "Equal distances: value ranks them by gallery position, pessimistic and optimistic put irrelevant photos "
            f"first or last, {TIED} counts them as one.",
            err=True,
        )


def _print(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Print rows, without the columns ``protocol`` and ``distance`` if all rows have the same."""
    if rows:
        named = any("protocol" in row for row in rows)
        distances = named or len({row["distance"] for row in rows}) > 1
        print_rows("scores", rows, columns=["protocol"] * named + ["distance"] * distances + ["metric", *columns])


def print_skipped(found: Figures, embeddings: Rankable) -> None:
    """Print how many queries have no relevant photo, and how they count."""
    import numpy as np

    from bench.embeddings.arrays import labels_within_groups

    empty = np.count_nonzero(~np.isin(*labels_within_groups(embeddings)))
    if not empty:
        return
    zero = sorted(name for name, figures in found.items() if not any(each.skipped for each in figures))
    counted = f" (and count as 0 in {', '.join(zero)})" if zero else ""
    cure = " Labels of both sides must number the same classes." if empty == len(embeddings.query) else ""
    typer.echo(
        f"{empty} of {len(embeddings.query)} queries have no relevant photo: left out of means{counted}.{cure}",
        err=True,
    )


def report_stored(
    run: int, name: str, external: ExternalEmbeddings, seed: int, superseded: int | None
) -> dict[str, Any]:
    """Print as which run the scores are stored, and which run they supersede; the same for JSON."""
    mark = ", unverified" * (not external.verified)
    text = f"stored as run {run}: {name} (external{mark}) on {external.split}"
    if superseded is not None:
        text += f"; it supersedes run {superseded} of that name, split and seed"
    if external.split_of_rows is None:
        text += "; reports show no interval for it, which needs query_paths, gallery_paths and the images"
    typer.echo(text, err=True)
    facts = {each: getattr(external, each) for each in ("dataset", "split", "fingerprint", "verified")}
    return {"run": run, "supersedes": superseded, "method": name, "seed": seed, **facts}
