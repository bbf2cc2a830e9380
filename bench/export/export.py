"""Write the network of a stored run into a folder, and check that the written file embeds as the run did."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from bench.datasets.images.loader import Images
from bench.errors import LoadingError, StorageError, UsageError
from bench.experiments.experiment import Experiment, Resources
from bench.experiments.stored_run import load_embedder
from bench.export.card import make_card
from bench.export.onnx import write_onnx
from bench.export.safetensors import write_safetensors
from bench.results.models import RunRecord
from bench.training.trained_networks import network_hash
from bench.types import MODALITIES, Item, Modality

CHECKED = 32  # images
TOLERANCE = 1e-4  # between two embeddings of an image


def export(
    run: RunRecord,
    per_query: bytes | None,
    resources: Resources,
    output: Path,
    format: str,
    weights: Path | None = None,
) -> float:
    """Export a run into the folder ``output``; the largest difference between embeddings of the file and of the run.

    ``per_query`` is that detail of the run, ``format`` is ``onnx`` or ``safetensors``. Raises UsageError for a folder
    that is not empty and for a method without a network, LoadingError when the network is missing or the written file
    embeds otherwise. Nothing is left then.
    """
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise UsageError(f"{output} exists: give a new or empty folder by -o.")
    embedder = load_embedder(run, resources, weights)
    experiment, method = embedder.experiment, embedder.method
    if not method.state_dict():
        raise UsageError(f"Method {run.method!r} has no network: there is nothing to export.")
    recorded = run.environment.get("network", "")
    if not network_hash(method).startswith(recorded):
        raise LoadingError(f"The network in the cache is not that of run {run.id}, but of a later one: export that.")
    pixels = {modality: read_pixels(experiment, modality) for modality in MODALITIES}
    wanted = {each: embedder.embed_pixels(pixels[each], is_photo=each == "photo") for each in MODALITIES}
    exchanged = {each: embedder.embed_pixels(pixels[each], is_photo=each != "photo") for each in MODALITIES}
    shared = all(np.array_equal(wanted[each], exchanged[each]) for each in MODALITIES)  # one network embeds both
    temporary = output.absolute().with_name(f".{output.name}.{uuid.uuid4().hex[:12]}")
    try:
        temporary.mkdir(parents=True)
        if format == "onnx":
            written = write_onnx(experiment, method.cpu(), temporary, shared=shared)
        else:
            written = write_safetensors(experiment, resources, method.cpu(), temporary)
        difference = max(
            float(np.abs(embed(pixels[each]) - wanted[each]).max()) for each, (_, embed) in written.items()
        )
        if not difference <= TOLERANCE:
            raise LoadingError(
                f"The written network embeds images otherwise than run {run.id}, which embedded in "
                f"{experiment.precision} (difference {difference:.1e}, allowed {TOLERANCE:g}): take the other --format."
            )
        width, files = wanted["photo"].shape[1], {each: file for each, (file, _) in written.items()}
        described = describe_preprocessing(experiment, files, width)
        (temporary / "preprocessing.json").write_text(json.dumps(described, indent=2) + "\n")
        (temporary / "README.md").write_text(make_card(run, experiment, per_query, width, format))
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
    """What a program must do to an image before the network, for ``preprocessing.json``."""
    size = experiment.test_size
    return {
        "files": dict(files),
        "input": {"name": "images", "shape": ["batch", 3, size, size], "type": "float32", "range": [0.0, 1.0]},
        "output": {"name": "embeddings", "shape": ["batch", width], "distance": experiment.post.distance},
        "colours": "RGB; transparent pixels on white",
        "crop_sketches_to_ink": bool(getattr(experiment.dataset.settings, "ink_crop", False)),
        "resize": {"size": [size, size], "keep_aspect_ratio": False, "filter": "bilinear", "antialias": True},
        "normalise": "in the network",
    }
