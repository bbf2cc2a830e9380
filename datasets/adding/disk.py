"""Free space, and errors of the disk below the data root."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.errors import StorageError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def check_space(folder: Path, needed: int) -> None:
    """Raise StorageError unless the disk of ``folder``, which exists, has ``needed`` bytes."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise StorageError(
            f"{needed / 1e9:.1f} GB are needed in {folder}, but {free / 1e9:.1f} GB are free: free some space, or "
            "choose another folder by --data-root."
        )


@contextmanager
def storage_errors(folder: Path) -> Iterator[None]:
    """Turn an OSError of the block, which writes below ``folder``, into a StorageError."""
    try:
        yield
    except OSError as error:
        cure = "free some space" if error.errno in FULL else "check the folder"
        raise StorageError(
            f"{folder} cannot be written ({error.strerror}): {cure}, or choose another one by --data-root."
        ) from error
