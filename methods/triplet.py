"""Cross-domain triplet of a sketch, a photo of its class, and a photo of another class, with semi-hard mining.

Paper: Schroff, Kalenichenko and Philbin, "FaceNet", CVPR 2015, for the mining; Hermans, Beyer and Leibe, "In defense of
the triplet loss for person re-identification", 2017, for ``mining=hard``. The triplet of a sketch and photos is from Yu
et al., "Sketch me that shoe", CVPR 2016, and most methods since.

Implemented: distances of 1 - cosine and one network for both domains. For each sketch and each photo of its class in
the batch, the loss takes the nearest photo of another class that is farther than this photo, or else the farthest.
``mining=hard`` takes the farthest photo of the class and the nearest of another. FaceNet warns that this can collapse
the embedding early, and here it does: the loss stays at its margin (``docs/results/emoji.md``).

Left out: a network for each domain, since every method here has one. The soft margin, so that the margin stays a
setting as in ``ours``. The attention of "Sketch me that shoe".
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
    mining: Literal["hard", "semi-hard", "all"] = setting(
        "semi-hard",
        "which triplets of a batch count; semi-hard: the nearest negative that is farther than the positive",
        search=("hard", "semi-hard", "all"),
    )
    positives: Literal["class", "instance"] = single_network.positives()
    weight_triplet: float = 1.0


@METHODS.register("triplet")
class Triplet(SingleNetwork):
    """One network for both domains, trained by the cross-domain triplet."""

    name = "triplet"
    summary = "Semi-hard triplet of a sketch and two photos, nothing else."
    version = 5  # 4: semi-hard negatives; with the hardest the embedding collapsed; 5: normalisations folded
    terms = ("triplet",)
    Settings: ClassVar[type] = TripletSettings

    def losses(self, outputs: Mapping[str, Tensor], labels: Tensor, is_photo: Tensor) -> dict[str, Tensor]:
        """The only term."""
        margin, mining = self.settings.margin, self.settings.mining
        alike = outputs["instance"] if self.by_instance else labels
        loss = losses.cross_domain_triplet(outputs["embedding"], alike, is_photo, margin, mining)
        return {"triplet": loss, **losses.count_left_out(self.context.run, alike, is_photo, "cross-domain")}
