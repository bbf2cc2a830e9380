"""The framework of Tursun et al., "An efficient framework for zero-shot sketch-based image retrieval", Pattern
Recognition 126 (2022) 108528: one network for sketches and photos, three losses.

Stated in the article's abstract: one ImageNet-pre-trained CNN, fine-tuned end to end; a domain-balanced quadruplet
loss, a semantic classification loss and a semantic knowledge preservation loss, the last with class-oriented targets
prepared before training. The formulas, and everything else, are our reading; ``docs/method.md`` marks each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.types import Batch
from methods import losses
from methods.backbones import Backbone
from methods.base import METHODS, Context, Method, TrainingPhotos
from methods.knowledge import class_knowledge


@dataclass(frozen=True)
class OursSettings:
    """Settings of the framework; weights multiply the loss terms, and a term of weight 0 is not computed."""

    dim: int = 512  # width of the embedding
    scale: float = 16.0  # of the cosines in the semantic classification
    margin: float = 0.3  # of the quadruplet, in units of 1 - cosine
    mining: Literal["hard", "all"] = "hard"  # which quadruplets of a batch count
    temperature: float = 1.0  # of the prepared ImageNet probabilities
    agreement: int = 0  # a photo must have its class's majority prediction among its own so many best; 0: all count
    weight_quadruplet: float = 1.0
    weight_classification: float = 1.0
    weight_preservation: float = 1.0


@METHODS.register("ours")
class Ours(Method):
    """One network for both domains, trained by quadruplet, classification and knowledge preservation."""

    name = "ours"
    summary = "The framework: one CNN; domain-balanced quadruplet, classification, prepared ImageNet knowledge."
    terms = ("quadruplet", "classification", "preservation")
    Settings: ClassVar[type] = OursSettings
    knowledge: Tensor

    def __init__(self, settings: OursSettings, context: Context) -> None:
        super().__init__(settings, context)
        run, computed = context.run, self.weights
        self.backbone = Backbone(
            run.backbone, run.weights, frozen_blocks=run.frozen_blocks, frozen_batchnorm=run.frozen_batchnorm
        )
        self.projection = nn.Linear(self.backbone.width, settings.dim)
        if "classification" in computed:
            self.prototypes = nn.Parameter(torch.randn(len(context.seen), settings.dim) / math.sqrt(settings.dim))
        if "preservation" in computed:
            self.semantic_head = nn.Linear(settings.dim, 1000)

    def prepare(self, photos: TrainingPhotos) -> None:
        """Compute (or read) the class-oriented knowledge, when its loss is computed."""
        if "preservation" not in self.weights:
            return
        table = class_knowledge(
            self.backbone,
            photos,
            len(self.context.seen),
            temperature=self.settings.temperature,
            agreement=self.settings.agreement,
            cache_dir=self.context.cache_dir,
        )
        self.register_buffer("knowledge", table.to(self.projection.weight.device), persistent=False)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The backbone at its learning rate, everything new at the heads'."""
        run = self.context.run
        old = {id(each) for each in self.backbone.parameters()}
        new = [each for each in self.parameters() if id(each) not in old]
        return [{"params": self.backbone.trainable(), "lr": run.lr}, {"params": new, "lr": run.head_lr}]

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The terms with a weight other than 0."""
        computed, settings = self.weights, self.settings
        embedding = self.projection(self.backbone(batch.images))  # [batch, dim]
        terms: dict[str, Tensor] = {}
        if "quadruplet" in computed:
            terms["quadruplet"] = losses.balanced_quadruplet(
                embedding, batch.labels, batch.is_photo, settings.margin, settings.mining
            )
        if "classification" in computed:
            terms["classification"] = losses.normalised_softmax(
                embedding, self.prototypes, batch.labels, settings.scale
            )
        if "preservation" in computed:
            terms["preservation"] = losses.preservation(self.semantic_head(embedding), self.knowledge[batch.labels])
        return terms

    def embed(self, images: Tensor, is_photo: bool) -> Tensor:
        """L2-normalised embedding [batch, dim]."""
        return F.normalize(self.projection(self.backbone(images)), dim=1)
