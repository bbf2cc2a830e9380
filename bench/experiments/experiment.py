"""An experiment: a request with every name looked up, the key of its run, and the resources that compute it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.datasets.base import Dataset
from bench.datasets.images.samplers import batch_by_domain
from bench.datasets.published.class_splits import quote_class
from bench.distributed.process_group import ALONE, Processes
from bench.errors import DataError
from bench.experiments.recipes import recipe_of
from bench.fine_grained import FineGrainedSplit
from bench.generalized import GeneralizedSplit, mark_of
from bench.io import digest_of_json, file_digest
from bench.methods.backbone.weights import verified_hash
from bench.methods.base import Method
from bench.results.models import name_method
from bench.settings.post_processing import PostProcessing
from bench.settings.request import HASH, Request, in_text
from bench.settings.run_settings import RunSettings, in_key, recipe_for, with_recipe
from bench.training.trained_networks import Trained, describe_training
from bench.types import Split


@dataclass(frozen=True)
class Resources:
    """Where and how to compute; part of a run's provenance, not of its identity."""

    data_root: Path
    cache_dir: Path
    device: str = "auto"
    workers: int = 0
    resume: bool = True
    dry_run: bool = False  # nothing is downloaded
    save_topk: int = 10  # gallery positions that are stored for each query
    compile: bool = False  # torch.compile for the networks that train
    processes: Processes = ALONE
    given: tuple[str, ...] = ()  # options of the command line that a file or the environment gave
    score_epochs: bool = False  # for observers, also where the last epoch is kept; it changes no network


