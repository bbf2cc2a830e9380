"""Archives for tests: small trees at published names, packed in every way."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from bench.datasets.base import DATASETS, Dataset
from bench.datasets.published.layouts import Layout
from bench.datasets.published.tree_dataset import TreeDataset


def layout_of(dataset: str, name: str) -> tuple[type[TreeDataset], Layout]:
    kind = DATASETS.get(dataset)
    assert issubclass(kind, TreeDataset)
    return kind, next(layout for layout in kind.layouts if layout.name == name)


def files_below(root: Path, folder: str = "") -> dict[str, bytes]:
    """The content of every file by path below ``root``."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted((root / folder).rglob("*"))
        if path.is_file()
    }


def zip_of(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return buffer.getvalue()


def tar_of(files: Mapping[str, bytes], mode: str = "w", links: Iterable[tuple[str, str]] = ()) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for path, target in links:
            member = tarfile.TarInfo(path)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    return buffer.getvalue()


def contents(dataset: Dataset) -> dict[str, bytes]:
    """What a dataset reads for every image of its default split."""
    split = dataset.split()
    items = (*split.train, *split.validation, *split.queries, *split.gallery)
    return {item.path: dataset.read(item.path) for item in items}
