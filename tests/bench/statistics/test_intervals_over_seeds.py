"""Intervals over seeds: by hand, against scipy, and their coverage in simulations."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from bench.statistics.intervals import (
    ClassSums,
    SeedSpread,
    class_sums,
    either_spread,
    interval,
    seed_interval,
    seed_spread,
)
from benchmarks.intervals import Shape
from tests.bench.statistics.test_intervals import assert_part, fresh, sample


def test_over_seeds_it_is_students_t() -> None:
    means = np.array([0.55, 0.57, 0.52, 0.58, 0.56])
    found = seed_interval(means)
    expected = stats.ttest_1samp(means, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_spread_of_seeds_worked_by_hand() -> None:
    # All classes move together: the error is that of the means 0.4, 0.5, 0.6, which is 0.1 / sqrt(3).
    together = np.add.outer([-0.1, 0.0, 0.1], [0.3, 0.5, 0.7])
    found = seed_spread(ClassSums(together, np.ones(3)))
    assert (found.error, found.freedom) == (pytest.approx(0.1 / math.sqrt(3)), 2)
    # Each class moves by itself and the mean stays: training adds nothing that the classes do not show.
    alone = np.array([[0.3, 0.5, 0.7], [0.5, 0.7, 0.3], [0.7, 0.3, 0.5]])
    assert seed_spread(ClassSums(alone, np.ones(3))).error == 0
    assert seed_spread(ClassSums(together[:1], np.ones(3))) == SeedSpread(0.0, math.inf)


def test_unrelated_seeds_are_welchs() -> None:
    first, second = [0.55, 0.57, 0.52, 0.58], [0.50, 0.51, 0.49]
    spreads = [SeedSpread(float(stats.sem(each)), len(each) - 1) for each in (first, second)]
    found, expected = either_spread(*spreads), stats.ttest_ind(first, second, equal_var=False)
    assert found.freedom == pytest.approx(expected.df)
    assert (np.mean(first) - np.mean(second)) / found.error == pytest.approx(expected.statistic)
    assert either_spread(SeedSpread(), spreads[1]) == spreads[1]
    assert either_spread(SeedSpread(), SeedSpread()) == SeedSpread()


def test_seeds_widen_it_and_equal_seeds_do_not() -> None:
    values, labels = sample(classes=20)
    same, one = (
        interval(class_sums(each, labels, "queries"), fresh()) for each in (np.repeat(values, 3, axis=0), values)
    )
    assert (same.low, same.high) == pytest.approx((one.low, one.high), abs=1e-12)
    apart = interval(class_sums(values + np.array([[-0.04], [0.0], [0.04]]), labels, "queries"), fresh())
    assert apart.low < same.low - 0.01
    assert apart.high > same.high + 0.01


@pytest.mark.parametrize("seeds", [3, 5])
def test_coverage_over_other_trainings(seeds: int) -> None:
    """Trainings differ as much as classes: an interval over classes alone covers too little."""
    shape = Shape("", 30, (10, 20), 0.2, class_and_seed=0.3)
    shape = replace(shape, between_seeds=float(np.sqrt(seeds / 30)) * shape.between)
    random, truth, trials = fresh(14), shape.truth(), 400
    held = np.zeros(2, dtype=int)
    for _ in range(trials):
        values, labels = shape.draw(random, seeds)
        both = interval(class_sums(values, labels, "queries"), random, resamples=999)
        alone = interval(class_sums(values.mean(axis=0), labels, "queries"), random, resamples=999)
        held += [end.low <= truth <= end.high for end in (both, alone)]
    assert_part(held[0], trials, 0.945, 0.98)
    assert_part(held[1], trials, 0.80, 0.88)
