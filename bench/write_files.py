"""Files that are whole or absent: bytes written aside, flushed to the disk and renamed."""

from __future__ import annotations

import errno
import os
import time
import uuid
from contextlib import suppress
from pathlib import Path

from bench.errors import StorageError

ABANDONED_SECONDS = 3600.0  # no write takes as long: what is older belongs to a process that was killed


def write_whole(path: Path, content: bytes | memoryview, option: str = "--cache-dir") -> None:
    """Write ``content`` so that readers, and a machine that loses power, see the old file or the new one.

    Nothing half-written is left behind, but by a process that is killed; the next write of the file removes that.
    ``option`` is what chooses another folder, for the sentence of an error.

    Raises StorageError when the disk is full or the folder cannot be written.
    """
    # No number of a process: machines and containers that share a folder have the same ones.
    aside = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}.tmp")
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
        cure = "free some space" if full else f"check the folder, or choose another by {option}"
        raise StorageError(
            f"File {path.name} cannot be written in {path.parent} ({error.strerror}): {cure}."
        ) from error


def _remove_abandoned(path: Path) -> None:
    for other in path.parent.glob(f"{path.name}.*.tmp"):
        with suppress(FileNotFoundError):  # another process has just finished writing it
            if time.time() - other.stat().st_mtime > ABANDONED_SECONDS:
                other.unlink(missing_ok=True)
