"""Low-rank weights in a frozen foundation network: shared in its lower blocks, one set per domain in its last.

Paper: Liu, Luo, Zheng and Peng, "Cross-domain matrix compression adaptation for zero-shot sketch-based image
retrieval" (CMCA), IJCNN 2025. The two terms ``within_sketches`` and ``within_photos`` are of "Modality capacity
constraints" (MCC), 2024.

Implemented, after CMCA's published code (zermatt-luo/CMCA 44f62d5):

- DINOv2 ViT-B/14, everything frozen. Weights of rank 64 beside query, key, value, the attention's output and both
  layers of the perceptron, in all 12 blocks; those of the last block once per domain (``model/transformer/layers``).
  These are 11,501,568 numbers, 12 % of all.
- The class token, and a triplet of a sketch and two photos, 1 - cosine, margin 0.2 (``utils/model_dinov2.py``).
- Its settings are the defaults: Adam with 1e-6, no decay, 20 epochs, 30 sketches a batch, 224 pixels
  (``utils/options.py``). The rate is ``head_lr``; ``lr`` has no effect, since the network is frozen. ``--recipe
  small-margin`` has the margin 0.04 of TU-Berlin and QuickDraw.
- MCC's terms: the distance of the mean cosine among a batch's sketches to a target, and the same for photos. They are
  off: give ``weight_within_sketches`` and ``weight_within_photos``. No public text that we found states the targets.

Left out or different:

- The code draws one random positive and negative for each sketch. Here the loss is the mean over all of the batch,
  which is the same in expectation; ``--set mining=hard`` takes the hardest.
- Its photos are padded to a square and not augmented. Here images are resized, and augmented as in all methods.
- The code chooses the checkpoint by the loss on its test classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.errors import UsageError
from bench.methods.backbone.architectures import check_transformer
from bench.methods.backbone.backbone import Backbone
from bench.methods.base import METHODS, Context, Method
from bench.methods.modules import losses
from bench.methods.modules.low_rank import LAYERS, LowRankLayers
from bench.settings.run_settings import RunSettings, setting
from bench.types import Batch


@dataclass(frozen=True)
class LoraSettings:
    """Settings of the low-rank weights; weights multiply the loss terms, and a term of weight 0 is not computed."""

    rank: int = setting(64, "rank of the added weights", least=1)
    domain_blocks: int = setting(1, "last blocks with weights per domain; those below share theirs", least=0)
    margin: float = setting(0.2, "margin of the triplet, in units of 1 - cosine", least=0, search=(0.02, 1))
    mining: Literal["hard", "all"] = setting("all", "which triplets of a batch count")
    sketch_cosine: float = setting(0.5, "target of within_sketches, a mean cosine", least=-1, most=1)
    photo_cosine: float = setting(0.5, "target of within_photos, a mean cosine", least=-1, most=1)
    weight_triplet: float = 1.0
    weight_within_sketches: float = 0.0
    weight_within_photos: float = 0.0


@METHODS.register("lora")
class Lora(Method):
    """A frozen transformer with trained low-rank weights, some of them per domain."""

    name = "lora"
    summary = "CMCA: low-rank weights in frozen DINOv2, the last block's per domain; triplet."
    terms = ("triplet", "within_sketches", "within_photos")
    recipe: ClassVar[Mapping[str, Any]] = {
        "backbone": "vit_base_patch14_dinov2",
        "image_size": 224,
        "epochs": 20.0,
        "batch_size": 60,
        "optimiser": "adam",
        "lr": 0.0,  # of the backbone, which is frozen
        "head_lr": 1e-6,
        "weight_decay": 0.0,
        "schedule": "constant",
    }
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {"small-margin": {"margin": 0.04}}
    Settings: ClassVar[type] = LoraSettings

    @classmethod
    def check(cls, settings: LoraSettings, run: RunSettings, seen: Sequence[str]) -> None:
        """Raise UsageError unless the backbone is a vision transformer with that many blocks, of the usual layers."""
        network = check_transformer(run.backbone, cls.name)
        blocks, layers = len(network.blocks), {name for name, _ in network.blocks[0].named_modules()}
        if not layers.issuperset(LAYERS):
            raise UsageError(
                f"Method {cls.name!r} needs blocks with {', '.join(LAYERS)}, which those of {run.backbone!r} are not: "
                "give a --backbone such as vit_base_patch16_224."
            )
        if settings.domain_blocks > blocks:
            raise UsageError(
                f"Setting 'domain_blocks' is {settings.domain_blocks}, but this backbone has {blocks} blocks: lower it."
            )

    def __init__(self, settings: LoraSettings, context: Context) -> None:
        super().__init__(settings, context)
        self.backbone = Backbone(context.run.backbone, context.run.weights, frozen_blocks=-1)
        self.backbone.requires_grad_(False)
        self.low_rank = LowRankLayers(self.backbone.network, settings.rank, settings.domain_blocks)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The low-rank weights, with the learning rate of new layers."""
        return [{"params": list(self.low_rank.parameters()), "lr": self.context.run.head_lr}]

    def outputs(self, batch: Batch) -> dict[str, Tensor]:
        """``embedding`` [batch, width], not normalised."""
        return {"embedding": self.low_rank(self.backbone, batch.images, batch.is_photo)}

    def losses(self, outputs: Mapping[str, Tensor], labels: Tensor, is_photo: Tensor) -> dict[str, Tensor]:
        """The terms with a weight other than 0."""
        embedding, settings = outputs["embedding"], self.settings
        every = {
            "triplet": lambda: losses.cross_domain_triplet(
                embedding, labels, is_photo, settings.margin, settings.mining
            ),
            "within_sketches": lambda: losses.cosine_target(embedding[~is_photo], settings.sketch_cosine),
            "within_photos": lambda: losses.cosine_target(embedding[is_photo], settings.photo_cosine),
        }
        terms = {term: every[term]() for term in self.weights}
        if "triplet" in terms:
            terms |= losses.count_left_out(self.context.run, labels, is_photo, "cross-domain")
        return terms

    def embed(self, images: Tensor, is_photo: bool) -> Tensor:
        """The L2-normalised class token [batch, width]."""
        domain = torch.full((images.shape[0],), is_photo, device=images.device)
        return F.normalize(self.low_rank(self.backbone, images, domain), dim=1)
