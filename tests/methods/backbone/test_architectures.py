"""Any network of timm by its name: families that differ in head, classifier, size of images and order of blocks."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from bench.errors import UsageError
from bench.experiments.cost import size_of
from bench.experiments.execute import build
from bench.experiments.experiment import Resources
from bench.methods.backbone.architectures import check_network
from bench.methods.backbone.backbone import Backbone
from bench.methods.backbone.blocks import first_blocks
from tests.test_every_method import DEVICE, losses_while_training, small

# Width of the pooled feature, pixels, and whether that feature is the classifier's only input.
FAMILIES = {
    "mobilenetv3_small_050": (1024, 64, True),  # a head that widens what was pooled
    "mobilenetv4_conv_small": (1280, 64, True),
    "ghostnet_050": (1280, 64, True),
    "lcnet_035": (1280, 64, True),
    "hgnetv2_b0": (2048, 64, True),
    "dla46_c": (256, 64, True),  # the classifier is a convolution
    "resnetv2_18": (512, 64, True),
    "repvit_m0_9": (384, 64, True),  # a classifier of two layers in a module of its own
    "levit_128s": (384, 224, True),  # two classifiers, averaged
    "vit_tiny_patch16_224": (192, 64, True),  # made for 224 pixels, takes others
    "deit_tiny_distilled_patch16_224": (192, 64, False),  # two classifiers, each with a token of its own
    "crossvit_tiny_240": (288, 64, False),  # two branches
    "densenet121": (1024, 64, True),  # blocks by timm's order
    "resnet18": (512, 64, True),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_feature_and_logits_of_every_family(name: str) -> None:
    width, size, exact = FAMILIES[name]
    check_network(name, size, 0, ("preservation",))
    torch.manual_seed(0)
    backbone = Backbone(name, "none").eval()
    images = torch.rand(2, 3, size, size)
    with torch.no_grad():
        feature, logits = backbone(images), backbone.logits(images)
        plain = backbone.network(torch.addcmul(backbone.shift, images, backbone.scale))  # timm's own way
    assert backbone.width == width
    assert feature.shape == (2, width)
    assert logits.shape == (2, 1000)
    assert torch.equal(logits, plain)
    if exact:
        assert torch.equal(backbone.classify(feature), logits)
    else:
        with pytest.raises(UsageError, match="no classifier on its pooled feature of ImageNet's"):
            backbone.classify(feature)
    frozen = [each for each in backbone.network.parameters() if not each.requires_grad]
    assert 0 < len(frozen) < len(backbone.trainable())


def test_a_network_without_classes_gives_features_alone() -> None:
    backbone = Backbone("test_vit", "none")
    backbone.network.reset_classifier(0)
    images = torch.rand(1, 3, 160, 160)
    assert backbone.eval()(images).shape == (1, backbone.width)
    for ask in (lambda: backbone.logits(images), lambda: backbone.classify(torch.zeros(1, backbone.width))):
        with pytest.raises(UsageError, match="'test_vit' has no classifier of ImageNet's"):
            ask()


@pytest.mark.parametrize(
    ("name", "size", "blocks", "terms", "message"),
    [
        ("levit_128s", 96, -1, (), "does not take images of 96 pixels: give --image-size 224, for which it was made"),
        ("vit_tiny_patch16_224", 100, 0, (), "give --image-size 96 or 112"),
        ("vit_small_patch16_dinov3", 96, 0, ("preservation",), "by --without preservation"),
        (
            "resnet18",
            96,
            9,
            (),
            "but this backbone has 8 blocks: lower it, or freeze nothing by --set frozen_blocks=-1",
        ),
        ("pit_ti_224", 224, 1, (), "has 0 blocks"),
    ],
)
def test_an_unsupported_network_is_refused_before_it_is_built(
    name: str, size: int, blocks: int, terms: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        check_network(name, size, blocks, terms)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["densenet121", "regnetx_002", "swin_tiny_patch4_window7_224", "legacy_seresnet18"])
def test_blocks_follow_one_another_and_hold_no_classifier(name: str) -> None:
    with torch.device("meta"):
        network = Backbone(name, "none", frozen_blocks=-1).network
    classifier = {id(each) for each in network.get_classifier().parameters()}

    def frozen(count: int) -> set[int]:
        return {id(each) for module in first_blocks(network, count) for each in module.parameters()}

    steps = [frozen(count) for count in range(4)]
    assert all(before < after for before, after in pairwise(steps))
    assert not steps[-1] & classifier


@pytest.mark.parametrize(("name", "size"), [("mobilenetv4_conv_small", 32), ("vit_tiny_patch16_224", 32)])
def test_the_framework_trains_and_counts_other_networks(name: str, size: int, resources: Resources) -> None:
    settings = (f"backbone={name}", "weights=none", f"image_size={size}", "frozen_blocks=1")
    experiment = small("ours", resources, *settings)
    (terms,) = losses_while_training(experiment, resources, steps=1)
    assert set(terms) == {"quadruplet", "classification", "preservation"}
    assert all(torch.isfinite(torch.tensor(value)) for value in terms.values())
    counted = size_of(build(experiment, resources, DEVICE).eval(), size, DEVICE)
    assert counted["parameters"] > 1e6
    assert counted["flops"] > 1e6
