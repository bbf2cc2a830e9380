"""The ImageNet classifier that a timm network ends in: its layers, and what they say of a pooled feature.

Families differ: one linear layer, a 1x1 convolution, two layers whose answers are averaged (a network that was
distilled), layers that look at tokens of their own and not at the pooled feature, none at all.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

CLASSES = 1000  # of ImageNet, as ILSVRC 2012 has them


def layers_of(network: Any) -> list[nn.Module]:
    """The classifier's layers; one ``Identity`` in a network that was trained without labels."""
    found = network.get_classifier()
    return list(found) if isinstance(found, tuple | list | nn.ModuleList) else [found]


def answer(network: Any, feature: Tensor) -> Tensor:
    """Logits of a pooled feature, the mean where several layers answer: [batch, width] to [batch, classes]."""
    said = [
        layer(feature[:, :, None, None] if isinstance(layer, nn.Conv2d) else feature).flatten(1)
        for layer in layers_of(network)
    ]
    return said[0] if len(said) == 1 else torch.stack(said).mean(dim=0)


@torch.no_grad()
def looks_at_feature(network: Any, size: int) -> bool:
    """Whether each layer of the classifier is given the pooled feature and nothing else, so that ``answer`` is exact.

    One linear layer of the feature's width is. Of others it is seen in one pass of an image of ``size`` pixels, not
    guessed from names.
    """
    layers = layers_of(network)
    if len(layers) == 1 and isinstance(layers[0], nn.Linear) and layers[0].in_features == network.head_hidden_size:
        return True
    given: list[Tensor] = []
    handles = [layer.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0])) for layer in layers]
    was_training = network.training
    try:
        network.eval()
        maps = network.forward_features(torch.linspace(0, 1, 3 * size * size).view(1, 3, size, size))
        feature = network.forward_head(maps, pre_logits=True)
        given.clear()
        network.forward_head(maps)
    finally:
        network.train(was_training)
        for handle in handles:
            handle.remove()
    alike = [each.numel() == feature.numel() and torch.allclose(each.flatten(1), feature) for each in given]
    return len(alike) == len(layers) and all(alike)
