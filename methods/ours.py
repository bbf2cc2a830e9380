"""The method of Tursun et al., "An efficient framework for zero-shot sketch-based image retrieval", Pattern
Recognition 126 (2022) 108528: one network for sketches and photos, three losses.

Stated in the abstract: one ImageNet-pre-trained CNN, fine-tuned end to end. The losses are a domain-balanced
quadruplet, a semantic classification and a semantic knowledge preservation with targets prepared before training, for
classes.

Everything else, and all formulas, are our reading; ``docs/method.md`` marks each statement.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from bench.errors import UsageError
from bench.methods.base import METHODS, Context, TrainingPhotos
from bench.methods.modules import heads, losses, single_network
from bench.methods.modules.class_knowledge import class_knowledge
from bench.methods.modules.single_network import NetworkSettings, SingleNetwork
from bench.methods.modules.teacher import Teacher
from bench.settings.run_settings import setting
from bench.types import Batch


@dataclass(frozen=True)
class OursSettings(NetworkSettings):
    """Settings of the framework; weights multiply the loss terms, and a term of weight 0 is not computed."""

    scale: float = setting(16.0, "multiplies the cosines of the semantic classification", above=0, search=(4, 64))
    margin: float = setting(0.3, "margin of the quadruplet, in units of 1 - cosine", least=0, search=(0.05, 1))
    mining: Literal["hard", "semi-hard", "all"] = setting(
        "hard", "which quadruplets of a batch count", search=("hard", "semi-hard", "all")
    )
    temperature: float = setting(1.0, "temperature of the prepared ImageNet probabilities", above=0)
    agreement: int = setting(
        0, "a photo counts if its class's majority is among this many of its own best; 0: all", least=0, most=1000
    )
    balanced: bool = setting(True, "quadruplets; false: the batch-hard triplet of the whole batch, without domains")
    teacher: Literal["prepared", "online"] = setting(
        "prepared", "prepared: a table of classes; online: the frozen network beside the student"
    )
    hinge: Literal["two", "one"] = setting(
        "two", "hinges of a quadruplet; one: around the mean distance to both negatives", later=True
    )
    pairs: Literal["quadruplet", "cross-domain", "mathm", "mathm-unweighted"] = setting(
        "quadruplet", "cross-domain: the triplet of a sketch and two photos; mathm: MATHM's three pairs", later=True
    )
    positives: Literal["class", "instance"] = single_network.positives()
    weight_quadruplet: float = 1.0
    weight_classification: float = 1.0
    weight_preservation: float = 1.0

    def __post_init__(self) -> None:
        if (not self.balanced) + (self.hinge != "two") + (self.pairs != "quadruplet") > 1:
            raise UsageError("Each of balanced=false, hinge=one and pairs=... replaces the quadruplet: choose one.")
        if self.pairs.startswith("mathm") and self.mining != "hard":
            raise UsageError("MATHM's pairs are mined hard: leave out mining=..., or take other pairs.")


@METHODS.register("ours")
class Ours(SingleNetwork):
    """One network for both domains, trained by quadruplet, classification and knowledge preservation."""

    name = "ours"
    summary = "The framework: one CNN; domain-balanced quadruplet, classification, prepared ImageNet knowledge."
    terms = ("quadruplet", "classification", "preservation")
    structural: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "unbalanced": {"balanced": False},
        "one-hinge": {"hinge": "one"},
        "cross-domain": {"pairs": "cross-domain"},
        "mathm-pairs": {"pairs": "mathm", "margin": 0.2},
        "mathm-pairs-unweighted": {"pairs": "mathm-unweighted", "margin": 0.2},
        "online-teacher": {"teacher": "online"},
    }
    Settings: ClassVar[type] = OursSettings
    knowledge: Tensor

    def __init__(self, settings: OursSettings, context: Context) -> None:
        super().__init__(settings, context)
        computed = self.weights
        if "classification" in computed:
            self.prototypes = heads.prototypes(len(context.seen), settings.dim)
        if "preservation" in computed:
            self.semantic_head = heads.semantic_head(settings.dim)

    def prepare(self, photos: TrainingPhotos) -> None:
        """Compute (or read) the class-oriented knowledge, or set up the online teacher, when its loss is computed."""
        if "preservation" not in self.weights:
            return
        if self.settings.teacher == "online":
            self.teacher = Teacher(self.backbone, self.context.run.backbone)
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

    def outputs(self, batch: Batch) -> dict[str, Tensor]:
        """``embedding`` [batch, dim]; with the online teacher also its probabilities ``teacher`` [batch, 1000]."""
        outputs = super().outputs(batch)
        if "preservation" in self.weights and self.settings.teacher == "online":
            logits = self.teacher.logits(batch.images)
            outputs["teacher"] = torch.softmax(logits / self.settings.temperature, dim=1)
        return outputs

    @property
    def collapsed_losses(self) -> Mapping[str, float]:
        """The margin, or three soft ones of MATHM's pairs: all distances are equal."""
        margin = self.settings.margin
        return {"quadruplet": losses.collapsed_pairs(margin) if self.settings.pairs.startswith("mathm") else margin}

    def losses(self, outputs: Mapping[str, Tensor], labels: Tensor, is_photo: Tensor) -> dict[str, Tensor]:
        """The terms with a weight other than 0."""
        computed, settings = self.weights, self.settings
        embedding = outputs["embedding"]  # [batch, dim]
        terms: dict[str, Tensor] = {}
        if "quadruplet" in computed:
            alike = outputs["instance"] if self.by_instance else labels
            terms["quadruplet"] = self._quadruplet(embedding, alike, is_photo)
            pairs = settings.pairs.removesuffix("-unweighted") if settings.balanced else "mixed"
            terms |= losses.count_left_out(self.context.run, alike, is_photo, pairs)
        if "classification" in computed:
            terms["classification"] = losses.normalised_softmax(embedding, self.prototypes, labels, settings.scale)
        if "preservation" in computed:
            logits = self.semantic_head(embedding)
            # Online, only photos have a target, as in SAKE [ours]. The prepared table gives sketches a target, too.
            terms["preservation"] = (
                losses.preservation(logits, self.knowledge[labels])
                if settings.teacher == "prepared"
                else losses.distillation(logits, outputs["teacher"], is_photo)
            )
        return terms

    def _quadruplet(self, embedding: Tensor, labels: Tensor, is_photo: Tensor) -> Tensor:
        """The balanced quadruplet, or what a structural ablation has in its place."""
        settings = self.settings
        margin, mining, batch = settings.margin, settings.mining, (embedding, labels, is_photo)
        if not settings.balanced:
            return losses.mixed_triplet(embedding, labels, margin, mining)
        if settings.pairs == "cross-domain":
            return losses.cross_domain_triplet(*batch, margin, mining)
        if settings.pairs != "quadruplet":
            return losses.mined_pairs(*batch, margin, weighted=settings.pairs == "mathm")
        quadruplet = losses.one_hinge_quadruplet if settings.hinge == "one" else losses.balanced_quadruplet
        return quadruplet(*batch, margin, mining)
