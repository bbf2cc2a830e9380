"""The ImageNet classifier of a timm network, applied to a pooled feature.

Families differ: the classifier is one linear layer, a 1x1 convolution, two layers whose logits are averaged (distilled
networks), layers that read tokens of their own instead of the pooled feature, or missing.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

CLASSES = 1000  # of ImageNet (ILSVRC 2012)


def classifier_layers(network: Any) -> list[nn.Module]:
    """The classifier's layers; one ``Identity`` in a network that was trained without labels."""
    layers = network.get_classifier()
    return list(layers) if isinstance(layers, tuple | list | nn.ModuleList) else [layers]


def classify(network: Any, feature: Tensor) -> Tensor:
    """Logits of a pooled feature, the mean if there are several layers: [batch, width] to [batch, classes]."""
    logits = [
        layer(feature[:, :, None, None] if isinstance(layer, nn.Conv2d) else feature).flatten(1)
        for layer in classifier_layers(network)
    ]
    return logits[0] if len(logits) == 1 else torch.stack(logits).mean(dim=0)


@torch.no_grad()
def reads_pooled_feature(network: Any, size: int) -> bool:
    """Whether the pooled feature is the input of each classifier layer, so that ``classify`` is exact.

    This holds for one linear layer of the feature's width. For others, one forward pass of an image of ``size`` pixels
    shows it.
    """
    layers = classifier_layers(network)
    if len(layers) == 1 and isinstance(layers[0], nn.Linear) and layers[0].in_features == network.head_hidden_size:
        return True
    seen: list[Tensor] = []
    handles = [layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])) for layer in layers]
    was_training = network.training
    try:
        network.eval()
        maps = network.forward_features(torch.linspace(0, 1, 3 * size * size).view(1, 3, size, size))
        feature = network.forward_head(maps, pre_logits=True)
        seen.clear()
        network.forward_head(maps)
    finally:
        network.train(was_training)
        for handle in handles:
            handle.remove()
    equal = [each.numel() == feature.numel() and torch.allclose(each.flatten(1), feature) for each in seen]
    return len(equal) == len(layers) and all(equal)
