"""Runs whose gallery is too large to hold: shards are written while it is embedded and ranked, with the same scores."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from bench.embeddings.arrays import Rows
from bench.errors import IncompleteError, StorageError
from bench.experiments import embed_split
from bench.experiments.execute import build
from bench.experiments.experiment import Resources
from bench.experiments.resolve import resolve
from bench.methods.imagenet import ImageNet
from bench.results import details
from bench.results.models import RunRecord
from bench.results.store import Store
from bench.search.searcher import Searcher
from bench.settings.post_processing import PostProcessing
from bench.settings.request import Request
from tests.bench.evaluation.clouds import OnDisk, clouds
from tests.conftest import Quiet, carry_out
from tests.pictures import words_of, write_folder
from tests.processes import Constant, Fault, bench, team

REQUEST = Request("imagenet", "emoji", assignments=("image_size=32",), per_class_limit=3)
NOTHING_HELD = Constant("bench.experiments.embed_split:HELD_BYTES", 0)
SMALL_BLOCKS = Constant("bench.experiments.embed_split:BLOCK_IMAGES", 64)


@pytest.fixture
def resources(tmp_path: Path) -> Resources:
    return Resources(data_root=tmp_path, cache_dir=tmp_path / "cache", device="cpu", save_topk=10)


@pytest.fixture
def nothing_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every gallery goes to the disk, in blocks of one batch."""
    monkeypatch.setattr(embed_split, "HELD_BYTES", 0)
    monkeypatch.setattr(embed_split, "BLOCK_IMAGES", 64)


Outcome = tuple[RunRecord, dict[str, bytes]]


def carried_out(resources: Resources, request: Request = REQUEST, *, reuse: bool = True) -> tuple[Outcome, Quiet]:
    observer = Quiet()
    return carry_out(resolve(request, resources), resources, observer, reuse=reuse), observer


def galleries(resources: Resources) -> list[Path]:
    return [path for path in (resources.cache_dir / "embeddings").iterdir() if path.is_dir()]


def assert_same(found: Outcome, expected: Outcome) -> None:
    assert found[0].scores == expected[0].scores
    assert found[1][details.PER_QUERY] == expected[1][details.PER_QUERY]
    assert found[1][details.TOP] == expected[1][details.TOP]


