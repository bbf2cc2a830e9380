"""An experiment: a request with every name looked up, the key of its run, and the resources that compute it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.datasets.base import Dataset
from bench.distributed.process_group import ALONE, Processes
from bench.errors import DataError
from bench.io import file_digest
from bench.methods.backbone.weights import checked_hash
from bench.methods.base import Method
from bench.settings.post_processing import PostProcessing
from bench.settings.request import HASH, Request, in_text
from bench.settings.run_settings import RunSettings, recipe_for, with_recipe
from bench.training.pretrained import Trained, description
from bench.types import Split


@dataclass(frozen=True)
class Resources:
    """Where and how to compute; part of a run's provenance, not of its identity."""

    data_root: Path
    cache_dir: Path
    device: str = "auto"
    workers: int = 0
    resume: bool = True
    top: int = 10  # gallery positions that are stored for each query
    compiled: bool = False  # torch compiles what looks at images while training
    processes: Processes = ALONE


@dataclass(frozen=True)
class Experiment:
    """One run with every name looked up; ``key`` identifies it.

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
    def trains(self) -> bool:
        """Whether a network is trained for it, so that training images are read."""
        return bool(self.method.terms) and self.trained is None

    @property
    def ablation(self) -> str:
        """The loss terms that the settings leave out and their structural ablations, in words; empty for none."""
        return " and ".join(ablations_of(self.method, self.own, type(self.own)()))

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The columns of the store that identify the run, the key among them.

        The key hashes everything that can change a number. Paths are not in it: the fingerprint identifies the images,
        a hash the weights file. Nor is where and how it is computed (``Resources``).
        """
        configuration = configuration_of(self.method, self.dataset, self.run, self.own, self.post, self.precision)
        if self.trained is not None:
            configuration["checkpoint"] = self.trained.identity(self.split.unseen)
        columns = {
            "method": self.method.name,
            "dataset": self.split.dataset,
            "split": self.split.name,
            "fingerprint": self.split.fingerprint,
            "seed": self.seed,
            "selection": self.selection,
            "gallery": self.gallery,
            "per_class_limit": self.per_class_limit,
        }
        text = json.dumps([columns, configuration], sort_keys=True)  # both have a key "method"
        ablations = ablations_of(self.method, self.own, type(self.own)())
        notes = {
            "ablated": sorted(setting for changed in ablations.values() for setting in changed),
            "caution": self.dataset.caution,
            "dropped": dict(self.dropped),
            "gallery_name": self.split.gallery_name,
        }
        return {
            **columns,
            "ablation": self.ablation,
            "configuration": {**configuration, **notes},
            "request": self._request(configuration, paths=False).to_json(),
            "key": hashlib.sha256(text.encode()).hexdigest(),
        }

    @property
    def request(self) -> Request:
        """The request that gives this experiment again from any folder of this machine."""
        return self._request(self.identity["configuration"], paths=True)

    def _request(self, identity: Mapping[str, Any], *, paths: bool) -> Request:
        """The request with every setting that differs from its default; without ``paths`` as the store has it.

        ``identity`` is the configuration, in which hashes stand for files.
        """
        parts = [(self.dataset.settings, type(self.dataset.settings)()), (self.post, PostProcessing())]
        if self.trained is None:  # otherwise these were asked for by the run that trained the network
            defaults = default_settings(self.method, type(self.dataset), self.run.backbone)
            parts[1:1] = zip((self.run, self.own), defaults, strict=True)
        changed = {
            name: value
            for part, default in parts
            for name, value in asdict(part).items()
            if value != getattr(default, name)
        }
        without = [term for term in self.method.terms if changed.get(f"weight_{term}", 1) == 0]
        for term in without:
            del changed[f"weight_{term}"]
        if str(changed.get("unseen", "")).startswith("@"):
            changed["unseen"] = ",".join(self.split.unseen)
        hashes = {"root": HASH, "weights": identity["run"]["weights"]}
        hashes |= {name: identity["method"][name] for name in self.method.files}
        for name in [name for name in changed if str(hashes.get(name, "")).startswith(HASH)]:
            changed[name] = str(Path(changed[name]).expanduser().absolute()) if paths else hashes[name]
        if changed.get("root") == HASH:
            del changed["root"]
        checkpoint = ""
        if self.trained is not None:
            checkpoint = str(self.trained.path.absolute()) if paths else HASH + identity["checkpoint"]["network"]
        return Request(
            method=self.method.name,
            dataset=type(self.dataset).name,
            split=self.split.name,
            seed=self.seed,
            without=tuple(without),
            assignments=tuple(f"{name}={in_text(value)}" for name, value in changed.items()),
            selection=self.selection,
            gallery=self.gallery,
            per_class_limit=self.per_class_limit,
            on_bad_image="drop" if self.dropped else "error",
            precision=self.precision,
            checkpoint=checkpoint,
        )

    @property
    def key(self) -> str:
        """SHA-256 of everything that can change a number, 64 hex digits."""
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


def default_settings(method: type[Method], dataset: type[Dataset], backbone: str | None) -> tuple[RunSettings, Any]:
    """Settings of a run and of its method without options; the method's recipe goes over the dataset's."""
    recipe = {**recipe_for(dataset.recipe, backbone), **method.recipe}
    return with_recipe(RunSettings(), recipe), with_recipe(method.Settings(), recipe)


def configuration_of(
    method: type[Method], dataset: Dataset, run: RunSettings, own: Any, post: PostProcessing, precision: str
) -> dict[str, Any]:
    """Every setting of a run except the images, the seed and the rules of selection and gallery."""
    return {
        "run": {**asdict(run), "weights": weights_identity(run.weights)},
        "method": {**asdict(own), **{name: file_identity(name, getattr(own, name)) for name in method.files}},
        "dataset": dataset.identity(),
        "post": asdict(post),
        "precision": precision,
        "method_version": method.version,
    }


def ablations_of(method: type[Method], own: Any, default: Any) -> dict[str, tuple[str, ...]]:
    """Loss terms with weight 0 that have one by default, and the structural ablations whose settings hold.

    In words, each with the settings that it changes.
    """
    left_out = {
        f"without {term}": (f"weight_{term}",)
        for term in method.terms
        if not getattr(own, f"weight_{term}") and getattr(default, f"weight_{term}")
    }
    structural = {
        name: tuple(changes)
        for name, changes in method.structural.items()
        if all(getattr(own, key) == value != getattr(default, key) for key, value in changes.items())
    }
    return left_out | structural


def weights_identity(weights: str) -> str:
    """What stands for a weights setting in a run's key: a file's SHA-256, otherwise the word itself.

    Raises LoadingError for a file that cannot be read or is not what its name says.
    """
    if weights in ("", "none") or weights.startswith("sha256:"):
        return weights
    return f"sha256:{checked_hash(Path(weights))}"


def file_identity(name: str, path: str) -> str:
    """What stands for the file that setting ``name`` gives in a run's key: its SHA-256, nothing where none is given.

    A hash, as the settings of a stored run have it, stands for itself. Raises DataError when it cannot be read.
    """
    if not path or path.startswith("sha256:"):
        return path
    try:
        return f"sha256:{file_digest(Path(path))}"
    except OSError as error:
        raise DataError(f"File {path} cannot be read ({error.strerror}): check --set {name}=FILE.") from error