@dataclass(frozen=True)
class Experiment:
    """One run with every name looked up; ``key`` identifies it.

    ``dropped`` are the images that cannot be decoded and were removed from the split, with the reason. ``trained`` is
    a network that is scored as it is; without one, a network is trained.
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
        """Whether it trains a network, so that training images are read."""
        return bool(self.method.terms) and self.trained is None

    @property
    def test_size(self) -> int:
        """The side of a test image in pixels."""
        return self.post.test_size or self.run.image_size

    @property
    def ablation(self) -> str:
        """The loss terms that are left out and the structural ablations, in words; empty for none."""
        return " and ".join(ablations_of(self.method, self.own))

    @property
    def title(self) -> str:
        """The name of the experiment on the screen."""
        name = name_method(self.method.name, self.ablation, self.identity["configuration"])
        facts = [f"seed {self.seed}"]
        facts += [f"selection {self.selection}"] * (self.selection != "last")
        facts += mark_of(self.gallery) + ["smoke"] * (self.per_class_limit is not None)
        return f"{name} on {self.split.name} ({', '.join(facts)})"

    @property
    def warning(self) -> str:
        """A sentence on test classes that a trained network saw in training; empty if there are none."""
        saw = self.trained.identity(self.split.unseen)["saw"] if self.trained is not None else []
        if not saw:
            return ""
        return (
            f"{self.title}: the network saw {len(saw)} of {len(self.split.unseen)} test classes in training "
            f"({', '.join(saw[:5])}{', ...' * (len(saw) > 5)}): for these the run is not zero-shot, and every table "
            "marks it."
        )

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The columns of the store that identify the run, with the key.

        The key hashes everything that can change a number; a fingerprint stands for the images, a hash for the weights.
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
        ablated = sorted(each for settings in ablations_of(self.method, self.own).values() for each in settings)
        recipe = recipe_of(self.method, (self.run, self.own, self.post, self.dataset.settings), ablated)
        notes = {
            "ablated": ablated,
            **({"recipe": recipe} if recipe else {}),
            "caution": self.dataset.caution,
            "dropped": dict(self.dropped),
            "gallery_name": self.split.gallery_name,
        }
        if self.trains and not self.run.usual_batches:
            sketches, photos = batch_by_domain(self.run, len(self.split.seen))
            notes["batch"] = {"sketches": sketches, "photos": photos}
        if isinstance(self.split, FineGrainedSplit | GeneralizedSplit):
            notes |= self.split.facts
        return {
            **columns,
            "ablation": self.ablation,
            "configuration": {**configuration, **notes},
            "request": self._request(configuration, paths=False).to_json(),
            "key": digest_of_json([columns, configuration]),  # both have "method"
        }

    @property
    def request(self) -> Request:
        """The request that resolves to this experiment from any folder of this machine."""
        return self._request(self.identity["configuration"], paths=True)

    def _request(self, configuration: Mapping[str, Any], *, paths: bool) -> Request:
        """The request with every setting that differs from its default; files as ``paths`` or as their hashes."""
        parts = [(self.dataset.settings, type(self.dataset.settings)()), (self.post, PostProcessing())]
        if self.trained is None:  # otherwise these belong to the run that trained the network
            defaults = default_settings(self.method, type(self.dataset), self.run.backbone)
            parts[1:1] = zip((self.run, self.own), defaults, strict=True)
        changed = {
            name: value
            for part, default in parts
            for name, value in asdict(part).items()
            if value != getattr(default, name)
        }
        without = tuple(term for term in self.method.terms if changed.get(f"weight_{term}", 1) == 0)
        for term in without:
            del changed[f"weight_{term}"]
        if str(changed.get("unseen", "")).startswith("@"):
            changed["unseen"] = ",".join(map(quote_class, self.split.unseen))
        hashes = {"root": HASH, "weights": configuration["run"]["weights"]}
        hashes |= {name: configuration["method"][name] for name in self.method.files}
        for name in [name for name in changed if str(hashes.get(name, "")).startswith(HASH)]:
            changed[name] = str(Path(changed[name]).expanduser().absolute()) if paths else hashes[name]
        if changed.get("root") == HASH:
            del changed["root"]
        checkpoint = ""
        if self.trained is not None:
            checkpoint = str(self.trained.path.absolute()) if paths else HASH + configuration["checkpoint"]["network"]
        return Request(
            method=self.method.name,
            dataset=type(self.dataset).name,
            split=self.split.name,
            seed=self.seed,
            without=without,
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
        """SHA-256 of everything that can change the trained network; runs that only rank or score otherwise share it.

        It includes the files' stamp if no hash pins their content, so that replaced images are trained on again.
        """
        stamp = self.dataset.stamp(item.path for item in (*self.split.train, *self.split.validation))
        described = self.described
        return digest_of_json([described["training"], described["settings"], stamp])

    @property
    def described(self) -> dict[str, Any]:
        """What identifies the training, without the files' stamp; a trained network's file holds it."""
        return describe_training(self.identity, self.identity["configuration"])


def default_settings(method: type[Method], dataset: type[Dataset], backbone: str | None) -> tuple[RunSettings, Any]:
    """Default settings of a run and its method; the method's recipe wins over the dataset's."""
    recipe = {**recipe_for(dataset.recipe, backbone), **method.recipe}
    return with_recipe(RunSettings(), recipe), with_recipe(method.Settings(), recipe)


def configuration_of(
    method: type[Method], dataset: Dataset, run: RunSettings, own: Any, post: PostProcessing, precision: str
) -> dict[str, Any]:
    """Every setting of a run except images, seed, selection rule and gallery."""
    return {
        "run": {**in_key(run), "weights": weights_identity(run.weights)},
        "method": {**in_key(own), **{name: _file_identity(name, getattr(own, name)) for name in method.files}},
        "dataset": dataset.identity(),
        "post": in_key(post),
        "precision": precision,
        "method_version": method.version,
    }


def ablations_of(method: type[Method], own: Any) -> dict[str, tuple[str, ...]]:
    """Ablations that the method's settings ``own`` make, in words, each with the settings that it changes.

    They are loss terms whose weight is 0 and not by default, and structural ablations.
    """
    default = type(own)()
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
    """What a run's key has for a weights setting: a file's SHA-256, otherwise the word itself.

    Raises LoadingError for a file that cannot be read or does not match the hash in its name.
    """
    if weights in ("", "none") or weights.startswith(HASH):
        return weights
    return HASH + verified_hash(Path(weights))


def _file_identity(name: str, path: str) -> str:
    """The SHA-256 of the file that setting ``name`` gives; raises DataError when it cannot be read."""
    if not path or path.startswith(HASH):
        return path
    try:
        return HASH + file_digest(Path(path))
    except OSError as error:
        raise DataError(f"File {path} cannot be read ({error.strerror}): check --set {name}=FILE.") from error