def test_a_run_finds_what_it_finds_with_its_gallery_in_memory(
    resources: Resources, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also from the cache, from a damaged one, and computed again while somebody may read the entry."""
    expected, _ = carried_out(replace(resources, cache_dir=resources.cache_dir / "held"))
    monkeypatch.setattr(embed_split, "HELD_BYTES", 0)
    monkeypatch.setattr(embed_split, "BLOCK_IMAGES", 64)
    found, _ = carried_out(resources)
    assert_same(found, expected)
    (kept,) = galleries(resources)
    assert len(list((resources.cache_dir / "embeddings").glob("*.safetensors"))) == 1  # the queries

    before = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in kept.iterdir()}
    again, _ = carried_out(resources)
    assert_same(again, expected)
    assert "images_per_second" not in again[0].cost  # nothing was embedded
    forced, _ = carried_out(resources, reuse=False)
    assert_same(forced, expected)
    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in kept.iterdir()} == before

    shard = kept / "gallery-00000.npy"
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        repaired, _ = carried_out(resources)
    assert_same(repaired, expected)
    assert "are damaged: dropped, computed again" in caplog.text
    assert galleries(resources) == [kept]


@pytest.mark.usefixtures("nothing_held")
@pytest.mark.parametrize("settings", [("codes=itq-test", "bits=8"), ("rerank=icfrr",)], ids=" ".join)
def test_what_needs_the_whole_gallery_holds_it(settings: tuple[str, ...], resources: Resources) -> None:
    request = Request("imagenet", "emoji", assignments=("image_size=32", *settings), per_class_limit=1)
    experiment = resolve(request, resources)
    cpu = torch.device("cpu")
    embedder = embed_split.Embedder(build(experiment, resources, cpu), experiment, resources, cpu)
    gallery = embedder.embed_gallery(experiment.split.gallery, 1280, lambda done: None)
    assert isinstance(gallery, np.ndarray)
    assert galleries(resources) == []


@pytest.mark.usefixtures("nothing_held")
def test_embeddings_that_are_no_numbers_leave_nothing(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, calls = ImageNet.embed, []

    def failing(self: ImageNet, images: object, is_photo: bool) -> object:
        found = whole(self, images, is_photo)  # type: ignore[arg-type]
        calls.append(is_photo)
        if calls.count(True) == 2:
            found[0, 0] = np.nan
        return found

    monkeypatch.setattr(ImageNet, "embed", failing)
    with pytest.raises(IncompleteError, match="The network gives NaN or infinity"):
        carried_out(resources)
    assert galleries(resources) == []


@pytest.mark.usefixtures("nothing_held")
def test_photos_that_are_all_alike_are_told(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageNet, "embed", lambda self, images, is_photo: np.ones((len(images), 4), dtype=np.float32))
    with pytest.raises(IncompleteError, match="All photos have the same embedding"):
        carried_out(resources)


@pytest.mark.usefixtures("nothing_held")
def test_a_full_disk_ends_the_run(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unlike a cache, the shards are needed."""

    def full(*_: object) -> None:
        raise StorageError("File x cannot be written in y (No space left on device): free some space.")

    monkeypatch.setattr("bench.embeddings.memmap.write_whole", full)
    with pytest.raises(StorageError, match="free some space"):
        carried_out(resources)
    assert galleries(resources) == []


def test_killed_while_writing_a_run_starts_again(tmp_path: Path) -> None:
    words = ("run", "-m", "imagenet", *words_of(write_folder(tmp_path / "pictures")))
    killed = bench(tmp_path, *words, faults=(NOTHING_HELD, Fault("bench.embeddings.memmap:write_whole", 2)))
    assert killed.code == -9
    (left,) = (tmp_path / "cache" / "embeddings").glob("*.tmp")
    os.utime(left, (0, 0))
    again = bench(tmp_path, *words, faults=(NOTHING_HELD,))
    assert again.code == 0, again.output
    assert not left.exists()


def test_two_processes_write_their_shares(tmp_path: Path) -> None:
    pictures = write_folder(tmp_path / "pictures")
    words = ("run", "-m", "imagenet", *words_of(pictures))
    planted = (NOTHING_HELD, SMALL_BLOCKS)
    for each in team(tmp_path, words, words, faults={0: planted, 1: planted}):
        assert each.code == 0, each.output
    alone = bench(tmp_path, *words)
    assert alone.code == 0, alone.output
    (folder,) = (path for path in (tmp_path / "rank0" / "cache" / "embeddings").iterdir() if path.is_dir())
    assert (folder / "shards.json").exists()
    assert not (tmp_path / "rank1" / "cache" / "embeddings").exists()
    found = []
    for place in (tmp_path / "rank0", tmp_path):
        store = Store(str(place / "bench.db"))
        (run,) = store.runs()
        found.append(np.array([score.value for score in run.scores]))
        store.close()
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-4)


def test_a_sketch_finds_the_same_photos_on_the_disk() -> None:
    """Also the order and the similarities are those of the plain cosines."""
    made = clouds(queries=3, photos=5_000)

    def searcher(gallery: Rows) -> Searcher:
        nothing: Any = None
        embedder: Any = SimpleNamespace(experiment=SimpleNamespace(post=PostProcessing()))
        return Searcher(embedder, nothing, [nothing] * 5_000, gallery)

    held, read = searcher(made.gallery), searcher(OnDisk(made.gallery))
    cosines = made.query @ made.gallery.T
    cosines /= np.linalg.norm(made.query, axis=1)[:, None] * np.linalg.norm(made.gallery, axis=1)
    for query, expected in zip(made.query, cosines, strict=True):
        found = held.rank(query[None], 20)
        assert found == read.rank(query[None], 20)
        assert [position for position, _ in found] == np.argsort(-expected, kind="stable")[:20].tolist()
        np.testing.assert_allclose([alike for _, alike in found], np.sort(expected)[:-21:-1], atol=1e-6)
    assert len(held.rank(made.query[:1], 10_000)) == 5_000
    assert read.similarity == "cosine similarity"
