"""A trained network taken to other images: what its file says of it, and which file holds the network of a stored run.

A network is scored as it is. What it was trained on is part of the run's key, and classes of the test that it saw in
training are counted, since they are not zero-shot.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from bench.errors import LoadingError, UsageError
from bench.io import digest_of, facts_of, read_tensors
from bench.methods.base import METHODS, Method
from bench.results.models import RunRecord
from bench.settings.run_settings import RunSettings

# Parts of a run's configuration that follow its training.
SCORED = ("post", "caution", "dropped", "gallery_name", "checkpoint")
TRAINING = ("method", "dataset", "split", "fingerprint", "seed", "selection")


@dataclass(frozen=True)
class Trained:
    """A trained network: ``tensors`` by name, and how it came to be.

    ``asked`` is what identifies its training, as ``description`` gives it; ``seen`` names its seen classes, by label;
    ``limit`` is the number of images a class that a smoke run was trained on.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    method: type[Method]
    run: RunSettings
    own: Any
    seen: tuple[str, ...]
    limit: int | None
    asked: Mapping[str, Any]

    @property
    def seed(self) -> int:
        """The seed of its training."""
        return int(self.asked["training"]["seed"])

    @property
    def selection(self) -> str:
        """The rule that chose its epoch."""
        return str(self.asked["training"]["selection"])

    def identity(self, unseen: Sequence[str]) -> dict[str, Any]:
        """What stands for the network in the key of a run on a split with the ``unseen`` classes."""
        training = self.asked["training"]
        return {
            **{name: training[name] for name in ("dataset", "split", "fingerprint")},
            "network": digest_of(self.tensors),
            "saw": seen_in_both(self.seen, unseen),
            "limit": self.limit,
        }


def description(columns: Mapping[str, Any], configuration: Mapping[str, Any]) -> dict[str, Any]:
    """What identifies a training, of the columns of a run that the store has and its configuration."""
    training = {name: columns[name] for name in TRAINING}
    return {"training": training, "settings": {k: v for k, v in configuration.items() if k not in SCORED}}


def opened(path: Path) -> Trained:
    """The network in a file that a training of ``bench`` left.

    Raises LoadingError, one sentence, for anything else: a file that is missing, damaged, not of a network, of an older
    version of the program, or of a method that is not there or has changed since.
    """
    found = read_tensors(path)
    if found is None:
        what = "is damaged, or no network that bench trained" if path.is_file() else "is not there"
        raise LoadingError(f"Checkpoint {path} {what}: name a run, or a file of the folder networks in the cache.")
    tensors, facts = found
    asked = facts.get("trained")
    if not isinstance(asked, dict):
        raise LoadingError(
            f"Checkpoint {path} does not say what was trained (an older version of bench wrote it): train it again."
        )
    try:
        settings = asked["settings"]
        method = METHODS.get(asked["training"]["method"])
        if method.version != settings["method_version"]:
            raise LoadingError(
                f"Checkpoint {path} was trained by version {settings['method_version']} of {method.name!r}, and this "
                f"is version {method.version}: train it again."
            )
        return Trained(
            path=path,
            tensors=tensors,
            method=method,
            run=RunSettings(**_known(RunSettings, settings["run"])),
            own=method.Settings(**_known(method.Settings, settings["method"])),
            seen=tuple(facts["seen"]),  # type: ignore[arg-type]
            limit=facts["limit"],  # type: ignore[arg-type]
            asked=asked,
        )
    except (KeyError, TypeError) as error:
        raise LoadingError(
            f"Checkpoint {path} does not say all of what was trained ({error}): train it again."
        ) from error


def file_of(run: RunRecord, cache_dir: Path) -> Path:
    """The file that holds the network of a stored run.

    Raises UsageError for a run that has no network, LoadingError when its file is not in the cache.
    """
    if run.origin:
        raise UsageError(f"Run {run.id} holds embeddings that were made elsewhere: there is no network to score.")
    if not METHODS.get(run.method).terms:
        raise UsageError(f"Run {run.id} trained nothing: ask for -m {run.method} on the other dataset.")
    kept = run.configuration.get("checkpoint")
    columns = {name: getattr(run, name) for name in TRAINING}
    if kept is not None:  # a run that took its network from another
        columns |= {name: kept[name] for name in ("dataset", "split", "fingerprint")}
    wanted = description(columns, run.configuration)
    network = str(run.environment.get("network", ""))
    for path in sorted((cache_dir / "networks").glob("*.safetensors")):
        facts = facts_of(path)
        if facts is None or str(facts.get("network", ""))[: len(network)] != network:
            continue
        trained = facts.get("trained")
        # A network of the same numbers may be of two trainings: what was asked must be the same, too.
        if trained == wanted or (kept is not None and facts.get("network") == kept["network"]):
            return path
    raise LoadingError(
        f"The network of run {run.id} is not in the cache folder {cache_dir}: name the one that it was trained with by "
        "--cache-dir, or train it again."
    )


def seen_in_both(seen: Sequence[str], unseen: Sequence[str]) -> list[str]:
    """Test classes that bear the name of a class seen in training, however it is written.

    >>> seen_in_both(["hot-air_balloon", "cat"], ["Hot air balloon", "dog"])
    ['Hot air balloon']
    """
    known = {_plain(name) for name in seen}
    return [name for name in unseen if _plain(name) in known]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", " ", name.lower()).strip()


def _known(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values as the fields of a settings class; raises KeyError for one that it does not have."""
    names = {each.name for each in fields(kind)}
    for name in values:
        if name not in names:
            raise KeyError(f"setting {name}")
    return dict(values)
