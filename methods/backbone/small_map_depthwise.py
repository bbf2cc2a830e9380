"""A faster gradient on the CPU for depthwise convolutions on feature maps smaller than their kernel.

On a CPU, torch 2.14 needs some twenty times as long for the weight gradient of a 5x5 depthwise convolution on a 3x3 map
as for the rest of the layer. EfficientNets at 96 or 128 pixels end in three such layers, a fifth of a training step.
This module sums over the few positions that each weight touches (``benchmarks/training_step.py`` measures the effect).
The forward pass is torch's own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SmallMapDepthwise(nn.Conv2d):
    """A depthwise convolution with stride 1 that uses the faster gradient on small maps on the CPU."""

    def __init__(self, like: nn.Conv2d) -> None:
        height, width = like.kernel_size
        padding, channels = (height // 2, width // 2), like.in_channels
        super().__init__(channels, channels, (height, width), 1, padding, groups=channels, bias=False, device="meta")
        self.weight = like.weight

    def forward(self, images: Tensor) -> Tensor:
        """[batch, channels, height, width] to the same."""
        small = images.shape[2] < self.kernel_size[0] and images.shape[3] < self.kernel_size[1]
        plain = images.device.type == "cpu" and not torch.is_autocast_enabled("cpu") and torch.is_grad_enabled()
        if not (small and plain and self.weight.requires_grad):
            return super().forward(images)
        result: Tensor = _Depthwise.apply(images, self.weight)
        return result


def replace_convolutions(network: nn.Module) -> None:
    """Replace every depthwise convolution with a kernel above 3x3 by ``SmallMapDepthwise``."""
    for name, module in list(network.named_modules()):
        if _fits(module):
            parent, _, leaf = name.rpartition(".")
            setattr(network.get_submodule(parent), leaf, SmallMapDepthwise(module))


def _fits(module: nn.Module) -> bool:
    if type(module) is not nn.Conv2d or module.bias is not None or module.padding_mode != "zeros":
        return False
    height, width = module.kernel_size
    keeps_size = module.padding == (height // 2, width // 2) and height % 2 == width % 2 == 1
    depthwise = module.groups == module.in_channels == module.out_channels
    return depthwise and keeps_size and min(height, width) > 3 and module.stride == module.dilation == (1, 1)


class _Depthwise(torch.autograd.Function):
    """Odd kernels [channels, 1, height, width], padded so that the map keeps its size."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(images, weight)
        padding = (weight.shape[2] // 2, weight.shape[3] // 2)
        return F.conv2d(images, weight, None, 1, padding, 1, len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor]:
        (gradient,), (images, weight) = gradients, ctx.saved_tensors
        padding = [weight.shape[2] // 2, weight.shape[3] // 2]
        image_gradient = None
        if ctx.needs_input_grad[0]:
            mask = [True, False, False]
            image_gradient = torch.ops.aten.convolution_backward(
                gradient, images, weight, None, [1, 1], padding, [1, 1], False, [0, 0], len(weight), mask
            )[0]
        return image_gradient, _weight_gradient(images, gradient, weight)


def _weight_gradient(images: Tensor, gradient: Tensor, weight: Tensor) -> Tensor:
    """Gradient of each weight: the sum of products of the output gradient with the map shifted by its position."""
    images, gradient = images.permute(0, 2, 3, 1), gradient.permute(0, 2, 3, 1)  # [batch, height, width, channels]
    height, width = images.shape[1:3]
    found = torch.zeros_like(weight)
    for row in range(weight.shape[2]):
        below, rows = _overlap(row - weight.shape[2] // 2, height)
        for column in range(weight.shape[3]):
            right, columns = _overlap(column - weight.shape[3] // 2, width)
            found[:, 0, row, column] = (images[:, below, right] * gradient[:, rows, columns]).sum((0, 1, 2))
    return found


def _overlap(shift: int, size: int) -> tuple[slice, slice]:
    """Overlap of a map of ``size`` pixels with itself shifted by ``shift``: a slice of each."""
    length = max(0, size - abs(shift))
    return slice(max(0, shift), max(0, shift) + length), slice(max(0, -shift), max(0, -shift) + length)
