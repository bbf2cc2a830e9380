"""SAKE: classification, and ImageNet knowledge from an online teacher, on a network that gets the domain as input.

Paper: Liu, Xie, Wang and Yuille, "Semantic-aware knowledge preservation for zero-shot sketch-based image retrieval",
ICCV 2019.

Implemented, after its published code:

- The domain tag in squeeze-and-excitation (``domain_tag``).
- Cross-entropy over the seen classes, for both domains.
- Cross-entropy against the frozen ImageNet network, which sees every whole batch. Sketches have no target.
- The initial weights of embedding layer and semantic head, from the singular value decomposition of the ImageNet
  classifier.
- The WordNet adjustment of the teacher's logits, if its table is given.
- ``--recipe paper``: its training on TU-Berlin, with batches of 4 sketches and 36 photos of any class; ``--recipe
  paper-sketchy``: that on Sketchy, 13 and 26. Adam at 1e-4 for all layers, down to 1/1000 in 20 epochs, weight decay
  5e-4; an epoch ends with the domain that is used up first.

Left out or different:

- The WordNet table, which needs WordNet's corpus. ``--set wordnet=FILE`` takes one; without it a note says that the
  adjustment is off.
- SE-ResNet50, unless it is the backbone (``legacy_seresnet50``). On other backbones the tag enters one gate on the
  pooled feature [our reading].
- The domain tag of the teacher, which has no effect on a teacher that was not trained with it.
- Batches, augmentation, optimiser and schedule, unless a recipe is named: all methods share the project's.
- Of the recipes: its augmentation leaves three images in ten as they are, and stretches both sides apart from each
  other. Here every image is rotated, scaled alike on both sides, and shifted.
- The checkpoint chosen by accuracy on seen classes, which is ``--select`` of a run.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.errors import UsageError
from bench.methods.base import METHODS, Context, TrainingPhotos
from bench.methods.modules import heads, losses
from bench.methods.modules.class_tables import read_class_table
from bench.methods.modules.domain_tag import DomainTag
from bench.methods.modules.single_network import NetworkSettings, SingleNetwork
from bench.methods.modules.teacher import Teacher
from bench.settings.run_settings import setting
from bench.types import Batch

log = logging.getLogger("bench.methods.sake")


PAPER: Mapping[str, Any] = {
    "backbone": "legacy_seresnet50",
    "image_size": 224,
    "dim": 64,
    "rank_by": "embedding",
    "initialisation": "svd",
    "batches": "images",
    "batch_size": 40,
    "photo_share": 0.9,
    "epochs": 20.0,
    "optimiser": "adam",
    "lr": 1e-4,
    "head_lr": 1e-4,
    "weight_decay": 5e-4,
    "schedule": "exponential",
    "frozen_blocks": -1,
    "frozen_batchnorm": False,
    "rotation": 30.0,
    "scaling": 0.3,
    "shift": 0.045,
    "grayscale": 0.0,
}


@dataclass(frozen=True)
class SakeSettings(NetworkSettings):
    """Settings of SAKE; weights multiply the loss terms, and a term of weight 0 is not computed."""

    initialisation: Literal["svd", "random"] = setting(
        "svd", "initial weights of embedding layer and semantic head", search=("svd", "random")
    )
    wordnet: str = setting("", "file with the WordNet table, [seen classes, 1000]; empty: no adjustment")
    teacher_scale: float = setting(1.0, "multiplies the teacher's logits", least=0)
    wordnet_scale: float = setting(0.3, "multiplies the WordNet table, which is added to them", least=0)
    weight_classification: float = 1.0
    weight_preservation: float = 1.0


@METHODS.register("sake")
class Sake(SingleNetwork):
    """One conditional network for both domains, trained by classification and an online teacher."""

    name = "sake"
    summary = "SAKE: conditional network, classification, online ImageNet teacher on photos."
    terms: ClassVar[tuple[str, ...]] = ("classification", "preservation")
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": PAPER,
        "paper-sketchy": {**PAPER, "batch_size": 39, "photo_share": 0.67},
    }
    Settings: ClassVar[type] = SakeSettings
    files: ClassVar[tuple[str, ...]] = ("wordnet",)
    wordnet: Tensor | None

    def __init__(self, settings: SakeSettings, context: Context) -> None:
        super().__init__(settings, context)
        computed = self.weights
        self.domain_tag = DomainTag(self.backbone)
        if "classification" in computed:
            self.class_head = heads.class_head(settings.dim, len(context.seen))
        if "preservation" in computed:
            self.semantic_head = heads.semantic_head(settings.dim)
            self.register_buffer("wordnet", None, persistent=False)  # read by ``prepare``
        if settings.initialisation == "svd":
            self.backbone.require_classifier()
            initialise_from_classifier(
                self.backbone.network.get_classifier(), self.projection, getattr(self, "semantic_head", None)
            )

    def prepare(self, photos: TrainingPhotos) -> None:
        """Set up the online teacher if its loss is computed; log that there is no WordNet table."""
        if "preservation" not in self.weights:
            return
        self.teacher = Teacher(self.backbone, self.context.run.backbone)
        if self.settings.wordnet:
            table = read_class_table(Path(self.settings.wordnet), self.context.seen, heads.IMAGENET_CLASSES)
            self.wordnet = torch.from_numpy(table).to(self.projection.weight.device)
        else:
            log.info("%s: no WordNet table (--set wordnet=FILE), so its adjustment is off.", self.name)

    def feature(self, images: Tensor, is_photo: Tensor) -> Tensor:
        """Pooled feature: float32 [batch, 3, size, size] and bool [batch] to [batch, width]."""
        feature: Tensor = self.domain_tag(self.backbone, images, is_photo)
        return feature

    def outputs(self, batch: Batch) -> dict[str, Tensor]:
        """``embedding`` [batch, dim], and the teacher's probabilities ``teacher`` [batch, 1000].

        The WordNet table adjusts the teacher's logits if there is one.
        """
        outputs = super().outputs(batch)
        if "preservation" in self.weights:
            logits = self.settings.teacher_scale * self.teacher.logits(batch.images)
            if self.wordnet is not None:
                logits = logits + self.settings.wordnet_scale * self.wordnet[batch.labels]
            outputs["teacher"] = torch.softmax(logits, dim=1)
        return outputs

    def losses(self, outputs: Mapping[str, Tensor], labels: Tensor, is_photo: Tensor) -> dict[str, Tensor]:
        """The terms with a weight other than 0."""
        computed, embedding = self.weights, outputs["embedding"]
        terms: dict[str, Tensor] = {}
        if "classification" in computed:
            terms["classification"] = F.cross_entropy(self.class_head(embedding), labels)
        if "preservation" in computed:
            logits = self.semantic_head(embedding)
            terms["preservation"] = losses.distillation(logits, outputs["teacher"], is_photo)
        return terms


@torch.no_grad()
def initialise_from_classifier(classifier: nn.Module, projection: nn.Linear, semantic_head: nn.Linear | None) -> None:
    """Initialise projection and semantic head so that together they are the ImageNet classifier at rank dim.

    The classifier's weight is U S V^T [1000, width]. The projection becomes S V^T, the head U, both for the dim largest
    singular values. Dimensions beyond the rank of the weight stay random, and the head ignores them. Raises UsageError
    unless the backbone's classifier is one linear layer on the pooled feature.
    """
    if not isinstance(classifier, nn.Linear) or classifier.in_features != projection.in_features:
        raise UsageError(
            "This backbone has no linear ImageNet classifier to start from: use --set initialisation=random."
        )
    left, values, right = torch.linalg.svd(classifier.weight, full_matrices=False)
    rank = min(projection.out_features, len(values))
    projection.weight[:rank] = values[:rank, None] * right[:rank]
    projection.bias[:rank] = 0
    if semantic_head is not None:
        semantic_head.weight.zero_()
        semantic_head.weight[:, :rank] = left[:, :rank]
        semantic_head.bias.zero_()
        if classifier.bias is not None:
            semantic_head.bias.copy_(classifier.bias)
