"""What is asked of one run, every name resolved, and the key that identifies it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.distributed import ALONE, Processes
from bench.errors import DataError, LoadingError, UsageError, nearest
from bench.postprocessing import PostProcessing
from bench.settings import RunSettings, assign, with_recipe
from bench.transfer import Trained, description, opened
from bench.types import Split
from datasets.base import DATASETS, Dataset
from datasets.health import ROLES, Role, Verdicts
from datasets.shaping import shaped
from methods.base import METHODS, Method

ON_BAD_IMAGE = ("error", "drop")
GALLERIES = ("unseen", "all")


@dataclass(frozen=True)
class Request:
    """One cell as it was asked for, names not yet looked up."""

    method: str
    dataset: str
    split: str | None = None
    seed: int = 0
    without: tuple[str, ...] = ()  # loss terms
    structural: str = ""  # name of a structural ablation of the method
    assignments: tuple[str, ...] = ()  # key=value
    selection: str = "last"
    gallery: str = "unseen"
    per_class_limit: int | None = None
    on_bad_image: str = "error"
    checkpoint: str = ""  # file of a trained network that is scored as it is


@dataclass(frozen=True)
class Resources:
    """Where and how to compute; part of a run's provenance, not of its identity, except the precision."""

    data_root: Path
    cache_dir: Path
    device: str = "auto"
    precision: str = "fp32"
    workers: int = 0
    resume: bool = True
    top: int = 10  # gallery positions that are stored for each query
    compiled: bool = False  # torch compiles what looks at images while training
    processes: Processes = ALONE


