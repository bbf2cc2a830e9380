"""Pre-trained timm networks: pooled features, ImageNet logits, and frozen layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bench.errors import UsageError
from bench.methods.backbone import classifiers
from bench.methods.backbone.architectures import check_backbone, create, no_classifier
from bench.methods.backbone.blocks import first_blocks
from bench.methods.backbone.folding import fold
from bench.methods.backbone.published_weights import PACKAGED as PACKAGED
from bench.methods.backbone.weights import load_weights


class Backbone(nn.Module):
    """A timm network with its ImageNet classifier.

    ``forward`` computes the pooled feature, ``logits`` the ImageNet logits. Images are float 0..1; this class applies
    the network's own normalisation. ``name`` is timm's, ``width`` the size of the feature, ``weights_hash`` the hash
    of the weights file ("none" for random weights), and ``classifies`` whether the file has the network's last layer.

    Raises UsageError for an unknown name, LoadingError for weights that are missing or do not fit.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, name: str, weights: str = "", *, frozen_blocks: int = 0, frozen_batchnorm: bool = True) -> None:
        super().__init__()
        check_backbone(name)
        self.name = name
        self.network: Any = create(name)
        self.width = int(self.network.head_hidden_size)  # that of the feature maps, unless the head widens it
        self.weights_hash, self.classifies = load_weights(self.network, name, weights)
        fold(self.network)
        native = self.network.pretrained_cfg["input_size"][-1]
        self._classifier_reads_feature = classifiers.reads_pooled_feature(self.network, native)
        self.frozen_batchnorm = frozen_batchnorm
        self.frozen = first_blocks(self.network, frozen_blocks) if frozen_blocks >= 0 else []
        for frozen in self.frozen:
            frozen.requires_grad_(False)
        config = self.network.pretrained_cfg
        mean, std = torch.tensor(config["mean"]).view(1, 3, 1, 1), torch.tensor(config["std"]).view(1, 3, 1, 1)
        # (x - mean) / std in one pass over the images
        self.register_buffer("scale", 1 / std, persistent=False)
        self.register_buffer("shift", -mean / std, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Float [batch, 3, size, size] in 0..1 to the pooled feature [batch, width]."""
        pooled: Tensor = self.network.forward_head(self.maps(images), pre_logits=True)
        return pooled

    def maps(self, images: Tensor) -> Tensor:
        """Feature maps before pooling: float [batch, 3, size, size] in 0..1 to [batch, channels, height, width]."""
        maps: Tensor = self.network.forward_features(torch.addcmul(self.shift, images, self.scale))
        return maps

    def logits(self, images: Tensor) -> Tensor:
        """ImageNet logits: float [batch, 3, size, size] in 0..1 to [batch, 1000].

        Raises UsageError if the network has no ImageNet classifier.
        """
        return self._check_classes(self.network.forward_head(self.maps(images)))

    def classify(self, feature: Tensor) -> Tensor:
        """ImageNet logits of a pooled feature: [batch, width] to [batch, 1000].

        Raises UsageError as ``logits``, and if the pooled feature is not the classifier's only input.
        """
        if not self._classifier_reads_feature:
            raise no_classifier(self.name, kind="classifier on its pooled feature")
        return self._check_classes(classifiers.classify(self.network, feature))

    def require_classifier(self) -> None:
        """Raise UsageError if the weights file had no ImageNet classifier."""
        if not self.classifies:
            raise UsageError(
                f"The weights file of backbone {self.name!r} has no classifier of ImageNet's {classifiers.CLASSES:,} "
                "classes: give one that has, or leave out the losses and settings that need it."
            )

    def _check_classes(self, logits: Tensor) -> Tensor:
        self.require_classifier()
        if logits.shape[1] != classifiers.CLASSES:
            raise no_classifier(self.name)
        return logits

    def train(self, mode: bool = True) -> Backbone:
        """As nn.Module's, but frozen modules stay in evaluation mode."""
        super().train(mode)
        for module in self.frozen:
            module.eval()
        if self.frozen_batchnorm:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def trainable(self) -> list[nn.Parameter]:
        """Parameters that training may change; without the classifier."""
        layers = classifiers.classifier_layers(self.network)
        classifier = {id(each) for layer in layers for each in layer.parameters()}
        return [each for each in self.network.parameters() if each.requires_grad and id(each) not in classifier]
