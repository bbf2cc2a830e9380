"""Schedules and optimisers by name, and a method with its own."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.errors import UsageError
from bench.experiments.execute import build
from bench.experiments.experiment import Experiment, Resources
from bench.experiments.resolve import resolve
from bench.methods.base import METHODS
from bench.settings.request import Request
from bench.settings.run_settings import OPTIMISERS, SCHEDULES, RunSettings, assign
from bench.training.trained_networks import Networks
from tests.conftest import Quiet, carry_out

SMALL = ("backbone=test_resnet", "weights=none", "image_size=32", "dim=8", "batch_size=16", "frozen_blocks=-1")


@pytest.mark.parametrize("name", SCHEDULES.names())
def test_every_schedule_is_a_share_of_the_highest_rate(name: str) -> None:
    rates = [SCHEDULES.get(name)(step, 100, RunSettings()) for step in range(100)]
    assert max(rates) <= 1
    assert min(rates) >= 0


def test_schedules_by_hand() -> None:
    run = RunSettings(warmup=0.2)
    rates = [SCHEDULES.get("one-cycle")(step, 100, run) for step in range(100)]
    assert rates[0] == pytest.approx(1 / 21)
    assert max(rates) == rates[20] == 1
    assert rates[:21] == sorted(rates[:21])
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert rates[-1] < 0.01
    assert SCHEDULES.get("constant")(99, 100, run) == 1
    assert SCHEDULES.get("exponential")(50, 100, run) == pytest.approx(0.001**0.5)


@pytest.mark.parametrize("name", OPTIMISERS.names())
def test_every_optimiser_goes_downhill(name: str) -> None:
    weight = torch.nn.Parameter(torch.tensor([3.0, -2.0]))
    optimiser = OPTIMISERS.get(name)([{"params": [weight], "lr": 0.1}], RunSettings())
    for _ in range(10):
        optimiser.zero_grad()
        weight.square().sum().backward()
        optimiser.step()
    assert weight.square().sum() < 13


@pytest.mark.parametrize(
    ("assignment", "answer"),
    [
        ("optimiser=adamx", r"no optimiser 'adamx'\. Did you mean 'adam"),
        ("schedule=one_cycle", r"no schedule 'one_cycle'\. Did you mean 'one-cycle'"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(assignment: str, answer: str) -> None:
    with pytest.raises(UsageError, match=answer):
        assign([RunSettings()], [assignment])


@pytest.fixture
def documented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The method of docs/extending.md, from the page."""
    page = (Path(__file__).parents[3] / "docs" / "extending.md").read_text()
    (code,) = (each for each in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "SCHEDULES.register" in each)
    (tmp_path / "momentum.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    for registry in (METHODS, SCHEDULES):
        registry.names()
        monkeypatch.setattr(registry, "_known", dict(registry._known))
    importlib.import_module("momentum")
    yield "momentum"
    del sys.modules["momentum"]


def of_eight_classes(asked: Experiment) -> Experiment:
    split = asked.split.limited(1)
    train = tuple(item for item in split.train if item.class_name in split.seen[:8])
    return replace(asked, split=replace(split, seen=split.seen[:8], train=train), run=replace(asked.run, epochs=4))


def test_a_method_brings_its_optimiser_and_schedule(
    documented: str, resources: Resources, quiet: Quiet, tmp_path: Path
) -> None:
    """Interrupted in the third epoch and resumed, it ends with the same network as undisturbed."""
    asked = resolve(Request(documented, "emoji", assignments=SMALL), resources)
    assert asked.run.schedule == "polynomial"  # the method's recipe goes over the dataset's
    assert isinstance(build(asked, resources, torch.device("cpu")).optimiser(asked.run), torch.optim.SGD)
    plain = resolve(Request(documented, "emoji", assignments=(*SMALL, "schedule=constant")), resources)
    assert plain.key != asked.key
    experiment = of_eight_classes(asked)
    whole, _ = carry_out(experiment, replace(resources, cache_dir=tmp_path / "whole"), quiet)

    class Stops(Quiet):
        def progress(self, done: int, total: int, terms: object) -> None:
            if terms and done > total // 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        carry_out(experiment, replace(resources, cache_dir=tmp_path / "stopped"), Stops())
    assert Networks(tmp_path / "stopped").checkpoint(experiment.training_key).path.exists()
    resumed, _ = carry_out(experiment, replace(resources, cache_dir=tmp_path / "stopped"), quiet)
    assert resumed.environment["network"] == whole.environment["network"]
    other, _ = carry_out(of_eight_classes(plain), resources, quiet)
    assert resumed.environment["network"] != other.environment["network"]
