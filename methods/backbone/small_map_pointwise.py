"""A faster gradient on the CPU for 1x1 convolutions on small feature maps.

A 1x1 convolution is a matrix product over pixels. On the maps of 3x3 to 6x6 that end EfficientNets at 96 or 128 pixels,
torch 2.14 needs up to twice as long for the weight gradient as this product takes (``benchmarks/training_step.py``
measures the effect). The forward pass is torch's own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SMALL = 8  # pixels per side: below it the product is faster, from 12 on torch's own gradient


class SmallMapPointwise(nn.Conv2d):
    """A 1x1 convolution with stride 1 that uses the faster gradient on small maps on the CPU."""

    def __init__(self, like: nn.Conv2d) -> None:
        super().__init__(like.in_channels, like.out_channels, 1, bias=False, device="meta")
        self.weight = like.weight

    def forward(self, images: Tensor) -> Tensor:
        """[batch, channels in, height, width] to [batch, channels out, height, width]."""
        small = max(images.shape[2:]) < SMALL
        plain = images.device.type == "cpu" and not torch.is_autocast_enabled("cpu") and torch.is_grad_enabled()
        if not (small and plain and self.weight.requires_grad):
            return super().forward(images)
        result: Tensor = _Pointwise.apply(images, self.weight)
        return result


def replace_convolutions(network: nn.Module) -> None:
    """Replace every 1x1 convolution with stride 1 by ``SmallMapPointwise``."""
    for name, module in list(network.named_modules()):
        if _fits(module):
            parent, _, leaf = name.rpartition(".")
            setattr(network.get_submodule(parent), leaf, SmallMapPointwise(module))


def _fits(module: nn.Module) -> bool:
    if type(module) is not nn.Conv2d or module.bias is not None or module.groups != 1:
        return False
    return module.kernel_size == module.stride == (1, 1) and module.padding in ((0, 0), "valid", "same")


class _Pointwise(torch.autograd.Function):
    """Weights [channels out, channels in, 1, 1]."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(images, weight)
        return F.conv2d(images, weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor]:
        (gradient,), (images, weight) = gradients, ctx.saved_tensors
        image_gradient = None
        if ctx.needs_input_grad[0]:
            mask = [True, False, False]
            image_gradient = torch.ops.aten.convolution_backward(
                gradient, images, weight, None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1, mask
            )[0]
        # [pixels of all images, channels]: a view, because the engine keeps channels last in memory.
        weight_gradient = _pixels(gradient).T @ _pixels(images)
        return image_gradient, weight_gradient.reshape(weight.shape)


def _pixels(images: Tensor) -> Tensor:
    return images.permute(0, 2, 3, 1).reshape(-1, images.shape[1])
