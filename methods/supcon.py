"""SAKE with a supervised contrastive loss: the part of DSN that has an effect.

Paper: Wang et al., "Domain-smoothing network for zero-shot sketch-based image retrieval", IJCAI 2021. The loss is
from Khosla et al., "Supervised contrastive learning", NeurIPS 2020.

Implemented: SAKE (``methods/sake.py``), and the supervised contrastive loss on the normalised embeddings of both
domains together. Temperature 0.07 and weight 0.1 are the paper's.

Left out: the memory bank of sketch features. In the published code both sides of its loss are detached, so it gives
no gradient. Also the two more views of every image, which would treble a step's cost. In the project's batches every
image has positives anyway, because a batch holds each class several times in both domains.

``--recipe paper`` is its training on TU-Berlin: batches of 9 sketches and 81 photos of any class, 16 epochs, the rest
as SAKE's; ``--recipe paper-sketchy``: 32 and 64, 20 epochs. Without further views few of these images have a positive.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from bench.methods.base import METHODS
from bench.methods.modules import losses
from bench.methods.sake import PAPER, Sake, SakeSettings
from bench.settings.run_settings import setting


@dataclass(frozen=True)
class SupConSettings(SakeSettings):
    """Settings of SAKE and of the contrastive loss."""

    temperature: float = setting(0.07, "divides the cosines", above=0, search=(0.02, 0.5))
    weight_contrastive: float = 0.1


@METHODS.register("supcon")
class SupCon(Sake):
    """SAKE's network and losses, and the supervised contrastive loss."""

    name = "supcon"
    summary = "SAKE and a supervised contrastive loss over both domains: DSN's working part."
    terms: ClassVar[tuple[str, ...]] = (*Sake.terms, "contrastive")
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {**PAPER, "batch_size": 90, "epochs": 16.0},
        "paper-sketchy": {**PAPER, "batch_size": 96, "photo_share": 0.67},
    }
    Settings: ClassVar[type] = SupConSettings

    def losses(self, outputs: Mapping[str, Tensor], labels: Tensor, is_photo: Tensor) -> dict[str, Tensor]:
        """The terms with a weight other than 0."""
        terms = super().losses(outputs, labels, is_photo)
        if "contrastive" in self.weights:
            temperature = self.settings.temperature
            terms |= losses.count_left_out(self.context.run, labels, is_photo, "contrastive")
            terms["contrastive"] = losses.supervised_contrastive(outputs["embedding"], labels, temperature)
        return terms
