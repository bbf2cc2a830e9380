"""Depthwise convolutions with TensorFlow's "same" padding, without a padded copy of the feature map.

With stride 2 on a map of even size, this padding has one more row below and one more column to the right. torch's
convolutions pad both sides equally, so timm copies the map into a larger one. On a CPU the copy takes four times as
long as the convolution. Instead, this module pads the kernel with a row of zeros above and a column of zeros to its
left. The result is the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from timm.layers import Conv2dSame
from torch import Tensor, nn
from torch.nn import functional as F

_pad_kernels = True


@contextmanager
def without_kernel_padding() -> Iterator[None]:
    """Pad no kernels within the block, so that operations with the added zeros are not counted."""
    global _pad_kernels
    before, _pad_kernels = _pad_kernels, False
    try:
        yield
    finally:
        _pad_kernels = before


class EvenKernelSame(Conv2dSame):  # type: ignore[misc]  # timm has no types here
    """timm's Conv2dSame with its weights, which pads the kernel instead of the map where possible."""

    def __init__(self, like: Conv2dSame) -> None:
        super().__init__(
            like.in_channels,
            like.out_channels,
            like.kernel_size,
            stride=like.stride,
            groups=like.groups,
            bias=like.bias is not None,
            device="meta",
        )
        self.weight, self.bias = like.weight, like.bias

    def forward(self, images: Tensor) -> Tensor:
        """[batch, channels, height, width] to the same number of channels, half the size."""
        return self._conv_forward(images, self.weight, self.bias)

    def _conv_forward(self, images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        sides = [_padding(*sizes) for sizes in zip(images.shape[2:], self.kernel_size, self.stride, strict=True)]
        if _pad_kernels and all(after == before + 1 for before, after in sides):
            (_, bottom), (_, right) = sides
            return F.conv2d(
                images, F.pad(weight, (1, 0, 1, 0)), bias, self.stride, (bottom, right), self.dilation, self.groups
            )
        (top, bottom), (left, right) = sides
        padded = F.pad(images, (left, right, top, bottom))
        return F.conv2d(padded, weight, bias, self.stride, 0, self.dilation, self.groups)


def replace_convolutions(network: nn.Module) -> None:
    """Replace every depthwise convolution with TensorFlow's padding by ``EvenKernelSame``."""
    for name, module in list(network.named_modules()):
        if type(module) is Conv2dSame and _fits(module):
            parent, _, leaf = name.rpartition(".")
            setattr(network.get_submodule(parent), leaf, EvenKernelSame(module))


def _fits(module: Conv2dSame) -> bool:
    depthwise = bool(module.groups == module.in_channels == module.out_channels)
    return depthwise and module.dilation == (1, 1) and module.stride == (2, 2)


def _padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's padding before and after the map along one side, in pixels."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2
