"""One experiment: from what was asked to stored scores."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from bench import provenance
from bench.devices import choose_device, to_pixels
from bench.embedding import BATCH, embed
from bench.errors import IncompleteError, StorageError, UsageError, nearest
from bench.metric_ids import DEFAULT_METRICS
from bench.ranking import rank
from bench.settings import RunSettings, assign, with_recipe
from bench.store import RunRecord, Store
from bench.training import TrainingData, train
from bench.types import Embeddings, Score, Split
from datasets.base import DATASETS, Dataset
from datasets.images import Images
from methods.base import METHODS, Context, Method, TrainingPhotos

METRICS = (*DEFAULT_METRICS, "P@5:k")


@dataclass(frozen=True)
class Request:
    """One cell as it was asked for, names not yet looked up."""

    method: str
    dataset: str
    split: str | None = None
    seed: int = 0
    without: tuple[str, ...] = ()
    assignments: tuple[str, ...] = ()  # key=value
    per_class_limit: int | None = None


@dataclass(frozen=True)
class Resources:
    """Where and how to compute; part of a run's provenance, not of its identity, except the precision."""

    data_root: Path
    cache_dir: Path
    device: str = "auto"
    precision: str = "fp32"
    workers: int = 0


class Observer(Protocol):
    """Is told what a run is doing."""

    def phase(self, name: str) -> None:
        """A part of the run begins: decoding, preparing, training, embedding, scoring."""

    def progress(self, done: int, total: int, terms: Mapping[str, float]) -> None:
        """So much of the current part is done; while training, with the loss terms of the last step."""


@dataclass(frozen=True)
class Experiment:
    """One cell with every name resolved; ``key`` identifies what was asked."""

    method: type[Method]
    dataset: Dataset
    split: Split
    seed: int
    run: RunSettings
    own: Any
    ablation: str
    precision: str
    per_class_limit: int | None

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The columns of the store that say what was asked, the key among them."""
        configuration = {
            "run": asdict(self.run),
            "method": asdict(self.own),
            "dataset": asdict(self.dataset.settings),
            "precision": self.precision,
            "method_version": self.method.version,
            "caution": self.dataset.caution,
        }
        asked = {
            "method": self.method.name,
            "ablation": self.ablation,
            "dataset": self.split.dataset,
            "split": self.split.name,
            "fingerprint": self.split.fingerprint,
            "seed": self.seed,
            "selection": "last",
            "gallery": "unseen",
            "per_class_limit": self.per_class_limit,
        }
        text = json.dumps({**asked, **configuration}, sort_keys=True)
        return {**asked, "configuration": configuration, "key": hashlib.sha256(text.encode()).hexdigest()}


@dataclass
class _Clock:
    """Seconds of each part of a run by name."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def part(self, name: str, observer: Observer) -> Iterator[None]:
        observer.phase(name)
        start = time.perf_counter()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - start, 2)


def resolve(request: Request, resources: Resources) -> Experiment:
    """Look every name up and load the split.

    Raises UsageError for an unknown name or setting, DataError for data that is missing; nothing was computed then.
    """
    kind = METHODS.get(request.method)
    dataset_kind = DATASETS.get(request.dataset)
    recipe = dataset_kind.recipe
    parts = [with_recipe(RunSettings(), recipe), with_recipe(kind.Settings(), recipe), dataset_kind.Settings()]
    run, own, dataset_settings = assign(parts, request.assignments)
    for term in request.without:
        if term not in kind.terms:
            raise UsageError(f"Method {request.method!r} has no loss term {term!r}. {nearest(term, kind.terms)}")
        own = replace(own, **{f"weight_{term}": 0.0})
    if kind.terms and not any(getattr(own, f"weight_{term}") for term in kind.terms):
        raise UsageError(
            f"Method {request.method!r} is left without any loss term: keep one of {', '.join(kind.terms)}."
        )
    dataset = dataset_kind(resources.data_root, dataset_settings)
    split = dataset.split(request.split)
    if request.per_class_limit is not None:
        split = split.limited(request.per_class_limit)
    return Experiment(
        method=kind,
        dataset=dataset,
        split=split,
        seed=request.seed,
        run=run,
        own=own,
        ablation=" and ".join(f"without {term}" for term in kind.terms if term in request.without),
        precision=resources.precision,
        per_class_limit=request.per_class_limit,
    )


