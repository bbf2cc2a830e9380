"""A store with every sort of run, whose figures follow from a seeded generator."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.evaluation.metrics.base import DEFAULT_METRICS, MAIN_METRICS
from bench.evaluation.ranking_result import Ranking
from bench.reports.base import Options, Report
from bench.reports.build import build
from bench.reports.rows import Source
from bench.results import details
from bench.results.migrations import request_of_row
from bench.results.store import Store
from bench.types import Score
from tests.bench.results.test_store import IDENTITY, finish

CLASSES = ("ant", "bat_1", "cup & saucer", "door", "elk")
EACH = 6  # queries of a class
CODES = {"codes": "itq-test", "bits": 64, "rerank": "none"}
METRICS = tuple(dict.fromkeys((*MAIN_METRICS, *(f"P@{k}:k" for k in details.CURVE_AT))))


def ranking(level: float, seed: int, relevant: int = 300, kept: int = 10) -> Ranking:
    """Values around ``level`` of every query, higher for the first classes; the ``kept`` best photos likewise."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(CLASSES)), EACH)
    hardness = np.linspace(0.15, -0.15, len(CLASSES))[labels]
    values = np.clip(level + hardness + generator.normal(0, 0.05, (len(METRICS), len(labels))), 0, 1)
    top = generator.integers(0, 50, (len(labels), kept)).astype(np.int32)
    top[:, :6] = labels[:, None] * 10 + np.arange(6)  # six of ten are right: photo n is of class n // 10
    return Ranking(METRICS, values, np.full(len(labels), relevant), labels, top, top // 10 == labels[:, None])


def fill(store: Store, *, level: float, **identity: Any) -> int:
    """A finished run with scores and details."""
    skipped = identity.pop("skipped", 0)
    history = identity.pop("history", [])
    kept = identity.pop("kept", 10)
    run = begin(store, **identity)
    found = ranking(level, identity.get("seed", 0) + 10 * len(identity.get("ablation", "")), kept=kept)
    values = dict(zip(found.metrics, found.values.mean(axis=1), strict=True))
    ids = tuple(dict.fromkeys((*DEFAULT_METRICS, "P@5:k")))
    scores = [
        Score(metric, average, float(values.get(metric, level)), 30, skipped)
        for metric in ids
        for average in ("queries", "classes")
    ]
    packed = details.pack(found, np.arange(50) // 10, CLASSES, history)
    seconds = (
        {"training": 60.0, "embedding": 5.0} if identity.get("method", "ours") != "imagenet" else {"embedding": 5.0}
    )
    finish(store, run, scores, seconds, details=packed, cost={"parameters": 3.4e6, "flops": 1.5e8})
    return run


def begin(store: Store, **identity: Any) -> int:
    """A run that is being computed."""
    usual = 3e-4 if identity.get("dataset", "emoji") == "emoji" else 1e-4  # the learning rate of the dataset's recipe
    configuration = {"run": {"lr": usual}, "method": {"margin": 0.3}, "caution": ""}
    words = [f"{name}={value}" for name, value in sorted(identity.items())]
    columns = {**IDENTITY, "configuration": configuration, "key": " ".join(words), **identity}
    return store.begin({**columns, "request": request_of_row(columns, ("ant", "elk")).to_json()})


def everything(store: Store) -> None:
    """Methods, ablations and seeds on two datasets; failed, running, smoke and oracle runs."""
    history = [{"step": float(n), "quadruplet": 1.0 / n, "classification": 2.0 / n} for n in (1, 2, 3, 4)]
    for seed in range(3):
        fill(store, level=0.6, seed=seed, history=history)
        fill(store, level=0.5, seed=seed, ablation="without quadruplet")
    fill(store, level=0.3, method="imagenet")
    fill(store, level=0.5, dataset="sketchy", split="sketchy-21", skipped=3)
    fill(store, level=0.9, per_class_limit=1, method="imagenet")
    fill(store, level=0.9, selection="oracle")
    store.fail(begin(store, method="sake", seed=1), "failed", "RuntimeError: NaN")
    begin(store, method="ours", seed=3)


def report(store: Store, *kinds: str, options: Options | None = None, **choices: bool) -> Report:
    """The tables of kinds from everything that a store holds; ``choices`` are those of ``Source``."""
    source = Source(store, store.runs(), **choices)  # type: ignore[arg-type]
    return build(source, kinds, options or Options())
