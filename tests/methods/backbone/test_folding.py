"""Folded normalisations: the same mapping and the same gradients as torch's, and only where statistics are frozen."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from bench.methods.backbone.folding import fold

NETWORKS = ("test_efficientnet", "efficientnet_lite0", "tf_efficientnet_b0", "resnet18", "resnet50", "resnet50d")


def trained(name: str) -> Any:
    """A network in float64 whose normalisations are as after training, not 0 and 1."""
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return network.double().eval()


def folded(network: nn.Module) -> nn.Module:
    """A folded copy."""
    network = copy.deepcopy(network)
    fold(network)
    return network


def images() -> Tensor:
    return torch.rand(2, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


class CountNormalisations(TorchDispatchMode):
    """Counts the normalisations that torch computes."""

    count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += "batch_norm" in str(function)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_and_gradients_are_those_of_the_separate_layers(name: str) -> None:
    plain = trained(name)
    both = plain, folded(plain)
    outputs = [network(images()) for network in both]
    assert torch.allclose(*outputs, rtol=1e-9, atol=1e-9)
    for output in outputs:
        output.square().sum().backward()
    gradients = [{name: each.grad for name, each in network.named_parameters()} for network in both]
    assert gradients[0].keys() == gradients[1].keys()
    for parameter, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][parameter], gradient, rtol=1e-6, atol=1e-7, msg=parameter)


@pytest.mark.parametrize(("name", "left"), [("tf_efficientnet_b0", 0), ("resnet18", 3), ("resnet50", 4)])
def test_only_normalisations_of_other_modules_are_computed(name: str, left: int) -> None:
    with CountNormalisations() as counted:
        folded(trained(name))(images())
    assert counted.count == left  # those of ResNet's shortcuts are in a Sequential


def test_statistics_of_the_batch_are_computed_in_training_mode() -> None:
    plain = trained("test_efficientnet").train()
    network = folded(plain)
    torch.testing.assert_close(network(images()), plain(images()))
    for mine, theirs in zip(network.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_a_copy_folds_its_own_weights() -> None:
    original = folded(trained("test_efficientnet"))
    before = original(images())
    with torch.no_grad():
        for parameter in copy.deepcopy(original).parameters():
            parameter.zero_()
    assert torch.equal(original(images()), before)
