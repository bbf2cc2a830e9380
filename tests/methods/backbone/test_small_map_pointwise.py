"""1x1 convolutions on small maps: torch's forward pass, torch's gradients by another way."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from bench.methods.backbone.backbone import PACKAGED
from bench.methods.backbone.small_map_pointwise import SmallMapPointwise, replace_convolutions


@pytest.mark.parametrize("memory", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize(("height", "width"), [(3, 3), (6, 5), (1, 1), (7, 2)])
def test_gradients_are_torchs(height: int, width: int, memory: torch.memory_format) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(6, 10, 1, bias=False)
    quick = SmallMapPointwise(plain)
    images = torch.randn(4, 6, height, width).to(memory_format=memory).requires_grad_()
    upstream = torch.randn(4, 10, height, width)
    expected = torch.autograd.grad(plain(images), (images, plain.weight), upstream)
    result = quick(images)
    assert "Pointwise" in type(result.grad_fn).__name__
    assert torch.equal(result, plain(images))
    found = torch.autograd.grad(result, (images, plain.weight), upstream)
    for mine, theirs in zip(found, expected, strict=True):
        assert torch.allclose(mine, theirs, atol=1e-5)


def test_gradients_are_right() -> None:
    quick = SmallMapPointwise(nn.Conv2d(2, 3, 1, bias=False).double())
    images = torch.randn(2, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda pixels, weight: torch.func.functional_call(quick, {"weight": weight}, pixels), [images, quick.weight]
    )


def test_larger_maps_and_evaluation_take_the_usual_way() -> None:
    quick = SmallMapPointwise(nn.Conv2d(4, 4, 1, bias=False))
    assert "Pointwise" not in type(quick(torch.rand(1, 4, 12, 3)).grad_fn).__name__
    with torch.inference_mode():
        assert quick(torch.rand(1, 4, 3, 3)).grad_fn is None
    quick.weight.requires_grad_(False)
    assert quick(torch.rand(1, 4, 3, 3)).grad_fn is None


def test_only_plain_pointwise_convolutions_are_replaced() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 1, bias=False),
        nn.Conv2d(4, 4, 1),
        nn.Conv2d(4, 4, 1, stride=2, bias=False),
        nn.Conv2d(4, 4, 1, groups=2, bias=False),
        nn.Conv2d(4, 4, 3, bias=False),
        nn.Conv2d(4, 4, 1, padding=1, bias=False),
    )
    replace_convolutions(network)
    assert [isinstance(each, SmallMapPointwise) for each in network] == [True] + [False] * 5


def test_a_network_keeps_its_tensors_and_its_outputs() -> None:
    torch.manual_seed(0)
    network = timm.create_model(PACKAGED).eval()
    images = torch.rand(2, 3, 96, 96)
    names, expected = list(network.state_dict()), network(images)
    replace_convolutions(network)
    assert sum(isinstance(each, SmallMapPointwise) for each in network.modules()) == 32
    assert list(network.state_dict()) == names
    assert torch.equal(network(images), expected)
