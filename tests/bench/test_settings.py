from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest

from bench.errors import UsageError
from bench.settings import RunSettings, assign, with_recipe


@dataclass(frozen=True)
class Own:
    mining: Literal["hard", "all"] = "hard"
    margin: float = 0.3
    flip: bool = True
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
        ("margin=wide", "Setting 'margin' takes a number, not 'wide'"),
        ("flip=maybe", "Setting 'flip' takes true or false, not 'maybe'"),
        ("mining=hrd", "Setting 'mining' has no choice 'hrd'. Did you mean 'hard'"),
    ],
)
def test_a_wrong_assignment_is_one_sentence(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        assign([RunSettings(), Own()], [text])


def test_a_recipe_changes_only_what_there_is() -> None:
    assert with_recipe(Own(), {"margin": 1.0, "image_size": 96}) == Own(margin=1.0)
