"""The disk below the data root: free space, errors, and folders for unfinished work."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.errors import StorageError, UsageError
from bench.io import FULL


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


@contextmanager
def unfinished_work(folder: Path) -> Iterator[None]:
    """Make a folder that one process uses at a time; raises UsageError if another one does, StorageError."""
    with storage_errors(folder.parent.parent):
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError("Another process adds the same sources: wait until it ends.") from error
        except OSError:
            pass  # a network disk without locks
        yield
    finally:
        os.close(lock)


def remove_work(folder: Path) -> None:
    """Remove a folder of ``unfinished_work``, and the one around it if it is empty then."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        folder.parent.rmdir()
