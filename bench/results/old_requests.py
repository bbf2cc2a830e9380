"""The request of a run of schema version 1 or 2, made from its columns and its command line.

Defaults of a method would need torch; its own settings count if the command line or an ablation changed them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from bench.datasets.base import DATASETS
from bench.datasets.published.class_splits import quote_class
from bench.settings.post_processing import PostProcessing
from bench.settings.request import HASH, Request, in_text
from bench.settings.run_settings import RunSettings, recipe_for, with_recipe


def request_of_row(row: Mapping[str, Any], queried_classes: Callable[[], Sequence[str]]) -> Request:
    """The request of a stored run; ``queried_classes`` gives the classes of its queries."""
    configuration = row["configuration"]
    run, own, post = (configuration.get(name, {}) for name in ("run", "method", "post"))
    dataset = dict(configuration.get("dataset", {}))
    name = str(row["dataset"])
    if "name" in dataset:  # a user's folder has a name that is not in the registry
        name, dataset = "folder", dataset | _choice(row["split"], queried_classes)
    checkpoint = configuration.get("checkpoint")
    parts = str(row["ablation"]).split(" and ") if row["ablation"] else []
    without = [part.removeprefix("without ") for part in parts if part.startswith("without ")]
    others = [part for part in parts if not part.startswith("without ")]
    structural = "" if "ablated" in configuration else " and ".join(others)  # else its settings are stored
    called = re.findall(r"--set[= ]'?([\w-]+)=", str(row["environment"].get("command", "")))
    named = {*(name.replace("-", "_") for name in called), *configuration.get("ablated", ())}
    usual = _defaults(name, run.get("backbone"))

    def unusual(settings: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in settings.items() if usual.get(key, value) != value}

    changed = unusual(dataset) | unusual(run)
    changed |= {key: own[key] for key in own if key in named and key.removeprefix("weight_") not in without}
    changed |= unusual(post)
    if checkpoint is not None:
        without, structural, changed = [], "", unusual(dataset) | unusual(post)
    return Request(
        method=row["method"],
        dataset=name,
        split=row["split"],
        seed=row["seed"],
        without=tuple(without),
        structural=structural,
        assignments=tuple(f"{key}={in_text(value)}" for key, value in changed.items()),
        selection=row["selection"],
        gallery=row["gallery"],
        per_class_limit=row["per_class_limit"],
        on_bad_image="drop" if configuration.get("dropped") else "error",
        precision=configuration.get("precision") or "fp32",
        checkpoint=HASH + checkpoint["network"] if checkpoint is not None else "",
    )


def _choice(split: str, queried_classes: Callable[[], Sequence[str]]) -> dict[str, Any]:
    """The settings of a folder's split of this name, which choose the unseen classes."""
    drawn = re.match(r"draw(\d+)-seed(\d+)-", split)
    if drawn:
        return {"draw": int(drawn[1]), "seed": int(drawn[2])}
    return {"unseen": "all" if split.startswith("all-") else ",".join(map(quote_class, queried_classes()))}


def _defaults(dataset: str, backbone: str | None) -> Mapping[str, Any]:
    """Default settings of run, dataset and post-processing; for a dataset of a plug-in the last alone."""
    kind, post = DATASETS.peek(dataset), asdict(PostProcessing())
    if kind is None:
        return post
    return asdict(with_recipe(RunSettings(), recipe_for(kind.recipe, backbone))) | asdict(kind.Settings()) | post
