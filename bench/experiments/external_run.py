"""Score embeddings that another program made, and store them as a run, so that reports show them beside the others."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench import provenance
from bench.embeddings.files import digest_of
from bench.errors import UsageError
from bench.evaluation.metrics.base import METRICS_VERSION, stored_metrics
from bench.evaluation.protocol_scores import Progress, Rankings, chosen_metrics, rank_protocols, recipe
from bench.evaluation.protocols.base import Protocol
from bench.experiments.external_embeddings import ExternalEmbeddings
from bench.fine_grained import FineGrainedSplit
from bench.io import digest_of_json
from bench.methods.base import METHODS
from bench.results import details
from bench.results.store import Store
from bench.settings.request import Request
from bench.types import AVERAGES, Distance

TOP = 10  # best photos stored for each query


def check_name(name: str) -> None:
    """Raise UsageError unless ``name`` is printable and no method of this project."""
    if not name.strip() or not name.isprintable():
        raise UsageError(f"--as takes the name of a method, not {name!r}.")
    if name in METHODS.names():
        raise UsageError(f"--as {name} is a method of this project: choose another name.")


def rank_and_store(
    store: Store,
    name: str,
    external: ExternalEmbeddings,
    protocols: Sequence[Protocol],
    *,
    distance: Distance,
    seed: int,
    file: Path,
    device: str,
    progress: Progress | None = None,
) -> tuple[Rankings, int, int | None]:
    """Rank for ``protocols`` and store the default figures by ``distance``: the rankings, and the number of the run.

    Where paths identify every row, the values of every query are stored, so that reports show intervals. Name, images,
    distance and seed identify the run: new embeddings supersede the old ones, whose number comes last, None without
    such. Raises StorageError when the database cannot be written.
    """
    stored = chosen_metrics(details.ranked_metrics(external.relevance), distance, "to store")
    begun = time.perf_counter()
    rankings = rank_protocols(
        external.embeddings, [*protocols, stored], seed=seed, device=device, top=TOP, progress=progress
    )
    ranking, seconds = rankings[recipe(stored)]["index"], time.perf_counter() - begun
    identity = {
        "method": name,
        "ablation": "",
        "dataset": external.dataset,
        "split": external.split,
        "fingerprint": external.fingerprint,
        "seed": seed,
        "selection": "last",
        "gallery": "unseen",
        "per_class_limit": None,
    }
    split = external.split_of_rows
    facts = split.facts if isinstance(split, FineGrainedSplit) else {}
    settings = {"run": {}, "method": {"distance": distance}, "dataset": {}}
    checked = {name: getattr(external, name) for name in ("verified", "evidence", "gallery_name")}
    notes = {"caution": external.caution, "external": {**checked, "file_sha256": digest_of(file)}}
    key = digest_of_json(["external", identity, settings])  # both have a key "method"
    run = store.begin(
        {
            **identity,
            "key": key,
            "configuration": {**settings, "precision": "", "method_version": "", **notes, **facts},
            "request": Request(name, external.dataset, external.split, seed).to_json(),
            "environment": {**provenance.collect(device), "metrics": str(METRICS_VERSION)},
        }
    )
    metrics = stored_metrics(external.relevance)
    scores = tuple(ranking.score(metric, average) for metric in metrics for average in AVERAGES)
    packed = {}
    if split is not None:
        packed = details.pack(ranking, split.cluster_labels(split.gallery), split.clusters, (), split.relevance)
    store.finish(replace(store.run(run), scores=scores, seconds={"scoring": round(seconds, 2)}), packed)
    older = store.runs(metrics=(), key=key, status="superseded")
    return rankings, run, older[-1].id if older else None
