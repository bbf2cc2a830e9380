"""Add sources to a dataset: fetch and open them, find what they hold, and put it below the data root."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from bench.datasets.adding.disk import remove_work, unfinished_work
from bench.datasets.adding.download import download, is_address
from bench.datasets.adding.drawings import DEFAULT, Draw, open_drawings, write_list
from bench.datasets.adding.entries import Progress
from bench.datasets.adding.place import Placed, place
from bench.datasets.adding.recognise import Found, recognise
from bench.datasets.adding.sources import key_of, open_sources
from bench.datasets.published.layouts import candidates
from bench.datasets.published.tree_dataset import TreeDataset
from bench.errors import BenchError, DataError

UNFINISHED = ".adding"


class Adding:
    """A context in which sources are added to a dataset: ``find``, then ``place``.

    Unfinished work is kept in ``.adding`` beside the dataset's folder. After an error it is removed. A process that is
    interrupted or killed leaves it, and the next one with the same sources goes on. ``kept`` are downloaded archives
    that are still needed.
    """

    def __init__(self, dataset: TreeDataset, words: Sequence[str], draw: Draw = DEFAULT) -> None:
        self.dataset, self.words, self.draw = dataset, words, draw
        named = [folder for folder, named in candidates(dataset.data_root, dataset.titles, None) if named]
        self.root = named[0] if named else dataset.data_root / dataset.titles[0]
        self.kept: list[Path] = []
        self.work: Path | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Adding:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.work is not None and (error is None or isinstance(error, BenchError)):
            remove_work(self.work)
        self._stack.close()

    def find(self, progress: Progress) -> Found:
        """What the sources hold; raises a BenchError as ``download``, ``open_sources`` and ``recognise``."""
        addresses = [is_address(word) for word in self.words]
        # os.path raises for no word: not for a user that does not exist, nor for a name that is too long.
        paths = [Path(os.path.expanduser(word)) for word in self.words]  # noqa: PTH111
        for word, path, is_url in zip(self.words, paths, addresses, strict=True):
            if not is_url and not os.path.exists(path):  # noqa: PTH110
                raise DataError(f"There is no file or folder {word}: pass an archive, a folder or an address.")
        files = []
        for word, path, is_url in zip(self.words, paths, addresses, strict=True):
            if is_url:
                path = download(word, self.dataset.data_root, progress)
                self.kept.append(path)
            files.append((word, path))
        home = self.root.resolve()  # renaming needs one disk
        name = f"{self.dataset.name}-{key_of(files, self.draw)}"
        work = (home if home.is_mount() else home.parent) / UNFINISHED / name
        self._stack.enter_context(unfinished_work(work))
        self.work = work
        sources = open_sources(files, work, progress, self.dataset.drawn)
        sources += open_drawings(self.dataset, sources, work, progress, self.draw)
        return recognise(self.dataset, sources, self.root, self.words)

    def place(self, found: Found, mode: str, progress: Progress) -> Placed:
        """Put what ``find`` has found below the data root; raises a BenchError as ``place.place``.

        The list of drawn sketches is written, too. Downloaded archives are removed, unless images are read from them or
        they hold another dataset.
        """
        if self.work is None:
            raise ValueError("nothing was found yet")
        placed = place(found, self.root, self.dataset.data_root, mode, self.work, progress)
        write_list(self.root, found.images, self.draw)
        if mode != "in-place" and not found.others:
            for path in self.kept:
                remove_work(path.parent)
            self.kept = []
        return placed
