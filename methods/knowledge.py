"""What ImageNet says of every seen class, prepared once before training.

The pre-trained network and its own classifier look at the photos of each class; the class's knowledge is the mean of
their softmax outputs. Source: the framework prepares it "in a class-oriented fashion before training" (stated), the
formula is our reading (METHOD.md, 3).
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from timm.data import ImageNetInfo
from torch import Tensor

from bench.files import read_tensors, write_tensors
from methods.backbones import Backbone
from methods.base import TrainingPhotos


def class_knowledge(
    backbone: Backbone, photos: TrainingPhotos, classes: int, *, temperature: float, agreement: int, cache_dir: Path
) -> Tensor:
    """ImageNet probabilities of each seen class: float32 [classes, 1000], rows sum to 1.

    ``temperature`` divides the logits. ``agreement`` k > 0 keeps only the photos that have the class's majority
    prediction among their own k best, which drops mislabelled and cluttered ones; 0 keeps all. The table is read from
    the cache when one was made with the same weights, photos and settings; a file that was cut off or altered is not
    used.
    """
    asked = [backbone.weights_hash, photos.identity, list(photos.paths), classes, temperature, agreement]
    path = cache_dir / "knowledge" / f"{hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:32]}.safetensors"
    cached = read_tensors(path)
    if cached is not None:
        return cached[0]["knowledge"]
    logits, labels = _look(backbone, photos)
    table = table_of(logits, labels, classes, temperature=temperature, agreement=agreement)
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


@torch.inference_mode()
def _look(backbone: Backbone, photos: TrainingPhotos) -> tuple[Tensor, Tensor]:
    """Logits [photos, 1000] and labels [photos] of all training photos, on the CPU."""
    was_training = backbone.training
    backbone.eval()
    logits, labels = [], []
    done = 0
    for images, batch_labels in photos.batches():
        logits.append(backbone.classify(backbone(images)).float().cpu())
        labels.append(batch_labels.cpu())
        done += len(images)
        photos.progress(done, len(photos.paths))
    backbone.train(was_training)
    return torch.cat(logits), torch.cat(labels)
