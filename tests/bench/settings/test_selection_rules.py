"""The rules that say which epoch's network is kept."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import UsageError
from bench.settings.selection_rules import RULES, selection

SCORES = [0.31, 0.47, 0.40, 0.47, 0.33]


def test_each_rule_keeps_its_epoch() -> None:
    kept = {name: rule.choose(SCORES) for name, rule in RULES.items()}
    assert kept == {"last": 4, "seen-validation": 1, "oracle": 1}


@pytest.mark.parametrize("name", ["seen-validation", "oracle"])
@given(scores=st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_the_earliest_of_the_best_is_kept(name: str, scores: list[float]) -> None:
    epoch = selection(name).choose(scores)
    assert all(score < scores[epoch] for score in scores[:epoch])
    assert all(score <= scores[epoch] for score in scores[epoch:])


def test_only_the_plain_rule_goes_without_a_mark() -> None:
    """Reports put the mark behind the name, so figures of different rules are told apart wherever they are read."""
    marks = {name: rule.mark for name, rule in RULES.items()}
    assert marks.pop("last") == ""
    assert all(marks.values())
    assert "oracle" in marks["oracle"]
    assert len(set(marks.values())) == len(marks)


def test_what_each_rule_needs_to_know() -> None:
    needs = {name: rule.needs for name, rule in RULES.items()}
    assert needs == {"last": "nothing", "seen-validation": "validation classes", "oracle": "test scores"}
    assert all(rule.name == name and rule.summary.endswith(".") for name, rule in RULES.items())


def test_nothing_to_choose_from() -> None:
    for rule in RULES.values():
        with pytest.raises(ValueError, match="no epoch"):
            rule.choose([])
    unscored = [0.2, math.nan, 0.4]
    assert selection("last").choose(unscored) == 2
    with pytest.raises(ValueError, match="without a score"):
        selection("seen-validation").choose(unscored)


def test_an_unknown_rule_is_named_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean 'seen-validation'"):
        selection("validation")
