"""Write the network of a stored run into a folder, and check that the written file embeds as the run did."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from bench.datasets.images.loader import Images
from bench.devices import choose_device
from bench.errors import LoadingError, StorageError, UsageError
from bench.experiments.embed_split import Embedder
from bench.experiments.experiment import Experiment, Resources
from bench.experiments.stored_run import load_network
from bench.methods.base import Method
from bench.results.models import RunRecord
from bench.training.trained_networks import network_hash
from bench.types import Floats, Item, Modality

CHECKED = 32  # images
TOLERANCE = 1e-4  # between two embeddings of an image
PREPROCESSING = "preprocessing.json"
CARD = "README.md"
MODALITIES: tuple[Modality, ...] = ("sketch", "photo")

Embed = Callable[[torch.Tensor], Floats]  # uint8 [images, 3, size, size] to float32 [images, width]


@dataclass(frozen=True)
class Exported:
    """What a format has written: the file of each modality, and how that file embeds."""

    files: Mapping[Modality, str]
    embed: Mapping[Modality, Embed]


class Format(Protocol):
    """Writes a network into a folder, and loads it again from there."""

    def __call__(
        self, experiment: Experiment, resources: Resources, method: Method, folder: Path, *, shared: bool
    ) -> Exported:
        """``shared``: sketches and photos have one network."""


def export(
    run: RunRecord,
    resources: Resources,
    output: Path,
    write: Format,
    card: Callable[..., str],
    weights: Path | None = None,
) -> float:
    """Export a run into the folder ``output``; the largest difference between embeddings of the file and of the run.

    Raises UsageError for a folder that is not empty and for a method without a network, LoadingError when the network
    is missing or the written file embeds otherwise. Nothing is left then.
    """
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise UsageError(f"{output} exists: give a new or empty folder by -o.")
    experiment, method = load_network(run, resources, weights)
    if not method.state_dict():
        raise UsageError(f"Method {run.method!r} has no network: there is nothing to export.")
    recorded = run.environment.get("network", "")
    if not network_hash(method).startswith(recorded):
        raise LoadingError(f"The network in the cache is not that of run {run.id}, but of a later one: export that.")
    device = choose_device(resources.device)
    embedder = Embedder(method, experiment, resources, device)
    pixels = {modality: read_pixels(experiment, modality) for modality in MODALITIES}
    wanted = {each: embedder.embed_pixels(pixels[each], is_photo=each == "photo") for each in MODALITIES}
    shared = all(
        np.array_equal(wanted[each], embedder.embed_pixels(pixels[each], is_photo=each != "photo"))
        for each in MODALITIES
    )
    temporary = output.absolute().with_name(f".{output.name}.{uuid.uuid4().hex[:12]}")
    try:
        temporary.mkdir(parents=True)
        written = write(experiment, resources, method.cpu(), temporary, shared=shared)
        difference = max(float(np.abs(written.embed[each](pixels[each]) - wanted[each]).max()) for each in MODALITIES)
        if not difference <= TOLERANCE:
            raise LoadingError(
                f"The written network embeds images otherwise than run {run.id}, which embedded in "
                f"{experiment.precision} (difference {difference:.1e}, allowed {TOLERANCE:g}): take the other --format."
            )
        described = describe_preprocessing(experiment, written.files, wanted["photo"].shape[1])
        (temporary / PREPROCESSING).write_text(json.dumps(described, indent=2) + "\n")
        (temporary / CARD).write_text(card(experiment=experiment, described=described))
        temporary.replace(output)
    except OSError as error:
        raise StorageError(f"{output} cannot be written ({error.strerror}): give another folder by -o.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return difference


def read_pixels(experiment: Experiment, modality: Modality) -> torch.Tensor:
    """Half of the ``CHECKED`` images, spread over the test images of one modality: uint8 [images, 3, size, size]."""
    items = experiment.split.queries if modality == "sketch" else experiment.split.gallery
    chosen: list[Item] = list(items[:: max(1, 2 * len(items) // CHECKED)][: CHECKED // 2])
    images = Images(experiment.dataset, chosen, experiment.test_size)
    return torch.stack([images[position] for position in range(len(chosen))])


def describe_preprocessing(experiment: Experiment, files: Mapping[Modality, str], width: int) -> dict[str, object]:
    """What a program must do to an image before the network, for ``PREPROCESSING``."""
    size = experiment.test_size
    crops = bool(getattr(experiment.dataset.settings, "ink_crop", False))
    return {
        "files": dict(files),
        "input": {"name": "images", "shape": ["batch", 3, size, size], "type": "float32", "range": [0.0, 1.0]},
        "output": {"name": "embeddings", "shape": ["batch", width], "distance": experiment.post.distance},
        "colours": "RGB; transparent pixels on white",
        "crop_sketches_to_ink": crops,
        "resize": {"size": [size, size], "keep_aspect_ratio": False, "filter": "bilinear", "antialias": True},
        "normalise": "in the network",
    }
