"""Class-oriented ImageNet knowledge: mean softmax outputs of each seen class, prepared once before training.

The pre-trained network classifies the photos of each class. Source: the framework prepares knowledge "in a
class-oriented fashion before training" (stated); the formula is our reading (docs/method.md).
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

    ``temperature`` divides the logits. ``agreement`` k > 0 uses only photos whose k best predictions include the
    majority prediction of their class, which drops mislabelled and cluttered ones; 0 uses all. The table is cached by
    network, weights, photos and settings; a damaged file is not used. Raises UsageError for a network without an
    ImageNet classifier.
    """
    asked = [*_identity(backbone), photos.identity, list(photos.paths), classes, temperature, agreement]
    path = cache_dir / "knowledge" / f"{hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:32]}.safetensors"
    kept = read_tensors(path)
    cached = photos.broadcast(kept[0]["knowledge"] if kept is not None else None)
    if cached is not None:
        return cached
    table = knowledge_table(
        _photo_logits(backbone, photos), photos.labels, classes, temperature=temperature, agreement=agreement
    )
    write_tensors(path, {"knowledge": table}, {"temperature": temperature, "agreement": agreement})
    return table


def knowledge_table(logits: Tensor, labels: Tensor, classes: int, *, temperature: float, agreement: int) -> Tensor:
    """Average the softmax outputs of each class: [photos, 1000] and int64 [photos] to float32 [classes, 1000]."""
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

    ``table`` float [rows, 1000]; names are WordNet's first, from timm.
    """
    names = ImageNetInfo()
    best = table.topk(k, dim=1)
    return [
        [(names.index_to_description(index).split(",")[0], value) for index, value in zip(indices, values, strict=True)]
        for indices, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]


def _identity(backbone: Backbone) -> tuple[str, str]:
    """timm's name of the network and the hash of its weights file, or of random weights themselves."""
    weights = backbone.weights_hash
    return backbone.name, digest_of(backbone.network.state_dict()) if weights == "none" else weights


@torch.inference_mode()
def _photo_logits(backbone: Backbone, photos: TrainingPhotos) -> Tensor:
    """Logits [photos, 1000] of all training photos, on the CPU."""
    was_training = backbone.training
    backbone.eval()
    logits = photos.apply(lambda images: backbone.logits(images))
    backbone.train(was_training)
    return logits
