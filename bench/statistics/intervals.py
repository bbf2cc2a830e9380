"""95 % confidence intervals of a mean score over other unseen classes and other seeds.

Queries of one class are not independent, so classes are resampled, not queries. Values are summed by class once, and
everything else works on these sums. docs/statistics.md explains the method and reports the measured coverage.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from bench.types import Average, Doubles, Labels

LEVEL = 0.95
SEED = 0  # of the resamples
RESAMPLES = 9_999  # the ends are then the 250th values from either side
DEGENERATE = 0.01  # with more resamples without spread than this fraction, Student's t is used


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and the ends of its 95 % interval; the ends are NaN with too few data."""

    mean: float
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True)
class ClassSums:
    """Values summed by class: ``sums`` float64 [seeds, classes], ``counts`` float64 [classes], all above 0.

    The mean of a seed is the sum of its row divided by the sum of ``counts``. ``seeds`` are those of the
    rows, ascending; empty where no other sums are paired with them.
    """

    sums: Doubles
    counts: Doubles
    seeds: tuple[int, ...] = ()

    @cached_property
    def means(self) -> Doubles:
        """The mean of each seed, float64 [seeds]; NaN without classes."""
        return np.asarray(self.sums.sum(axis=1) / (self.counts.sum() if self.counts.size else math.nan))

    @cached_property
    def deviations(self) -> Doubles:
        """Linearised deviation of each class from the mean: float64 [seeds, classes]; rows sum to 0."""
        return np.asarray((self.sums - self.means[:, None] * self.counts) / self.counts.sum())

    @property
    def parts(self) -> Doubles:
        """The part of each class in the mean (one row): float64 [classes]."""
        return np.asarray(self.sums[0] / self.counts.sum())

    @property
    def over_seeds(self) -> ClassSums:
        """The same averaged over seeds: one row."""
        return ClassSums(self.sums.mean(axis=0, keepdims=True), self.counts)

    def minus(self, other: ClassSums) -> ClassSums:
        """Difference to ``other``, which has the same queries and seeds, row by row."""
        return ClassSums(self.sums - other.sums, self.counts)


@dataclass(frozen=True, slots=True)
class SeedSpread:
    """Standard error of a mean due to seeds, and its degrees of freedom; ``error`` is 0 for one seed."""

    error: float = 0.0
    freedom: float = math.inf


class Resamples:
    """How often each resample draws each class: ``times`` float64 [resamples, classes]."""

    def __init__(self, times: Doubles) -> None:
        self.times = times
        self._of_sizes: dict[bytes, tuple[Doubles, Doubles]] = {}

    def sizes(self, share: Doubles) -> tuple[Doubles, Doubles]:
        """Sums of ``share`` float64 [classes] and of its squares over the draws: float64 [resamples]; cached."""
        key = share.tobytes()
        if key not in self._of_sizes:
            self._of_sizes[key] = self.times @ share, self.times @ share**2
        return self._of_sizes[key]


def class_draws(classes: int, generator: Generator, resamples: int) -> Resamples:
    """Draw ``classes`` classes with replacement for each resample."""
    picks = generator.integers(0, classes, size=(resamples, classes))
    picks += np.arange(resamples)[:, None] * classes  # so that one bincount counts each row separately
    drawn = np.bincount(picks.ravel(), minlength=resamples * classes).reshape(resamples, classes)
    # In column order, products with a vector take half the time.
    return Resamples(drawn.astype(np.float64, order="F"))


def class_sums(values: npt.ArrayLike, labels: Labels, average: Average, seeds: tuple[int, ...] = ()) -> ClassSums:
    """Sum ``values`` [queries] or [seeds, queries] by class, with ``labels`` int64 [queries].

    NaN values, queries without a relevant photo, are skipped. For the average ``classes`` the sum of a class is the
    mean of its queries and its count is 1. Raises ValueError for shapes that do not fit, or if NaNs differ by seed.
    """
    rows = np.atleast_2d(np.asarray(values, dtype=np.float64))
    if rows.shape[1:] != labels.shape:
        raise ValueError(f"values of shape {rows.shape} do not fit {labels.shape} labels")
    counted = ~np.isnan(rows[0])
    if (np.isnan(rows) == counted).any():
        raise ValueError("not every seed leaves out the same queries")
    names, position = np.unique(labels[counted], return_inverse=True)
    counts = np.bincount(position, minlength=len(names)).astype(np.float64)
    sums: Doubles = np.stack([np.bincount(position, weights=row[counted], minlength=len(names)) for row in rows])
    if average == "classes":
        sums, counts = sums / counts, np.ones_like(counts)
    return ClassSums(sums, counts, seeds)


@lru_cache(maxsize=4)
def shared_draws(classes: int) -> Resamples:
    """The resamples of all that is shown, so that the same values have the same interval everywhere."""
    return class_draws(classes, np.random.default_rng(SEED), RESAMPLES)


def interval(sums: ClassSums, generator: Generator | None = None, *, resamples: int = RESAMPLES) -> Interval:
    """The mean score and its 95 % interval as reports show it; ``generator`` draws other ``resamples``.

    With one seed it covers other classes for this trained network; with several seeds also other trainings. The ends
    are within 0..1, and NaN with fewer than two classes.
    """
    drawn = shared_draws(len(sums.counts)) if generator is None and len(sums.counts) > 1 else None
    generator = np.random.default_rng(SEED) if generator is None else generator
    how: dict[str, Any] = {"limits": (0.0, 1.0), "resamples": resamples, "drawn": drawn}
    return interval_of(sums.over_seeds, seed_spread(sums), generator, **how)


