"""Which image files are broken and which pictures are there twice: every file read, decoded and hashed, in parallel."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.errors import DataError
from bench.types import Item, Split
from datasets.base import Dataset

Progress = Callable[[int, int], None]  # told (done, all)
Role = Literal["queries", "gallery", "train", "validation"]
ROLES: tuple[Role, ...] = ("queries", "gallery", "train", "validation")


@dataclass(frozen=True)
class Examination:
    """``broken``: path to the reason, a sentence; ``digests``: path to the SHA-256 of the file of every other image."""

    broken: Mapping[str, str]
    digests: Mapping[str, bytes]


def examine(dataset: Dataset, items: Sequence[Item], workers: int = 2, progress: Progress | None = None) -> Examination:
    """Read, hash and decode every image on ``workers`` threads; the result does not depend on their number."""
    from datasets.decoding import decode  # torch takes seconds to import
    from datasets.parallel import in_order

    def one(item: Item) -> tuple[str, str, bytes]:
        try:
            data = dataset.read(item.path)
            decode(data, item.path)
        except DataError as error:
            return item.path, str(error), b""
        return item.path, "", hashlib.sha256(data).digest()

    broken: dict[str, str] = {}
    digests: dict[str, bytes] = {}
    for done, (path, reason, digest) in enumerate(in_order(one, items, workers), start=1):
        if reason:
            broken[path] = reason
        else:
            digests[path] = digest
        if progress is not None:
            progress(done, len(items))
    return Examination(broken, digests)


def broken_images(
    dataset: Dataset,
    split: Split,
    *,
    roles: Sequence[Role] = ROLES,
    workers: int = 2,
    progress: Progress | None = None,
) -> dict[str, str]:
    """Path to the reason, a sentence, of every image of the ``roles`` that cannot be decoded, in canonical order.

    ``split.without`` of it is the split that can be run; a method that is not trained needs queries and gallery only.
    """
    items = [item for role in roles for item in getattr(split, role)]
    return dict(examine(dataset, items, workers, progress).broken)


@dataclass(frozen=True)
class Repeats:
    """Groups of paths with identical bytes, by what is wrong with it; each sorted, the first path of a group first.

    ``seen_and_unseen``: one picture in classes of both sides (validation and held-out classes count as seen);
    ``gallery_and_training``: a gallery photo that is trained or validated on; ``inside_gallery``: a photo that the
    gallery holds more than once.
    """

    seen_and_unseen: tuple[tuple[str, ...], ...]
    gallery_and_training: tuple[tuple[str, ...], ...]
    inside_gallery: tuple[tuple[str, ...], ...]


def repeats(split: Split, digests: Mapping[str, bytes]) -> Repeats:
    """Pictures of a split that lie there more than once, by the hash of their files."""
    groups: dict[bytes, list[str]] = {}
    for path in sorted(digests):
        groups.setdefault(digests[path], []).append(path)
    several = [tuple(paths) for paths in groups.values() if len(paths) > 1]
    items = (*split.train, *split.validation, *split.queries, *split.gallery)
    unseen = set(split.unseen)
    is_unseen = {item.path: item.class_name in unseen for item in items}
    gallery = _paths(split.gallery)
    seen_roles = _paths((*split.train, *split.validation))
    return Repeats(
        seen_and_unseen=tuple(group for group in several if len({is_unseen[path] for path in group}) == 2),
        gallery_and_training=tuple(group for group in several if gallery & set(group) and seen_roles & set(group)),
        inside_gallery=tuple(group for group in several if len(gallery & set(group)) > 1),
    )


def _paths(items: Iterable[Item]) -> set[str]:
    return {item.path for item in items}
