"""The baseline below every trained method: pooled features of a frozen network, by default an ImageNet one.

Paper: Razavian et al., "CNN features off-the-shelf: an astounding baseline for recognition", CVPR workshops 2014.

Implemented: the pooled feature of any backbone with its published weights, L2-normalised and compared by cosine.
``--backbone vit_base_patch14_dinov2`` is the frozen DINOv2, for example. Tables call such a row by its backbone; the
default ones are ``imagenet``.

Left out: CLIP's projection, since its pooled feature is ranked; the paper's classifiers on top of the feature, and
its crops and rotations of every image. Trained methods start from the feature alone.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from bench.methods.backbone.backbone import Backbone
from bench.methods.base import METHODS, Context, Method, NoSettings


@METHODS.register("imagenet")
class ImageNet(Method):
    """Nearest neighbours of frozen features; nothing is trained."""

    name = "imagenet"
    summary = "Frozen features of the backbone, no training: what the pre-training alone gives."
    version = 4  # 2: own CPU kernels; 3: those of torch; 4: normalisations folded

    def __init__(self, settings: NoSettings, context: Context) -> None:
        super().__init__(settings, context)
        self.backbone = Backbone(context.run.backbone, context.run.weights)

    def embed(self, images: Tensor, is_photo: bool) -> Tensor:
        """L2-normalised pooled feature [batch, width]."""
        return F.normalize(self.backbone(images), dim=1)
