"""Weights files: what is checked before one is read, and how its tensors come into a network."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from bench.errors import LoadingError
from bench.io import file_digest
from bench.methods.backbone.published_weights import PACKAGED, PACKAGED_SHA256_START, bytes_of, default_file, how_to_get

HASH_IN_NAME = re.compile(r"-([0-9a-f]{8})\.(?:pth|pt|safetensors)$")  # as torch's hub names files
COUNTER = ".num_batches_tracked"  # which files older than torch 0.4.1 lack, and nothing here reads


def load_weights(network: nn.Module, name: str, weights: str) -> str:
    """Put weights into ``network``; the hash that identifies them ("none" for random ones).

    ``weights`` is a file (.safetensors, or .pt/.pth holding tensors only), "none", or empty for ImageNet's. Every
    tensor must have its place, but for the counters of normalisations: nothing is loaded as far as it happens to fit.
    """
    if weights == "none":
        return "none"
    path = Path(weights) if weights else default_file(name)
    if path is None:
        raise no_weights(name)
    state, digest = read_state(path)
    own = network.state_dict()
    if name == PACKAGED and digest.startswith(PACKAGED_SHA256_START):
        # The package's network is the same one under other module names: tensors correspond one to one, in order.
        state = dict(zip(own, state.values(), strict=True))
    state = {key: value for key, value in own.items() if key.endswith(COUNTER)} | state
    wrong = [key for key in own if key not in state or state[key].shape != own[key].shape]
    wrong += [key for key in state if key not in own]
    if wrong:
        raise LoadingError(
            f"Weights file {path.name} does not fit {name!r} (first at {wrong[0]}): give the weights of that network."
        )
    network.load_state_dict(state)
    return digest


def no_weights(name: str) -> LoadingError:
    """The sentence on a network whose ImageNet weights were asked for and are not at hand."""
    return LoadingError(
        f"No ImageNet weights of {name!r} are on this machine: {how_to_get(name)}, random ones by --weights none, or "
        f"take --backbone {PACKAGED}, whose weights come with the project."
    )


def checked_hash(path: Path) -> str:
    """SHA-256 of a weights file, which must begin with the digits that its name carries, if it does.

    Raises LoadingError when it cannot be read, was cut off or is another file than its name says.
    """
    try:
        digest, size = file_digest(path), path.stat().st_size
    except OSError as error:
        raise LoadingError(f"Weights file {path} cannot be loaded ({error.strerror}): check --weights.") from error
    named = HASH_IN_NAME.search(path.name)
    if named is None or digest.startswith(named[1]):
        return digest
    whole = bytes_of(path.name)
    if whole is not None and size < whole:
        raise LoadingError(
            f"Weights file {path} was cut off ({size / 2**20:.1f} of {whole / 2**20:.1f} MiB): fetch it again."
        )
    raise LoadingError(
        f"Weights file {path} is not what its name says (its SHA-256 begins with {digest[:8]}): fetch it again, or "
        "rename it if these digits mean something else."
    )


def read_state(path: Path) -> tuple[dict[str, Tensor], str]:
    """Tensors of a weights file by name, and the file's SHA-256; nothing in it is executed.

    Raises LoadingError as ``checked_hash`` does, and for a file that holds anything but tensors by name.
    """
    digest = checked_hash(path)
    try:
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
