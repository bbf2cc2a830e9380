"""Loading gives the same pixels in the same order for any number of workers, from memory or from disk."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

import bench.datasets.images.loader
from bench.datasets.base import DATASETS
from bench.datasets.folder import Folder, FolderSettings
from bench.datasets.images.decode import decode, ink_to_square, to_square
from bench.datasets.images.loader import WINDOW, Images, map_in_order
from bench.errors import DataError
from bench.types import Item
from tests.datasets.trees import picture

BATCHES = [[3, 1], [0], [8, 7, 6, 5, 4], [2, 2]]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> tuple[Folder, list[Item]]:
    root = tmp_path_factory.mktemp("own")
    items = []
    for number in range(10):
        modality = "photo" if number % 2 else "sketch"
        path = root / modality / "a class" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture("JPEG" if number % 3 else "PNG", (40 + number, 30), seed=number))
        items.append(Item(path.relative_to(root).as_posix(), "a class", modality))
    (root / "photo" / "a class" / "9.png").write_bytes(b"broken")
    return Folder(root, FolderSettings(root=str(root))), items


def read(own: tuple[Folder, list[Item]], workers: int, ink_crop: bool | None = None) -> list[Tensor]:
    dataset, items = own
    return list(Images(dataset, items[:9], 16, workers=workers, ink_crop=ink_crop).stream(BATCHES))


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("cache", [0, 1 << 30], ids=["streamed", "held in memory"])
def test_pixels_and_order_do_not_depend_on_workers_or_cache(
    workers: int, cache: int, own: tuple[Folder, list[Item]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.datasets.images.loader, "CACHE_BYTES", cache)
    dataset, items = own
    one_by_one = [to_square(decode(dataset.read(item.path), item.path), 16) for item in items[:9]]
    found = read(own, workers)
    assert len(found) == len(BATCHES)
    for batch, pixels in zip(BATCHES, found, strict=True):
        assert pixels.dtype == torch.uint8
        assert torch.equal(pixels, torch.stack([one_by_one[position] for position in batch]))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("cache", [0, 1 << 30], ids=["streamed", "held in memory"])
def test_a_broken_image_is_named(
    workers: int, cache: int, own: tuple[Folder, list[Item]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.datasets.images.loader, "CACHE_BYTES", cache)
    dataset, items = own
    with pytest.raises(DataError, match=r"^Image photo/a class/9\.png cannot be decoded .* replace or remove it\.$"):
        list(Images(dataset, items, 16, workers=workers).stream([[0, 1], [9]]))


def test_the_ink_crop_is_for_sketches_and_follows_the_setting(own: tuple[Folder, list[Item]]) -> None:
    dataset, items = own
    cropping = Folder(dataset.data_root, FolderSettings(root=dataset.settings.root, ink_crop=True))
    raw = [decode(dataset.read(item.path), item.path) for item in items[:2]]
    images = Images(cropping, items[:2], 16)
    assert torch.equal(images[0], ink_to_square(raw[0], 16))
    assert torch.equal(images[1], to_square(raw[1], 16))
    assert torch.equal(Images(cropping, items[:2], 16, ink_crop=False)[0], to_square(raw[0], 16))


def test_warm_decodes_once_and_reports_progress(own: tuple[Folder, list[Item]]) -> None:
    dataset, items = own
    calls: list[tuple[int, int]] = []
    images = Images(dataset, items[:4], 16)
    images.warm(lambda done, all: calls.append((done, all)))
    images.warm(lambda done, all: calls.append((done, all)))
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_images_that_do_not_fit_are_not_kept_in_memory(
    own: tuple[Folder, list[Item]], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, items = own
    images = Images(dataset, items[:4], 16)
    monkeypatch.setattr(bench.datasets.images.loader, "CACHE_BYTES", 4 * 3 * 16 * 16 - 1)
    calls: list[tuple[int, int]] = []
    images.warm(lambda done, all: calls.append((done, all)))
    assert calls == []
    assert not images.fit_into_memory


def test_a_class_with_one_image_of_the_embedded_dataset(tmp_path: Path) -> None:
    dataset = DATASETS.get("emoji")(tmp_path)
    split = dataset.split()
    assert Images(dataset, split.queries[:2], 32)[1].shape == (3, 32, 32)


def test_images_that_memory_cannot_hold_are_streamed_after_one_warning(
    own: tuple[Folder, list[Item]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = read(own, 0)
    room = Images._allocate

    def little(images: Images, count: int) -> Tensor:
        if count > 5:
            raise RuntimeError(
                "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
            )
        return room(images, count)

    monkeypatch.setattr(Images, "_allocate", little)
    dataset, items = own
    images = Images(dataset, items[:9], 16)
    with caplog.at_level("WARNING", logger="bench"):
        found = [*images.stream(BATCHES), *images.stream(BATCHES)]
    (message,) = caplog.messages
    assert "Not enough memory for 9" in message
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(found, expected * 2, strict=True))


def test_decoding_leaves_torchs_threads_as_they_were(own: tuple[Folder, list[Item]]) -> None:
    dataset, items = own
    before = torch.get_num_threads()
    seen: list[int] = []
    Images(dataset, items[:9], 16).preload(lambda done, total: seen.append(torch.get_num_threads()))
    assert set(seen) == {1}
    with pytest.raises(DataError):
        Images(dataset, items, 16).preload()
    assert torch.get_num_threads() == before


# map_in_order


@pytest.mark.parametrize("workers", [0, 1, 2, 5])
def test_results_come_in_order_for_any_number_of_threads(workers: int) -> None:
    def slow_when_even(number: int) -> int:
        time.sleep(0.002 * (number % 2 == 0))
        return number * number

    assert list(map_in_order(slow_when_even, range(50), workers)) == [number * number for number in range(50)]


def test_tasks_run_at_the_same_time() -> None:
    meeting = threading.Barrier(2, timeout=10)  # passes only when two tasks wait at once
    assert list(map_in_order(lambda _: meeting.wait() >= 0, range(2), 2)) == [True, True]


def test_at_most_a_window_of_tasks_is_queued() -> None:
    taken: list[int] = []

    def arguments() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    results = map_in_order(lambda number: number, arguments(), 2)
    assert next(results) == 0
    assert len(taken) == 2 * WINDOW


def test_an_error_is_raised_in_place_of_its_result() -> None:
    def picky(number: int) -> int:
        if number == 3:
            raise ValueError("three")
        return number

    results = map_in_order(picky, range(1000), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)


STREAM = """
import logging, pathlib, torch, bench.datasets.images.loader as loader
from bench.datasets.emoji import Emoji
logging.basicConfig()
loader.CACHE_BYTES = 0
dataset = Emoji(pathlib.Path())
items = dataset.split().queries[:24]
batches = [list(range(first, first + 8)) for first in range(0, 24, 8)]
one, two = (list(loader.Images(dataset, items, 256, workers=workers).stream(batches)) for workers in (0, 2))
assert all(torch.equal(a, b) and a.stride() == b.stride() for a, b in zip(one, two, strict=True))
"""
SMALL_MEMORY = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=1m tmpfs /dev/shm && exec "$@"', "sh"]


@pytest.mark.skipif(
    subprocess.run([*SMALL_MEMORY, "true"], capture_output=True, check=False).returncode != 0,
    reason="/dev/shm can be made small by root only",
)
def test_workers_finish_with_a_small_shared_memory() -> None:
    words = [*SMALL_MEMORY, sys.executable, "-c", STREAM]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    assert "/dev/shm is too small for --workers 2" in done.stderr
