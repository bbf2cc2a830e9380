"""A network as a safetensors file, which ``bench run --checkpoint`` reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from bench.experiments.embed_split import Embedder
from bench.experiments.execute import build
from bench.experiments.experiment import Experiment, Resources
from bench.io import facts_of, write_tensors
from bench.methods.base import Method
from bench.settings.run_settings import in_key
from bench.training.trained_networks import network_hash, open_trained
from bench.types import MODALITIES, Floats, Modality


def write_safetensors(
    experiment: Experiment, resources: Resources, method: Method, folder: Path
) -> dict[Modality, tuple[str, Callable[[Tensor], Floats]]]:
    """Write ``model.safetensors``: all tensors, what was trained, on which classes, and how images were tested.

    Returns as ``write_onnx`` does.
    """
    path, device = folder / "model.safetensors", torch.device("cpu")
    facts: dict[str, object] = {"trained": experiment.described, "limit": experiment.per_class_limit}
    if experiment.trained is not None:
        facts = facts_of(experiment.trained.path) or {}
    own = {"seen": list(method.context.seen), "network": network_hash(method), "post": in_key(experiment.post)}
    write_tensors(path, method.state_dict(), {**facts, **own})
    written = replace(experiment, trained=open_trained(path))
    embedder = Embedder(build(written, resources, device).eval(), written, resources, device)
    return {each: (path.name, partial(embedder.embed_pixels, is_photo=each == "photo")) for each in MODALITIES}
