"""Frozen batch normalisations folded into the convolutions before them: one pass over the feature maps less.

With its statistics frozen, ``norm(conv(x))`` is one convolution: the scale goes into the weights, the shift into the
bias. Gradients of both modules' parameters flow through the product. Parameters and their names stay.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from timm.layers import BatchNormAct2d, Conv2dSame
from timm.layers.padding import pad_same
from timm.models._efficientnet_blocks import DepthwiseSeparableConv, InvertedResidual
from timm.models.efficientnet import EfficientNet
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import Tensor, nn

# By timm's module: convolutions, and the normalisations that are called right after them
PAIRS = {
    EfficientNet: {"conv_stem": "bn1", "conv_head": "bn2"},
    DepthwiseSeparableConv: {"conv_dw": "bn1", "conv_pw": "bn2"},
    InvertedResidual: {"conv_pw": "bn1", "conv_dw": "bn2", "conv_pwl": "bn3"},
    ResNet: {"conv1": "bn1"},
    BasicBlock: {"conv1": "bn1", "conv2": "bn2"},
    Bottleneck: {"conv1": "bn1", "conv2": "bn2", "conv3": "bn3"},
}


def fold(network: nn.Module) -> None:
    """Fold the normalisations of EfficientNet's and ResNet's blocks, while they are in evaluation mode."""
    for module in network.modules():
        for names in PAIRS.get(type(module), {}).items():
            conv, norm = (getattr(module, name) for name in names)
            known = type(conv) in (nn.Conv2d, Conv2dSame) and type(norm) in (nn.BatchNorm2d, BatchNormAct2d)
            if known and conv.bias is None:
                conv.forward, norm.forward = partial(_convolve, conv, norm), partial(_normalise, norm)


def _convolve(conv: Any, norm: Any, maps: Tensor) -> Tensor:
    """[batch, channels in, height, width] to [batch, channels out, height, width]."""
    if norm.training:
        plain: Tensor = type(conv).forward(conv, maps)
        return plain
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)  # [channels out]
    shift = norm.bias - norm.running_mean * scale
    if isinstance(conv, Conv2dSame):
        maps = pad_same(maps, conv.weight.shape[-2:], conv.stride, conv.dilation)
    folded: Tensor = conv._conv_forward(maps, conv.weight * scale.view(-1, 1, 1, 1), shift)
    return folded


def _normalise(norm: Any, maps: Tensor) -> Tensor:
    """What is left after the convolution: timm's activation."""
    if norm.training:
        plain: Tensor = type(norm).forward(norm, maps)
        return plain
    return norm.act(norm.drop(maps)) if isinstance(norm, BatchNormAct2d) else maps
