"""Settings in words: default, values, and the help of their declaration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest

from bench.datasets.base import DATASETS
from bench.methods.base import METHODS
from bench.settings.describe import Description, describe
from bench.settings.post_processing import PostProcessing
from bench.settings.run_settings import RunSettings, setting


@dataclass(frozen=True)
class First:
    side: int = setting(3, "of a square", least=1)


@dataclass(frozen=True)
class Second(First):
    kind: Literal["a", "b"] = setting("a", "which one")
    rate: float = setting(1e-4, "of it", above=0, most=1)
    shown: bool = True
    weight_loss: float = 1.0
    note: str | None = setting(None, "none: empty")


def test_defaults_values_and_help() -> None:
    assert describe(Second(rate=0.5)) == [
        Description("side", "3", "whole number, at least 1", "of a square"),
        Description("kind", "a", "a, b", "which one"),
        Description("rate", "0.5", "number, more than 0 and at most 1", "of it"),
        Description("shown", "true", "true, false", ""),
        Description("weight_loss", "1", "number", "weight of the loss term loss; 0 leaves it out"),
        Description("note", "none", "text or none", "none: empty"),
    ]


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
def test_every_setting_has_help(settings: object) -> None:
    assert [each.name for each in describe(settings) if not each.meaning] == []
