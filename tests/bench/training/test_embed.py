"""Images to embeddings: too little memory means smaller batches and the same result."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.datasets.images.loader import Images
from bench.experiments.execute import build
from bench.experiments.experiment import Experiment, Resources
from bench.experiments.resolve import resolve
from bench.methods.base import Method
from bench.settings.request import Request
from bench.training import embed as embedding
from bench.training.embed import embed, embed_images
from bench.types import Floats

CPU = torch.device("cpu")


@pytest.fixture
def experiment(resources: Resources) -> Experiment:
    return resolve(Request("imagenet", "emoji", assignments=("image_size=32",), per_class_limit=1), resources)


@pytest.fixture
def method(experiment: Experiment, resources: Resources) -> Method:
    return build(experiment, resources, CPU)


def embedded(experiment: Experiment, method: Method, progress: Callable[[int, int], None] = lambda *_: None) -> Floats:
    images = Images(experiment.dataset, experiment.split.gallery[:70], 32)
    return embed(method, images, is_photo=True, device=CPU, precision="fp32", progress=progress)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:119] DefaultCPUAllocator: can't allocate memory"),
        MemoryError("Unable to allocate 1.5 GiB"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_too_little_memory_halves_the_batch_and_changes_nothing_else(
    error: Exception,
    experiment: Experiment,
    method: Method,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(embedding, "BATCH", 64)
    expected = embedded(experiment, method)
    whole, sizes = method.embed, []

    def failing(images: Tensor, is_photo: bool) -> Any:
        sizes.append(len(images))
        if len(images) > 16 or len(sizes) == 5:  # the fifth: another program took memory in the middle
            raise error
        return whole(images, is_photo)

    monkeypatch.setattr(method, "embed", failing)
    told: list[int] = []
    with caplog.at_level(logging.WARNING):
        found = embedded(experiment, method, lambda done, total: told.append(done))
    assert sizes == [64, 32, 16, 16, 16, 8, 8, 8, 8, 6]
    assert told == [16, 32, 40, 48, 56, 64, 70]
    assert "batches of 64 images: continuing with 32." in caplog.text
    # Sums of another batch size round differently.
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    np.testing.assert_array_equal((found @ found.T).argmax(axis=1), (expected @ expected.T).argmax(axis=1))


def test_memory_that_does_not_hold_one_image_is_an_error(
    experiment: Experiment, method: Method, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def failing(images: Tensor, is_photo: bool) -> Any:
        sizes.append(len(images))
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(method, "embed", failing)
    monkeypatch.setattr(embedding, "BATCH", 8)
    with pytest.raises(torch.OutOfMemoryError):
        embedded(experiment, method)
    assert sizes == [8, 4, 2, 1]


def test_any_other_error_is_raised_at_once(
    experiment: Experiment, method: Method, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def failing(images: Tensor, is_photo: bool) -> Any:
        calls.append(len(images))
        raise RuntimeError("sizes do not match")

    monkeypatch.setattr(method, "embed", failing)
    with pytest.raises(RuntimeError, match="sizes do not match"):
        embedded(experiment, method)
    assert len(calls) == 1


def test_the_order_of_images_is_kept(experiment: Experiment, method: Method, tmp_path: Path) -> None:
    found = embedded(experiment, method)
    backwards = Images(experiment.dataset, experiment.split.gallery[:70][::-1], 32)
    turned = embed(method, backwards, is_photo=True, device=CPU, precision="fp32", progress=lambda *_: None)
    np.testing.assert_allclose(turned[::-1], found, rtol=0, atol=1e-5)  # another batch rounds otherwise


def test_an_image_and_its_mirror_image_have_one_embedding(method: Method) -> None:
    method.eval()
    images = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        found = embed_images(method, images, True, mirror=True)
        mirrored = embed_images(method, images.flip(3), True, mirror=True)
        alone = embed_images(method, images, True, mirror=False)
    torch.testing.assert_close(found, mirrored)
    assert not torch.allclose(found, alone, atol=1e-3)
