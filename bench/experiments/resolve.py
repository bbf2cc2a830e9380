"""From a request to an experiment: look up names, combine settings, load and check the split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.datasets.base import DATASETS, Dataset
from bench.datasets.checks.find_broken_images import ROLES, BrokenImageCache, Role
from bench.datasets.images.samplers import check_batches
from bench.datasets.published.request_split import apply_request, remember_folder
from bench.errors import DataError, LoadingError, UsageError, check_known
from bench.experiments.experiment import Experiment, Resources, default_settings
from bench.fine_grained import FineGrainedSplit
from bench.methods.backbone.architectures import check_backbone, check_network
from bench.methods.backbone.fetch_weights import why_not_fetched
from bench.methods.backbone.published_weights import PACKAGED, default_file, find_by_hash, how_to_get, source_of
from bench.methods.backbone.weights import missing_weights, verified_hash
from bench.methods.base import METHODS
from bench.network import offline_by
from bench.settings.post_processing import PostProcessing
from bench.settings.request import HASH, Request
from bench.settings.run_settings import RunSettings, assign, given
from bench.training.trained_networks import Trained, open_trained
from bench.types import Split

NETWORK = ("backbone", "image_size", "frozen_blocks")  # settings that a network may not support


class Splits:
    """Datasets and splits that requests share: listing a large dataset takes seconds, decoding it minutes."""

    def __init__(self, progress: Callable[[int, int], None] | None = None) -> None:
        self._progress = progress
        self._loaded: dict[tuple[object, ...], tuple[Dataset, Split, Mapping[str, str]]] = {}

    def load(
        self, request: Request, settings: Any, resources: Resources, *, trains: bool, dropped: Mapping[str, str] | None
    ) -> tuple[Dataset, Split, Mapping[str, str]]:
        """Dataset with these ``settings``, split and dropped images (path to reason).

        Unless ``dropped`` has the broken images, those of the run are decoded if the request drops broken ones. A dry
        run writes no file.
        """
        names = ("dataset", "split", "per_class_limit", "gallery", "selection", "on_bad_image")
        key = (*(getattr(request, name) for name in names), settings, trains)
        if key not in self._loaded:
            writes = resources.processes.leads and not resources.dry_run
            dataset = DATASETS.get(request.dataset)(resources.data_root, settings)
            split = apply_request(dataset.split(request.split), request)
            if dropped is None and request.on_bad_image == "drop":
                roles: tuple[Role, ...] = ROLES if trains else ("queries", "gallery")
                cache, workers = BrokenImageCache(resources.cache_dir, write=writes), resources.workers or 2
                dropped = cache.find(dataset, split, roles=roles, workers=workers, progress=self._progress)
            split = split.without(dropped) if dropped else split
            if writes:
                remember_folder(dataset, split, resources.cache_dir)
            self._loaded[key] = dataset, split, dropped or {}
        return self._loaded[key]


def resolve(
    request: Request, resources: Resources, splits: Splits | None = None, *, dropped: Mapping[str, str] | None = None
) -> Experiment:
    """Look up every name and load the split, from ``splits`` if another request loaded it.

    ``dropped`` are images known to be broken, with the reason. Raises UsageError for an unknown name or setting,
    LoadingError for missing weights, DataError for missing data.
    """
    request, _ = choose_weights(request, dry_run=resources.dry_run)
    dataset_kind = DATASETS.get(request.dataset)
    trained = open_trained(Path(request.checkpoint)) if request.checkpoint else None
    if trained is not None:
        kind, run, own = trained.method, trained.run, trained.own
        dataset_settings, post = settings_for_checkpoint(request, trained, dataset_kind)
        facts = {name: trained.training[name] for name in ("seed", "selection")}
        request = replace(request, method=kind.name, **facts)
    else:
        kind = METHODS.get(request.method)
        run, own, dataset_settings, post = settings_of(request)
    if post.bits and post.codes == "none":
        raise UsageError("Setting 'bits' is the width of binary codes: give codes=itq-test or codes=itq-train, too.")
    if request.on_bad_image not in ("error", "drop"):
        raise UsageError(f"Option --on-bad-image takes error or drop, not {request.on_bad_image!r}.")
    trains = bool(kind.terms) and trained is None
    dataset, split, dropped = (splits or Splits()).load(
        request, dataset_settings, resources, trains=trains, dropped=dropped
    )
    if trains and not split.train:
        raise DataError(
            f"Split {split.name!r} has no seen class to train {request.method!r} on: leave some classes seen, or take "
            "a method that is not trained."
        )
    if trains:
        check_batches(run, len(split.seen), np.array([item.modality == "photo" for item in split.train]))
        _check_positives(split, request.method, getattr(own, "positives", ""), run)
    if isinstance(split, FineGrainedSplit) and split.grouped and post.rerank != "none":
        raise UsageError(
            f"Re-ranking uses the whole gallery, but in split {split.name!r} a query sees the photos of its class: "
            "leave out rerank, or take the split that ranks the photos of all classes."
        )
    if trained is None and kind.uses_backbone and {*NETWORK} & {*given(request.assignments)}:
        terms = tuple(each for each in kind.classifier_terms if each in kind.terms and getattr(own, f"weight_{each}"))
        check_network(run.backbone, run.image_size, run.frozen_blocks if trains else -1, terms)
    if post.test_size and not kind.uses_backbone:
        raise UsageError(f"Method {kind.name!r} has no network to test at another size: leave out test_size.")
    if post.test_size:
        check_network(run.backbone, post.test_size, -1, option="--set test_size=")
    if trains:
        kind.check(own, run, split.seen)
    same = {name: getattr(request, name) for name in ("seed", "selection", "gallery", "precision", "per_class_limit")}
    return Experiment(kind, dataset, split, run=run, own=own, post=post, dropped=dropped, trained=trained, **same)


def _check_positives(split: Split, method: str, positives: str, run: RunSettings) -> None:
    """UsageError if the split cannot give the positives and negatives that a method learns from."""
    if positives == "instance" and split.relevance != "instance":
        raise UsageError(
            f"Split {split.name!r} names no instances, from which positives=instance learns: take a fine-grained "
            "split, such as emoji-93-fine."
        )
    if positives == "instance" and not run.usual_batches:
        raise UsageError(
            "A batch of positives=instance holds a photo for each sketch: leave out photo_share and batches."
        )
    if split.relevance == "instance" and positives != "instance" and len(split.seen) == 1:
        cure = "pass --set positives=instance" if positives else "take -m triplet with --set positives=instance"
        raise UsageError(f"Split {split.name!r} trains on one class, from which {method!r} learns nothing: {cure}.")


def choose_weights(
    request: Request, fetch: Callable[..., str] = why_not_fetched, *, dry_run: bool = False
) -> tuple[Request, str]:
    """The request with the backbone and weights file of this machine, and a warning for the user or "".

    ``fetch`` downloads missing weights, but not in a dry run. If those of the default backbone cannot be downloaded,
    ``PACKAGED`` replaces it, and the request notes that. Raises LoadingError for a damaged file, an unknown hash, and
    a chosen backbone without weights; UsageError for an unknown backbone.
    """
    if request.checkpoint:
        return request, ""
    kind = METHODS.get(request.method)
    run = settings_of(request)[0]
    backbone, weights = run.backbone, run.weights
    check_backbone(backbone)
    if weights == "none" or not kind.uses_backbone:
        return request, ""
    if weights.startswith(HASH):
        digest = weights.removeprefix(HASH)
        file = find_by_hash(backbone, digest)
        if file is None and not (reason := fetch(backbone, digest)):
            file = find_by_hash(backbone, digest)
        if file is None:
            raise LoadingError(
                f"The weights file {weights[:19]}... is not on this machine ({reason}): name it by --weights."
            )
        return _add(request, f"weights={file}"), ""
    if weights:
        verified_hash(Path(weights))
        return request, ""
    file = default_file(backbone)
    if backbone == PACKAGED:
        return request, ""
    if file is None and dry_run and not offline_by() and source_of(backbone)[0]:
        return request, f"The ImageNet weights of {backbone!r} will be downloaded first; their hash changes the key."
    reason = "" if file is not None else fetch(backbone)
    file = file or default_file(backbone)
    if file is not None:
        verified_hash(file)
        return _add(request, f"weights={file}"), ""
    if "backbone" in given(request.assignments) or "backbone" in kind.recipe:  # only a dataset's default is replaced
        raise missing_weights(backbone, reason, replaceable="backbone" not in kind.recipe)
    default_file(PACKAGED)
    warning = (
        f"The ImageNet weights of {backbone!r}, the default backbone, cannot be downloaded ({reason}): {PACKAGED!r} "
        f"is used instead, and every report marks the run. To change that, {how_to_get(backbone)}."
    )
    return _add(request, f"backbone={PACKAGED}", f"instead_of={backbone}"), warning


def settings_for_checkpoint(request: Request, trained: Trained, dataset_kind: type[Dataset]) -> list[Any]:
    """Settings of the dataset and of post-processing; raises UsageError for a setting of the network's training."""
    rule = "--checkpoint scores a network as it was trained"
    if request.method and request.method != trained.method.name:
        raise UsageError(f"{rule}, which was by {trained.method.name!r}: leave out -m {request.method}.")
    if request.without or request.structural or request.selection not in ("last", trained.training["selection"]):
        raise UsageError(f"{rule}: leave out --without, --structural and --select.")
    try:
        return assign([dataset_kind.Settings(), PostProcessing()], request.assignments)
    except UsageError as error:
        if not str(error).startswith("There is no setting"):
            raise
        raise UsageError(f"{error} {rule}: settings of its training cannot be changed.") from error


def settings_of(request: Request) -> list[Any]:
    """Settings of the run, method, dataset and post-processing.

    Later ones win: defaults, recipes, options, ablation.
    """
    kind, dataset_kind = METHODS.get(request.method), DATASETS.get(request.dataset)
    backbone = given(request.assignments).get("backbone", kind.recipe.get("backbone"))
    parts = default_settings(kind, dataset_kind, backbone)
    run, own, dataset_settings, post = assign([*parts, dataset_kind.Settings(), PostProcessing()], request.assignments)
    for term in request.without:
        check_known(f"Method {request.method!r} has no loss term", term, kind.terms)
        own = replace(own, **{f"weight_{term}": 0.0})
    if request.structural:
        check_known(f"Method {request.method!r} has no structural ablation", request.structural, kind.structural)
        own = replace(own, **kind.structural[request.structural])
    if kind.terms and not any(getattr(own, f"weight_{term}") for term in kind.terms):
        raise UsageError(
            f"Method {request.method!r} is left without any loss term: keep one of {', '.join(kind.terms)}."
        )
    return [run, own, dataset_settings, post]


def _add(request: Request, *assignments: str) -> Request:
    return replace(request, assignments=(*request.assignments, *assignments))
