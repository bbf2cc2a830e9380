"""The domain tag: no effect at first, SAKE's concatenation once it has learned."""

from __future__ import annotations

import pytest
import torch

from bench.methods.backbone.backbone import PACKAGED, Backbone
from bench.methods.modules.domain_tag import DomainTag, Gate

IMAGES = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
IS_PHOTO = torch.tensor([False, True, True])


@pytest.mark.parametrize("name", [PACKAGED, "legacy_seresnet18", "mobilenetv3_small_050", "vit_tiny_patch16_224"])
def test_an_untrained_tag_changes_nothing(name: str) -> None:
    images = IMAGES if "vit" not in name else torch.rand(3, 3, 224, 224)
    backbone = Backbone(name, "" if name == PACKAGED else "none").eval()
    with torch.no_grad():
        plain = backbone(images)
        tag = DomainTag(backbone)
        assert torch.allclose(tag(backbone, images, IS_PHOTO), plain, atol=1e-6)
    assert len(tag.columns) > 0 or hasattr(tag, "gate")


def test_the_tag_in_squeeze_and_excitation_is_a_joined_input() -> None:
    backbone = Backbone("legacy_seresnet18", "none").eval()
    modules = [each for each in backbone.modules() if type(each).__name__ == "SEModule"]
    tag = DomainTag(backbone)
    assert len(tag.columns) == len(modules) == 8
    module, column = modules[0], tag.columns[0]
    with torch.no_grad():
        column.copy_(torch.randn(len(column), generator=torch.Generator().manual_seed(1)))
        values = torch.rand(3, len(column), 5, 5)
        tag.tag = IS_PHOTO.float()
        told = module(values)
        tag.tag = None
        untold = module(values)
        means = values.mean(dim=(2, 3))
        hidden = torch.relu(means @ module.fc1.weight[:, :, 0, 0].T + module.fc1.bias)
        joined = torch.cat([hidden, IS_PHOTO.float()[:, None]], dim=1)
        weight = torch.cat([module.fc2.weight[:, :, 0, 0], column[:, None]], dim=1)
        gate = torch.sigmoid(joined @ weight.T + module.fc2.bias)
    assert torch.allclose(told, values * gate[:, :, None, None], atol=1e-5)
    assert torch.allclose(told[0], untold[0])
    assert not torch.allclose(told[1], untold[1])


def test_the_tag_is_forgotten_after_each_batch_and_learns() -> None:
    backbone = Backbone("legacy_seresnet18", "none").train()
    tag = DomainTag(backbone)
    tag(backbone, IMAGES, IS_PHOTO).sum().backward()
    assert tag.tag is None
    assert all(column.grad is not None for column in tag.columns)
    assert max(float(column.grad.abs().max()) for column in tag.columns) > 0


def test_frozen_squeeze_and_excitation_is_left_alone() -> None:
    every = DomainTag(Backbone("legacy_seresnet18", "none"))
    fewer = DomainTag(Backbone("legacy_seresnet18", "none", frozen_blocks=3))
    assert len(every.columns) - len(fewer.columns) == 3


def test_a_gate_tells_the_domains_apart_once_it_has_learned() -> None:
    torch.manual_seed(0)
    gate = Gate(32)
    feature = torch.rand(1, 32).repeat(2, 1)
    tag = torch.tensor([0.0, 1.0])
    assert torch.equal(gate(feature, tag), feature)
    with torch.no_grad():
        gate.excite.weight[:, -1] = 1.0
    sketch, photo = gate(feature, tag)
    assert torch.equal(sketch, feature[0])
    assert torch.allclose(photo, feature[0] * 2 * torch.sigmoid(torch.tensor(1.0)))
