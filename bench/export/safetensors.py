"""A network as a safetensors file, which ``bench run --checkpoint`` reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from bench.experiments.embed_split import Embedder
from bench.experiments.execute import build
from bench.experiments.experiment import Experiment, Resources
from bench.export.export import Embed, Exported
from bench.io import facts_of, write_tensors
from bench.methods.base import Method
from bench.settings.run_settings import in_key
from bench.training.trained_networks import network_hash, open_trained
from bench.types import Floats

FILE = "model.safetensors"


def write_safetensors(
    experiment: Experiment, resources: Resources, method: Method, folder: Path, *, shared: bool
) -> Exported:
    """Write ``model.safetensors``: all tensors, what was trained, on which classes, and how images were tested."""
    facts: dict[str, object] = {"trained": experiment.described, "limit": experiment.per_class_limit}
    if experiment.trained is not None:
        facts = facts_of(experiment.trained.path) or {}
    own = {"seen": list(method.context.seen), "network": network_hash(method), "post": in_key(experiment.post)}
    write_tensors(folder / FILE, method.state_dict(), {**facts, **own})
    embedder = _load(experiment, resources, folder / FILE)

    def embed(is_photo: bool) -> Embed:
        def as_written(pixels: Tensor) -> Floats:
            return embedder.embed_pixels(pixels, is_photo=is_photo)

        return as_written

    return Exported({"sketch": FILE, "photo": FILE}, {"sketch": embed(False), "photo": embed(True)})


def _load(experiment: Experiment, resources: Resources, path: Path) -> Embedder:
    """The network that an exported file holds."""
    device = torch.device("cpu")
    written = replace(experiment, trained=open_trained(path))
    return Embedder(build(written, resources, device).eval(), written, resources, device)
