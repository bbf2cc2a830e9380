"""Check weights files, and load them into a network."""

from __future__ import annotations

import logging
import re
from collections.abc import Set
from pathlib import Path

import torch
from safetensors.torch import load
from timm.models import clean_state_dict
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import Tensor, nn

from bench.errors import LoadingError
from bench.io import file_digest
from bench.methods.backbone.classifiers import CLASSES, classifier_layers
from bench.methods.backbone.published_weights import (
    PACKAGED,
    PACKAGES,
    default_file,
    how_to_get,
    least_size,
)

log = logging.getLogger("bench.methods.backbone.weights")

HASH_IN_NAME = re.compile(r"-([0-9a-f]{8})\.(?:pth|pt|safetensors)$")  # as torch's hub names files
NESTED = ("state_dict_ema", "model_ema", "state_dict", "model", "model_state_dict")  # the first ones as in timm
PATCHES = "patch_embed.proj.weight"  # by timm's name
# A tensor of CLIP's and of DINOv2's own files, which timm renames, and that of the patches.
OTHER_FORMATS = {"visual.class_embedding": "visual.conv1.weight", "mask_token": PATCHES}
COUNTER = ".num_batches_tracked"  # missing in files of torch before 0.4.1, and never used


def load_weights(network: nn.Module, name: str, weights: str) -> tuple[str, bool]:
    """Load weights into ``network``; return their hash ("none" for random weights) and whether they have a classifier.

    ``weights`` is a file (.safetensors, or .pt/.pth with tensors only), "none", or empty for ImageNet weights. All
    tensors of the network must be in the file with the same names and shapes, except counters of normalisations and
    the classifier. A classifier of other classes is left out, and so are other parts of a larger network; both are
    logged.
    """
    if weights == "none":
        return "none", True
    path = Path(weights) if weights else default_file(name)
    if path is None:
        raise missing_weights(name)
    state, digest = read_state(path)
    own = network.state_dict()
    if name in PACKAGES and PACKAGES[name].file.endswith(f"-{digest[:8]}.pth"):
        # The packages name the modules differently; tensors correspond one to one, in order.
        state = dict(zip(own, state.values(), strict=True))
    formats = [each for each in OTHER_FORMATS if each in state] if isinstance(network, VisionTransformer) else []
    if formats:
        patches = state.get(OTHER_FORMATS[formats[0]])
        if patches is not None and (PATCHES not in own or patches.shape != own[PATCHES].shape):  # timm resamples them
            raise _does_not_fit(path, name, PATCHES)
        state = {key: value for key, value in checkpoint_filter_fn(state, network).items() if key != "mask_token"}
    classifier = _classifier_tensors(network)
    optional = classifier | {key for key in own if key.endswith(COUNTER)}
    state, others = _select_part(state, own.keys() - optional, path)
    classifies = all(key in state and state[key].shape == own[key].shape for key in classifier)
    if not classifies:
        state = {key: value for key, value in state.items() if key not in classifier}
    state = {key: own[key] for key in optional} | state
    wrong = [key for key in own if key not in state or state[key].shape != own[key].shape]
    wrong += [key for key in state if key not in own]
    if wrong:
        raise _does_not_fit(path, name, wrong[0])
    network.load_state_dict(state)
    if not classifies:
        log.warning("Weights file %s has no classifier of %d classes: no classifier is loaded.", path.name, CLASSES)
    if others:
        log.warning("Weights file %s: tensors of other parts left out: %d (%s ...)", path.name, len(others), others[0])
    return digest, classifies


def _does_not_fit(path: Path, name: str, first: str) -> LoadingError:
    return LoadingError(
        f"Weights file {path.name} does not fit {name!r} (first at {first}): give the weights of that network."
    )


def _classifier_tensors(network: nn.Module) -> set[str]:
    layers = classifier_layers(network)
    prefixes = tuple(f"{name}." for name, module in network.named_modules() if module in layers)
    return {key for key in network.state_dict() if key.startswith(prefixes)}


