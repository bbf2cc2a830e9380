"""Cross-domain triplet with batch-hard mining: a sketch, a photo of its class, a photo of another class.

Paper: Hermans, Beyer and Leibe, "In defense of the triplet loss for person re-identification", 2017, for the mining.
The triplet of a sketch and photos is from Yu et al., "Sketch me that shoe", CVPR 2016, and most methods since.

Implemented: distances of 1 - cosine and one network for both domains. The loss takes the farthest photo of the
sketch's class and the nearest photo of another class in the batch.

Left out: a network for each domain, since every method here has one. The soft margin, so that the margin stays a
setting as in ``ours``. The attention of the second paper.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from bench.methods.base import METHODS
from bench.methods.modules import losses, single_network
from bench.methods.modules.single_network import NetworkSettings, SingleNetwork
from bench.settings.run_settings import setting


@dataclass(frozen=True)
class TripletSettings(NetworkSettings):
    """Settings of the triplet loss."""

    margin: float = setting(0.3, "margin of the triplet, in units of 1 - cosine", least=0, search=(0.05, 1))
    mining: Literal["hard", "semi-hard", "all"] = setting("hard", "which triplets of a batch count")
    positives: Literal["class", "instance"] = single_network.positives()
    weight_triplet: float = 1.0


@METHODS.register("triplet")
class Triplet(SingleNetwork):
    """One network for both domains, trained by the cross-domain triplet."""

    name = "triplet"
    summary = "Batch-hard triplet of a sketch and two photos, nothing else."
    terms = ("triplet",)
    Settings: ClassVar[type] = TripletSettings

    @property
    def collapsed_losses(self) -> Mapping[str, float]:
        """The margin: all distances are equal."""
        return {"triplet": self.settings.margin}

    def losses(self, outputs: Mapping[str, Tensor], labels: Tensor, is_photo: Tensor) -> dict[str, Tensor]:
        """The only term."""
        margin, mining = self.settings.margin, self.settings.mining
        alike = outputs["instance"] if self.by_instance else labels
        loss = losses.cross_domain_triplet(outputs["embedding"], alike, is_photo, margin, mining)
        return {"triplet": loss, **self.anchors_left_out(alike, is_photo, "cross-domain")}
