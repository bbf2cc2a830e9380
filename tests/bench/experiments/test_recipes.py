"""Named recipes of a method: settings that `--recipe` gives, and that single settings change."""

from __future__ import annotations

import pytest

from bench.errors import UsageError
from bench.experiments.experiment import Experiment, Resources
from bench.experiments.recipes import with_recipe_named
from bench.experiments.resolve import resolve
from bench.methods.softmax import Softmax
from bench.settings.request import Request

RECIPE = {"lr": 0.01, "scale": 8.0, "schedule": "constant", "mirror": False}


@pytest.fixture(autouse=True)
def recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Softmax, "recipes", {"paper": RECIPE})


def experiment(resources: Resources, *assignments: str, recipe: str = "paper") -> Experiment:
    found = with_recipe_named("softmax", recipe, assignments) if recipe else assignments
    return resolve(Request("softmax", "emoji", assignments=found), resources)


def test_a_recipe_is_its_settings(resources: Resources) -> None:
    named = experiment(resources)
    assert (named.run.lr, named.own.scale, named.run.schedule, named.run.mirror) == (0.01, 8, "constant", False)
    by_hand = experiment(resources, "lr=0.01", "scale=8", "schedule=constant", "mirror=false", recipe="")
    assert named.key == by_hand.key
    assert resolve(named.request, resources).key == named.key  # its stored request has the settings, not the name


def test_a_setting_wins_over_the_recipe_whose_name_the_run_then_loses(resources: Resources) -> None:
    named, changed = experiment(resources), experiment(resources, "lr=0.02")
    assert (changed.run.lr, changed.own.scale) == (0.02, 8)
    assert named.title.startswith("softmax (recipe paper)")
    assert named.identity["configuration"]["recipe"] == "paper"
    assert "recipe" not in changed.title
    assert "recipe" not in experiment(resources, recipe="").title
    assert named.training_key == experiment(resources, "mirror=no").training_key


def test_a_recipe_may_have_settings_of_the_test_and_of_one_dataset(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Softmax, "recipes", {"large": {"test_size": 64}, "unique": {"photos": "unique"}})
    assert experiment(resources, recipe="large").title.startswith("softmax (recipe large) + test at 64 px")
    with pytest.raises(UsageError, match="photos"):  # a setting of sketchy
        experiment(resources, recipe="unique")


def test_an_unknown_recipe_is_refused() -> None:
    with pytest.raises(UsageError, match=r"no recipe 'papr'.*paper"):
        with_recipe_named("softmax", "papr", ())
    with pytest.raises(UsageError, match="leave out --recipe"):
        with_recipe_named("", "paper", ())
