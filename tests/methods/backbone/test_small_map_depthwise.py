"""Depthwise convolutions on small maps: torch's forward pass, torch's gradients by another way."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from bench.methods.backbone.backbone import PACKAGED
from bench.methods.backbone.small_map_depthwise import SmallMapDepthwise, replace_convolutions


@pytest.mark.parametrize(("kernel", "height", "width"), [(5, 3, 3), (5, 4, 2), (7, 3, 5), (5, 1, 1), (7, 2, 6)])
def test_gradients_are_torchs(kernel: int, height: int, width: int) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(6, 6, kernel, padding=kernel // 2, groups=6, bias=False)
    quick = SmallMapDepthwise(plain)
    images = torch.randn(4, 6, height, width).to(memory_format=torch.channels_last).requires_grad_()
    upstream = torch.randn(4, 6, height, width)
    expected = torch.autograd.grad(plain(images), (images, plain.weight), upstream)
    result = quick(images)
    assert "Depthwise" in type(result.grad_fn).__name__
    assert torch.equal(result, plain(images))
    found = torch.autograd.grad(result, (images, plain.weight), upstream)
    for mine, theirs in zip(found, expected, strict=True):
        assert torch.allclose(mine, theirs, atol=1e-5)


def test_gradients_are_right() -> None:
    quick = SmallMapDepthwise(nn.Conv2d(2, 2, 5, padding=2, groups=2, bias=False).double())
    images = torch.randn(2, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda pixels, weight: torch.func.functional_call(quick, {"weight": weight}, pixels), [images, quick.weight]
    )


def test_larger_maps_and_evaluation_take_the_usual_way() -> None:
    quick = SmallMapDepthwise(nn.Conv2d(4, 4, 5, padding=2, groups=4, bias=False))
    assert "Depthwise" not in type(quick(torch.rand(1, 4, 5, 3)).grad_fn).__name__
    with torch.inference_mode():
        assert quick(torch.rand(1, 4, 3, 3)).grad_fn is None
    quick.weight.requires_grad_(False)
    assert quick(torch.rand(1, 4, 3, 3)).grad_fn is None


def test_a_network_keeps_its_tensors_and_its_outputs() -> None:
    torch.manual_seed(0)
    network = timm.create_model(PACKAGED).eval()
    images = torch.rand(2, 3, 96, 96)
    names, expected = list(network.state_dict()), network(images)
    replace_convolutions(network)
    replaced = [each for each in network.modules() if isinstance(each, SmallMapDepthwise)]
    assert len(replaced) == 7
    assert list(network.state_dict()) == names
    assert torch.equal(network(images), expected)
