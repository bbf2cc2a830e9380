"""Write files atomically, read and write tensors with a digest of their content, hash files."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from safetensors import SafetensorError

from bench.errors import StorageError

if TYPE_CHECKING:
    from torch import Tensor

LARGEST_HEADER = 100_000_000  # bytes, as in the library safetensors
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # of a disk, a quota or a file
ABANDONED_SECONDS = 3600.0  # an older temporary file belongs to a process that was killed


def default_cache_folder() -> Path:
    """The platform's folder for what is safe to delete."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("zs-sbir-bench", appauthor=False))


def write_whole(path: Path, content: bytes | memoryview, option: str = "--cache-dir") -> None:
    """Write ``content`` so that readers see the old file or the new one, even after a power failure.

    A temporary file is flushed and renamed. If the process is killed it stays; a later write of the same file removes
    it after ``ABANDONED_SECONDS``. Raises StorageError if the folder cannot be written; ``option`` is the cure.
    """
    temporary = temporary_beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        remove_abandoned(path)
    except BaseException as error:
        with suppress(OSError):  # if the folder is missing there is no file either
            temporary.unlink(missing_ok=True)
        if not isinstance(error, OSError):  # Ctrl-C
            raise
        cure = "free some space" if error.errno in FULL else f"check the folder, or choose another by {option}"
        raise StorageError(
            f"File {path.name} cannot be written in {path.parent} ({error.strerror}): {cure}."
        ) from error


def temporary_beside(path: Path) -> Path:
    """A random name: containers that share a folder may have the same process numbers."""
    return path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}.tmp")


def remove_abandoned(path: Path) -> None:
    """Remove what processes that were killed left ``temporary_beside`` a path, after ``ABANDONED_SECONDS``."""
    for other in path.parent.glob(f"{path.name}.*.tmp"):
        with suppress(FileNotFoundError):  # another process has just renamed it
            if time.time() - other.stat().st_mtime > ABANDONED_SECONDS:
                if other.is_dir():
                    shutil.rmtree(other, ignore_errors=True)
                else:
                    other.unlink(missing_ok=True)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, object]) -> None:
    """Write a safetensors file of ``tensors``, with ``facts`` as JSON and a digest of both.

    Raises StorageError as ``write_whole`` does.
    """
    from safetensors.torch import save

    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(facts)
    write_whole(path, save(plain, metadata={"facts": text, "digest": digest_of(plain, text)}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, object]] | None:
    """Tensors and facts of ``write_tensors``; None if the file is absent, cut off or altered."""
    from safetensors.torch import load

    try:
        content = path.read_bytes()  # ``safe_open`` takes no path whose bytes are not UTF-8
        tensors, metadata = load(content), _metadata(io.BytesIO(content))
        facts = json.loads(metadata["facts"])
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
    return (tensors, facts) if digest_of(tensors, metadata["facts"]) == metadata.get("digest") else None


def facts_of(path: Path) -> dict[str, object] | None:
    """The facts of ``write_tensors``, without reading the tensors or checking the digest."""
    try:
        with path.open("rb") as file:
            return json.loads(_metadata(file)["facts"])  # type: ignore[no-any-return]
    except (OSError, KeyError, ValueError):
        return None


def _metadata(file: BinaryIO) -> dict[str, str]:
    """The texts in the header of a safetensors file: its length in 8 bytes, then JSON."""
    length = int.from_bytes(file.read(8), "little")
    if length > LARGEST_HEADER:
        raise ValueError("no safetensors file")
    header = json.loads(file.read(length))
    return dict(header["__metadata__"]) if isinstance(header, dict) else {}


def digest_of(tensors: Mapping[str, Tensor], text: str = "") -> str:
    """SHA-256 of the names, shapes, types and bytes of tensors and of ``text``: 64 hex digits."""
    import torch

    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        content: Any = tensor.reshape(-1).view(torch.uint8).numpy()
        digest.update(content)
    return digest.hexdigest()


def digest_of_json(value: object, *, sort_keys: bool = True) -> str:
    """SHA-256 of a JSON value: 64 hex digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=sort_keys).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits, cached until its time, size or inode changes; raises OSError."""
    facts = path.stat()
    return _digest_of_file(path.absolute(), facts.st_mtime_ns, facts.st_size, facts.st_ino)


@lru_cache(maxsize=64)
def _digest_of_file(path: Path, *_: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
