"""Intervals of one method: by hand, against scipy and a plain loop, and their coverage in simulations."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import bench
from bench.evaluation.ranking_result import Ranking
from bench.statistics.intervals import (
    RESAMPLES,
    SEED,
    SeedSpread,
    class_draws,
    class_sums,
    interval,
    interval_of,
    seed_interval,
)
from bench.types import Average, Doubles, Labels
from benchmarks import intervals
from benchmarks.intervals import SHAPES, Shape, by_queries

PAGE = Path(__file__).parents[3] / "docs" / "statistics.md"
SHAPE = {shape.name: shape for shape in SHAPES}
AVERAGES: tuple[Average, ...] = ("queries", "classes")


def fresh(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def sample(classes: int = 12, seeds: int = 1, seed: int = 5) -> tuple[Doubles, Labels]:
    return Shape("", classes, (2, 9), 0.0, class_and_seed=0.3, between_seeds=0.1).draw(fresh(seed), seeds)


def assert_part(hits: int, trials: int, low: float, high: float) -> None:
    """``hits / trials`` is within low..high, plus or minus four binomial standard errors."""
    slack = [4 * math.sqrt(part * (1 - part) / trials) for part in (low, high)]
    assert low - slack[0] <= hits / trials <= high + slack[1], f"{hits} of {trials}"


# Sums by class


def test_sums_worked_by_hand() -> None:
    values, labels = np.array([0.2, np.nan, 0.4, 1.0]), np.array([7, 3, 7, 3])
    over_queries, over_classes = (class_sums(values, labels, average) for average in AVERAGES)
    np.testing.assert_allclose(over_queries.sums, [[1.0, 0.6]])
    np.testing.assert_allclose(over_queries.counts, [1, 2])
    np.testing.assert_allclose(over_queries.means, [1.6 / 3])
    np.testing.assert_allclose(over_classes.means, [(1.0 + 0.3) / 2])
    np.testing.assert_allclose(over_queries.deviations, [[(1.0 - 1.6 / 3) / 3, (0.6 - 3.2 / 3) / 3]])


@pytest.mark.parametrize("average", AVERAGES)
def test_the_mean_is_the_score_that_is_stored(average: Average) -> None:
    values, labels = sample()
    relevant = np.ones(len(labels), dtype=np.int64)
    relevant[::5] = 0
    values = np.where(relevant == 0, np.nan, values)
    ranking = Ranking(("mAP@all:plain",), values, relevant, labels)
    found = interval(class_sums(values, labels, average), fresh())
    assert found.mean == pytest.approx(ranking.score("mAP@all:plain", average).value, abs=1e-14)
    assert found.low < found.mean < found.high


def test_shapes_and_nans_must_fit() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        class_sums(np.zeros(3), np.zeros(4, dtype=np.int64), "queries")
    with pytest.raises(ValueError, match="leaves out the same"):
        class_sums([[0.1, np.nan], [0.1, 0.2]], np.array([0, 1]), "queries")


# The interval over classes


@pytest.mark.parametrize("average", AVERAGES)
def test_it_is_the_studentised_bootstrap_of_the_textbook(average: Average) -> None:
    """Each resample in a plain loop: classes side by side, with their mean and linearised standard error."""
    values, labels = sample()
    means, sizes = stats_of(values[0], labels, average)
    mean, error = ratio_and_error(means, sizes)
    picks = fresh(3).integers(0, len(means), size=(RESAMPLES, len(means)))
    pivots = []
    for row in picks:
        own, own_error = ratio_and_error(means[row], sizes[row])
        pivots.append((own - mean) / own_error)
    pivots.sort()
    found = interval(class_sums(values, labels, average), fresh(3))
    assert found.mean == pytest.approx(mean, abs=1e-14)
    assert found.low == pytest.approx(mean - error * pivots[-250], abs=1e-10)
    assert found.high == pytest.approx(mean - error * pivots[249], abs=1e-10)


def stats_of(values: Doubles, labels: Labels, average: Average) -> tuple[Doubles, Doubles]:
    groups = [values[labels == label] for label in np.unique(labels)]
    sizes = np.array([len(group) if average == "queries" else 1 for group in groups], dtype=np.float64)
    return np.array([group.mean() for group in groups]), sizes


def ratio_and_error(means: Doubles, sizes: Doubles) -> tuple[float, float]:
    mean = float(np.average(means, weights=sizes))
    residuals = sizes * (means - mean) / sizes.mean()
    return mean, float(np.sqrt((residuals**2).sum() / (len(means) - 1) / len(means)))


def test_draws_may_be_used_again() -> None:
    values, labels = sample()
    sums = class_sums(values, labels, "queries")
    drawn = class_draws(12, fresh(3), RESAMPLES)
    assert drawn.times.shape == (RESAMPLES, 12)
    assert (drawn.times.sum(axis=1) == 12).all()
    again = [interval_of(sums, SeedSpread(), fresh(8), drawn=drawn) for _ in range(2)]
    assert again[0] == again[1] == interval_of(sums, SeedSpread(), fresh(3))


def test_both_averages_agree_where_classes_are_of_one_size() -> None:
    values, labels = Shape("", 15, (6, 6), 0.0).draw(fresh(1))
    first, second = (interval(class_sums(values, labels, average), fresh()) for average in AVERAGES)
    assert (first.low, first.high) == pytest.approx((second.low, second.high), abs=1e-12)


@pytest.mark.parametrize("average", AVERAGES)
def test_order_names_and_copies_of_queries_do_not_matter(average: Average) -> None:
    """Copies of queries add no evidence, because classes are resampled."""
    values, labels = sample(seeds=3)
    expected = interval(class_sums(values, labels, average), fresh())
    order = fresh(9).permutation(len(labels))
    copies = np.repeat(np.arange(len(labels)), 100)
    for other, names in ((order, labels[order]), (copies, labels[copies]), (slice(None), labels * 3 + 5)):
        found = interval(class_sums(values[:, other], names, average), fresh())
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-10)


def test_shifted_and_scaled_values_shift_and_scale_it() -> None:
    values, labels = sample(seeds=2)
    before, after = (interval(class_sums(each, labels, "queries"), fresh()) for each in (values / 4, values / 8 + 0.25))
    assert 0 < before.low < before.high < 0.5
    assert (after.low, after.high) == pytest.approx((before.low / 2 + 0.25, before.high / 2 + 0.25), abs=1e-12)


def test_it_stays_within_what_a_score_can_be() -> None:
    values, labels = np.repeat([1.0, 1.0, 0.9, 1.0, 0.2, 1.0], 4), np.repeat(np.arange(6), 4)
    assert interval(class_sums(values, labels, "queries"), fresh()).high == 1.0
    assert interval(class_sums(1 - values, labels, "queries"), fresh()).low == 0.0


def test_without_spread_a_difference_has_no_width_and_a_score_has_some() -> None:
    """The error of 25 perfect classes is that of 27 classes, one of them at 0 and one at 1."""
    values, labels = np.full(50, 1.0), np.arange(50) // 2
    found = interval(class_sums(values, labels, "queries"), fresh())
    half = stats.t.ppf(0.975, 24) * math.sqrt(27 / 26 * 1) / 27
    assert found.low == pytest.approx(1 - half, abs=0.003)
    assert found.high == found.mean == 1
    same = interval_of(class_sums(values * 0.1, labels, "queries"), SeedSpread(), fresh())
    assert same.low == same.high == same.mean == pytest.approx(0.1)


def test_too_few_classes_or_seeds_give_nan() -> None:
    for values, labels in (([0.3, 0.5], [4, 4]), ([np.nan, np.nan], [1, 2])):
        found = interval(class_sums(values, np.array(labels), "queries"), fresh())
        assert math.isnan(found.low)
        assert math.isnan(found.high)
    assert math.isnan(seed_interval([0.4]).low)


def test_few_classes_that_differ_get_students_t() -> None:
    """24 of 25 classes are perfect: every third resample has no spread."""
    means, labels = np.r_[np.ones(24), 0.5], np.arange(25)
    plain = interval_of(class_sums(means, labels, "classes"), SeedSpread(), fresh())
    expected = stats.t.interval(0.95, 24, means.mean(), stats.sem(means))
    assert (plain.low, plain.high) == pytest.approx(expected, abs=0.002)
    padded = np.r_[means, 0, 1] - means.mean()
    half = stats.t.ppf(0.975, 24) * math.sqrt((padded**2).sum() / 26 / 27)
    found = interval(class_sums(means, labels, "classes"), fresh())
    assert found.low == pytest.approx(means.mean() - half, abs=0.004)
    assert found.high == 1.0


def test_all_that_is_shown_has_the_same_interval() -> None:
    """Also where Student's t is drawn: a result in Python, a report and a model card agree to the last digit."""
    labels, photos = np.repeat(np.arange(30), 4), np.eye(30)
    found = bench.evaluate(photos[np.maximum(labels, 1)], photos, labels, np.arange(30), metrics="P@1:k")
    sums = class_sums(found.values("P@1:k"), labels, "queries")
    assert sums.sums.tolist() == [[0.0, *[4.0] * 29]]
    drawn = class_draws(len(sums.counts), fresh(SEED), RESAMPLES)
    expected = interval_of(sums, SeedSpread(), fresh(SEED), limits=(0.0, 1.0), drawn=drawn)
    assert found.interval("P@1:k") == interval(sums) == expected
    assert interval(sums, fresh(SEED)) != expected


