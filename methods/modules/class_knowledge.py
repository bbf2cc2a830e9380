"""What ImageNet says of every seen class, prepared once before training.

The pre-trained network and its own classifier look at the photos of each class; the class's knowledge is the mean of
their softmax outputs. Source: the framework prepares it "in a class-oriented fashion before training" (stated), the
formula is our reading (docs/method.md).
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from timm.data import ImageNetInfo
from torch import Tensor

from bench.io import digest_of, read_tensors, write_tensors
from bench.methods.backbone.backbone import Backbone
from bench.methods.base import TrainingPhotos


def class_knowledge(
    backbone: Backbone, photos: TrainingPhotos, classes: int, *, temperature: float, agreement: int, cache_dir: Path
) -> Tensor:
    """ImageNet probabilities of each seen class: float32 [classes, 1000], rows sum to 1.

    ``temperature`` divides the logits. ``agreement`` k > 0 keeps only the photos that have the class's majority
    prediction among their own k best, which drops mislabelled and cluttered ones; 0 keeps all. The table is read from
    the cache when one was made with the same network, weights, photos and settings; a file that was cut off or altered
    is not used. Raises UsageError for a network without an ImageNet classifier.
    """
    asked = [*_identity(backbone), photos.identity, list(photos.paths), classes, temperature, agreement]
    path = cache_dir / "knowledge" / f"{hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:32]}.safetensors"
    kept = read_tensors(path)
    cached = photos.broadcast(kept[0]["knowledge"] if kept is not None else None)
    if cached is not None:
        return cached
    table = table_of(_look(backbone, photos), photos.labels, classes, temperature=temperature, agreement=agreement)
    # Written aside and renamed: a second process that prepares the same table sees all of it or nothing.
    write_tensors(path, {"knowledge": table}, {"temperature": temperature, "agreement": agreement})
    return table


def table_of(logits: Tensor, labels: Tensor, classes: int, *, temperature: float, agreement: int) -> Tensor:
    """The table from the logits of every photo: [photos, 1000] and int64 [photos] to float32 [classes, 1000]."""
    probabilities = torch.softmax(logits.double() / temperature, dim=1)
    rows = []
    for label in range(classes):
        mine = labels == label
        if agreement > 0:
            best = logits[mine].topk(agreement, dim=1).indices
            majority = torch.mode(best[:, 0]).values
            mine = mine.nonzero()[:, 0][(best == majority).any(dim=1)]
        rows.append(probabilities[mine].mean(dim=0))
    return torch.stack(rows).float()


def top_classes(table: Tensor, k: int) -> list[list[tuple[str, float]]]:
    """The ``k`` likeliest ImageNet classes of each row, likeliest first, with their probabilities.

    ``table`` float [rows, 1000]; a name is the first that WordNet has for the class, as timm carries them.
    """
    names = ImageNetInfo()
    best = table.topk(k, dim=1)
    return [
        [(names.index_to_description(index).split(",")[0], value) for index, value in zip(indices, values, strict=True)]
        for indices, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]


def _identity(backbone: Backbone) -> tuple[str, str]:
    """timm's name of the network and the hash of its weights; random ones have no file, and are hashed themselves."""
    weights = backbone.weights_hash
    return backbone.name, digest_of(backbone.network.state_dict()) if weights == "none" else weights


@torch.inference_mode()
def _look(backbone: Backbone, photos: TrainingPhotos) -> Tensor:
    """Logits [photos, 1000] of all training photos, on the CPU."""
    was_training = backbone.training
    backbone.eval()
    logits = photos.through(lambda images: backbone.logits(images))
    backbone.train(was_training)
    return logits
