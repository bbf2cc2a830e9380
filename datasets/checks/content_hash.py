"""Hash the contents of a split's image files, to compare two machines or two days."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.datasets.base import Dataset
from bench.datasets.published.files import size_of
from bench.types import Item, Split, salted_order

WHOLE_BYTES = 256 * 2**20  # up to this total every file is read: about a second from the page cache
WHOLE_FILES = 20_000  # the same limit where sizes are unknown
SAMPLE = 512  # files read of a larger split; finds 100 changed files in 10,000 with probability 0.995
THREADS = 8
CHUNK = 256  # files per task that reads sizes


def hash_of_contents(dataset: Dataset, split: Split, *, trains: bool) -> str:
    """SHA-256 (64 hex digits) of the images that a run reads; empty if ``split.content`` already pins them.

    A run that does not train reads queries and gallery only. Up to ``WHOLE_BYTES`` every byte counts. Above that, all
    sizes count, and the bytes of ``SAMPLE`` files that depend on the split alone: a change that keeps sizes can be
    missed. Raises DataError for a file that cannot be read.
    """
    if split.content:
        return ""
    paths = _paths(split, trains)
    sizes = _sizes(dataset.whereabouts().root, paths)
    whole = sum(sizes) <= WHOLE_BYTES if sizes else len(paths) <= WHOLE_FILES
    read = paths if whole else salted_order(paths, split.fingerprint)[:SAMPLE]
    digest = hashlib.sha256("".join(f"{size}\n" for size in sizes).encode())
    with ThreadPoolExecutor(THREADS) as pool:
        for path, found in zip(read, pool.map(lambda path: _hash(dataset.read(path)), read), strict=True):
            digest.update(f"{path}\t".encode() + found)
    return digest.hexdigest()


def hash_of_sizes(dataset: Dataset, split: Split, *, trains: bool) -> str:
    """The same from file sizes alone, 16 hex digits; also empty if sizes are unknown (archive, missing file)."""
    sizes = [] if split.content else _sizes(dataset.whereabouts().root, _paths(split, trains))
    return hashlib.sha256("".join(f"{size}\n" for size in sizes).encode()).hexdigest()[:16] if sizes else ""


def _paths(split: Split, trains: bool) -> list[str]:
    items: Sequence[Item] = (*split.queries, *split.gallery)
    if trains:
        items = (*split.train, *split.validation, *items)
    return sorted(item.path for item in items)


def _sizes(root: Path | None, paths: Sequence[str]) -> list[int]:
    """Size of each file below ``root`` in bytes; empty if one is not a file, as in an archive."""
    if root is None:
        return []
    chunks = [paths[start : start + CHUNK] for start in range(0, len(paths), CHUNK)]
    try:
        with ThreadPoolExecutor(THREADS) as pool:
            sizes = pool.map(lambda chunk: [size_of(root, path) for path in chunk], chunks)
            return [size for chunk in sizes for size in chunk]
    except OSError:
        return []


def _hash(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