@dataclass(frozen=True)
class Experiment:
    """One cell with every name resolved; ``key`` identifies what was asked.

    ``dropped`` are the images that could not be decoded and were taken out of the split, with the reason for each.
    ``trained`` is a network that is scored as it is; otherwise one is trained.
    """

    method: type[Method]
    dataset: Dataset
    split: Split
    seed: int
    run: RunSettings
    own: Any
    post: PostProcessing
    selection: str
    gallery: str
    precision: str
    per_class_limit: int | None
    dropped: Mapping[str, str]
    trained: Trained | None = None

    @property
    def ablation(self) -> str:
        """What the settings leave out or change of the method, in words; empty for the method as it is."""
        return ablation_of(self.method, self.own, type(self.own)())

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The columns of the store that say what was asked, the key among them.

        The key hashes everything that can change a number. Where files lie is not in it: the fingerprint says which
        images, the hash of a weights file says which weights. Nor is where and how it is computed (``Resources``, but
        for the precision).
        """
        configuration = configuration_of(self.method, self.dataset, self.run, self.own, self.post, self.precision)
        if self.trained is not None:
            configuration["checkpoint"] = self.trained.identity(self.split.unseen)
        asked = {
            "method": self.method.name,
            "dataset": self.split.dataset,
            "split": self.split.name,
            "fingerprint": self.split.fingerprint,
            "seed": self.seed,
            "selection": self.selection,
            "gallery": self.gallery,
            "per_class_limit": self.per_class_limit,
        }
        text = json.dumps([asked, configuration], sort_keys=True)  # both have a key "method"
        notes = {
            "caution": self.dataset.caution,
            "dropped": dict(self.dropped),
            "gallery_name": self.split.gallery_name,
        }
        return {
            **asked,
            "ablation": self.ablation,
            "configuration": {**configuration, **notes},
            "key": hashlib.sha256(text.encode()).hexdigest(),
        }

    @property
    def key(self) -> str:
        """SHA-256 of what was asked, 64 hex digits."""
        return str(self.identity["key"])

    @cached_property
    def training_key(self) -> str:
        """SHA-256 of everything that can change the trained network: runs that rank or score otherwise share it.

        The files' stamp is in it where no hash pins their content: what was trained on other pictures is not taken.
        """
        stamp = self.dataset.stamp(item.path for item in (*self.split.train, *self.split.validation))
        described = self.described
        text = json.dumps([described["training"], described["settings"], stamp], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def described(self) -> dict[str, Any]:
        """What identifies the training but for the files' stamp, as a trained network's file tells it."""
        return description(self.identity, self.identity["configuration"])


def configuration_of(
    method: type[Method], dataset: Dataset, run: RunSettings, own: Any, post: PostProcessing, precision: str
) -> dict[str, Any]:
    """Everything that was asked of a run but the images, the seed and the rules of selection and gallery."""
    return {
        "run": {**asdict(run), "weights": weights_identity(run.weights)},
        "method": {**asdict(own), **{name: file_identity(name, getattr(own, name)) for name in method.files}},
        "dataset": dataset.asked(),
        "post": asdict(post),
        "precision": precision,
        "method_version": method.version,
    }


def ablation_of(method: type[Method], own: Any, default: Any) -> str:
    """Loss terms with weight 0 that have one by default, and the structural ablation whose settings hold, in words."""
    left_out = [
        f"without {term}"
        for term in method.terms
        if not getattr(own, f"weight_{term}") and getattr(default, f"weight_{term}")
    ]
    structural = [
        name
        for name, changes in method.structural.items()
        if all(getattr(own, key) == value != getattr(default, key) for key, value in changes.items())
    ]
    return " and ".join(left_out + structural)


def weights_identity(weights: str) -> str:
    """What stands for a weights setting in a run's key: a file's SHA-256, otherwise the word itself."""
    if weights in ("", "none") or weights.startswith("sha256:"):
        return weights
    try:
        return _hash_of(weights)
    except OSError as error:
        raise LoadingError(f"Weights file {weights} cannot be loaded ({error.strerror}): check --weights.") from error


def file_identity(name: str, path: str) -> str:
    """What stands for the file that setting ``name`` gives in a run's key: its SHA-256, nothing where none is given.

    Raises DataError when it cannot be read.
    """
    try:
        return _hash_of(path) if path else ""
    except OSError as error:
        raise DataError(f"File {path} cannot be read ({error.strerror}): check --set {name}=FILE.") from error


def _hash_of(path: str) -> str:
    return f"sha256:{hashlib.sha256(Path(path).read_bytes()).hexdigest()}"


class Splits:
    """Datasets with their splits as runs need them, so that cells that ask for the same share it: listing and checking
    a large dataset takes seconds, decoding all of it minutes. With ``keep=False`` no file is written.
    """

    def __init__(self, progress: Callable[[int, int], None] | None = None, *, keep: bool = True) -> None:
        self._progress = progress
        self._keep = keep
        self._known: dict[tuple[object, ...], tuple[Dataset, Split, dict[str, str]]] = {}

    def of(
        self, request: Request, kind: type[Dataset], settings: Any, resources: Resources, roles: tuple[Role, ...]
    ) -> tuple[Dataset, Split, dict[str, str]]:
        """Dataset, split and dropped images (path to reason); ``roles`` are those whose images must not be broken."""
        key = (
            request.dataset,
            request.split,
            settings,
            request.per_class_limit,
            request.gallery,
            request.selection,
            request.on_bad_image,
            roles,
        )
        if key not in self._known:
            dataset = kind(resources.data_root, settings)
            split = shaped(
                dataset.split(request.split),
                per_class_limit=request.per_class_limit,
                gallery=request.gallery,
                rule=request.selection,
            )
            dropped: dict[str, str] = {}
            if request.on_bad_image == "drop":
                workers = resources.workers or 2
                verdicts = Verdicts(resources.cache_dir, keep=self._keep)
                dropped = verdicts.of(dataset, split, roles=roles, workers=workers, progress=self._progress)
                split = split.without(dropped) if dropped else split
            self._known[key] = dataset, split, dropped
        return self._known[key]


def resolve(request: Request, resources: Resources, splits: Splits | None = None) -> Experiment:
    """Look every name up and load the split, from ``splits`` where another cell had it loaded.

    Raises UsageError for an unknown name or setting, DataError for data that is missing; nothing was computed then.
    """
    dataset_kind = DATASETS.get(request.dataset)
    trained = opened(Path(request.checkpoint)) if request.checkpoint else None
    if trained is not None:
        kind, run, own = trained.method, trained.run, trained.own
        dataset_settings, post = settings_after(request, trained, dataset_kind)
        request = replace(request, method=kind.name, seed=trained.seed, selection=trained.selection)
    else:
        kind = METHODS.get(request.method)
        run, own, dataset_settings, post = settings_of(request, kind, dataset_kind)
    for name, value, known in (
        ("--gallery", request.gallery, GALLERIES),
        ("--on-bad-image", request.on_bad_image, ON_BAD_IMAGE),
    ):
        if value not in known:
            raise UsageError(f"Option {name} takes {' or '.join(known)}, not {value!r}.")
    trains = bool(kind.terms) and trained is None
    roles: tuple[Role, ...] = ROLES if trains else ("queries", "gallery")
    dataset, split, dropped = (splits or Splits()).of(request, dataset_kind, dataset_settings, resources, roles)
    if trains and not split.train:
        raise DataError(
            f"Split {split.name!r} has no seen class to train {request.method!r} on: leave some classes seen, or take "
            "a method that is not trained."
        )
    return Experiment(
        method=kind,
        dataset=dataset,
        split=split,
        seed=request.seed,
        run=run,
        own=own,
        post=post,
        selection=request.selection,
        gallery=request.gallery,
        precision=resources.precision,
        per_class_limit=request.per_class_limit,
        dropped=dropped,
        trained=trained,
    )


def settings_after(request: Request, trained: Trained, dataset_kind: type[Dataset]) -> list[Any]:
    """Settings of the dataset and of what follows embedding, where a trained network is scored as it is.

    Raises UsageError for whatever would have to be known before it was trained.
    """
    said = f"--checkpoint scores {trained.path.name} as it was trained"
    if request.method and request.method != trained.method.name:
        raise UsageError(f"{said}, which was by {trained.method.name!r}: leave out -m {request.method}.")
    if request.without or request.structural or request.selection != "last":
        raise UsageError(f"{said}: leave out --without, --structural and --select.")
    try:
        found = assign([dataset_kind.Settings(), PostProcessing()], request.assignments)
    except UsageError as error:
        raise UsageError(f"{error} {said}: settings of its training are those of then.") from error
    return found


def settings_of(request: Request, kind: type[Method], dataset_kind: type[Dataset]) -> list[Any]:
    """Settings of the run, the method, the dataset and what follows embedding: defaults, recipe, options, ablation."""
    recipe = dataset_kind.recipe
    parts = [with_recipe(RunSettings(), recipe), with_recipe(kind.Settings(), recipe)]
    run, own, dataset_settings, post = assign([*parts, dataset_kind.Settings(), PostProcessing()], request.assignments)
    for term in request.without:
        if term not in kind.terms:
            raise UsageError(f"Method {request.method!r} has no loss term {term!r}. {nearest(term, kind.terms)}")
        own = replace(own, **{f"weight_{term}": 0.0})
    if request.structural:
        if request.structural not in kind.structural:
            raise UsageError(
                f"Method {request.method!r} has no structural ablation {request.structural!r}. "
                f"{nearest(request.structural, kind.structural)}"
            )
        own = replace(own, **kind.structural[request.structural])
    if kind.terms and run.batch_size < 2 * run.per_class:
        raise UsageError(
            f"A batch of {run.batch_size} images cannot hold {run.per_class} sketches and as many photos of a class: "
            "raise --batch-size or lower --set per_class=N."
        )
    if kind.terms and not any(getattr(own, f"weight_{term}") for term in kind.terms):
        raise UsageError(
            f"Method {request.method!r} is left without any loss term: keep one of {', '.join(kind.terms)}."
        )
    return [run, own, dataset_settings, post]
