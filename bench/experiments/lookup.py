"""Stored runs by what was asked for, where the data that would identify them is not at hand."""

from __future__ import annotations

import json
from pathlib import Path

from bench.datasets.base import DATASETS
from bench.experiments.request import Request, configuration_of
from bench.experiments.resolve import settings_of
from bench.methods.base import METHODS
from bench.results.models import RunRecord
from bench.results.store import existing


def stored_like(request: Request, where: str, precision: str) -> RunRecord | None:
    """The newest finished run of the same request; None when there is none, or runs on different images.

    Everything that a run's key hashes is compared but the fingerprint of the images. A dataset whose split depends on
    what its folder holds has none.
    """
    store = existing(where)
    if store is None or request.checkpoint:
        return None
    kind, dataset_kind = METHODS.get(request.method), DATASETS.get(request.dataset)
    run, own, dataset_settings, post = settings_of(request, kind, dataset_kind)
    dataset = dataset_kind(Path(), dataset_settings)
    asked = json.loads(json.dumps(configuration_of(kind, dataset, run, own, post, precision)))
    try:
        runs = store.runs(
            status="done",
            method=request.method,
            dataset=request.dataset,
            split=request.split or dataset_kind.split_names[0],
            seed=request.seed,
            selection=request.selection,
            gallery=request.gallery,
            per_class_limit=request.per_class_limit,
        )
    finally:
        store.close()
    same = [
        each
        for each in runs
        if all(each.configuration.get(name) == value for name, value in asked.items())
        and "checkpoint" not in each.configuration
        and (request.on_bad_image == "drop" or not each.configuration.get("dropped"))
    ]
    return same[-1] if len({each.fingerprint for each in same}) == 1 else None
