"""What a run costs, by hand."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from bench.devices import keep_freed_memory
from bench.experiments.cost import cost_of, forget_peak, peak_memory, size_of
from bench.methods.backbone.backbone import PACKAGED, Backbone
from bench.methods.base import Context, Method, NoSettings
from bench.methods.modules.domain_tag import DomainTag
from bench.settings.run_settings import RunSettings

CPU = torch.device("cpu")


class Two(Method):
    """One layer that embeds, one that only a loss would use, and one that both domains share."""

    def __init__(self, tmp: Any) -> None:
        super().__init__(NoSettings(), Context(RunSettings(), (), tmp))
        self.convolution = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.shared = nn.Linear(4, 2)
        self.loss_head = nn.Linear(2, 1000)

    def embed(self, images: Tensor, is_photo: bool) -> Tensor:
        return self.shared(self.shared.weight.new_tensor(1.0) * self.convolution(images).mean(dim=(2, 3)))


class Embedding(Method):
    """A backbone as methods use it."""

    def __init__(self, settings: NoSettings, context: Context) -> None:
        super().__init__(settings, context)
        self.backbone = Backbone(context.run.backbone, "none")
        self.eval()

    def embed(self, images: Tensor, is_photo: bool) -> Tensor:
        feature: Tensor = self.backbone(images)
        return feature


class Nothing(Method):
    """No network at all."""

    def embed(self, images: Tensor, is_photo: bool) -> Tensor:
        return images.mean(dim=(2, 3))


def test_parameters_and_operations_of_the_network_that_embeds(tmp_path: Any) -> None:
    found = size_of(Two(tmp_path), 8, CPU)
    assert found["parameters"] == 4 * 3 * 9 + 4 * 2 + 2
    # Each of 8 x 8 x 4 outputs takes 27 products and sums; then a product of [1, 4] with [4, 2].
    assert found["flops"] == 2 * 64 * 4 * 27 + 2 * 4 * 2


def test_operations_of_a_backbone_are_its_architectures(tmp_path: Any) -> None:
    """However its convolutions are carried out here: zeros that a kernel grows by are nobody's work."""
    embeds = Embedding(NoSettings(), Context(RunSettings(backbone=PACKAGED), (), tmp_path))
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network = timm.create_model(PACKAGED).eval()
        network.forward_head(network.forward_features(torch.zeros(1, 3, 96, 96)), pre_logits=True)
    assert size_of(embeds, 96, CPU)["flops"] == counter.get_total_flops()


def test_parameters_outside_of_any_layer_that_is_called_count(tmp_path: Any) -> None:
    """A transformer's embedding of positions, the columns that SAKE's network adds for a domain."""
    run = RunSettings(backbone="test_vit", image_size=160)
    embeds = Embedding(NoSettings(), Context(run, (), tmp_path))
    network = timm.create_model("test_vit", num_classes=0)
    assert any(name == "pos_embed" for name, _ in network.named_parameters())
    assert size_of(embeds, 160, CPU)["parameters"] == sum(each.numel() for each in network.parameters())
    tagged = Embedding(NoSettings(), Context(RunSettings(backbone="legacy_seresnet18"), (), tmp_path))
    plain = size_of(tagged, 64, CPU)["parameters"]
    tag = DomainTag(tagged.backbone)
    tagged.add_module("tag", tag)
    tagged.embed = lambda images, is_photo: tag(tagged.backbone, images, torch.zeros(1, dtype=torch.bool))  # type: ignore[method-assign]
    assert size_of(tagged, 64, CPU)["parameters"] == plain + sum(each.numel() for each in tag.parameters())


def test_figures_of_a_run(tmp_path: Any) -> None:
    found = cost_of(Two(tmp_path), 8, {"embedding": 2.0, "training": 60.0}, 300, CPU)
    assert found["images_per_second"] == 150
    assert found["peak_memory"] >= 1e7
    assert "peak_device_memory" not in found
    assert "images_per_second" not in cost_of(Two(tmp_path), 8, {"embedding": 2.0}, 0, CPU)  # all from the cache


def test_a_method_without_a_network_has_no_size(tmp_path: Any) -> None:
    bare = Nothing(NoSettings(), Context(RunSettings(), (), tmp_path))
    assert set(cost_of(bare, 8, {"embedding": 1.0}, 10, CPU)) == {"images_per_second", "peak_memory"}


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process can be reset on Linux only")
def test_the_peak_of_a_run_is_its_own() -> None:
    """Also where an earlier training of the process kept the memory that it freed."""
    keep_freed_memory(CPU)
    torch.ones(2**27)
    forget_peak(CPU)
    before = peak_memory()
    held = torch.ones(2**26)  # 256 MB
    assert peak_memory() > before + 2e8
    del held
    forget_peak(CPU)
    assert peak_memory() < before + 1e8
