"""SAKE with a supervised contrastive loss: the part of DSN that has an effect.

Paper: Wang et al., "Domain-smoothing network for zero-shot sketch-based image retrieval", IJCAI 2021; the loss is that
of Khosla et al., "Supervised contrastive learning", NeurIPS 2020. Implemented: SAKE (``methods/sake.py``) and, on the
normalised embeddings of both domains together, the supervised contrastive loss at the paper's temperature 0.07 and
weight 0.1. Left out: the memory bank of sketch features, because in the published code both sides of its loss are
detached, so that it gives no gradient; two more views of every image with colour changes for the contrastive loss,
since the harness's batches hold each class several times in both domains, which gives every image its positives, and
three views would treble a step's cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from bench.methods.base import METHODS
from bench.methods.modules import losses
from bench.methods.sake import Sake, SakeSettings
from bench.settings.run_settings import setting


@dataclass(frozen=True)
class SupConSettings(SakeSettings):
    """Settings of SAKE and of the contrastive loss."""

    temperature: float = setting(0.07, "divides the cosines", above=0)
    weight_contrastive: float = 0.1


@METHODS.register("supcon")
class SupCon(Sake):
    """SAKE's network and losses, and the supervised contrastive loss."""

    name = "supcon"
    summary = "SAKE and a supervised contrastive loss over both domains: DSN's working part."
    terms: ClassVar[tuple[str, ...]] = (*Sake.terms, "contrastive")
    Settings: ClassVar[type] = SupConSettings

    def losses(self, outputs: Mapping[str, Tensor], labels: Tensor, is_photo: Tensor) -> dict[str, Tensor]:
        """The terms with a weight other than 0."""
        terms = super().losses(outputs, labels, is_photo)
        if "contrastive" in self.weights:
            temperature = self.settings.temperature
            terms["contrastive"] = losses.supervised_contrastive(outputs["embedding"], labels, temperature)
        return terms
