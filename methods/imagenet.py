"""The yardstick below every trained method: pooled features of the frozen ImageNet network."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from methods.backbones import Backbone
from methods.base import METHODS, Context, Method, NoSettings


@METHODS.register("imagenet")
class ImageNet(Method):
    """Nearest neighbours of frozen features; nothing is trained."""

    name = "imagenet"
    summary = "Frozen ImageNet features of the backbone, no training: what the pre-training alone gives."
    version = 2  # 2: normalisations are folded into convolutions

    def __init__(self, settings: NoSettings, context: Context) -> None:
        super().__init__(settings, context)
        self.backbone = Backbone(context.run.backbone, context.run.weights)

    def embed(self, images: Tensor, is_photo: bool) -> Tensor:
        """L2-normalised pooled feature [batch, width]."""
        return F.normalize(self.backbone(images), dim=1)
