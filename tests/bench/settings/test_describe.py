"""Settings in words: default, values, and the comment of their declaration."""

from __future__ import annotations

from dataclasses import dataclass, make_dataclass
from typing import Literal

import pytest

from bench.datasets.base import DATASETS
from bench.methods.base import METHODS
from bench.settings.describe import Explained, explained
from bench.settings.post_processing import PostProcessing
from bench.settings.run_settings import RunSettings, number


@dataclass(frozen=True)
class First:
    """One that others stem from."""

    side: int = number(3, 1)  # of a square


@dataclass(frozen=True)
class Second(First):
    """With every sort of comment."""

    # above, in
    # two lines
    kind: Literal["a", "b"] = "a"
    rate: float = number(1e-4, 0, 1, open=True)  # of it # all
    shown: bool = True
    weight_loss: float = 1.0
    note: str | None = None  # taken: none


def test_defaults_values_and_comments() -> None:
    assert explained(Second(rate=0.5)) == [
        Explained("side", "3", "whole number, at least 1", "of a square"),
        Explained("kind", "a", "a, b", "above, in two lines"),
        Explained("rate", "0.5", "number, more than 0 and at most 1", "of it # all"),
        Explained("shown", "true", "true, false", ""),
        Explained("weight_loss", "1", "number", "factor of the loss term loss; 0: it is not computed"),
        Explained("note", "None", "text or none", "taken: none"),
    ]
    assert explained(make_dataclass("Made", [("size", int, 1)])()) == [Explained("size", "1", "whole number", "")]


@pytest.mark.parametrize(
    "settings",
    [
        RunSettings(),
        PostProcessing(),
        *(kind.Settings() for _, kind in METHODS.items() if kind.__module__.startswith("bench.methods.")),
        *(kind.Settings() for _, kind in DATASETS.items() if kind.__module__.startswith("bench.datasets.")),
    ],
    ids=lambda settings: type(settings).__name__,
)
def test_every_setting_says_what_it_is(settings: object) -> None:
    assert [each.name for each in explained(settings) if not each.meaning] == []
