"""ZSE-SBIR in its class-token mode: cross-attention of a sketch and a photo in training, one vector an image after it.

Paper: Lin et al., "Zero-shot everything sketch-based image retrieval, and in explainable style", CVPR 2023.

Implemented, after its published code (buptLinfy/ZSE-SBIR 3c6b0d5):

- One ViT-B/16 for both domains, and a cross-attention block that exchanges the queries of a sketch and a photo: 8
  heads, 1,024 hidden units, dropout 0.1, a set of weights for each domain (``model/ca.py``).
- The triplet of the class tokens after it, of a sketch, a photo of its class and one of another: margin 1, Euclidean,
  weight 2 (``utils/loss.py``, ``train.py``).
- The relation network: 2x2 convolution to 512 channels, cosines between all its outputs of sketch and photo, and a
  perceptron to one score; squared error against 0.99 and 0.01, weight 4 (``model/rn.py``).
- Ranking by the class token before the cross-attention, as with ``--retrieval sa``.
- Its settings are the defaults: AdamW with 1e-5, decay 1e-2, 15 triplets a batch, no augmentation but a mirror.
  Its 30 epochs of 10,000 triplets are 5 passes over the sketches of ``sketchy-25``.

Left out or different:

- Ranking by the relation network, which needs a pass for each pair of a query and a photo.
- The convolutions that are averaged with the patch embedding (``Scale_Embedding``), and dropout inside the ViT.
- The pruning of tokens, which is off in the code.
- The code reshapes tokens to maps without transposing them, which mixes channels and places. Here maps are maps.
- Pairs are drawn from the batch: each sketch with a photo of its class and one of another. The code draws a second
  sketch for the second pair.
- The weights trained with SAM: give them by ``--weights FILE``. The default is timm's ViT-B/16.
- The checkpoint chosen on the test classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.errors import UsageError
from bench.methods.backbone.architectures import check_transformer
from bench.methods.backbone.backbone import Backbone
from bench.methods.base import METHODS, Context, Method
from bench.methods.modules import heads, losses
from bench.methods.modules.cross_attention import CrossAttention, RelationNetwork, pairs_of_sketches
from bench.settings.run_settings import RunSettings, setting
from bench.types import Batch


@dataclass(frozen=True)
class ZseRetSettings:
    """Settings of ZSE-SBIR; weights multiply the loss terms, and a term of weight 0 is not computed."""

    margin: float = setting(1.0, "margin of the triplet, a Euclidean distance", least=0, search=(0.2, 5))
    weight_triplet: float = 2.0
    weight_relation: float = 4.0


@METHODS.register("zse-ret")
class ZseRet(Method):
    """One vision transformer, trained through a cross-attention of pairs."""

    name = "zse-ret"
    summary = "ZSE-SBIR by class tokens: ViT, cross-attention of pairs in training, triplet and relation score."
    terms = ("triplet", "relation")
    recipe: ClassVar[Mapping[str, Any]] = {
        "backbone": "vit_base_patch16_224",
        "image_size": 224,
        "epochs": 5.0,
        "batch_size": 30,
        "per_class": 1,
        "optimiser": "adamw",
        "lr": 1e-5,
        "head_lr": 1e-5,
        "weight_decay": 1e-2,
        "schedule": "constant",
        "rotation": 0.0,
        "scaling": 0.0,
        "shift": 0.0,
        "grayscale": 0.0,
    }
    Settings: ClassVar[type] = ZseRetSettings

    @classmethod
    def check(cls, settings: ZseRetSettings, run: RunSettings, seen: Sequence[str]) -> None:
        """Raise UsageError unless the backbone is a vision transformer with a class token."""
        if check_transformer(run.backbone, cls.name).cls_token is None:
            raise UsageError(
                f"Method {cls.name!r} ranks by the class token, and {run.backbone!r} has none: give a --backbone such "
                "as vit_base_patch16_224."
            )

    def __init__(self, settings: ZseRetSettings, context: Context) -> None:
        super().__init__(settings, context)
        run = context.run
        self.backbone = Backbone(run.backbone, run.weights, frozen_blocks=run.frozen_blocks)
        with heads.seeded("cross-attention"):
            self.cross_attention = CrossAttention(self.backbone.width)
        if "relation" in self.weights:
            patches = self.backbone.network.patch_embed
            side, _ = patches.dynamic_feat_size((run.image_size, run.image_size))
            with heads.seeded("relation"):
                self.relation = RelationNetwork(self.backbone.width, side)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The backbone with its learning rate, all new layers with that of heads."""
        return heads.parameter_groups(self, self.backbone, self.context.run)

    def outputs(self, batch: Batch) -> dict[str, Tensor]:
        """``tokens`` [batch, 1 + patches, width]: the class token, then those of the patches."""
        return {"tokens": self._tokens(batch.images)}

    def losses(self, outputs: Mapping[str, Tensor], labels: Tensor, is_photo: Tensor) -> dict[str, Tensor]:
        """The terms with a weight other than 0; 0 for a batch without a pair of each kind."""
        tokens = outputs["tokens"]
        sketch, positive, negative = pairs_of_sketches(labels, is_photo)  # positions [sketches]
        left_out = losses.count_left_out(self.context.run, labels, is_photo, "cross-domain")
        if len(sketch) == 0:
            return {term: tokens.sum() * 0 for term in self.weights} | left_out
        sketches, photos = self.cross_attention(
            tokens[torch.cat([sketch, sketch])], tokens[torch.cat([positive, negative])]
        )  # pairs of one class, then pairs of two
        count = len(sketch)
        terms = left_out
        if "triplet" in self.weights:
            anchor, near, far = sketches[:count, 0], photos[:count, 0], photos[count:, 0]
            terms["triplet"] = F.triplet_margin_loss(anchor, near, far, margin=self.settings.margin)
        if "relation" in self.weights:
            target = torch.full((2 * count,), 0.99, device=tokens.device)
            target[count:] = 0.01
            terms["relation"] = F.mse_loss(self.relation(sketches[:, 1:], photos[:, 1:]).float(), target)
        return terms

    def embed(self, images: Tensor, is_photo: bool) -> Tensor:
        """The L2-normalised class token [batch, width]."""
        return F.normalize(self._tokens(images)[:, 0], dim=1)

    def _tokens(self, images: Tensor) -> Tensor:
        """[batch, 1 + patches, width], without register tokens."""
        network = self.backbone.network
        tokens = self.backbone.maps(images)
        return torch.cat([tokens[:, :1], tokens[:, network.num_prefix_tokens :]], dim=1)
