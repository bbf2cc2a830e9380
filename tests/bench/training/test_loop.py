from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from bench.datasets.images.loader import Images
from bench.datasets.images.samplers import BalancedBatches
from bench.errors import DataError, IncompleteError
from bench.experiments.execute import build
from bench.experiments.experiment import Resources
from bench.experiments.resolve import resolve
from bench.settings.request import Request
from bench.training.loop import TrainingData, train


def labels_and_domains() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    labels = np.concatenate([np.full(random.integers(3, 9), label) for label in range(10)])
    is_photo = np.zeros(len(labels), dtype=bool)
    for label in range(10):
        members = np.flatnonzero(labels == label)
        is_photo[members[: len(members) // 2]] = True
    return labels, is_photo


def test_a_batch_holds_the_same_classes_in_both_domains() -> None:
    labels, is_photo = labels_and_domains()
    sampler = BalancedBatches(labels, is_photo, batch_size=16, per_class=2)
    for batch in sampler.epoch(seed=0, epoch=0):
        sketches, photos = batch[:8], batch[8:]
        assert not is_photo[sketches].any()
        assert is_photo[photos].all()
        assert labels[sketches].tolist() == labels[photos].tolist()
        assert len(set(labels[sketches])) == 4


def test_an_image_is_drawn_twice_only_when_every_other_of_its_class_was() -> None:
    labels, is_photo = labels_and_domains()
    sampler = BalancedBatches(labels, is_photo, batch_size=8, per_class=1)
    drawn = np.bincount([p for _ in range(1) for batch in sampler.epoch(0, 0) for p in batch], minlength=len(labels))
    for label in range(10):
        for domain in (False, True):
            counts = drawn[(labels == label) & (is_photo == domain)]
            assert counts.max() - counts.min() <= 1


def test_an_epoch_is_a_function_of_seed_and_number() -> None:
    labels, is_photo = labels_and_domains()
    one, other = (BalancedBatches(labels, is_photo, batch_size=16, per_class=2) for _ in range(2))
    list(one.epoch(0, 0))
    assert list(one.epoch(0, 3)) == list(other.epoch(0, 3))
    assert list(one.epoch(0, 3)) != list(one.epoch(0, 4))
    assert list(one.epoch(0, 3)) != list(one.epoch(1, 3))


def test_a_class_without_sketches_is_refused() -> None:
    with pytest.raises(DataError, match="Seen class number 1 has no sketch"):
        BalancedBatches(np.array([0, 0, 1]), np.array([True, False, True]), batch_size=4, per_class=1)


def test_a_loss_that_is_not_finite_ends_the_run_with_its_name(resources: Resources) -> None:
    experiment = resolve(Request("ours", "emoji", assignments=("image_size=32", "batch_size=16")), resources)
    seen = experiment.split.seen[:8]
    split = experiment.split.limited(1)
    split = replace(split, seen=seen, train=tuple(item for item in split.train if item.class_name in seen))
    experiment = replace(experiment, split=split, own=replace(experiment.own, weight_preservation=0.0))
    method = build(experiment, resources, torch.device("cpu"))
    with torch.no_grad():
        method.prototypes.fill_(float("nan"))
    data = TrainingData.of(split, Images(experiment.dataset, split.train, 32))
    with pytest.raises(IncompleteError, match=r"Loss term 'classification' became nan in epoch 1 \(step 1\)"):
        train(
            method,
            data,
            experiment.run,
            seed=0,
            device=torch.device("cpu"),
            precision="fp32",
            on_step=lambda *_: None,
        )


def test_a_compiled_network_learns_the_same(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled as far as the graph, whose pieces are then run as they are: making code of them takes minutes here."""
    graphs: list[int] = []

    def keep(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        graphs.append(len(graph.graph.nodes))
        return graph.forward

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=keep))
    settings = ("backbone=test_resnet", "weights=none", "frozen_blocks=0", "image_size=32", "dim=16", "batch_size=8")
    experiment = resolve(Request("softmax", "emoji", assignments=settings, per_class_limit=1), resources)
    images = Images(experiment.dataset, experiment.split.train, 32)
    data = TrainingData.of(experiment.split, images)
    run = replace(experiment.run, epochs=3 / (len(images) // 8))
    curves = []
    for compiled in (False, True):
        method = build(experiment, resources, torch.device("cpu"))
        curves.append(
            train(
                method,
                data,
                run,
                seed=0,
                device=torch.device("cpu"),
                precision="fp32",
                on_step=lambda *_: None,
                compiled=compiled,
            )
        )
        assert bool(graphs) == compiled
    plain, other = ([point["classification"] for point in history.points] for history in curves)
    assert len(plain) == 3
    assert plain == pytest.approx(other, abs=1e-5)
