"""MATHM: classification and three hard-mined triplets, within and across domains, balanced by their gradients.

Paper: Huang, Sun, Han, Gao and Sang, "Modality-aware triplet hard mining for zero-shot sketch-based image retrieval",
arXiv 2112.07966, 2021.

Implemented, after its published code (huangzongheng/MATHM b1e298d):

- The network of SAKE with the domain tag in every squeeze-and-excitation module (``src/senet.py``).
- Cross-entropy over the seen classes, of a linear layer without bias (``src/ResnetModel.py``).
- The three pairs, each batch-hard and on normalised embeddings: positive and negative of the anchor's own domain; a
  positive of the other domain and a negative of the own; both of the other domain. Margin 0.2, softplus with beta 20,
  and weights of mean gradient by own gradient, which is at least 0.1 (``src/loss.py``).
- ``--recipe paper``: batches of 120 images, 4 sketches and 4 photos a class; Adam, 1e-4 for new layers and a tenth of
  it for the network, weight decay 5e-4, warm-up in 5 of 40 epochs, then a cosine (``src/exp.sh``, ``src/utils.py``).
  Its 40 epochs are 8,000 steps whatever the dataset: 8.3 passes over the training images of ``sketchy-25``.

Left out or different:

- The network is that of the dataset, or of ``--backbone``. On one without squeeze-and-excitation the tag enters one
  gate on the pooled feature, as in ``sake``.
- The first weights of the embedding layer, a rotated singular value decomposition of the ImageNet classifier. The layer
  learns as fast as other new layers, not a tenth of that.
- The first two epochs with a fixed network, and the step from epoch 5 to 10 at the highest rate.
- Its augmentation moves a sketch anywhere in the image. Here both domains are moved by at most 10 of 224 pixels.
- The code lets an image be its own positive. Here it needs another image.
- The code multiplies every weight by every pair, so that all pairs get the sum of the weights. Here each pair gets its
  own, as the paper describes it. ``unweighted`` keeps the softplus, where the code has a hinge.
- The checkpoint chosen by accuracy on seen classes, which is ``--select`` of a run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from bench.methods.base import METHODS, Context
from bench.methods.modules import heads, losses
from bench.methods.modules.domain_tag import DomainTag
from bench.methods.modules.single_network import NetworkSettings, SingleNetwork
from bench.settings.run_settings import setting


@dataclass(frozen=True)
class MathmSettings(NetworkSettings):
    """Settings of MATHM; weights multiply the loss terms, and a term of weight 0 is not computed."""

    margin: float = setting(0.2, "margin of each pair, a distance of unit vectors", least=0, search=(0.05, 1))
    weighted: bool = setting(True, "pairs are weighted by mean gradient by own gradient; false: all alike")
    weight_classification: float = 1.0
    weight_pairs: float = 1.0


@METHODS.register("mathm")
class Mathm(SingleNetwork):
    """One conditional network for both domains, trained by classification and three mined pairs."""

    name = "mathm"
    summary = "MATHM: conditional network, classification, three mined pairs weighted by their gradients."
    terms = ("classification", "pairs")
    structural: ClassVar[Mapping[str, Mapping[str, Any]]] = {"unweighted": {"weighted": False}}
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {
            "backbone": "legacy_seresnet50",
            "image_size": 224,
            "dim": 512,
            "rank_by": "embedding",
            "batch_size": 120,
            "per_class": 4,
            "epochs": 8.3,
            "optimiser": "adam",
            "lr": 1e-5,
            "head_lr": 1e-4,
            "weight_decay": 5e-4,
            "schedule": "one-cycle",
            "warmup": 0.125,
            "frozen_blocks": -1,
            "frozen_batchnorm": False,
            "rotation": 30.0,
            "scaling": 0.3,
            "shift": 0.045,
            "grayscale": 0.0,
        }
    }
    Settings: ClassVar[type] = MathmSettings

    def __init__(self, settings: MathmSettings, context: Context) -> None:
        super().__init__(settings, context)
        self.domain_tag = DomainTag(self.backbone)
        if "classification" in self.weights:
            with heads.seeded("classification"):
                self.class_head = nn.Linear(settings.dim, len(context.seen), bias=False)

    def feature(self, images: Tensor, is_photo: Tensor) -> Tensor:
        """Pooled feature: float32 [batch, 3, size, size] and bool [batch] to [batch, width]."""
        feature: Tensor = self.domain_tag(self.backbone, images, is_photo)
        return feature

    @property
    def collapsed_losses(self) -> Mapping[str, float]:
        """All distances are equal."""
        return {"pairs": losses.collapsed_pairs(self.settings.margin)}

    def losses(self, outputs: Mapping[str, Tensor], labels: Tensor, is_photo: Tensor) -> dict[str, Tensor]:
        """The terms with a weight other than 0."""
        computed, embedding, settings = self.weights, outputs["embedding"], self.settings
        terms: dict[str, Tensor] = {}
        if "classification" in computed:
            terms["classification"] = F.cross_entropy(self.class_head(embedding), labels)
        if "pairs" in computed:
            terms |= losses.count_left_out(self.context.run, labels, is_photo, "mathm")
            terms["pairs"] = losses.mined_pairs(
                embedding, labels, is_photo, settings.margin, weighted=settings.weighted
            )
        return terms
