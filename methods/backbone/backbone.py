"""Pre-trained networks by name: what is frozen, what they say of an image."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bench.methods.backbone import classifiers, same_padding
from bench.methods.backbone import small_map_depthwise as depthwise
from bench.methods.backbone import small_map_pointwise as pointwise
from bench.methods.backbone.architectures import check_backbone, create, no_classifier
from bench.methods.backbone.blocks import first_blocks
from bench.methods.backbone.fold_batchnorm import fold
from bench.methods.backbone.published_weights import PACKAGED as PACKAGED
from bench.methods.backbone.weights import load_weights


class Backbone(nn.Module):
    """A timm network with its ImageNet classifier.

    ``forward`` gives the pooled feature, ``logits`` what the classifier says of an image; images are float 0..1, the
    network's own normalisation is applied here. ``name`` is timm's, ``width`` the feature's size, ``weights_hash``
    identifies the weights ("none" for random ones).

    Raises UsageError for an unknown name, LoadingError for weights that are absent or do not fit.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, name: str, weights: str = "", *, frozen_blocks: int = 0, frozen_batchnorm: bool = True) -> None:
        super().__init__()
        check_backbone(name)
        self.name = name
        self.network: Any = create(name)
        self.width = int(self.network.head_hidden_size)  # which is that of the maps unless the head widens it
        self.weights_hash = load_weights(self.network, name, weights)
        for quicker in (same_padding, depthwise, pointwise):
            quicker.quicken(self.network)
        native = self.network.pretrained_cfg["input_size"][-1]
        fold(self.network, native)
        self.classifier_looks_at_feature = classifiers.looks_at_feature(self.network, native)
        self.frozen_batchnorm = frozen_batchnorm
        self.frozen = first_blocks(self.network, frozen_blocks) if frozen_blocks >= 0 else []
        for module in self.frozen:
            module.requires_grad_(False)
        config = self.network.pretrained_cfg
        mean, std = torch.tensor(config["mean"]).view(1, 3, 1, 1), torch.tensor(config["std"]).view(1, 3, 1, 1)
        # (x - mean) / std as one pass over the images.
        self.register_buffer("scale", 1 / std, persistent=False)
        self.register_buffer("shift", -mean / std, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Float [batch, 3, size, size] in 0..1 to the pooled feature [batch, width]."""
        pooled: Tensor = self.network.forward_head(self.maps(images), pre_logits=True)
        return pooled

    def maps(self, images: Tensor) -> Tensor:
        """Float [batch, 3, size, size] in 0..1 to what is pooled into the feature: [batch, width, height, width]."""
        found: Tensor = self.network.forward_features(torch.addcmul(self.shift, images, self.scale))
        return found

    def logits(self, images: Tensor) -> Tensor:
        """ImageNet logits: float [batch, 3, size, size] in 0..1 to [batch, 1000].

        Raises UsageError when the network has no classifier of these classes.
        """
        return self._of_imagenet(self.network.forward_head(self.maps(images)))

    def classify(self, feature: Tensor) -> Tensor:
        """ImageNet logits of a pooled feature: [batch, width] to [batch, 1000].

        Raises UsageError as ``logits`` does, and where the classifier looks at more of an image than that feature.
        """
        if not self.classifier_looks_at_feature:
            raise no_classifier(self.name, on="that looks at its pooled feature alone")
        return self._of_imagenet(classifiers.answer(self.network, feature))

    def _of_imagenet(self, logits: Tensor) -> Tensor:
        if logits.shape[1] != classifiers.CLASSES:
            raise no_classifier(self.name)
        return logits

    def train(self, mode: bool = True) -> Backbone:
        """As nn.Module's, but what is frozen stays in evaluation mode."""
        super().train(mode)
        for module in self.frozen:
            module.eval()
        if self.frozen_batchnorm:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def trainable(self) -> list[nn.Parameter]:
        """Parameters of the feature extractor that training may change (the classifier is not among them)."""
        layers = classifiers.layers_of(self.network)
        classifier = {id(each) for layer in layers for each in layer.parameters()}
        return [each for each in self.network.parameters() if each.requires_grad and id(each) not in classifier]
