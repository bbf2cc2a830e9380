"""Comparisons of two methods: by hand, against brute force and scipy, and their false positives in simulations."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bench.statistics import significance
from bench.statistics.intervals import RESAMPLES, ClassSums, SeedSpread, class_sums
from bench.statistics.significance import Comparison, clear_best, holm, sign_flip_p, within_family
from bench.types import Average, Doubles, Labels
from benchmarks.intervals import by_queries, two_methods
from tests.bench.statistics.test_intervals import AVERAGES, assert_part, fresh

LABELS = np.repeat(np.arange(12), 5)


def methods(count: int = 2, seeds: int = 3, better: float = 0.3, seed: int = 1) -> tuple[list[Doubles], Labels]:
    return two_methods(fresh(seed), 12, seeds, better=better, luck=0.1, methods=count)


def compare(
    first: Doubles, second: Doubles, labels: Labels, average: Average, random: np.random.Generator, **options: int
) -> Comparison:
    """Two methods whose rows are the seeds 0, 1, ..."""
    sums = (class_sums(each, labels, average, tuple(range(len(each)))) for each in (first, second))
    return significance.compare(*sums, random, **options)


def parts_of(values: Doubles, average: Average = "queries") -> Doubles:
    return class_sums(values, LABELS, average).parts


# The sign-flip test


def test_three_classes_all_better_by_hand() -> None:
    """Of the 8 sign choices only the observed one and its opposite reach as far."""
    assert sign_flip_p(np.array([0.1, 0.2, 0.3]), fresh()) == 2 / 8
    # +0.3 -0.1: sums 0.4, 0.2, -0.2, -0.4 are all as far as 0.2.
    assert sign_flip_p(np.array([0.3, -0.1]), fresh()) == 1.0


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=9))
def test_it_is_brute_force_over_all_signs(whole: list[int]) -> None:
    parts = np.array(whole) / 10
    sums = [sum(sign * each for sign, each in zip(signs, whole, strict=True)) for signs in _signs(len(whole))]
    expected = np.mean([abs(each) >= abs(sum(whole)) for each in sums])
    assert sign_flip_p(parts, fresh()) == pytest.approx(expected, abs=1e-15)


def _signs(count: int) -> itertools.product[tuple[int, ...]]:
    return itertools.product((-1, 1), repeat=count)


@pytest.mark.parametrize("average", AVERAGES)
def test_it_is_scipys_exact_test_of_paired_classes(average: Average) -> None:
    values = fresh(2).normal(0.02, 0.1, len(LABELS))
    parts = parts_of(values, average)
    expected = stats.permutation_test(
        (parts, np.zeros_like(parts)),
        lambda first, second, axis: (first - second).sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=2 ** len(parts),
    )
    assert sign_flip_p(parts, fresh()) == pytest.approx(expected.pvalue, abs=1e-12)


def test_many_classes_are_drawn_at_random_and_never_give_zero() -> None:
    parts = fresh(3).normal(0.5, 1, 17)
    every = np.array([0.0])
    for part in parts:
        every = np.concatenate([every + part, every - part])
    exact = float((np.abs(every) >= abs(parts.sum()) - 1e-12).mean())
    found = sign_flip_p(parts, fresh(), resamples=20_000)
    assert found == pytest.approx(exact, abs=5 * math.sqrt(exact * (1 - exact) / 20_000))
    assert 0.01 < exact < 0.9
    assert sign_flip_p(np.ones(40), fresh()) == 1 / (RESAMPLES + 1)


def test_classes_without_difference_do_not_count() -> None:
    assert sign_flip_p(np.zeros(30), fresh()) == 1.0
    some = np.array([0.1, 0.2, 0.3])
    assert sign_flip_p(np.r_[some, np.zeros(40)], fresh()) == sign_flip_p(some, fresh())


def test_seeds_are_added_as_if_drawn() -> None:
    parts, seeds = np.array([0.3, 0.5, -0.1, 0.4, 0.2]), SeedSpread(0.3, 4)
    random, count = fresh(4), 400_000
    flipped = random.choice([-1, 1], size=(count, 5)) @ parts
    drawn = flipped + 0.3 * random.standard_t(4, count)
    seen = parts.sum() - 1e-9
    expected = float(((np.abs(drawn) >= seen) | (np.abs(flipped) >= seen)).mean())
    found = sign_flip_p(parts, fresh(), seeds)
    assert found == pytest.approx(expected, abs=5 * math.sqrt(expected / count))
    assert found > sign_flip_p(parts, fresh())
    assert sign_flip_p(parts, fresh(), SeedSpread(1e-9, 4)) == sign_flip_p(parts, fresh())
    # Two seeds and hundreds of classes: all that matters is the t of the seeds.
    many = np.full(400, 1 / 400)
    assert sign_flip_p(many, fresh(), SeedSpread(0.5, 2)) == pytest.approx(2 * stats.t.sf(2, 2), abs=0.002)


@pytest.mark.parametrize(("classes", "seeds", "luck"), [(10, 1, 0.0), (30, 1, 0.0), (30, 3, 0.1)])
def test_equal_methods_rarely_differ_and_others_often(classes: int, seeds: int, luck: float) -> None:
    """Equal methods: 5 % of tests and intervals find a difference; a bootstrap over queries over 35 %."""
    random, trials = fresh(5), 250
    claims = np.zeros((2, 3), dtype=int)
    for _ in range(trials):
        for row, better in enumerate((0.0, 0.6)):
            (first, second), labels = two_methods(random, classes, seeds, better=better, luck=luck)
            found = compare(first, second, labels, "queries", random, resamples=999)
            plain = by_queries((first - second).mean(axis=0))
            claims[row] += [found.p <= 0.05, found.clear, plain.low > 0 or plain.high < 0]
    assert_part(claims[0, 0], trials, 0.015, 0.055)
    assert_part(claims[0, 1], trials, 0.015, 0.06)
    assert claims[0, 2] / trials > 0.35
    assert claims[1, 0] / trials > 0.6


# Holm


def test_holm_by_hand() -> None:
    """0.005 * 4, 0.01 * 3, 0.03 * 2, and 0.04 * 1 is raised to the 0.06 before it."""
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.4, 0.9, 0.6]), [1, 1, 1])
    assert holm([]).shape == (0,)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_holm_keeps_the_order_and_is_between_p_and_bonferroni(p: list[float], random: object) -> None:
    each = np.array(p)
    found = holm(each)
    assert (found >= each).all()
    assert (found <= np.minimum(each * len(p), 1)).all()
    assert (np.diff(found[np.argsort(each)]) >= 0).all()
    order = np.array(random.sample(range(len(p)), len(p)))  # type: ignore[attr-defined]
    np.testing.assert_array_equal(holm(each[order]), found[order])


def test_holm_keeps_the_family_at_five_percent() -> None:
    trials = 4000
    families = fresh(6).random((trials, 6))
    assert_part(sum((holm(each) <= 0.05).any() for each in families), trials, 0.045, 0.05)
    assert (families <= 0.05).any(axis=1).mean() > 0.2


# Two methods


def test_a_difference_is_in_points_and_turns_round() -> None:
    (first, second), labels = methods()
    found, turned = (compare(*pair, labels, "queries", fresh()) for pair in ((first, second), (second, first)))
    assert found.points == pytest.approx(100 * (first.mean() - second.mean()))
    assert found.low < found.points < found.high
    assert (turned.points, turned.p) == pytest.approx((-found.points, found.p))
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low), rel=0.1)


@pytest.mark.parametrize("average", AVERAGES)
def test_a_common_gain_and_the_order_of_queries_do_not_matter(average: Average) -> None:
    (first, second), labels = methods()
    expected = compare(first, second, labels, average, fresh())
    gain = fresh(7).random(len(labels))
    order = fresh(8).permutation(len(labels))
    for change, names in ((lambda each: each + gain, labels), (lambda each: each[:, order], labels[order])):
        pair = [change(each) for each in (first, second)]
        found = compare(*pair, names, average, fresh())
        assert (found.points, found.low, found.high) == pytest.approx((expected.points, expected.low, expected.high))
        assert (found.seeds_low, found.p) == pytest.approx((expected.seeds_low, expected.p))


def test_ablations_with_the_same_seeds_are_paired() -> None:
    (first, second), labels = methods(seeds=5)
    found = compare(first, second, labels, "queries", fresh())
    paired = stats.ttest_rel(first.mean(axis=1), second.mean(axis=1)).confidence_interval(0.95)
    assert (found.seeds_low, found.seeds_high) == pytest.approx((100 * paired.low, 100 * paired.high))
    # An effect of the seed on both methods moves their means, not the difference.
    moved = [each + np.arange(5)[:, None] for each in (first, second)]
    again = compare(*moved, labels, "queries", fresh())
    assert (again.low, again.high, again.p) == pytest.approx((found.low, found.high, found.p))


def test_other_seeds_are_unrelated() -> None:
    (first, second), labels = methods(seeds=4)
    frozen = second[:1]
    found = compare(first, frozen, labels, "queries", fresh())
    assert found.points == pytest.approx(100 * (first.mean() - second[0].mean()))
    assert math.isnan(found.seeds_low)
    one = compare(first.mean(axis=0, keepdims=True), frozen, labels, "queries", fresh())
    assert found.high - found.low > one.high - one.low
    assert found.p >= one.p


def test_a_method_is_not_better_than_itself() -> None:
    (first, _), labels = methods()
    found = compare(first, first, labels, "queries", fresh())
    assert (found.points, found.low, found.high, found.p, found.clear) == (0, 0, 0, 1, False)


def test_queries_without_relevant_photo_are_skipped() -> None:
    (first, second), labels = methods(seeds=2)
    holes = np.where(np.arange(len(labels)) % 3 == 0, np.nan, 0)
    pair = [each + holes for each in (first, second)]
    kept = ~np.isnan(holes)
    fewer = [each[:, kept] for each in (first, second)]
    assert compare(*pair, labels, "classes", fresh()) == compare(*fewer, labels[kept], "classes", fresh())
    none = np.full((2, 4), np.nan)
    found = compare(none, none, np.arange(4), "queries", fresh())
    assert math.isnan(found.points)
    assert (found.p, found.clear) == (1.0, False)


def test_a_family_is_adjusted_together() -> None:
    rows, labels = methods(count=4, better=0.5)
    names = ("without quadruplet", "without preservation", "without classification")
    alone = {
        name: compare(each, rows[0], labels, "queries", fresh()) for name, each in zip(names, rows[1:], strict=True)
    }
    found = within_family(alone)
    assert tuple(found) == names
    assert all(each.points < 0 for each in found.values())
    np.testing.assert_allclose([each.adjusted for each in found.values()], holm([each.p for each in found.values()]))
    assert [each.p for each in found.values()] == [each.adjusted for each in alone.values()]
    assert within_family({}) == {}


# Bold


def row(values: Doubles) -> ClassSums:
    return class_sums(values, LABELS, "queries")


def test_only_a_clear_best_is_bold() -> None:
    base = fresh(9).uniform(0.2, 0.6, len(LABELS))
    noise = fresh(10).normal(0, 0.02, len(LABELS))
    better, hardly = row(base + 0.1 + noise), row(base + 0.001 + noise)
    assert clear_best([row(base), better], fresh()) == 1
    assert clear_best([better, row(base), hardly], fresh()) == 0
    assert clear_best([row(base), hardly], fresh()) is None
    assert clear_best([row(base), row(base)], fresh()) is None
    assert clear_best([better], fresh()) is None


def test_a_third_row_with_a_wide_interval_prevents_bold() -> None:
    """The second row loses in every class; the third, lower one wins in half of them."""
    base = fresh(11).uniform(0.3, 0.6, len(LABELS))
    erratic = base - 0.12 + 0.25 * np.where(LABELS % 2, 1, -1)
    rows = [row(base), row(base - 0.05), row(erratic)]
    assert clear_best(rows[:2], fresh()) == 0
    assert clear_best(rows, fresh()) is None


@pytest.mark.parametrize("count", [2, 4])
def test_the_best_of_equal_methods_is_rarely_bold(count: int) -> None:
    random, trials = fresh(12), 200
    found = 0
    for _ in range(trials):
        rows, labels = two_methods(random, 25, 3, better=0.0, luck=0.1, methods=count)
        found += clear_best([class_sums(each, labels, "queries") for each in rows], random, resamples=999) is not None
    assert found / trials <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / trials)
