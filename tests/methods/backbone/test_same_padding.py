"""TensorFlow's padding by a kernel with zeros instead of a padded map: the same sums."""

from __future__ import annotations

import pytest
import timm
import torch
from timm.layers import Conv2dSame

from bench.methods.backbone.backbone import PACKAGED
from bench.methods.backbone.same_padding import EvenKernelSame, replace_convolutions


@pytest.mark.parametrize("kernel", [3, 5, 4])
@pytest.mark.parametrize(("height", "width"), [(6, 6), (7, 6), (6, 7), (9, 5), (2, 4), (1, 1)])
def test_results_and_gradients_are_timms(kernel: int, height: int, width: int) -> None:
    torch.manual_seed(0)
    plain = Conv2dSame(6, 6, kernel, stride=2, groups=6, bias=False).double()
    quick = EvenKernelSame(plain)
    images = torch.randn(4, 6, height, width, dtype=torch.float64).requires_grad_()
    result, expected = quick(images), plain(images)
    assert result.shape == expected.shape
    assert torch.allclose(result, expected, atol=1e-12)
    upstream = torch.randn_like(expected)
    found = torch.autograd.grad(result, (images, quick.weight), upstream)
    for mine, theirs in zip(found, torch.autograd.grad(expected, (images, plain.weight), upstream), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-12)


def test_the_map_is_copied_only_where_it_must_be(monkeypatch: pytest.MonkeyPatch) -> None:
    padded: list[tuple[int, ...]] = []
    pad = torch.nn.functional.pad

    def noted(tensor: torch.Tensor, amounts: tuple[int, ...]) -> torch.Tensor:
        padded.append(tuple(tensor.shape))
        return pad(tensor, amounts)

    quick = EvenKernelSame(Conv2dSame(6, 6, 3, stride=2, groups=6, bias=False))
    monkeypatch.setattr("bench.methods.backbone.same_padding.F.pad", noted)
    quick(torch.rand(4, 6, 8, 8))
    assert padded == [(6, 1, 3, 3)]
    quick(torch.rand(4, 6, 7, 8))
    assert padded[1] == (4, 6, 7, 8)


def test_a_network_keeps_its_tensors_and_its_outputs() -> None:
    torch.manual_seed(0)
    network = timm.create_model(PACKAGED).eval()
    images = torch.rand(2, 3, 96, 96)
    names, expected = list(network.state_dict()), network(images)
    replace_convolutions(network)
    assert sum(isinstance(each, EvenKernelSame) for each in network.modules()) == 4
    assert list(network.state_dict()) == names
    assert torch.allclose(network(images), expected, atol=1e-5)
