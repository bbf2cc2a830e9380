"""Depthwise convolutions on maps smaller than their kernel: the same numbers, a faster gradient on the processor.

On a CPU, torch 2.14 takes some twenty times as long for the weight's gradient of a 5x5 depthwise convolution on a 3x3
map as for everything else about it; EfficientNets at 96 or 128 pixels end in three of those, a fifth of a training
step. Here that gradient is the sum over the few places that each weight touches (``benchmarks/training_step.py`` prints
the effect on a step). The forward pass is torch's own, bit for bit.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SmallMapDepthwise(nn.Conv2d):
    """A depthwise convolution with its weights, stride 1, that takes the faster gradient where that pays."""

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


def quicken(network: nn.Module) -> None:
    """Put ``SmallMapDepthwise`` in the place of every depthwise convolution that may meet a map below its kernel."""
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
    """Odd kernels [channels, 1, height, width] with as much padding as keeps the map's size."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(images, weight)
        padding = (weight.shape[2] // 2, weight.shape[3] // 2)
        return F.conv2d(images, weight, None, 1, padding, 1, len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor]:
        (gradient,), (images, weight) = gradients, ctx.saved_tensors
        padding = [weight.shape[2] // 2, weight.shape[3] // 2]
        of_images = None
        if ctx.needs_input_grad[0]:
            mask = [True, False, False]
            of_images = torch.ops.aten.convolution_backward(
                gradient, images, weight, None, [1, 1], padding, [1, 1], False, [0, 0], len(weight), mask
            )[0]
        return of_images, _of_weight(images, gradient, weight)


def _of_weight(images: Tensor, gradient: Tensor, weight: Tensor) -> Tensor:
    """Each weight's gradient is the product of the map and the output's gradient, shifted by its place, summed."""
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
    """Where a map of ``size`` places and one shifted by ``shift`` meet: places of the first, places of the second."""
    length = max(0, size - abs(shift))
    return slice(max(0, shift), max(0, shift) + length), slice(max(0, -shift), max(0, -shift) + length)
