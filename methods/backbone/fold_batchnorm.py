"""A convolution and the batch normalisation behind it as one convolution, wherever nothing is learnt.

With its statistics frozen, ``norm(conv(x))`` is a convolution whose weights carry the scale and whose bias carries the
shift: one pass over the map less, a third of the time of a frozen block on a CPU. It holds in exact arithmetic; in
float32 results differ in the last digits. Where a gradient is asked for the two stay apart, since the bias's gradient
costs as much as the fold saves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from timm.layers import Conv2dSame
from timm.layers.conv2d_same import conv2d_same
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def fold(network: nn.Module, size: int) -> int:
    """Fold every normalisation of ``network`` that takes the output of one convolution; how many there are.

    Which do is seen in one pass of an image of ``size`` pixels, not guessed from names. Modules, their tensors and
    names stay: the fold is made anew in each pass, which costs nothing beside it.
    """
    pairs = _pairs(network, size)
    for conv, norm in pairs:
        both = _Pair(conv, norm)
        conv.forward = both.convolve  # type: ignore[method-assign, assignment]
        norm.forward = both.normalise  # type: ignore[method-assign, assignment]
    return len(pairs)


class _Pair:
    """The two ``forward``s; whether they fold depends on what both see alike, so that they always agree."""

    def __init__(self, conv: nn.Conv2d, norm: _BatchNorm) -> None:
        self.conv = conv
        self.norm = norm

    def convolve(self, images: Tensor) -> Tensor:
        """[batch, channels in, height, width] to [batch, channels out, height, width], scaled and shifted if folded."""
        conv = self.conv
        if not self._folds(images):
            plain: Tensor = type(conv).forward(conv, images)
            return plain
        scale, shift = self._scale_and_shift()
        weight = conv.weight * scale.view(-1, 1, 1, 1)
        if type(conv) is Conv2dSame:  # pads for itself, as its forward does
            padded: Tensor = conv2d_same(images, weight, shift, conv.stride, conv.padding, conv.dilation, conv.groups)
            return padded
        folded: Tensor = conv._conv_forward(images, weight, shift)
        return folded

    def normalise(self, images: Tensor) -> Tensor:
        """What is left to do behind the convolution: all of it, or the activation that timm's normalisations carry."""
        if not self._folds(images):
            plain: Tensor = type(self.norm).forward(self.norm, images)
            return plain
        for name in ("drop", "act"):
            if isinstance(after := getattr(self.norm, name, None), nn.Module):
                images = after(images)
        return images

    def _folds(self, images: Tensor) -> bool:
        if self.norm.training or self.norm.running_var is None:
            return False
        if not torch.is_grad_enabled():
            return True
        tensors = [images, *self.conv.parameters(), *self.norm.parameters(recurse=False)]
        return not any(each.requires_grad for each in tensors)

    def _scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """Both [channels out], of the mapping that the normalisation is."""
        conv, norm = self.conv, self.norm
        scale = torch.rsqrt(norm.running_var + norm.eps)  # type: ignore[operator, arg-type]
        shift = -norm.running_mean if conv.bias is None else conv.bias - norm.running_mean  # type: ignore[operator]
        if not norm.affine:
            return scale, shift * scale
        return scale * norm.weight, shift * scale * norm.weight + norm.bias


def _pairs(network: nn.Module, size: int) -> list[tuple[nn.Conv2d, _BatchNorm]]:
    """Convolutions and the normalisations of their outputs, each of which is called once in a pass."""
    made: dict[int, nn.Conv2d] = {}
    kept: list[Tensor] = []  # so that no two tensors share an identity
    calls: dict[nn.Module, int] = {}
    pairs: list[tuple[nn.Conv2d, _BatchNorm]] = []

    def convolved(module: Any, given: Any, output: Tensor) -> None:
        kept.append(output)
        made[id(output)] = module
        calls[module] = calls.get(module, 0) + 1

    def normalising(module: Any, given: tuple[Tensor, ...]) -> None:
        calls[module] = calls.get(module, 0) + 1
        if id(given[0]) in made:
            pairs.append((made[id(given[0])], module))

    handles = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and _known(module):
            handles.append(module.register_forward_hook(convolved))
        elif isinstance(module, _BatchNorm):
            handles.append(module.register_forward_pre_hook(normalising))
    was_training = network.training
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, 3, size, size))
    finally:
        network.train(was_training)
        for handle in handles:
            handle.remove()
    return [pair for pair in pairs if calls[pair[0]] == calls[pair[1]] == 1]


def _known(conv: nn.Conv2d) -> bool:
    """Whether the convolution is done as torch or timm's padding variant does it, or by a ``forward`` of ours."""
    own: tuple[Callable[..., Any], ...] = (nn.Conv2d.forward, Conv2dSame.forward)
    return type(conv).forward in own or type(conv).__module__.startswith("bench.methods.")