def interval_of(
    sums: ClassSums,
    seeds: SeedSpread,
    generator: Generator,
    *,
    limits: tuple[float, float] | None = None,
    resamples: int = RESAMPLES,
    drawn: Resamples | None = None,
) -> Interval:
    """The interval of the mean of ``sums`` (one row) over other classes, and over other seeds by ``seeds``.

    Classes: studentised bootstrap, whose coverage holds for few classes and skewed scores. If resamples without spread
    are common, Student's t replaces it, with the standard error of two more classes, one at each of the ``limits``.
    Seeds: each resample is shifted by one draw of ``seeds``. ``drawn`` are resamples to reuse.
    """
    classes = len(sums.counts)
    mean = float(sums.means[0])
    if classes < 2:
        return Interval(mean)
    error = math.sqrt(classes / (classes - 1) * float((sums.deviations**2).sum()))
    error = error if error > _rounding(sums) else 0.0
    drawn = class_draws(classes, generator, resamples) if drawn is None else drawn
    pivots = _pivots(sums, error, drawn) if error > 0 else None
    if pivots is None:
        pivots = generator.standard_t(classes - 1, len(drawn.times))
        error = _padded_error(sums, limits) if limits else error
    draws = mean - error * pivots
    if seeds.error > 0:
        draws = draws + seeds.error * generator.standard_t(seeds.freedom, len(draws))
    # No interpolation between order statistics, because resamples can be infinite.
    places = [max(math.ceil(part * len(draws)) - 1, 0) for part in ((1 - LEVEL) / 2, (1 + LEVEL) / 2)]
    ends = np.partition(draws, places)[places]
    ends = np.clip(ends, *limits) if limits else ends
    return Interval(mean, float(ends[0]), float(ends[1]))


def seed_interval(means: npt.ArrayLike) -> Interval:
    """The mean of ``means`` [seeds] and its interval by Student's t over other trainings; NaN for one seed."""
    each = np.asarray(means, dtype=np.float64)
    mean = float(each.mean())
    if len(each) < 2:
        return Interval(mean)
    from scipy.special import stdtrit  # takes half a second

    half = float(stdtrit(len(each) - 1, (1 + LEVEL) / 2) * each.std(ddof=1)) / math.sqrt(len(each))
    return Interval(mean, mean - half, mean + half)


def seed_spread(sums: ClassSums) -> SeedSpread:
    """The error of the mean due to seeds, beyond the spread of the classes.

    The spread of the classes already includes the chance differences of seeds in each class, so they are subtracted.
    Source: two-way clustering, Cameron, Gelbach and Miller 2011.
    """
    seeds, classes = sums.sums.shape
    if seeds < 2 or classes < 2:
        return SeedSpread()
    whole = sums.means.var(ddof=1) / seeds
    by_chance = classes / (classes - 1) * sums.deviations.var(axis=0, ddof=1).sum() / seeds
    error = math.sqrt(max(whole - by_chance, 0.0))
    return SeedSpread(error if error > _rounding(sums) else 0.0, seeds - 1)


def either_spread(first: SeedSpread, second: SeedSpread) -> SeedSpread:
    """The spread of the difference of two methods with independent seeds (Welch 1947)."""
    variances = first.error**2, second.error**2
    if sum(variances) == 0:
        return SeedSpread()
    freedom = sum(variances) ** 2 / (variances[0] ** 2 / first.freedom + variances[1] ** 2 / second.freedom)
    return SeedSpread(math.sqrt(sum(variances)), freedom)


def _padded_error(sums: ClassSums, limits: tuple[float, float]) -> float:
    """Standard error of the mean with two more classes of average size, one at each of the ``limits``."""
    classes = len(sums.counts) + 2
    squares = float((sums.deviations**2).sum()) * (classes - 2) ** 2
    squares += sum((limit - float(sums.means[0])) ** 2 for limit in limits)
    return math.sqrt(classes / (classes - 1) * squares) / classes


def _rounding(sums: ClassSums) -> float:
    """Rounding error of the mean: a smaller standard error counts as 0."""
    return 1e-12 * float(np.abs(sums.sums).sum() / sums.counts.sum())


def _pivots(sums: ClassSums, error: float, drawn: Resamples) -> Doubles | None:
    """(mean of a resample - mean) / standard error of the resample: float64 [resamples]; None if ``DEGENERATE``."""
    classes = len(sums.counts)
    share = sums.counts / sums.counts.sum()  # [classes]
    own = sums.deviations[0]  # [classes]
    size, size_squares = drawn.sizes(share)  # [resamples]
    moved = drawn.times @ own / size
    # Squares of (own - moved * share), expanded to avoid a [resamples, classes] array.
    squares = drawn.times @ own**2 - 2 * moved * (drawn.times @ (own * share)) + moved**2 * size_squares
    errors = np.sqrt(classes / (classes - 1) * np.maximum(squares, 0)) / size
    flat = errors <= 1e-6 * error
    if flat.mean() > DEGENERATE:
        return None
    infinite = np.sign(moved) * np.where(np.abs(moved) > 1e-9 * error, np.inf, 0.0)
    return np.asarray(np.divide(moved, errors, out=infinite, where=~flat))
