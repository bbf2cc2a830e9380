"""Which image files are broken and which pictures are there twice: every file read, decoded and hashed, in parallel."""

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
    from bench.datasets.images.decode import decode  # torch takes seconds to import
    from bench.datasets.images.parallel import in_order

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


class Verdicts:
    """What ``broken_images`` found, kept in files of a folder, so that asking again reads no image.

    A verdict holds as long as the split and the stamp of the files do: a picture that is replaced is looked at anew.
    Without a folder to write to (``keep=False``) kept verdicts are read and none is added.
    """

    def __init__(self, folder: Path, *, keep: bool = True) -> None:
        self._folder = folder / "broken-images"
        self._keep = keep

    def of(
        self, dataset: Dataset, split: Split, *, roles: Sequence[Role], workers: int, progress: Progress | None
    ) -> dict[str, str]:
        """As ``broken_images``, from a file where one holds the answer; raises StorageError when it cannot be kept."""
        stamp = dataset.stamp(item.path for role in roles for item in getattr(split, role))
        asked = json.dumps([split.dataset, split.fingerprint, split.content, list(roles), stamp])
        path = self._folder / f"{hashlib.sha256(asked.encode()).hexdigest()[:32]}.json"
        if (kept := _read_verdict(path)) is not None:
            return kept
        found = broken_images(dataset, split, roles=roles, workers=workers, progress=progress)
        if self._keep:
            write_whole(path, json.dumps(found, indent=1).encode())
        return found


def _read_verdict(path: Path) -> dict[str, str] | None:
    """Path to reason; None when the file is absent or damaged."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    right = isinstance(found, dict) and all(isinstance(reason, str) for reason in found.values())
    return found if right else None


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
