"""A stored run asked for again: the request that made it, and what was prepared before it was trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from bench.datasets.images.loader import Images
from bench.datasets.published.split_variants import choice_of
from bench.devices import choose_device
from bench.errors import DataError, UsageError
from bench.experiments.execute import build, training_photos
from bench.experiments.progress import Observer
from bench.experiments.request import Experiment, Request, Resources
from bench.experiments.resolve import resolve
from bench.results import details
from bench.results.models import RunRecord
from bench.results.store import Store
from bench.training.loop import TrainingData

ASKED = ("run", "method", "dataset", "post")  # parts of a stored configuration that are settings


def queried_classes(run: RunRecord, store: Store) -> list[str]:
    """Names of the classes that a stored run was asked for; none where the values of its queries are not stored."""
    kept = store.detail(run.id, details.PER_QUERY)
    if kept is None:
        return []
    queries = details.per_query(kept)
    return [queries.classes[label] for label in np.unique(queries.labels)]


def request_of(run: RunRecord, assignments: Sequence[str] = (), unseen: Sequence[str] = ()) -> Request:
    """The request of a stored run with every setting spelled out; ``assignments`` (key=value) come after them.

    Where files lie is not stored: a weights file, or the root of a user's own folder, must be among ``assignments``.
    ``unseen`` are the classes that a run on such a folder was asked for.
    """
    own_folder = "name" in run.configuration.get("dataset", {})
    choice = choice_of(run.split, unseen) if own_folder else {}
    weights = str(run.configuration["run"].get("weights", ""))
    stored = [
        f"{name}={_text(value)}"
        for part in ASKED
        for name, value in run.configuration.get(part, {}).items()
        if not (name == "weights" and weights.startswith("sha256:"))
    ]
    return Request(
        method=run.method,
        dataset="folder" if own_folder else run.dataset,
        split=run.split,
        seed=run.seed,
        assignments=(*stored, *(f"{name}={value}" for name, value in choice.items()), *assignments),
        selection=run.selection,
        gallery=run.gallery,
        per_class_limit=run.per_class_limit,
        on_bad_image="drop" if run.configuration.get("dropped") else "error",
    )


def recalled(
    run: RunRecord, resources: Resources, assignments: Sequence[str] = (), unseen: Sequence[str] = ()
) -> Experiment:
    """The experiment of a stored run, on the same images and the same weights as then; the rest as ``request_of``.

    Raises UsageError when its embeddings came from elsewhere, or its weights file is not given; DataError when the
    images at hand are others than those of the run.
    """
    if "external" in run.configuration:
        raise UsageError(f"The embeddings of run {run.id} were made elsewhere: nothing of its training is known here.")
    if "checkpoint" in run.configuration:
        raise UsageError(f"Run {run.id} trained nothing (--checkpoint): name the run that trained its network.")
    experiment = resolve(request_of(run, assignments, unseen), resources)
    if experiment.split.fingerprint != run.fingerprint:
        raise DataError(
            f"Run {run.id} was made on other images than those at hand (fingerprint {run.fingerprint[:16]}, here "
            f"{experiment.split.fingerprint[:16]}): 'bench data check {run.dataset}' says what is here."
        )
    before, now = (each["run"]["weights"] for each in (run.configuration, experiment.identity["configuration"]))
    if before != now:
        raise UsageError(
            f"Run {run.id} was made with a weights file ({before[:23]}...), and this is another one or none: "
            "name it by --weights FILE."
        )
    return experiment


def knowledge_of(experiment: Experiment, resources: Resources, observer: Observer) -> Tensor:
    """What ImageNet says of each seen class, as it was prepared for an experiment: float32 [classes, 1000], on the CPU.

    Read from the cache where it is there, computed again otherwise. Raises UsageError for a method or settings that
    prepare no such table.
    """
    device = choose_device(resources.device)
    observer.phase("loading the network")
    method = build(experiment, resources, device)
    images = Images(experiment.dataset, experiment.split.train, experiment.run.image_size, workers=resources.workers)
    data = TrainingData.of(experiment.split, images)
    observer.phase("preparing")
    if method.weights:
        method.prepare(training_photos(experiment, data, device, observer))
    table = getattr(method, "knowledge", None)
    if not isinstance(table, Tensor):
        title = " ".join(part for part in (experiment.method.name, experiment.ablation) if part)
        raise UsageError(f"A run of {title!r} prepares no table of ImageNet knowledge: 'ours' with preservation does.")
    return table.float().cpu()


def _text(value: Any) -> str:
    """A stored setting as ``--set`` takes it."""
    return "none" if value is None else str(value)
