"""Depthwise convolutions with TensorFlow's "same" padding: the same numbers without a padded copy of the map.

With stride 2 on a map of even size that padding has one more row below than above and one more column to the right
than to the left, which torch's convolutions cannot express: timm copies the map into a larger one, which takes four
times as long as the convolution itself on a CPU. A kernel with a row of zeros above and a column of zeros to its left
gives the same sums under the equal padding that torch has.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from timm.layers import Conv2dSame
from torch import Tensor, nn
from torch.nn import functional as F

_grows = True


@contextmanager
def kernels_as_written() -> Iterator[None]:
    """Inside, kernels do not grow: for who counts what an architecture computes, to which the zeros do not belong."""
    global _grows
    before, _grows = _grows, False
    try:
        yield
    finally:
        _grows = before


class EvenKernelSame(Conv2dSame):  # type: ignore[misc]  # timm has no types here
    """timm's Conv2dSame with its weights; the kernel grows by zeros where that saves the copy."""

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
        above = [_padding(*sizes) for sizes in zip(images.shape[2:], self.kernel_size, self.stride, strict=True)]
        if _grows and all(after == before + 1 for before, after in above):
            (_, bottom), (_, right) = above
            return F.conv2d(
                images, F.pad(weight, (1, 0, 1, 0)), bias, self.stride, (bottom, right), self.dilation, self.groups
            )
        (top, bottom), (left, right) = above
        padded = F.pad(images, (left, right, top, bottom))
        return F.conv2d(padded, weight, bias, self.stride, 0, self.dilation, self.groups)


def quicken(network: nn.Module) -> None:
    """Put ``EvenKernelSame`` in the place of every depthwise convolution that pads as TensorFlow does."""
    for name, module in list(network.named_modules()):
        if type(module) is Conv2dSame and _fits(module):
            parent, _, leaf = name.rpartition(".")
            setattr(network.get_submodule(parent), leaf, EvenKernelSame(module))


def _fits(module: Conv2dSame) -> bool:
    depthwise = bool(module.groups == module.in_channels == module.out_channels)
    return depthwise and module.dilation == (1, 1) and module.stride == (2, 2)


def _padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Places before and after one side, as TensorFlow pads it."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2
