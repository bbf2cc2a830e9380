"""The file that takes a database's place while it is out of reach, below the cache folder; merged into it later.

Several processes may keep runs in it at once. Each holds a lock that all of them can hold for as long as it has the
file open, so that nobody removes what another one has just written.
"""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from bench.errors import StorageError
from bench.results.database import database_file, plain
from bench.results.merge import Merged, reading, take
from bench.results.store import Store


def spool_of(where: str, cache_dir: Path) -> Path:
    """The file that keeps runs of the store ``where`` while it is out of reach."""
    file = database_file(where)
    name = plain(where) if file is None else str(file.resolve())
    return cache_dir / "spool" / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.db"


class Spool(Store):
    """The store in a spool's file, which nobody removes until it is closed; raises StorageError as ``Store`` does."""

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock: IO[bytes] = _lock_file(path)
            _wait_for(self._lock)
        except OSError as error:
            raise StorageError(f"The file {path} for results cannot be made ({error.strerror}).") from error
        try:
            super().__init__(str(path))
        except BaseException:
            self._lock.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        super().close()
        self._lock.close()


def keep(path: Path, store_in: Callable[[Store], None]) -> None:
    """Have ``store_in`` put a finished run into the file at ``path``, in one transaction.

    Raises StorageError when it cannot be kept; a file that holds nothing is then removed.
    """
    made = not path.exists()
    try:
        spool = Spool(path)
        try:
            store_in(spool)
        finally:
            spool.close()
    except StorageError:
        if made:
            with _alone(path) as alone:
                if alone and not _runs(path):
                    _remove(path)
        raise


def take_up(store: Store, path: Path) -> Merged | None:
    """Merge what a spool keeps into its store and remove it; None where there is nothing.

    It is left where others are writing to it, or have written since it was read. Raises StorageError when the store
    cannot be written; the spool is then left.
    """
    if not path.is_file():
        return None
    with reading(str(path)) as copy:
        before = _runs_in(copy)
        merged = take(store, copy, str(path), lambda done, total: None)
    if not merged.running:
        with _alone(path) as alone:
            if alone and _runs(path) == before:
                _remove(path)
    return merged


def _runs(path: Path) -> list[tuple[int, str]]:
    """Number and status of every run in the file; none where it is no database."""
    try:
        store = Store(str(path))
    except StorageError:
        return []
    try:
        return _runs_in(store)
    finally:
        store.close()


def _runs_in(store: Store) -> list[tuple[int, str]]:
    return [(run.id, run.status) for run in store.runs(metrics=())]


def _remove(path: Path) -> None:
    for each in (path, *(path.with_name(f"{path.name}-{kind}") for kind in ("wal", "shm"))):
        with suppress(OSError):
            each.unlink(missing_ok=True)


def _lock_file(path: Path) -> IO[bytes]:
    return path.with_suffix(".lock").open("ab")


def _wait_for(lock: IO[bytes]) -> None:
    with suppress(OSError):  # a file system without locks
        fcntl.flock(lock, fcntl.LOCK_SH)


@contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Whether no process has the spool open; none opens it within."""
    try:
        lock = _lock_file(path)
    except OSError:
        yield False
        return
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
