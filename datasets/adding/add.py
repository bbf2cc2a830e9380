"""Add sources to a dataset: open them, find what they hold, and put it below the data root."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from bench.datasets.adding.disk import storage_errors
from bench.datasets.adding.entries import Progress
from bench.datasets.adding.place import Placed, place
from bench.datasets.adding.recognise import Found, recognise
from bench.datasets.adding.sources import key_of, open_sources
from bench.datasets.published.layouts import candidates
from bench.datasets.published.tree_dataset import TreeDataset
from bench.errors import BenchError, DataError, UsageError

UNFINISHED = ".adding"


class Adding:
    """A context in which sources are added to a dataset.

    Unfinished work is kept in ``.adding`` beside the dataset's folder. After an error it is removed. A process that is
    interrupted or killed leaves it, and the next one with the same sources goes on.
    """

    def __init__(self, dataset: TreeDataset, words: Sequence[str], progress: Progress) -> None:
        self.dataset, self.progress = dataset, progress
        named = [folder for folder, named in candidates(dataset.data_root, dataset.titles, None) if named]
        self.root = named[0] if named else dataset.data_root / dataset.titles[0]
        self.files = [(word, _existing(word)) for word in words]
        home = self.root.resolve()  # renaming needs one disk
        self.work = (home if home.is_mount() else home.parent) / UNFINISHED / f"{dataset.name}-{key_of(self.files)}"
        self._lock = -1

    def __enter__(self) -> Adding:
        with storage_errors(self.dataset.data_root):
            self.work.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self.work, os.O_RDONLY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise UsageError("Another process adds these sources: wait until it ends.") from error
        except OSError:
            pass  # a network disk without locks
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, BenchError):
            shutil.rmtree(self.work, ignore_errors=True)
            with suppress(OSError):
                self.work.parent.rmdir()  # unless others are at work
        os.close(self._lock)

    def find(self) -> Found:
        """What the sources hold; raises a BenchError as ``open_sources`` and ``recognise``."""
        return recognise(self.dataset, open_sources(self.files, self.work, self.progress), self.root)

    def place(self, found: Found, mode: str) -> Placed:
        """Put it below the data root; raises a BenchError as ``place.place``."""
        return place(found, self.root, self.dataset.data_root, mode, self.work, self.progress)


def _existing(word: str) -> Path:
    path = Path(word).expanduser()
    if not path.exists():
        raise DataError(f"There is no file or folder {word}: pass an archive, a folder or an address.")
    return path
