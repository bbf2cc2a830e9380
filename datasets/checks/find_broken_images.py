"""Find broken and duplicate images: read, decode and hash every file in parallel."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.datasets.base import Dataset
from bench.errors import DataError
from bench.io import write_whole
from bench.types import Item, Split

Progress = Callable[[int, int], None]  # gets (done, all)
Role = Literal["queries", "gallery", "train", "validation"]
ROLES: tuple[Role, ...] = ("queries", "gallery", "train", "validation")


@dataclass(frozen=True)
class ImageCheck:
    """``broken`` maps a path to the reason, a sentence; ``digests`` maps every other path to its file's SHA-256."""

    broken: Mapping[str, str]
    digests: Mapping[str, bytes]


def check_images(
    dataset: Dataset, items: Sequence[Item], workers: int = 2, progress: Progress | None = None
) -> ImageCheck:
    """Read, hash and decode every image on ``workers`` threads."""
    from bench.datasets.images.decode import decode  # torch takes seconds to import
    from bench.datasets.images.loader import map_in_order

    def check_one(item: Item) -> tuple[str, str, bytes]:
        try:
            data = dataset.read(item.path)
            decode(data, item.path)
        except DataError as error:
            return item.path, str(error), b""
        return item.path, "", hashlib.sha256(data).digest()

    broken: dict[str, str] = {}
    digests: dict[str, bytes] = {}
    for done, (path, reason, digest) in enumerate(map_in_order(check_one, items, workers), start=1):
        if reason:
            broken[path] = reason
        else:
            digests[path] = digest
        if progress is not None:
            progress(done, len(items))
    return ImageCheck(broken, digests)


def find_broken_images(
    dataset: Dataset,
    split: Split,
    *,
    roles: Sequence[Role] = ROLES,
    workers: int = 2,
    progress: Progress | None = None,
) -> dict[str, str]:
    """Map the path of every undecodable image of ``roles`` to the reason, in canonical order.

    Pass the result to ``split.without`` to get a usable split.
    """
    items = [item for role in roles for item in getattr(split, role)]
    return dict(check_images(dataset, items, workers, progress).broken)


class BrokenImageCache:
    """Cache of ``find_broken_images`` on disk, below ``folder``.

    An entry is valid while the split and the stamp of its files are unchanged. ``write=False`` only reads entries.
    """

    def __init__(self, folder: Path, *, write: bool = True) -> None:
        self._folder = folder / "broken-images"
        self._write = write

    def find(
        self, dataset: Dataset, split: Split, *, roles: Sequence[Role], workers: int, progress: Progress | None
    ) -> dict[str, str]:
        """As ``find_broken_images``, from the cache if possible; raises StorageError if an entry cannot be written."""
        stamp = dataset.stamp(item.path for role in roles for item in getattr(split, role))
        key = json.dumps([split.dataset, split.fingerprint, split.content, list(roles), stamp])
        path = self._folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
        if (entry := _read_entry(path)) is not None:
            return entry
        broken = find_broken_images(dataset, split, roles=roles, workers=workers, progress=progress)
        if self._write:
            write_whole(path, json.dumps(broken, indent=1).encode())
        return broken


def _read_entry(path: Path) -> dict[str, str] | None:
    """Path to reason; None when the file is absent or damaged."""
    try:
        entry = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    valid = isinstance(entry, dict) and all(isinstance(reason, str) for reason in entry.values())
    return entry if valid else None


@dataclass(frozen=True)
class Duplicates:
    """Sorted groups of paths with identical bytes, by kind.

    ``seen_and_unseen``: an image of both a seen and an unseen class (validation and held-out classes count as seen).
    ``gallery_and_training``: a gallery photo that is also a training or validation image. ``inside_gallery``: a photo
    that is in the gallery more than once.
    """

    seen_and_unseen: tuple[tuple[str, ...], ...]
    gallery_and_training: tuple[tuple[str, ...], ...]
    inside_gallery: tuple[tuple[str, ...], ...]


def find_duplicates(split: Split, digests: Mapping[str, bytes]) -> Duplicates:
    """Group the images of a split that have the same file hash; ``digests`` maps paths to hashes."""
    groups: dict[bytes, list[str]] = {}
    for path in sorted(digests):
        groups.setdefault(digests[path], []).append(path)
    repeated = [tuple(paths) for paths in groups.values() if len(paths) > 1]
    items = (*split.train, *split.validation, *split.queries, *split.gallery)
    unseen = set(split.unseen)
    is_unseen = {item.path: item.class_name in unseen for item in items}
    gallery = _paths(split.gallery)
    seen_roles = _paths((*split.train, *split.validation))
    return Duplicates(
        seen_and_unseen=tuple(group for group in repeated if len({is_unseen[path] for path in group}) == 2),
        gallery_and_training=tuple(group for group in repeated if gallery & set(group) and seen_roles & set(group)),
        inside_gallery=tuple(group for group in repeated if len(gallery & set(group)) > 1),
    )


def _paths(items: Iterable[Item]) -> set[str]:
    return {item.path for item in items}
