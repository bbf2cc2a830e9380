"""Broken and duplicate images are found with any number of threads."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import pytest

from bench.datasets.checks.find_broken_images import (
    ROLES,
    BrokenImageCache,
    check_images,
    find_broken_images,
    find_duplicates,
)
from bench.datasets.folder import Folder, FolderSettings
from bench.errors import DataError
from bench.types import Item, Split
from tests.datasets.images.test_decode import flip_bit
from tests.datasets.trees import picture


def tiff_with_text_offset() -> bytes:
    """A TIFF whose offset of the pixels is text; Pillow raises TypeError."""
    data = bytearray(picture("TIFF", (40, 40)))
    entry = data.index(struct.pack("<H", 273), int.from_bytes(data[4:8], "little"))
    data[entry + 2 : entry + 4] = struct.pack("<H", 2)
    return bytes(data)


BROKEN = {
    "sketch/b/1.png": (b"", "is an empty file"),
    "photo/b/2.png": (flip_bit(picture("PNG", (40, 40))), "cannot be decoded"),
    "photo/a/2.png": (b"text", "not an image"),
    "photo/a/3.png": (tiff_with_text_offset(), "cannot be decoded"),
}


@pytest.fixture
def own(tmp_path: Path) -> Folder:
    """Classes a (seen) and b (unseen), four pictures in each modality; four of the sixteen are broken."""
    for position, path in enumerate(
        f"{modality}/{name}/{number}.png" for modality in ("sketch", "photo") for name in "ab" for number in range(4)
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(BROKEN[path][0] if path in BROKEN else picture(seed=position))
    return Folder(tmp_path, FolderSettings(root=str(tmp_path), unseen="b"))


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_every_broken_picture_is_named_with_its_reason(own: Folder, workers: int) -> None:
    calls: list[tuple[int, int]] = []
    broken = find_broken_images(own, own.split(), workers=workers, progress=lambda done, all: calls.append((done, all)))
    assert list(broken) == list(BROKEN)  # queries, gallery, training images
    for path, (_, reason) in BROKEN.items():
        assert reason in broken[path]
        assert path in broken[path]
    assert calls == [(done, 16) for done in range(1, 17)]


def test_a_split_without_them_is_another_split_that_can_be_read(own: Folder) -> None:
    split = own.split()
    broken = find_broken_images(own, split)
    left = split.without(broken)
    assert (len(left.queries), len(left.gallery), len(left.train)) == (3, 3, 6)
    assert left.fingerprint != split.fingerprint
    assert find_broken_images(own, left) == {}


def test_a_method_that_is_not_trained_needs_no_training_images(own: Folder) -> None:
    calls: list[tuple[int, int]] = []
    broken = find_broken_images(
        own, own.split(), roles=("queries", "gallery"), progress=lambda done, all: calls.append((done, all))
    )
    assert list(broken) == ["sketch/b/1.png", "photo/b/2.png"]
    assert calls[-1] == (8, 8)


def test_a_split_needs_queries(own: Folder) -> None:
    split = own.split()
    with pytest.raises(DataError, match="it has no queries or no gallery"):
        split.without([item.path for item in split.queries])


def test_a_missing_file_is_broken_and_has_no_hash(own: Folder) -> None:
    items = [Item("photo/b/9.png", "b", "photo"), Item("photo/b/0.png", "b", "photo")]
    found = check_images(own, items)
    assert list(found.broken) == ["photo/b/9.png"]
    assert dict(found.digests) == {"photo/b/0.png": hashlib.sha256(own.read("photo/b/0.png")).digest()}


def test_duplicates_by_kind() -> None:
    def item(path: str) -> Item:
        return Item(path, path[1], "sketch" if path[0] == "s" else "photo")

    split = Split(
        dataset="d",
        name="s",
        seen=("a",),
        unseen=("b",),
        train=tuple(map(item, ("sa1", "sa2", "pa1", "pa2"))),
        validation=(item("sa3"),),
        queries=tuple(map(item, ("sb1", "sb2"))),
        gallery=tuple(map(item, ("pb1", "pb2", "pb3"))),
    )
    contents = {"sa1": "X", "sb1": "X", "pa1": "Y", "pb1": "Y", "pb2": "Z", "pb3": "Z", "sa2": "W", "sa3": "W"}
    found = find_duplicates(split, {path: content.encode() for path, content in contents.items()})
    assert found.seen_and_unseen == (("pa1", "pb1"), ("sa1", "sb1"))
    assert found.gallery_and_training == (("pa1", "pb1"),)
    assert found.inside_gallery == (("pb2", "pb3"),)


def find_cached(dataset: Folder, folder: Path, read: list[int], *, write: bool = True) -> dict[str, str]:
    """Broken images of the dataset; one entry is added to ``read`` for each image that is decoded."""

    def progress(done: int, total: int) -> None:
        read.append(done)

    return BrokenImageCache(folder, write=write).find(
        dataset, dataset.split(), roles=ROLES, workers=1, progress=progress
    )


def test_an_entry_is_valid_until_a_file_changes(own: Folder, tmp_path: Path) -> None:
    cache, read = tmp_path / "cache", list[int]()
    first = find_cached(own, cache, read)
    assert (list(first), len(read)) == (list(BROKEN), 16)
    assert find_cached(own, cache, read) == first
    assert len(read) == 16  # no image was read again
    mended = next(iter(BROKEN))
    (tmp_path / mended).write_bytes(picture(seed=99))
    assert mended not in find_cached(own, cache, read)
    assert len(read) == 32


def test_a_damaged_entry_is_replaced(own: Folder, tmp_path: Path) -> None:
    cache, read = tmp_path / "cache", list[int]()
    first = find_cached(own, cache, read)
    (path,) = (cache / "broken-images").iterdir()
    for content in (b"", b"[1]", b'{"a": 1}', path.read_bytes()[:-3]):
        path.write_bytes(content)
        assert find_cached(own, cache, read) == first
    assert len(read) == 5 * 16


def test_a_dry_run_writes_nothing(own: Folder, tmp_path: Path) -> None:
    find_cached(own, tmp_path / "cache", [], write=False)
    assert not (tmp_path / "cache").exists()
