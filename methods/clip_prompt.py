"""CLIP with learned prompts for sketches and photos: everything is frozen but prompts and layer normalisations.

Paper: Sain et al., "CLIP for all things zero-shot sketch-based image retrieval, fine-grained or not", CVPR 2023.

Implemented, for retrieval by class:

- CLIP ViT-B/32 with a tower per domain. Three vectors a domain are appended to the tokens before the first
  normalisation (aneeshan95/Sketch_LVM 432c504, ``src/clip/model.py``). The projected class token is the embedding.
- The triplet of a sketch and two photos, 1 - cosine, margin 0.3, and 0.5 times the cross-entropies of sketches and of
  photos against frozen texts, "a photo of a {class}", with CLIP's own scale.
- The defaults are the paper's, as summaries state them: Adam with 1e-5, 64 triplets a batch, 60 epochs.
- ``--recipe official`` has the settings of Sketch_LVM (``src/model_LN_prompt.py``, ``experiments/options.py``): one
  tower for both domains, no cross-entropy, margin 0.2, 1e-4 for prompts and 1e-6 for normalisations, 192 triplets a
  batch, no augmentation.
- ``--recipe reimplementation`` has those of a second public code (leftthomas/ClipPrompt e946e6d): 1e-3 for prompts and
  1e-4 for normalisations and the projection of the class token, which it trains, too, without augmentation.

Left out or different:

- The fine-grained losses: relative distances and shuffled patches.
- The codes draw one random positive and negative for each sketch. Here the loss is the mean over all of the batch,
  which is the same in expectation.
- Sketch_LVM's attention input weights and class token, which its freezing misses. Its images have ImageNet's mean and
  deviation; here they have CLIP's.
- Sketch_LVM trains until it is stopped, at the best epoch on its test classes. The recipe has the paper's 60 epochs.
- The second code reads the first prompt's output in place of the class token, and uses CLIP's scale without its
  exponential: 4.6 in place of 100.
- Photos are resized to a square, not padded.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.errors import LoadingError, UsageError
from bench.methods.backbone.architectures import check_transformer
from bench.methods.backbone.backbone import Backbone
from bench.methods.backbone.published_weights import default_file
from bench.methods.base import METHODS, Context, Method, TrainingPhotos
from bench.methods.modules import heads, losses
from bench.methods.modules.text_tower import encode_texts, read_text_tower, texts_of
from bench.settings.run_settings import RunSettings, setting
from bench.types import Batch

NO_AUGMENTATION = {"rotation": 0.0, "scaling": 0.0, "shift": 0.0, "mirror": False, "grayscale": 0.0}


@dataclass(frozen=True)
class ClipPromptSettings:
    """Settings of the prompts; weights multiply the loss terms, and a term of weight 0 is not computed."""

    prompts: int = setting(3, "learned vectors that are appended to the tokens, for each domain", least=0)
    towers: Literal["separate", "shared"] = setting("separate", "an image tower for each domain, or one for both")
    projection: bool = setting(False, "the projection of the class token is trained, too", later=True)
    template: str = setting("a photo of a {class}", "text of a class")
    margin: float = setting(0.3, "margin of the triplet, in units of 1 - cosine", least=0, search=(0.05, 1))
    mining: Literal["hard", "all"] = setting("all", "which triplets of a batch count")
    weight_triplet: float = 1.0
    weight_classification: float = 0.5


@METHODS.register("clip-prompt")
class ClipPrompt(Method):
    """CLIP's image tower with prompts and layer normalisations that are trained for each domain."""

    name = "clip-prompt"
    summary = "CLIP with three learned prompts a domain; triplet and cross-entropy against class names."
    terms = ("triplet", "classification")
    recipe: ClassVar[Mapping[str, Any]] = {
        "backbone": "vit_base_patch32_clip_quickgelu_224",
        "image_size": 224,
        "epochs": 60.0,
        "batch_size": 128,
        "optimiser": "adam",
        "lr": 1e-5,
        "head_lr": 1e-5,
        "weight_decay": 0.0,
        "schedule": "constant",
    }
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "official": {
            "towers": "shared",
            "margin": 0.2,
            "weight_classification": 0.0,
            "batch_size": 384,
            "lr": 1e-6,
            "head_lr": 1e-4,
            **NO_AUGMENTATION,
        },
        "reimplementation": {"projection": True, "lr": 1e-4, "head_lr": 1e-3, **NO_AUGMENTATION},
    }
    Settings: ClassVar[type] = ClipPromptSettings
    text: Tensor

    @classmethod
    def check(cls, settings: ClipPromptSettings, run: RunSettings, seen: Sequence[str]) -> None:
        """Raise BenchError for a backbone that is no transformer, and for class names that cannot be encoded."""
        network = check_transformer(run.backbone, cls.name)
        if settings.weight_classification:
            if not network.num_classes:
                raise UsageError(
                    f"Backbone {run.backbone!r} does not project its feature to the width of texts: give one of CLIP, "
                    "or leave the loss out by --without classification."
                )
            texts_of(seen, settings.template)

    def __init__(self, settings: ClipPromptSettings, context: Context) -> None:
        super().__init__(settings, context)
        self.backbone = Backbone(context.run.backbone, context.run.weights, frozen_blocks=-1)
        if not self.backbone.classifies:
            raise LoadingError(
                f"The weights file of backbone {context.run.backbone!r} lacks the projection of the class token, by "
                f"which {self.name!r} ranks: give the file of this network."
            )
        freeze_all_but_normalisations(self.backbone.network)
        self.backbone.network.head.requires_grad_(settings.projection)
        self.photo_tower = copy.deepcopy(self.backbone) if settings.towers == "separate" else None
        with heads.seeded("prompts"):
            shape = (settings.prompts, self.backbone.width)
            self.prompts = nn.ParameterList([torch.randn(shape), torch.randn(shape)])  # of sketches, of photos
        run, self._text_tower = context.run, dict[str, Tensor]()
        if "classification" in self.weights and run.weights != "none":  # errors come before any image is read
            texts, file = texts_of(context.seen, settings.template), run.weights or str(default_file(run.backbone))
            self._text_tower = read_text_tower(file, texts, width=self.backbone.network.num_classes)
        self._prompt: Tensor | None = None  # [prompts, width] during a forward pass
        for tower in filter(None, (self.backbone, self.photo_tower)):
            tower.network.norm_pre.register_forward_pre_hook(self._append_prompt)

    def prepare(self, photos: TrainingPhotos) -> None:
        """Encode the class names, if their loss is computed; the text tower is not kept."""
        if "classification" not in self.weights:
            return
        self.text, self.scale = encode_texts(
            texts_of(self.context.seen, self.settings.template),
            self._text_tower,
            width=self.backbone.network.num_classes,
            quick_gelu="quickgelu" in self.backbone.name,
        )
        del self._text_tower
        self.text = self.text.to(self.prompts[0].device)  # [classes, width of embeddings]

    def parameter_groups(self) -> list[dict[str, Any]]:
        """What is trained of the towers with the backbone's learning rate, the prompts with that of new layers."""
        run, towers = self.context.run, filter(None, (self.backbone, self.photo_tower))
        own = [each for tower in towers for each in tower.parameters() if each.requires_grad]
        return [
            {"params": own, "lr": run.lr},
            {"params": list(self.prompts), "lr": run.head_lr},
        ]

    def outputs(self, batch: Batch) -> dict[str, Tensor]:
        """``embedding`` [batch, width of embeddings], not normalised."""
        # A process of several may have images of one domain only.
        present = [photo for photo in (False, True) if bool((batch.is_photo == photo).any())]
        parts = [self._embed(batch.images[batch.is_photo == photo], photo) for photo in present]
        order = torch.argsort(batch.is_photo.int(), stable=True)  # sketches first
        return {"embedding": torch.cat(parts)[torch.argsort(order)]}

    def losses(self, outputs: Mapping[str, Tensor], labels: Tensor, is_photo: Tensor) -> dict[str, Tensor]:
        """The terms with a weight other than 0."""
        embedding, settings = outputs["embedding"], self.settings
        terms: dict[str, Tensor] = {}
        if "triplet" in self.weights:
            terms["triplet"] = losses.cross_domain_triplet(
                embedding, labels, is_photo, settings.margin, settings.mining
            )
            terms |= losses.count_left_out(self.context.run, labels, is_photo, "cross-domain")
        if "classification" in self.weights:
            terms["classification"] = sum(
                (
                    losses.normalised_softmax(embedding[domain], self.text, labels[domain], self.scale)
                    for domain in (~is_photo, is_photo)
                    if bool(domain.any())
                ),
                start=embedding.sum() * 0,
            )
        return terms

    def embed(self, images: Tensor, is_photo: bool) -> Tensor:
        """The L2-normalised, projected class token [batch, width of embeddings]."""
        return F.normalize(self._embed(images, is_photo), dim=1)

    def _embed(self, images: Tensor, is_photo: bool) -> Tensor:
        tower = self.photo_tower if is_photo and self.photo_tower is not None else self.backbone
        self._prompt = self.prompts[int(is_photo)]
        try:
            tokens = tower.maps(images)
        finally:
            self._prompt = None
        embedding: Tensor = tower.network.forward_head(tokens)
        return embedding

    def _append_prompt(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        """Hook: [batch, tokens, width] to [batch, tokens + prompts, width]."""
        if self._prompt is None:
            return None
        (tokens,) = inputs
        return (torch.cat([tokens, self._prompt.to(tokens.dtype).expand(tokens.shape[0], -1, -1)], dim=1),)


def freeze_all_but_normalisations(network: nn.Module) -> None:
    """Only the scale and shift of layer normalisations stay trainable."""
    network.requires_grad_(False)
    for module in network.modules():
        if isinstance(module, nn.LayerNorm):
            module.requires_grad_(True)
