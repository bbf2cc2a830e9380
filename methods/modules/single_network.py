"""Base class of most trained methods: one backbone and one projection for both domains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.methods.backbone.backbone import Backbone
from bench.methods.base import Context, Method
from bench.methods.modules import heads
from bench.settings.run_settings import setting
from bench.types import Batch


@dataclass(frozen=True)
class NetworkSettings:
    """Settings of a backbone with a projection.

    Losses use the embedding. Images are ranked by it, or by the pooled feature before the projection.
    """

    dim: int = setting(512, "width of the embedding", least=1)
    rank_by: Literal["embedding", "feature"] = setting(
        "embedding", "what images are ranked by", search=("embedding", "feature")
    )


def positives() -> Literal["class", "instance"]:
    """The setting of methods that can learn from single instances."""
    return setting(
        "class", "positives are images of the class, or of the instance (on fine-grained splits)", later=True
    )


class SingleNetwork(Method):
    """A backbone and a linear projection to ``settings.dim`` numbers, the same for sketches and photos."""

    version = 4  # 2: own CPU kernels; 3: those of torch; 4: normalisations folded
    classifier_terms = ("preservation",)  # if a subclass has that term

    def __init__(self, settings: Any, context: Context) -> None:
        super().__init__(settings, context)
        run = context.run
        self.backbone = Backbone(
            run.backbone, run.weights, frozen_blocks=run.frozen_blocks, frozen_batchnorm=run.frozen_batchnorm
        )
        if any(term in self.weights for term in self.classifier_terms):
            self.backbone.require_classifier()
        self.projection = nn.Linear(self.backbone.width, settings.dim)

    def feature(self, images: Tensor, is_photo: Tensor) -> Tensor:
        """Pooled feature: float32 [batch, 3, size, size] and bool [batch] to [batch, width]."""
        feature: Tensor = self.backbone(images)
        return feature

    def project(self, images: Tensor, is_photo: Tensor) -> Tensor:
        """Embeddings, not normalised: float32 [batch, 3, size, size] and bool [batch] to [batch, dim]."""
        embedding: Tensor = self.projection(self.feature(images, is_photo))
        return embedding

    def outputs(self, batch: Batch) -> dict[str, Tensor]:
        """``embedding`` [batch, dim], not normalised."""
        return {"embedding": self.project(batch.images, batch.is_photo)}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The backbone with its learning rate, all new layers with that of heads."""
        return heads.parameter_groups(self, self.backbone, self.context.run)

    def embed(self, images: Tensor, is_photo: bool) -> Tensor:
        """The L2-normalised embedding [batch, dim], or pooled feature [batch, width], as ``rank_by`` says."""
        domain = torch.full((images.shape[0],), is_photo, device=images.device)  # len() would fix it in an export
        by_feature = self.settings.rank_by == "feature"
        return F.normalize(self.feature(images, domain) if by_feature else self.project(images, domain), dim=1)
