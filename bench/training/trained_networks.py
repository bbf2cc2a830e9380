"""Trained networks on disk: save and load them by training key, open a file, find the network of a stored run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from bench.datasets.published.class_names import shared_classes
from bench.distributed.process_group import ALONE, Processes
from bench.errors import LoadingError, UsageError
from bench.io import digest_of, facts_of, read_tensors
from bench.methods.base import METHODS, Context, Method
from bench.results.models import RunRecord
from bench.settings.post_processing import PostProcessing
from bench.settings.run_settings import RunSettings
from bench.training.state import Checkpoint, load_exactly

COLUMNS = ("method", "dataset", "split", "fingerprint", "seed", "selection")  # of the store, that identify a training
SETTINGS = ("run", "method", "dataset", "precision", "method_version", "ablated")  # of a configuration, that do


@dataclass(frozen=True)
class Networks:
    """Trained networks and checkpoints of unfinished trainings in a cache folder, by training key."""

    cache_dir: Path

    def network(self, key: str) -> Checkpoint:
        """The file of a trained network."""
        return Checkpoint(self.cache_dir / "networks" / f"{key}.safetensors", key)

    def checkpoint(self, key: str) -> Checkpoint:
        """The checkpoint of an unfinished training."""
        return Checkpoint(self.cache_dir / "checkpoints" / f"{key}.safetensors", key)

    def save(self, key: str, method: Method, facts: Mapping[str, Any]) -> None:
        """Write a trained method with ``facts`` about its training; raises StorageError if the disk is full.

        ``open_trained`` needs the facts ``trained`` (of ``describe_training``) and ``limit`` (images per class, None
        for all).
        """
        own = {"seen": list(method.context.seen), "network": network_hash(method)}
        self.network(key).write(method.state_dict(), {**facts, **own})

    def load(self, key: str, method: Method, processes: Processes = ALONE) -> dict[str, Any] | None:
        """Load the trained network of ``key`` into ``method``, and return its facts; None if there is none.

        Rank 0 reads the file for all processes.
        """
        file, damaged = self.network(key), "The trained network %s is damaged: it is trained again."
        saved = processes.broadcast_tensors(file.read(damaged) if processes.leads else None)
        if saved is None:
            return None
        load_exactly(method, saved[0], file.path)
        return saved[1]


@dataclass(frozen=True)
class Trained:
    """A trained network from a file, with the settings of its training.

    ``training`` is what ``describe_training`` returned, ``dataset`` has the settings of the dataset. ``seen`` are its
    seen classes by label. ``limit`` is the number of images per class in a smoke run. ``post`` are the settings of the
    test that an exported file was made for.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    method: type[Method]
    run: RunSettings
    own: Any
    seen: tuple[str, ...]
    limit: int | None
    training: Mapping[str, Any]
    dataset: Mapping[str, Any]
    post: PostProcessing

    def identity(self, unseen: Sequence[str]) -> dict[str, Any]:
        """The network's part of the key of a run on a split with the ``unseen`` classes."""
        return {
            **{name: self.training[name] for name in ("dataset", "split", "fingerprint")},
            "network": digest_of(self.tensors),
            "saw": shared_classes(self.seen, unseen),
            "limit": self.limit,
        }


def network_hash(method: Method) -> str:
    """SHA-256 of a method's parameters and buffers: 64 hex digits."""
    return digest_of(method.state_dict())


def describe_training(columns: Mapping[str, Any], configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that identifies a training, from columns of the store and the configuration of a run."""
    settings = {name: configuration[name] for name in SETTINGS if name in configuration}
    return {"training": {name: columns[name] for name in COLUMNS}, "settings": settings}


def open_trained(path: Path) -> Trained:
    """Read a network that ``Networks.save`` wrote.

    Raises LoadingError if the file is missing, damaged or of an older version of bench, or if its method is missing or
    has changed since.
    """
    saved = read_tensors(path)
    if saved is None:
        problem = "is damaged, or is not a network that bench saved" if path.is_file() else "does not exist"
        raise LoadingError(
            f"Checkpoint {path} {problem}: name a run, or a file of `bench export --format safetensors`."
        )
    tensors, facts = saved
    trained = facts.get("trained")
    if not isinstance(trained, dict):
        raise LoadingError(
            f"Checkpoint {path} has no settings of its training (an older version of bench wrote it): train it again."
        )
    try:
        settings = trained["settings"]
        method = METHODS.get(trained["training"]["method"])
        if method.version != settings["method_version"]:
            raise LoadingError(
                f"Checkpoint {path} was trained by version {settings['method_version']} of {method.name!r}, and this "
                f"is version {method.version}: train it again."
            )
        return Trained(
            path=path,
            tensors=tensors,
            method=method,
            run=RunSettings(**settings["run"]),
            own=method.Settings(**settings["method"]),
            seen=tuple(facts["seen"]),  # type: ignore[arg-type]
            limit=facts["limit"],  # type: ignore[arg-type]
            training=trained["training"],
            dataset=settings.get("dataset", {}),
            post=PostProcessing(**facts.get("post", {})),  # type: ignore[arg-type]
        )
    except (KeyError, TypeError) as error:
        raise LoadingError(
            f"Checkpoint {path} has other settings than this version ({error}): train it again."
        ) from error


def load_method(trained: Trained, cache_dir: Path) -> Method:
    """A method with the network of a file; raises LoadingError if the tensors do not fit.

    Its new layers are drawn first, which takes random numbers from torch.
    """
    run = replace(trained.run, weights="none")  # the file has all tensors
    method = trained.method(trained.own, Context(run, trained.seen, cache_dir))
    load_exactly(method, trained.tensors, trained.path)
    return method


def find_network(run: RunRecord, cache_dir: Path) -> Path:
    """The file with the network of a stored run.

    Raises UsageError for a run without a network, LoadingError if its file is not in the cache folder.
    """
    if run.origin:
        raise UsageError(f"Run {run.id} holds embeddings of another program: it has no network.")
    if not METHODS.get(run.method).terms:
        raise UsageError(f"Run {run.id} trained nothing: use -m {run.method} on the other dataset.")
    source = run.configuration.get("checkpoint")
    columns = {name: getattr(run, name) for name in COLUMNS}
    if source is not None:  # the run used the network of another training
        columns |= {name: source[name] for name in ("dataset", "split", "fingerprint")}
    wanted = describe_training(columns, run.configuration)
    network = str(run.environment.get("network", ""))
    for path in sorted((cache_dir / "networks").glob("*.safetensors")):
        facts = facts_of(path)
        if facts is None or str(facts.get("network", ""))[: len(network)] != network:
            continue
        # Two trainings can give the same network, so the settings must match, too.
        if facts.get("trained") == wanted or (source is not None and facts.get("network") == source["network"]):
            return path
    raise LoadingError(
        f"The network of run {run.id} is not in the cache folder {cache_dir}: pass the folder of its training with "
        "--cache-dir, or train it again."
    )