def _select_part(state: dict[str, Tensor], needed: Set[str], path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """The part of a larger network that has all ``needed`` names, below a prefix such as ``backbone.``; other names.

    Everything if no part has them, or if they have no prefix. Raises LoadingError if several parts have them.
    """
    first = min(needed)
    prefixes = sorted({key.removesuffix(first) for key in state if key.endswith(f".{first}")})
    parts = {prefix: {k.removeprefix(prefix): state[k] for k in state if k.startswith(prefix)} for prefix in prefixes}
    found = {prefix: part for prefix, part in parts.items() if needed <= part.keys()}
    if needed <= state.keys() or not found:
        return state, []
    if len(found) > 1:
        raise LoadingError(f"Weights file {path} holds several such networks ({', '.join(found)}): save one of them.")
    ((prefix, part),) = found.items()
    return part, [key for key in state if not key.startswith(prefix)]


def missing_weights(name: str, reason: str = "", *, replaceable: bool = True) -> LoadingError:
    """The error for a network whose published weights are not on this machine; ``reason``: why no download helped.

    ``replaceable``: whether the run can use another network.
    """
    random = "random ones by --weights none"
    cure = (
        f"{random}, or choose --backbone {PACKAGED}, whose weights come with the project"
        if replaceable
        else f"or {random}"
    )
    kind = "ImageNet weights" if replaceable else "weights"
    where = f"on this machine{f' ({reason})' if reason else ''}"
    return LoadingError(f"No {kind} of {name!r} are {where}: {how_to_get(name)}, {cure}.")


def verified_hash(path: Path) -> str:
    """SHA-256 of a weights file, checked against the digits in its name, if any.

    Raises LoadingError if the file cannot be read, is truncated, or does not have the hash of its name.
    """
    try:
        digest, size = file_digest(path), path.stat().st_size
    except OSError as error:
        raise LoadingError(f"Weights file {path} cannot be loaded ({error.strerror}): check --weights.") from error
    named = HASH_IN_NAME.search(path.name)
    if named is None or digest.startswith(named[1]):
        return digest
    whole = least_size(path.name)
    if whole is not None and size < whole:
        raise LoadingError(
            f"Weights file {path} is truncated ({size / 2**20:.1f} of {whole / 2**20:.1f} MiB): download it again."
        )
    raise LoadingError(
        f"Weights file {path} does not have the hash in its name (its SHA-256 begins with {digest[:8]}): download it "
        "again, or rename it if the digits in its name are no hash."
    )


def read_state(path: Path) -> tuple[dict[str, Tensor], str]:
    """Tensors of a weights file by name, and its SHA-256; no code in the file is executed.

    They may be nested, as in checkpoints with a ``state_dict``, and have the prefixes of torch's wrappers. Raises
    LoadingError as ``verified_hash``, and for a file that holds anything but tensors by name.
    """
    digest = verified_hash(path)
    try:
        if path.suffix == ".safetensors":
            return load(path.read_bytes()), digest
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # each library raises its own
        if "TorchScript" in str(error):
            raise LoadingError(
                f"Weights file {path} is a TorchScript archive, which holds code: if you trust it, convert it by "
                f"torch.save(torch.jit.load({path.name!r}, 'cpu').state_dict(), 'weights.pth')."
            ) from error
        if type(error).__name__ == "UnpicklingError":
            raise LoadingError(
                f"Weights file {path} holds Python objects, which could run code, or is damaged: load it in the "
                "program that wrote it, and convert it by torch.save(model.state_dict(), 'weights.pth')."
            ) from error
        raise LoadingError(f"Weights file {path} cannot be loaded ({type(error).__name__}: {error}).") from error
    while isinstance(state, dict) and (nested := [each for each in NESTED if isinstance(state.get(each), dict)]):
        state = state[nested[0]]
    if not isinstance(state, dict) or not all(isinstance(each, Tensor) for each in state.values()):
        raise LoadingError(f"Weights file {path} holds no table of tensors: save the network's state_dict().")
    return clean_state_dict(state), digest
