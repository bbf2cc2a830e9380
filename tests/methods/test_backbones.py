from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from bench.errors import LoadingError, UsageError
from datasets.base import DATASETS
from datasets.images import load
from methods.backbones import PACKAGED, Backbone

CLASS_OF_PICTURE = {
    "image/ambulance/twemoji.webp": 407,
    "image/baseball/twemoji.webp": 429,
    "image/basketball/fluent-3d.webp": 430,
}


def test_the_packaged_weights_know_imagenet(tmp_path: Path) -> None:
    """Class numbers are ImageNet's: ambulance, baseball, basketball."""
    backbone = Backbone(PACKAGED).eval()
    emoji = DATASETS.get("emoji")(tmp_path)
    for path, number in CLASS_OF_PICTURE.items():
        image = load(emoji, path, 224)[None] / 255
        with torch.inference_mode():
            assert backbone.classify(backbone(image))[0].argmax().item() == number, path


def test_the_network_is_timms_bit_for_bit(tmp_path: Path) -> None:
    backbone = Backbone(PACKAGED).eval()
    plain = timm.create_model(PACKAGED).eval()
    plain.load_state_dict(backbone.network.state_dict())
    images = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(backbone.classify(backbone(images)), plain((images - 0.5) / 0.5))


def test_what_is_frozen_stays(tmp_path: Path) -> None:
    backbone = Backbone(PACKAGED, frozen_blocks=5).train()
    frozen = {name for name, each in backbone.network.named_parameters() if not each.requires_grad}
    assert "conv_stem.weight" in frozen
    assert "blocks.2.1.conv_pw.weight" in frozen
    assert "blocks.3.0.conv_pw.weight" not in frozen
    assert not any(each.training for each in backbone.modules() if isinstance(each, torch.nn.BatchNorm2d))
    count = sum(each.numel() for each in backbone.trainable())
    assert 0 < count < sum(each.numel() for each in backbone.parameters())


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224"])
def test_other_networks_by_name(name: str) -> None:
    backbone = Backbone(name, "none", frozen_blocks=2)
    images = torch.rand(1, 3, 224, 224)
    feature = backbone.eval()(images)
    assert feature.shape == (1, backbone.width)
    assert backbone.classify(feature).shape == (1, 1000)
    assert any(not each.requires_grad for each in backbone.parameters())


def test_weights_from_a_file(tmp_path: Path) -> None:
    state = timm.create_model("resnet18").state_dict()
    for name, save in (("w.safetensors", save_file), ("w.pth", torch.save)):
        path = tmp_path / name
        save({key: value.contiguous() for key, value in state.items()}, path)
        backbone = Backbone("resnet18", str(path))
        assert torch.equal(backbone.network.state_dict()["fc.weight"], state["fc.weight"])
        assert len(backbone.weights_hash) == 64


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        ("resnet18", "", "No ImageNet weights of 'resnet18' are on this machine"),
        ("resnet18", "missing.pth", "cannot be loaded"),
        ("resnet18", "text.safetensors", "cannot be loaded"),
        ("resnet18", "other.safetensors", "does not fit 'resnet18'"),
        ("resnet18", "evil.pth", "cannot be loaded"),
    ],
)
def test_weights_that_cannot_be_used(
    name: str, weights: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.safetensors").write_text("text")
    save_file({"fc.weight": torch.zeros(2, 2)}, "other.safetensors")
    torch.save(Bomb(), "evil.pth")
    with pytest.raises(LoadingError, match=message):
        Backbone(name, weights)
    assert not Path("exploded").exists()


class Bomb:
    """What an attacker would put into a weights file: code that runs when it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return (open, ("exploded", "w"))


def test_an_unknown_network_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"There is no backbone 'resnet5'. Did you mean 'resnet"):
        Backbone("resnet5")


def test_too_many_frozen_blocks() -> None:
    with pytest.raises(UsageError, match="'frozen_blocks' is 99, but this backbone has 16 blocks"):
        Backbone(PACKAGED, frozen_blocks=99)
