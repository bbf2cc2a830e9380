"""Frozen normalisations are fused into convolutions; layers that are trained are not."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from torch import Tensor, nn

from bench.methods.backbone.fuse_conv_bn import fuse_conv_bn


def with_statistics(network: nn.Module) -> nn.Module:
    """Statistics and weights of every normalisation as a trained network has them, not 0 and 1."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None and module.running_var is not None:
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.uniform_(module.bias, -0.5, 0.5)
    return network


def count_normalisations(network: nn.Module, run: object) -> int:
    """How many normalisations torch computes while ``run`` is called."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Count(TorchDispatchMode):
        found = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            Count.found += "batch_norm" in str(function)
            return function(*args, **(kwargs or {}))

    with Count():
        run()  # type: ignore[operator]
    return Count.found


@pytest.mark.parametrize(("affine", "bias"), [(True, False), (False, False), (True, True), (False, True)])
def test_fused_layers_give_the_same_result_in_float64(affine: bool, bias: bool) -> None:
    torch.manual_seed(0)
    network = with_statistics(nn.Sequential(nn.Conv2d(3, 5, 3, bias=bias), nn.BatchNorm2d(5, affine=affine), nn.ReLU()))
    network = network.double().eval()
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    expected = network(images).detach()
    with torch.no_grad():
        network.float()
        assert fuse_conv_bn(network, 16) == 1
        network.double()
        assert torch.allclose(network(images), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "pairs"), [("tf_efficientnet_lite0", 49), ("resnet18", 20), ("mobilenetv3_small_050", 34)]
)
def test_whole_networks(name: str, pairs: int) -> None:
    torch.manual_seed(0)
    network = with_statistics(timm.create_model(name)).double().eval()
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        expected = network(images)
        network.float()
        assert fuse_conv_bn(network, 64) == pairs
        network.double()
        assert torch.allclose(network(images), expected, rtol=1e-9, atol=1e-9)
        assert count_normalisations(network, lambda: network(images)) == 0


def test_a_network_without_normalisations_is_unchanged() -> None:
    assert fuse_conv_bn(timm.create_model("vit_tiny_patch16_224"), 224) == 0


def test_trained_layers_are_not_fused() -> None:
    torch.manual_seed(0)
    network = with_statistics(
        nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Conv2d(5, 5, 3), nn.BatchNorm2d(5))
    )
    plain = copy.deepcopy(network).eval()
    fuse_conv_bn(network, 16)
    network.eval()
    network[:2].requires_grad_(False)
    images = torch.randn(2, 3, 8, 8)
    assert count_normalisations(network, lambda: network(images)) == 1  # only the first, frozen pair is fused
    network(images).sum().backward()
    plain(images).sum().backward()
    assert network[0].weight.grad is None
    for mine, theirs in zip(network[2:].parameters(), plain[2:].parameters(), strict=True):
        assert mine.grad is not None
        assert theirs.grad is not None
        assert torch.allclose(mine.grad, theirs.grad, rtol=1e-3, atol=1e-4)
    # A gradient that only passes through must be that of the normalisation too.
    assert count_normalisations(network, lambda: network(images.clone().requires_grad_())) == 2


def test_batch_statistics_are_never_fused() -> None:
    network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5))
    fuse_conv_bn(network, 16)
    network.train()
    with torch.no_grad():
        found: Tensor = network(torch.randn(8, 3, 8, 8))
    assert torch.allclose(found.mean(dim=(0, 2, 3)), torch.zeros(5), atol=1e-5)


def test_layers_called_twice_are_not_fused() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)

        def forward(self, images: Tensor) -> Tensor:
            return self.norm(self.conv(self.norm(self.conv(images))))  # type: ignore[no-any-return]

    assert fuse_conv_bn(Twice(), 16) == 0


def test_a_copy_fuses_its_own_tensors() -> None:
    torch.manual_seed(0)
    network = with_statistics(nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)))
    fuse_conv_bn(network, 16)
    network.eval()
    other = copy.deepcopy(network)
    images = torch.randn(1, 3, 8, 8)
    with torch.no_grad():
        before = network(images)
        other[0].weight.zero_()
        assert torch.equal(network(images), before)
        assert not torch.equal(other(images), before)
    assert list(other.state_dict()) == list(network.state_dict())
