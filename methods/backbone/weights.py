"""Check weights files, and load them into a network."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from bench.errors import LoadingError
from bench.io import file_digest
from bench.methods.backbone.published_weights import (
    PACKAGED,
    PACKAGED_SHA256_START,
    default_file,
    how_to_get,
    least_size,
)

HASH_IN_NAME = re.compile(r"-([0-9a-f]{8})\.(?:pth|pt|safetensors)$")  # as torch's hub names files
COUNTER = ".num_batches_tracked"  # missing in files of torch before 0.4.1, and never used


def load_weights(network: nn.Module, name: str, weights: str) -> str:
    """Load weights into ``network``, and return their hash ("none" for random weights).

    ``weights`` is a file (.safetensors, or .pt/.pth with tensors only), "none", or empty for ImageNet weights. Names
    and shapes of all tensors must match, except the counters of normalisations: a file is never loaded in part.
    """
    if weights == "none":
        return "none"
    path = Path(weights) if weights else default_file(name)
    if path is None:
        raise missing_weights(name)
    state, digest = read_state(path)
    own = network.state_dict()
    if name == PACKAGED and digest.startswith(PACKAGED_SHA256_START):
        # The package names the modules differently; tensors correspond one to one, in order.
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


def missing_weights(name: str) -> LoadingError:
    """The error for a network whose ImageNet weights are not on this machine."""
    return LoadingError(
        f"No ImageNet weights of {name!r} are on this machine: {how_to_get(name)}, random ones by --weights none, or "
        f"choose --backbone {PACKAGED}, whose weights come with the project."
    )


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

    Raises LoadingError as ``verified_hash``, and for a file that holds anything but tensors by name.
    """
    digest = verified_hash(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path), digest
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # each library raises its own
        raise LoadingError(f"Weights file {path} cannot be loaded ({type(error).__name__}: {error}).") from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(each, Tensor) for each in state.values()):
        raise LoadingError(f"Weights file {path} holds no table of tensors: save the network's state_dict().")
    return dict(state), digest
