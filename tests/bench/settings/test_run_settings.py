from __future__ import annotations

import doctest
from dataclasses import dataclass, replace
from typing import Literal

import pytest

import bench.settings.run_settings
from bench.datasets.base import DATASETS
from bench.errors import UsageError
from bench.methods.base import METHODS
from bench.settings.run_settings import Range, RunSettings, assign, check, with_recipe


@dataclass(frozen=True)
class Own:
    mining: Literal["hard", "all"] = "hard"
    margin: float = 0.3
    flip: bool = True
    weight_term: float = 1.0
    most: int | None = None


def test_each_assignment_goes_where_its_key_belongs_and_is_converted() -> None:
    run, own = assign(
        [RunSettings(), Own()], ["image-size=64", "margin=0.5", "flip=no", "most=3", "mining=all", "lr=1e-5"]
    )
    assert (run.image_size, run.lr) == (64, 1e-5)
    assert own == Own(mining="all", margin=0.5, flip=False, most=3)
    assert assign([own], ["most=none"])[0].most is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("margin", "--set takes KEY=VALUE, not 'margin'"),
        ("margn=1", "There is no setting 'margn' here. Did you mean 'margin'"),
        ("image_size=big", "Setting 'image_size' takes a whole number, not 'big'"),
        ("learning-rate=1", "There is no setting 'learning_rate' here. Did you mean 'lr'"),
        ("margin=wide", "Setting 'margin' takes a number, not 'wide'"),
        ("flip=maybe", "Setting 'flip' takes true or false, not 'maybe'"),
        ("mining=hrd", "Setting 'mining' has no choice 'hrd'. Did you mean 'hard'"),
        ("optimiser=sgd", "There is no optimiser 'sgd'. Available: adam, adamw"),
        ("epochs=0", "Setting 'epochs' is 0, but must be more than 0"),
        ("epochs=-1", "Setting 'epochs' is -1, but must be more than 0"),
        ("epochs=nan", "Setting 'epochs' takes a finite number, not nan"),
        ("lr=inf", "Setting 'lr' takes a finite number, not inf"),
        ("margin=nan", "Setting 'margin' takes a finite number, not nan"),
        ("per_class=0", "Setting 'per_class' is 0, but must be at least 1"),
        ("image_size=0", "Setting 'image_size' is 0, but must be at least 32"),
        ("warmup=2", "Setting 'warmup' is 2, but must be at least 0 and at most 1"),
        ("weight_term=-1", "Setting 'weight_term' is -1, but must be at least 0"),
    ],
)
def test_a_wrong_assignment_is_one_sentence(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        assign([RunSettings(), Own()], [text])


def test_every_default_is_in_its_range() -> None:
    """A range that shuts the default out would refuse every run."""
    for _, method in METHODS.items():
        for _, dataset in DATASETS.items():
            check(with_recipe(RunSettings(), dataset.recipe))
            check(with_recipe(method.Settings(), dataset.recipe))
        for changes in method.structural.values():
            check(replace(method.Settings(), **changes))


def test_a_range_may_leave_its_lower_end_out() -> None:
    assert [value in Range(0, 1, open=True) for value in (-1, 0, 0.5, 1, 1.5)] == [False, False, True, True, False]
    assert [value in Range(0) for value in (-0.1, 0, 1e9)] == [False, True, True]


def test_the_examples_in_the_module_hold() -> None:
    assert doctest.testmod(bench.settings.run_settings) == (0, 2)


def test_a_recipe_changes_only_what_there_is() -> None:
    assert with_recipe(Own(), {"margin": 1.0, "image_size": 96}) == Own(margin=1.0)
