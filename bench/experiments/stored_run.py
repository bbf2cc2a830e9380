"""Stored runs: find the run of a request, and load the experiment of a run from its stored request."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from bench.datasets.base import DATASETS
from bench.datasets.published.request_split import check_fingerprint, locate_folder, remembered_folder
from bench.devices import choose_device
from bench.errors import LoadingError, UsageError
from bench.experiments.embed_split import Embedder
from bench.experiments.execute import Execution, build
from bench.experiments.experiment import Experiment, Resources, configuration_of, weights_identity
from bench.experiments.progress import Observer
from bench.experiments.resolve import resolve, settings_of
from bench.methods.base import METHODS
from bench.results.models import RunRecord
from bench.results.reading import existing
from bench.settings.request import HASH, Request, in_text
from bench.training.trained_networks import Networks, find_network


def load_experiment(
    run: RunRecord, resources: Resources, assignments: Sequence[str] = (), weights: Path | None = None
) -> Experiment:
    """The experiment of a stored run, with the same images and weights; later defaults do not change it.

    ``assignments`` (key=value) come after the run's own settings; ``weights`` is its initial weights file, if that is
    not in torch's folder. Raises as ``stored_request``, LoadingError when the weights are missing, DataError when the
    images are missing or differ.
    """
    request = stored_request(run, resources.cache_dir, assignments, weights)
    request = locate_folder(request, resources.data_root, remembered_folder(run.fingerprint, resources.cache_dir))
    experiment = resolve(request, resources, dropped=run.configuration.get("dropped", {}))
    check_fingerprint(experiment.split, run.fingerprint)
    return experiment


def stored_request(
    run: RunRecord, cache_dir: Path, assignments: Sequence[str] = (), weights: Path | None = None
) -> Request:
    """The request of a stored run with every setting, also those that were defaults; see ``load_experiment``.

    Raises UsageError for embeddings that another program made, LoadingError for another weights file, a missing
    network and a missing plug-in.
    """
    if run.origin:
        raise UsageError(f"Run {run.id} holds embeddings of another program: it has no network.")
    request = Request.from_json(run.request)
    initial = str(run.configuration["run"].get("weights", ""))
    parts = ["dataset", "run", "method", "post"]
    if request.checkpoint:
        request = replace(request, checkpoint=str(find_network(run, cache_dir)))
        parts, initial = ["dataset", "post"], ""
    if weights is not None:
        if not initial.startswith(HASH):
            raise UsageError(f"Run {run.id} did not start from a weights file: leave out --weights.")
        if weights_identity(str(weights)) != initial:
            raise LoadingError(f"Weights file {weights} is not that of run {run.id} ({initial[:19]}...).")
        assignments = (*assignments, f"weights={weights}")
    stored = [f"{name}={in_text(v)}" for part in parts for name, v in run.configuration.get(part, {}).items()]
    for registry, name in ((METHODS, run.method), (DATASETS, request.dataset)):
        if name not in registry.names() and "plug-ins" in run.environment:
            needed = run.environment["plug-ins"]
            raise LoadingError(f"Run {run.id} needs the plug-in {needed}, which is not installed: install it.")
    return replace(request, assignments=(*stored, *request.assignments, *assignments))


def load_embedder(run: RunRecord, resources: Resources, weights: Path | None = None) -> Embedder:
    """The network of a stored run, in evaluation mode on the device of ``resources``, with its experiment.

    Raises LoadingError when the network is not in the cache, with the way to train it again, and as
    ``load_experiment``.
    """
    experiment = load_experiment(run, resources, weights=weights)
    device = choose_device(resources.device)
    method = build(experiment, resources, device).eval()
    trains = bool(method.weights) and experiment.trained is None
    if trains and Networks(resources.cache_dir).load(experiment.training_key, method) is None:
        raise LoadingError(
            f"The network of run {run.id} is not in the cache folder {resources.cache_dir}: name the one that it was "
            f"trained with by --cache-dir, or train it again by `{Request.from_json(run.request).command()} --force`."
        )
    return Embedder(method, experiment, resources, device)


def find_run(request: Request, where: str) -> RunRecord | None:
    """The newest finished run of a request whose images are missing here; None if stored runs differ in their images.

    The run matches in everything that its key hashes, except the fingerprint of the images.
    """
    store = existing(where)
    if store is None or request.checkpoint:
        return None
    kind, dataset_kind = METHODS.get(request.method), DATASETS.get(request.dataset)
    run, own, dataset_settings, post = settings_of(request)
    dataset = dataset_kind(Path(), dataset_settings)
    settings = json.loads(json.dumps(configuration_of(kind, dataset, run, own, post, request.precision)))
    columns = ("method", "dataset", "seed", "selection", "gallery", "per_class_limit")
    split = request.split or dataset_kind.split_names[0]
    with closing(store):
        runs = store.runs(status="done", split=split, **{name: getattr(request, name) for name in columns})
    same = [
        each
        for each in runs
        if all(each.configuration.get(name) == value for name, value in settings.items())
        and "checkpoint" not in each.configuration
        and (request.on_bad_image == "drop" or not each.configuration.get("dropped"))
    ]
    return same[-1] if len({each.fingerprint for each in same}) == 1 else None


def load_knowledge(experiment: Experiment, resources: Resources, observer: Observer) -> Tensor:
    """The ImageNet probabilities of each seen class that an experiment trains with: float32 [classes, 1000], CPU.

    Read from the cache, or computed again. Raises UsageError for an experiment that prepares no such table.
    """
    if experiment.trained is not None:
        raise UsageError("This run trained nothing (--checkpoint): name the run that trained its network.")
    execution = Execution(experiment, resources, observer)
    method = execution.method
    observer.phase("preparing")
    if method.weights:
        method.prepare(execution.training_photos(execution.training_data()))
    table = getattr(method, "knowledge", None)
    if not isinstance(table, Tensor):
        title = " ".join(part for part in (experiment.method.name, experiment.ablation) if part)
        raise UsageError(f"A run of {title!r} prepares no table of ImageNet knowledge: 'ours' with preservation does.")
    return table.float().cpu()
