"""Embeddings that are kept: used when nothing changed, and never when something did."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.embeddings import binary_codes as itq
from bench.embeddings.cache import EmbeddingCache
from bench.experiments.embed_split import Embedder
from bench.experiments.execute import build
from bench.experiments.experiment import Resources
from bench.experiments.resolve import resolve
from bench.settings.request import Request
from tests.pictures import write_folder

VECTORS = np.arange(12, dtype=np.float32).reshape(3, 4)


def test_an_entry_is_read_as_written(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path)
    assert cache.read("key") is None
    cache.write("key", VECTORS)
    found = cache.read("key")
    assert found is not None
    np.testing.assert_array_equal(found, VECTORS)
    assert found.dtype == np.float32


def test_a_damaged_entry_is_logged_and_removed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = EmbeddingCache(tmp_path)
    cache.write("key", VECTORS)
    path = cache.path("key")
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with caplog.at_level(logging.WARNING):
        assert cache.read("key") is None
    assert not path.exists()
    assert "are damaged: dropped, computed again" in caplog.text


def test_a_cache_that_cannot_be_written_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        EmbeddingCache(tmp_path / "file").write("key", VECTORS)
    assert "The embeddings are not kept" in caplog.text


def test_an_entry_that_another_process_wrote_stays_unless_it_is_damaged(tmp_path: Path) -> None:
    """The same key is the same rows, which somebody may be reading."""
    cache = EmbeddingCache(tmp_path)

    def written(value: float) -> float:
        with cache.writing_shards("key") as writer:
            writer.add("gallery", np.full((2, 3), value), [0, 0])
        found = cache.read_shards("key")
        assert found is not None
        return float(found[:2][0, 0])

    assert [written(1.0), written(2.0)] == [1, 1]
    shard = cache.folder("key") / "gallery-00000.npy"
    shard.write_bytes(shard.read_bytes()[:-1] + b"!")
    assert written(3.0) == 3
    assert [path.name for path in cache.folder("key").parent.iterdir()] == [cache.folder("key").name]


def test_entries_follow_the_network_the_settings_and_the_files(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "pictures", classes=5, images=2)
    resources = Resources(tmp_path, tmp_path / "cache", device="cpu")
    cpu = torch.device("cpu")

    def computed(*assignments: str, seed: int = 0, reuse: bool = True) -> int:
        settings = (f"root={root}", "draw=2", "backbone=test_resnet", "weights=none", "image_size=32", *assignments)
        experiment = resolve(Request("imagenet", "folder", seed=seed, assignments=settings), resources)
        method = build(experiment, resources, cpu)
        items = experiment.split.queries
        embedder = Embedder(method, experiment, resources, cpu)
        assert embedder.embed_items(items, lambda done: None, reuse=reuse).shape == (len(items), 96)
        return embedder.embedded

    assert computed() == 4
    assert computed() == 0
    assert computed(reuse=False) == 4
    assert computed("image_size=40") == 4
    assert computed(seed=1) == 4  # other random weights
    assert computed("ink_crop=true") == 4
    assert computed("backbone=test_resnet.r160_in1k") == 4  # the same tensors, perhaps other paddings or activations
    assert computed("lr=0.5") == 0  # of no matter to embeddings
    for entry in (tmp_path / "cache" / "embeddings").iterdir():
        entry.write_bytes(entry.read_bytes()[:-1] + b"?")
    assert computed() == 4
    assert computed() == 0
    for each in root.glob("sketch/*/*"):
        times = each.stat()
        os.utime(each, ns=(times.st_atime_ns, times.st_mtime_ns + 1))
    assert computed() == 4


def test_a_quantiser_is_fitted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_folder(tmp_path / "pictures", classes=5, images=2)
    resources = Resources(tmp_path, tmp_path / "cache", device="cpu")
    cpu = torch.device("cpu")
    fitted = []

    def counted(*arguments: Any, **keywords: Any) -> itq.Itq:
        fitted.append(1)
        return fit(*arguments, **keywords)

    fit = itq.fit
    monkeypatch.setattr(itq, "fit", counted)

    def found(*assignments: str, seed: int = 0) -> itq.Itq:
        settings = (f"root={root}", "draw=2", "backbone=test_resnet", "weights=none", "image_size=32", *assignments)
        experiment = resolve(Request("imagenet", "folder", seed=seed, assignments=settings), resources)
        codes = Embedder(build(experiment, resources, cpu), experiment, resources, cpu).fit_codes()
        assert codes is not None
        return codes

    first = found("codes=itq-test", "bits=8")
    again = found("codes=itq-test", "bits=8")
    assert len(fitted) == 1
    np.testing.assert_array_equal(first.projection, again.projection)
    np.testing.assert_array_equal(first.sketch_mean, again.sketch_mean)
    np.testing.assert_array_equal(first.photo_mean, again.photo_mean)
    found("codes=itq-test", "bits=4")
    found("codes=itq-train", "bits=8")
    found("codes=itq-test", "bits=8", seed=1)
    assert len(fitted) == 4
    for entry in (tmp_path / "cache" / "embeddings").glob("*.itq.safetensors"):
        entry.write_bytes(entry.read_bytes()[:-1] + b"?")
    np.testing.assert_array_equal(found("codes=itq-test", "bits=8").projection, first.projection)
    assert len(fitted) == 5
