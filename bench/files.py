"""Files that are whole or absent: tensors and bytes written aside, flushed to the disk and renamed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from bench.errors import StorageError

ABANDONED_SECONDS = 3600.0  # no write takes as long: what is older belongs to a process that was killed


def write_whole(path: Path, content: bytes) -> None:
    """Write ``content`` so that readers, and a machine that loses power, see the old file or the new one.

    Nothing half-written is left behind, but by a process that is killed; the next write of the file removes that.

    Raises StorageError when the disk is full or the folder cannot be written.
    """
    aside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        _remove_abandoned(path)
    except BaseException as error:
        with suppress(OSError):  # where the folder is the mistake, there is no file either
            aside.unlink(missing_ok=True)
        if not isinstance(error, OSError):  # Ctrl-C too leaves nothing behind
            raise
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        cure = "free some space" if full else "check the folder, or choose another by --cache-dir"
        raise StorageError(
            f"File {path.name} cannot be written in {path.parent} ({error.strerror}): {cure}."
        ) from error


def _remove_abandoned(path: Path) -> None:
    for other in path.parent.glob(f"{path.name}.*.tmp"):
        if time.time() - other.stat().st_mtime > ABANDONED_SECONDS:
            other.unlink(missing_ok=True)


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


def digest_of(tensors: Mapping[str, Tensor], text: str = "") -> str:
    """SHA-256 of names, shapes, types and bytes of tensors and of ``text``: 64 hex digits."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        content: Any = tensor.reshape(-1).view(torch.uint8).numpy()
        digest.update(content)
    return digest.hexdigest()
