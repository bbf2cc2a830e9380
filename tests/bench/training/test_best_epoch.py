"""The rules carried out: whose network is kept, and what a resumed training remembers of it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.datasets.images.loader import Images
from bench.devices import choose_device
from bench.errors import IncompleteError
from bench.experiments.choose_epoch import selector_of
from bench.experiments.execute import build
from bench.experiments.experiment import Resources
from bench.experiments.resolve import resolve
from bench.methods.base import Method
from bench.settings.request import Request
from bench.settings.selection_rules import selection
from bench.training.best_epoch import BestEpoch
from bench.training.loop import TrainingData, train
from bench.training.state import Checkpoint
from bench.training.trained_networks import network_hash

SMALL = ("backbone=test_efficientnet", "weights=none", "image_size=32", "dim=8")
SCORES = [0.31, 0.47, 0.40, 0.47, 0.33]


@pytest.fixture
def method(resources: Resources) -> Method:
    return build(resolve(Request("softmax", "emoji", assignments=SMALL), resources), resources, torch.device("cpu"))


def mark(method: Method, epoch: int) -> None:
    with torch.no_grad():
        method.prototypes.fill_(float(epoch))  # type: ignore[operator, union-attr]


def marked(method: Method) -> float:
    return float(method.prototypes.detach().view(-1)[0])  # type: ignore[operator, union-attr]


@pytest.mark.parametrize(("rule", "kept"), [("seen-validation", 1), ("oracle", 1)])
def test_the_network_of_the_best_epoch_is_restore_best(rule: str, kept: int, method: Method) -> None:
    scores = iter(SCORES)
    chooser = BestEpoch(selection(rule), lambda _: next(scores))
    method.train()
    for epoch in range(len(SCORES)):
        mark(method, epoch)
        chooser.after_epoch(method)
        assert method.training
    chooser.restore_best(method)
    assert marked(method) == kept


def test_a_resumed_training_remembers_the_best_so_far(method: Method) -> None:
    scores = iter(SCORES)
    first = BestEpoch(selection("oracle"), lambda _: next(scores))
    for epoch in range(3):
        mark(method, epoch)
        first.after_epoch(method)
    kept = {name: tensor.clone() for name, tensor in first.tensors().items()}
    mark(method, 99)
    resumed = BestEpoch(selection("oracle"), lambda _: next(scores))
    resumed.restore(kept)
    for epoch in (3, 4):
        mark(method, epoch)
        resumed.after_epoch(method)
    resumed.restore_best(method)
    assert marked(method) == 1


def test_a_training_that_was_stopped_keeps_the_best_epoch_of_before(resources: Resources, tmp_path: Path) -> None:
    """The best epoch is the second; the training is stopped in the third, or while that is judged, and gone on with."""
    asked = resolve(Request("softmax", "emoji", assignments=(*SMALL, "epochs=4", "batch_size=16")), resources)
    seen, split = asked.split.seen[:8], asked.split.limited(1)
    split = replace(split, seen=seen, train=tuple(item for item in split.train if item.class_name in seen))
    experiment = replace(asked, split=split)
    data = TrainingData.of(split, Images(experiment.dataset, split.train, 32))

    def through(name: str, scores: list[float], *, stopped: bool = False) -> str:
        def on_step(done: int, steps: int, values: object) -> None:
            counted.append(done)
            if stopped and done > steps // 2:
                raise KeyboardInterrupt

        def score(_: Method) -> float:
            if not left:
                raise KeyboardInterrupt
            return left.pop(0)

        counted.clear()
        method = build(experiment, resources, torch.device("cpu"))
        left = list(scores)
        train(
            method,
            data,
            experiment.run,
            seed=0,
            device=torch.device("cpu"),
            precision="fp32",
            on_step=on_step,
            checkpoint=Checkpoint(tmp_path / name, "key"),
            selector=BestEpoch(selection("seen-validation"), score),
        )
        return network_hash(method)

    counted: list[int] = []  # steps
    expected = through("whole", [0.31, 0.47, 0.40, 0.33])
    assert expected != through("other", [0.31, 0.40, 0.47, 0.33])
    with pytest.raises(KeyboardInterrupt):
        through("stopped", [0.31, 0.47], stopped=True)
    assert through("stopped", [0.40, 0.33]) == expected
    with pytest.raises(KeyboardInterrupt):
        through("judging", [0.31])
    done = counted[-1]
    assert through("judging", [0.47, 0.40, 0.33]) == expected
    assert counted[0] == done + 1  # the second epoch is judged, and not trained again


def test_an_epoch_without_a_score_is_named(method: Method) -> None:
    scores = iter([0.5, math.nan])
    chooser = BestEpoch(selection("oracle"), lambda _: next(scores))
    chooser.after_epoch(method)
    with pytest.raises(IncompleteError, match="The network of epoch 2 has no score"):
        chooser.after_epoch(method)


def test_what_each_rule_looks_at(resources: Resources) -> None:
    device = choose_device("cpu")

    def images_of(rule: str) -> set[str]:
        request = Request("softmax", "emoji", assignments=SMALL, selection=rule, per_class_limit=1)
        experiment = resolve(request, resources)
        chooser = selector_of(experiment, resources, device)
        assert chooser is not None
        cells = [cell.cell_contents for cell in chooser._score.__closure__]  # type: ignore[attr-defined]
        sides = next(each for each in cells if isinstance(each, list) and isinstance(each[0], Images))
        assert [side.items[0].modality for side in sides] == ["sketch", "photo"]
        classes = {item.class_name for side in sides for item in side.items}
        trained = {item.class_name for item in experiment.split.train}
        assert not classes & trained
        return classes & set(experiment.split.unseen)

    assert images_of("seen-validation") == set()  # no class of the test has a say
    assert len(images_of("oracle")) == 93
    assert selector_of(resolve(Request("softmax", "emoji"), resources), resources, device) is None


def test_nan_embeddings_are_no_data_error(method: Method, resources: Resources) -> None:
    request = Request("softmax", "emoji", assignments=SMALL, selection="oracle", per_class_limit=1)
    chooser = selector_of(resolve(request, resources), resources, choose_device("cpu"))
    assert chooser is not None
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.fill_(math.nan)
    with pytest.raises(IncompleteError, match="epoch 1 has no score"):
        chooser.after_epoch(method)
