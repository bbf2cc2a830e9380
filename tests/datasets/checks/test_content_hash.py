"""The hash of a split's contents covers every byte of a small split, sizes and a sample of a large one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.datasets.checks import content_hash as contents
from bench.datasets.checks.content_hash import hash_of_contents
from bench.datasets.emoji import Emoji
from bench.datasets.folder import Folder, FolderSettings
from bench.errors import DataError
from bench.types import Split
from tests.pictures import write_folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "here", classes=6)


def opened(root: Path) -> tuple[Folder, Split]:
    dataset = Folder(root, FolderSettings(root=str(root), draw=2))
    return dataset, dataset.split()


def hash_folder(root: Path, *, trains: bool = True) -> str:
    return hash_of_contents(*opened(root), trains=trains)


def flip(path: Path) -> None:
    """Another last byte: the size stays."""
    held = path.read_bytes()
    path.write_bytes(held[:-1] + bytes([held[-1] ^ 1]))


def longer(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def test_one_flipped_bit_changes_the_hash_and_the_folder_does_not(root: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    shutil.copytree(root, there, copy_function=shutil.copyfile)  # other times
    assert hash_folder(there) == hash_folder(root)
    split = opened(root)[1]
    flip(there / split.train[0].path)
    assert hash_folder(there) != hash_folder(root)
    assert hash_folder(there, trains=False) == hash_folder(root, trains=False)  # which reads no image to train on
    flip(there / split.gallery[0].path)
    assert hash_folder(there, trains=False) != hash_folder(root, trains=False)


@pytest.mark.parametrize(
    ("change", "sampled", "seen"), [(flip, True, True), (longer, False, True), (flip, False, False)]
)
def test_of_many_bytes_sizes_and_a_sample_are_seen(
    change: Callable[[Path], None], sampled: bool, seen: bool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "WHOLE_BYTES", 1000)
    monkeypatch.setattr(contents, "SAMPLE", 5)
    read: list[str] = []
    original = Folder.read

    def read_and_count(dataset: Folder, path: str) -> bytes:
        read.append(path)
        return original(dataset, path)

    monkeypatch.setattr(Folder, "read", read_and_count)
    before, split = hash_folder(root), opened(root)[1]
    assert len(read) == 5
    changed = next(item.path for item in split.train if (item.path in read) == sampled)
    change(root / changed)
    assert (hash_folder(root) != before) == seen


def test_without_sizes_files_are_counted(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "_sizes", lambda root, paths: [])
    before = hash_folder(root)
    flip(root / opened(root)[1].train[0].path)
    assert hash_folder(root) != before
    monkeypatch.setattr(contents, "WHOLE_FILES", 3)
    monkeypatch.setattr(contents, "SAMPLE", 0)
    assert hash_folder(root, trains=False) == hash_folder(root)


def test_what_is_pinned_is_not_read_and_what_cannot_be_read_is_named(root: Path, tmp_path: Path) -> None:
    emoji = Emoji(tmp_path)
    assert hash_of_contents(emoji, emoji.split(), trains=True) == ""
    dataset, split = opened(root)
    (root / split.queries[0].path).unlink()
    with pytest.raises(DataError, match=f"Image {split.queries[0].path} cannot be read"):
        hash_of_contents(dataset, split, trains=False)
