"""Normalised softmax alone: classify the seen classes, retrieve by the embedding.

Paper: Zhai and Wu, "Classification is a strong baseline for deep metric learning", BMVC 2019. Of the methods for
zero-shot sketches, ACNet trains by it.

Implemented: cross-entropy over the cosines to one prototype a class, shared by sketches and photos, on one network.
The scale is that of ``ours``, so the two differ by the other losses only.

Left out: the paper's LayerNorm before the embedding and its sub-sampling of classes, which serve thousands of
classes. ACNet's generator is another method.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from bench.methods.base import METHODS, Context
from bench.methods.modules import heads, losses
from bench.methods.modules.single_network import NetworkSettings, SingleNetwork
from bench.settings.run_settings import setting


@dataclass(frozen=True)
class SoftmaxSettings(NetworkSettings):
    """Settings of the normalised softmax."""

    scale: float = setting(16.0, "multiplies the cosines", above=0, search=(4, 64))
    weight_classification: float = 1.0


@METHODS.register("softmax")
class Softmax(SingleNetwork):
    """One network for both domains, trained by normalised softmax."""

    name = "softmax"
    summary = "Normalised softmax over the seen classes, nothing else."
    terms = ("classification",)
    Settings: ClassVar[type] = SoftmaxSettings

    def __init__(self, settings: SoftmaxSettings, context: Context) -> None:
        super().__init__(settings, context)
        self.prototypes = heads.prototypes(len(context.seen), settings.dim)

    def losses(self, outputs: Mapping[str, Tensor], labels: Tensor, is_photo: Tensor) -> dict[str, Tensor]:
        """The only term."""
        scale = self.settings.scale
        return {"classification": losses.normalised_softmax(outputs["embedding"], self.prototypes, labels, scale)}