def test_a_benchmark_of_full_size_is_quick_work() -> None:
    shape = replace(SHAPE["QuickDraw-30, low scores"], class_and_seed=0.2)
    values, labels = shape.draw(fresh(), seeds=3)
    assert values.shape[1] > 92_000
    assert interval(class_sums(values, labels, "queries"), fresh()).low > 0


# Coverage


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize(("classes", "centre"), [(21, 0.2), (30, -2.3), (25, 2.2)])
def test_coverage_is_95_percent(classes: int, centre: float, average: Average) -> None:
    shape, random, trials = Shape("", classes, (10, 40), centre), fresh(11), 400
    truth, held = shape.truth(), 0
    for _ in range(trials):
        found = interval(class_sums(*shape.draw(random), average), random, resamples=999)
        held += found.low <= truth <= found.high
    assert_part(held, trials, 0.94, 0.965)


def test_resampling_queries_understates_the_error_threefold() -> None:
    """80 sketches of each of 30 classes, as in TU-Berlin's test; a tenth of the variance is between classes."""
    shape, random, trials = SHAPE["TU-Berlin-30, classes alike"], fresh(12), 300
    truth, means, query_errors, class_errors, held = shape.truth(), [], [], [], 0
    for _ in range(trials):
        values, labels = shape.draw(random)
        picks = random.integers(0, values.size, size=(100, values.size))
        resampled = values[0][picks].mean(axis=1)
        query_errors.append(resampled.std(ddof=1))
        class_errors.append(np.linalg.norm(class_sums(values, labels, "queries").deviations) * np.sqrt(30 / 29))
        means.append(values.mean())
        plain = by_queries(values)
        held += plain.low <= truth <= plain.high
    error = np.std(means)
    assert 2.6 < error / np.mean(query_errors) < 3.4
    assert error / np.mean(class_errors) == pytest.approx(1, abs=0.15)
    assert_part(held, trials, 0.44, 0.54)  # not 95 %


def test_the_page_shows_what_the_script_measures() -> None:
    """The committed table has the columns and rows of the script, and one row measured here agrees."""
    text = PAGE.read_text(encoding="utf-8").split(intervals.BEGIN)[1].split(intervals.END)[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:2] == "| "]
    titles = {name: list(next(table(1))) for name, table in intervals.TABLES.items()}
    assert [row for row in rows if row in titles.values()] == list(titles.values())
    one_seed = {tuple(row[:2]): row for row in rows if row[0] in SHAPE}
    assert set(one_seed) == {(name, average) for name in SHAPE for average in AVERAGES}
    shape, random, trials = SHAPE["10 classes of 10-90"], fresh(13), 400
    truth, held = shape.truth(), 0
    for _ in range(trials):
        found = interval(class_sums(*shape.draw(random), "queries"), random, resamples=999)
        held += found.low <= truth <= found.high
    printed = float(one_seed[shape.name, "queries"][titles["one-seed"].index("studentised (used)")].rstrip(" %")) / 100
    assert_part(held, trials, printed - 0.01, printed + 0.01)
