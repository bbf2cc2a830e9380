"""What the image files of a split hold, as one hash: two machines, or two days, with the same names can be compared."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from bench.datasets.base import Dataset
from bench.datasets.images.parallel import in_order
from bench.types import Item, Split, salted_order

WHOLE_BYTES = 256 * 2**20  # of files that are read as a whole: a second where they were read lately
WHOLE_FILES = 20_000  # the same where sizes cannot be asked for
SAMPLE = 512  # files that are read of more; of 100 changed ones in 10,000 one is among them 199 times in 200
THREADS = 8
AT_ONCE = 256  # files whose sizes a thread asks for


def hash_of_contents(dataset: Dataset, split: Split, *, trains: bool) -> str:
    """SHA-256 (64 hex digits) of what the images hold that a run reads; empty where ``split.content`` pins it.

    A run that does not train (``trains``) reads queries and gallery. Up to ``WHOLE_BYTES`` every byte counts; of more,
    the sizes of all files and the bytes of ``SAMPLE`` of them, the same ones for everybody with this split: a
    change of a few files that keeps their sizes may then go unseen. Raises DataError for a file that cannot be read.
    """
    if split.content:
        return ""
    paths = _paths(split, trains)
    sizes = _sizes(dataset.whereabouts().root, paths)
    whole = sum(sizes) <= WHOLE_BYTES if sizes else len(paths) <= WHOLE_FILES
    read = paths if whole else salted_order(paths, split.fingerprint)[:SAMPLE]
    digest = hashlib.sha256("".join(f"{size}\n" for size in sizes).encode())
    for path, found in zip(read, in_order(lambda path: _hash(dataset.read(path)), read, THREADS), strict=True):
        digest.update(f"{path}\t".encode() + found)
    return digest.hexdigest()


def hash_of_sizes(dataset: Dataset, split: Split, *, trains: bool) -> str:
    """As ``hash_of_contents`` by the files' sizes alone, of which none is read; 16 hex digits.

    Empty also where sizes cannot be asked for, as in an archive or for a file that is not there.
    """
    sizes = [] if split.content else _sizes(dataset.whereabouts().root, _paths(split, trains))
    return hashlib.sha256("".join(f"{size}\n" for size in sizes).encode()).hexdigest()[:16] if sizes else ""


def _paths(split: Split, trains: bool) -> list[str]:
    items: Sequence[Item] = (*split.queries, *split.gallery)
    if trains:
        items = (*split.train, *split.validation, *items)
    return sorted(item.path for item in items)


def _sizes(root: Path | None, paths: Sequence[str]) -> list[int]:
    """Bytes of each file below ``root``; nothing where one is no file there, as in an archive."""
    if root is None:
        return []
    parts = [paths[start : start + AT_ONCE] for start in range(0, len(paths), AT_ONCE)]
    try:
        found = in_order(lambda part: [(root / path).stat().st_size for path in part], parts, THREADS)
        return [size for part in found for size in part]
    except OSError:
        return []


def _hash(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