def run_and_store(experiment: Experiment, store: Store, resources: Resources, observer: Observer) -> RunRecord:
    """Execute an experiment and store it; what goes wrong is stored as a failed or interrupted run and raised again.

    Raises StorageError when the finished scores cannot be stored; they are then in a file that the message names.
    """
    environment = provenance.collect(str(choose_device(resources.device)))
    run = store.begin({**experiment.identity, "environment": environment})
    try:
        scores, seconds = execute(experiment, resources, observer)
    except KeyboardInterrupt:
        store.fail(run, "interrupted", "stopped by the user")
        raise
    except Exception as error:
        store.fail(run, "failed", f"{type(error).__name__}: {error}")
        raise
    try:
        store.finish(run, scores, seconds)
    except StorageError as error:
        kept = resources.cache_dir / "unstored" / f"{experiment.identity['key'][:16]}.json"
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps({**experiment.identity, "scores": [asdict(score) for score in scores]}, indent=1))
        raise StorageError(f"{error} The finished scores are in {kept}.") from error
    return store.runs(id=run)[0]


def execute(experiment: Experiment, resources: Resources, observer: Observer) -> tuple[list[Score], dict[str, float]]:
    """Train (if the method trains), embed, rank and score: the scores, and the seconds of each part."""
    device = choose_device(resources.device)
    split, run, dataset = experiment.split, experiment.run, experiment.dataset
    clock = _Clock()
    with clock.part("loading the network", observer):
        method = build(experiment, resources, device)
    if method.weights:
        with clock.part("reading training images", observer):
            images = Images(dataset, split.train, run.image_size, workers=resources.workers)
            images.warm(lambda done, total: observer.progress(done, total, {}))
            data = TrainingData.of(split, images)
        with clock.part("preparing", observer):
            method.prepare(_photos(data, split, run, device, observer))
        with clock.part("training", observer):
            train(
                method,
                data,
                run,
                seed=experiment.seed,
                device=device,
                precision=resources.precision,
                on_step=observer.progress,
            )
    with clock.part("embedding", observer):
        embeddings = embed_test_images(method, experiment, resources, device, observer)
    with clock.part("scoring", observer):
        scores = score(embeddings)
    return scores, clock.seconds


def build(experiment: Experiment, resources: Resources, device: torch.device) -> Method:
    """The method with freshly drawn new layers (a function of the seed), on its device."""
    context = Context(experiment.run, experiment.split.seen, resources.cache_dir)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(experiment.seed)
        method = experiment.method(experiment.own, context)
    return method.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def embed_test_images(
    method: Method, experiment: Experiment, resources: Resources, device: torch.device, observer: Observer
) -> Embeddings:
    """Embeddings of the queries and of the gallery of the experiment's split."""
    split = experiment.split
    total = len(split.queries) + len(split.gallery)
    sides = {}
    for name, items, before in (("query", split.queries, 0), ("gallery", split.gallery, len(split.queries))):
        sides[name] = embed(
            method,
            Images(experiment.dataset, items, experiment.run.image_size, workers=resources.workers),
            is_photo=name == "gallery",
            device=device,
            precision=resources.precision,
            progress=lambda done, _, before=before: observer.progress(before + done, total, {}),  # type: ignore[misc]
        )
    return Embeddings(
        query=sides["query"],
        gallery=sides["gallery"],
        query_labels=split.test_labels(split.queries),
        gallery_labels=split.test_labels(split.gallery),
    )


def score(embeddings: Embeddings) -> list[Score]:
    """Every default figure, by cosine; raises IncompleteError when the embeddings have collapsed to one point."""
    spread = float(embeddings.gallery.std(axis=0).max()) if len(embeddings.gallery) > 1 else 1.0
    if spread < 1e-6:
        raise IncompleteError("All photos have one and the same embedding: lower --lr or --set head_lr=... .")
    return rank(embeddings, METRICS, distance="cosine").scores()


def _photos(
    data: TrainingData, split: Split, run: RunSettings, device: torch.device, observer: Observer
) -> TrainingPhotos:
    positions = data.is_photo.nonzero()[:, 0].tolist()
    parts: Sequence[list[int]] = [positions[start : start + BATCH] for start in range(0, len(positions), BATCH)]

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for part, pixels in zip(parts, data.images.stream(parts), strict=True):
            yield to_pixels(pixels, device), data.labels[part]

    return TrainingPhotos(
        batches=batches,
        paths=tuple(split.train[position].path for position in positions),
        identity=f"{split.fingerprint} {run.image_size}",
        progress=lambda done, total: observer.progress(done, total, {}),
    )
