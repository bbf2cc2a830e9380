"""Put recognised files below the data root: copied, linked, or read in place.

Copies are collected in a folder of their own and moved when all are complete, so that a dataset is never half there.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.datasets.adding.disk import check_space, storage_errors
from bench.datasets.adding.entries import PART, Entry, Progress, Source, check_size
from bench.datasets.adding.folder_tree import FolderTree
from bench.datasets.adding.recognise import Found, Pick
from bench.datasets.adding.zip_archive import ZipArchive
from bench.datasets.published.in_place import Member, write_index
from bench.errors import DataError, UsageError

BLOCK = 4096  # bytes; a file takes whole blocks


@dataclass(frozen=True)
class Placed:
    """How many files were copied, were there before, are read through links, and are read in place."""

    copied: int
    known: int
    linked: int
    in_place: int


def place(found: Found, root: Path, data_root: Path, mode: str, work: Path, progress: Progress) -> Placed:
    """Put what was found below ``root``, the dataset's folder.

    ``mode`` is ``copy``, ``link``, ``in-place``, or empty: folders are linked and archives unpacked. ``work`` is a
    folder on the same disk for unfinished copies. Raises UsageError if a source cannot be placed in this mode,
    DataError if another file is there, StorageError if the disk is full or cannot be written.
    """
    links = _find_links(found, mode)
    linked = tuple(f"{folder}/" for folder in links)
    inside = _by_source(found.images if mode == "in-place" else ())
    copies = [pick for pick in found.images if not inside and not (linked and pick.target.startswith(linked))]
    for source, picks in (*inside.items(), *_by_source([*copies, *found.lists]).items()):
        check_size((pick.entry for pick in picks), source.packed, source.title)
    new = [pick for pick in (*copies, *found.lists) if not _is_there(root, pick)]
    _refuse_links(root, new)
    indexes = {_path_of_zip(source, work): _locate(source, picks, progress) for source, picks in inside.items()}
    new_links = {folder: origin for folder, origin in links.items() if not _is_linked(root / folder, origin)}
    last = {pick.target.split("/")[0] for pick in found.lists}
    # Copies come first: if they fail, the dataset's folder has not changed.
    refused = _copy(new, last, root, work / found.layout.name, progress)
    with storage_errors(root):
        for folder, origin in new_links.items():
            (root / folder).parent.mkdir(parents=True, exist_ok=True)
            (root / folder).symlink_to(origin, target_is_directory=True)
    for archive, members in indexes.items():
        write_index(root, archive, members, data_root)
    return Placed(
        copied=len(new) - refused,
        known=len(copies) + len(found.lists) - len(new),
        linked=len(found.images) - len(copies) - sum(map(len, inside.values())),
        in_place=sum(map(len, inside.values())),
    )


def _by_source(picks: Sequence[Pick]) -> dict[Source, list[Pick]]:
    found: dict[Source, list[Pick]] = defaultdict(list)
    for pick in picks:
        found[pick.source].append(pick)
    return found


def _is_there(root: Path, pick: Pick) -> bool:
    """Whether a file is there already; raises DataError if its size is another."""
    try:
        found = os.stat(f"{root}/{pick.target}")  # noqa: PTH116 (200,000 times)
    except (FileNotFoundError, NotADirectoryError):
        return False
    if pick.entry.size in (None, found.st_size):
        return True
    raise DataError(
        f"{root / pick.target} has {found.st_size:,} bytes, but {pick.entry.size:,} in {pick.source.title}: remove it, "
        "or choose another folder by --data-root."
    )


# Links


def _find_links(found: Found, mode: str) -> dict[str, Path]:
    """The folder that each linked folder of the layout leads to; raises UsageError if ``link`` is not possible."""
    links = {}
    for folder, groups in found.groups.items() if mode in ("", "link") else ():
        if len(groups) == 1 and isinstance(groups[0].source, FolderTree):
            entry = next(entry for entries in groups[0].classes.values() for entry in entries)
            links[folder] = Path(entry.member).parent.parent
        elif mode == "link":
            titles = ", ".join(dict.fromkeys(group.source.title for group in groups))
            raise UsageError(f"--link needs one folder of images for {folder}, not {titles}: leave it out to copy.")
    return links


def _is_linked(target: Path, origin: Path) -> bool:
    """Whether ``target`` is ``origin``; raises DataError if it is something else."""
    if os.path.realpath(target) == os.path.realpath(origin):
        return True
    if target.is_symlink() or target.exists():
        raise DataError(f"{target} is there already: remove it, or copy the images into it by --copy.")
    return False


def _refuse_links(root: Path, picks: Sequence[Pick]) -> None:
    """Raise DataError if a copy would go through a link into another folder."""
    for folder in {pick.target.rpartition("/")[0] for pick in picks}:
        parts = folder.split("/")
        for end in range(1, len(parts) + 1):
            if (path := root.joinpath(*parts[:end])).is_symlink():
                raise DataError(f"{path} is a link to {path.readlink()}: remove the link, and add again.")


# In place


def _path_of_zip(source: Source, work: Path) -> Path:
    if isinstance(source, ZipArchive) and not source.path.is_relative_to(work):
        return source.path
    what = "is an archive in another one" if isinstance(source, ZipArchive) else "is no zip"
    raise UsageError(f"--in-place reads images from a zip, but {source.title} {what}: leave it out.")


def _locate(source: Source, picks: Sequence[Pick], progress: Progress) -> dict[str, Member]:
    """Where the data of each image are in a zip; raises DataError for a compression that is too slow or unknown."""
    assert isinstance(source, ZipArchive)
    progress.phase("indexing")
    return source.locate_all({pick.target: pick.entry for pick in picks})


# Copies


def _copy(new: Sequence[Pick], last: Collection[str], root: Path, staging: Path, progress: Progress) -> int:
    """Copy files to ``root`` by way of ``staging``, the folders ``last`` at the end: a list needs its images.

    Returns the number of files that their sources refused.
    """
    there = {path.relative_to(staging).as_posix() for path in staging.rglob("*")}  # of a process that was killed
    left = [pick for pick in new if pick.target not in there]
    with storage_errors(root):
        staging.mkdir(parents=True, exist_ok=True)
    check_space(staging, sum((pick.entry.size or 0) // BLOCK * BLOCK + BLOCK for pick in left))
    progress.phase("copying")
    writer = _Writer(staging, sum(pick.entry.size or 0 for pick in left), progress)
    for source, picks in _by_source(left).items():
        writer.targets = {pick.entry.path: pick.target for pick in picks}
        source.read([pick.entry for pick in picks], writer.write)
    with storage_errors(root):
        root.parent.mkdir(parents=True, exist_ok=True)
        _merge(staging, root, last)
    return len(left) - writer.files


class _Writer:
    """Writes whole files below a folder, and shows their bytes; raises StorageError."""

    def __init__(self, folder: Path, total: int, progress: Progress) -> None:
        self.folder, self.total, self.progress = folder, total, progress
        self.done = self.shown = self.files = 0
        self.made: set[str] = set()
        self.targets: Mapping[str, str] = {}

    def write(self, entry: Entry, content: bytes) -> None:
        """Write a file; it has its name only when it is complete."""
        target = self.targets[entry.path]
        parent, part = target.rpartition("/")[0], f"{self.folder}/.part"
        with storage_errors(self.folder):
            if parent not in self.made:
                (self.folder / parent).mkdir(parents=True, exist_ok=True)
                self.made.add(parent)
            with open(part, "wb") as file:  # noqa: PTH123 (200,000 times)
                file.write(content)
            os.rename(part, f"{self.folder}/{target}")  # noqa: PTH104
        self.files += 1
        self.done += len(content)
        if self.done - self.shown >= PART or self.done == self.total:
            self.shown = self.done
            self.progress.progress(self.done, max(self.done, self.total))  # sizes of drawn sketches are not known


def _merge(source: Path, target: Path, last: Collection[str] = ()) -> None:
    """Move a folder to ``target``, or its content into it."""
    if not target.exists():
        source.rename(target)
        return
    for child in sorted(source.iterdir(), key=lambda child: (child.name in last, child.name)):
        if child.name == ".part":
            continue
        if child.is_dir() and (target / child.name).is_dir():
            _merge(child, target / child.name)
        else:
            child.rename(target / child.name)
