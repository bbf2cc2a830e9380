"""Tensors in files that are whole or absent, with a digest of what they hold; digests of any file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from bench.write_files import write_whole


def write_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, object]) -> None:
    """A safetensors file of ``tensors`` with ``facts`` (whatever JSON holds) and a digest of both.

    Raises StorageError as ``write_whole`` does.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(facts)
    write_whole(path, save(plain, metadata={"facts": text, "digest": digest_of(plain, text)}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, object]] | None:
    """Tensors and facts that ``write_tensors`` wrote; None when the file is absent, cut off or altered."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dictionary
            kept = file.metadata() or {}
        facts = json.loads(kept["facts"])
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
    return (tensors, facts) if digest_of(tensors, kept["facts"]) == kept.get("digest") else None


def facts_of(path: Path) -> dict[str, object] | None:
    """The facts that ``write_tensors`` wrote, without reading the tensors or comparing the digest."""
    try:
        with safe_open(path, framework="pt") as file:
            facts: dict[str, object] = json.loads((file.metadata() or {})["facts"])
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
    return facts


def digest_of(tensors: Mapping[str, Tensor], text: str = "") -> str:
    """SHA-256 of names, shapes, types and bytes of tensors and of ``text``: 64 hex digits."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        content: Any = tensor.reshape(-1).view(torch.uint8).numpy()
        digest.update(content)
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of what is in a file, 64 hex digits; a file that has not changed since is not read again.

    Raises OSError when it cannot be read.
    """
    facts = path.stat()
    return _digest_of_file(path.absolute(), facts.st_mtime_ns, facts.st_size, facts.st_ino)


@lru_cache(maxsize=64)
def _digest_of_file(path: Path, *_: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
