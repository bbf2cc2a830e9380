"""Compare two methods on the same queries: paired differences in points (hundredths of a score), and their tests."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from bench.statistics.intervals import (
    RESAMPLES,
    ClassSums,
    Interval,
    Resamples,
    SeedSpread,
    either_spread,
    interval_of,
    seed_interval,
    seed_spread,
)
from bench.types import Doubles

POINTS = 100.0
EXACT_UP_TO = 16  # classes: 65,536 sign choices


@dataclass(frozen=True, slots=True)
class Comparison:
    """A difference in points, with its intervals and p values.

    ``low`` and ``high``: over other classes and, with several seeds, other trainings. ``seeds_low`` and ``seeds_high``:
    over other trainings on the same classes; NaN unless both methods have the same two or more seeds. ``p``: of the
    sign-flip test. ``adjusted``: the same after Holm within its family.
    """

    points: float
    low: float
    high: float
    seeds_low: float
    seeds_high: float
    p: float
    adjusted: float

    @property
    def clear(self) -> bool:
        """Whether 0 is outside the interval."""
        return self.low > 0 or self.high < 0


def compare(
    ours: ClassSums,
    other: ClassSums,
    generator: Generator,
    *,
    resamples: int = RESAMPLES,
    drawn: Resamples | None = None,
) -> Comparison:
    """``ours`` minus ``other`` on the same queries; ``adjusted`` equals ``p``. ``drawn`` are resamples to reuse.

    The same seeds are compared pair by pair; different seeds count as independent. With one seed, the comparison
    holds for that trained network only.
    """
    over_seeds = Interval(math.nan)
    if ours.seeds == other.seeds:
        over_seeds = seed_interval(ours.minus(other).means)
    difference, spread = _difference(ours, other)
    found = interval_of(difference, spread, generator, resamples=resamples, drawn=drawn)
    p = sign_flip_p(difference.parts, generator, spread, resamples=resamples)
    differences = (found.mean, found.low, found.high, over_seeds.low, over_seeds.high)
    return Comparison(*[*(POINTS * each for each in differences), p, p])


def _difference(ours: ClassSums, other: ClassSums) -> tuple[ClassSums, SeedSpread]:
    """The difference averaged over seeds (one row), and its error due to seeds."""
    if ours.seeds == other.seeds:
        spread = seed_spread(ours.minus(other))
    else:
        spread = either_spread(seed_spread(ours), seed_spread(other))
    return ours.over_seeds.minus(other.over_seeds), spread


def within_family(found: Mapping[str, Comparison]) -> dict[str, Comparison]:
    """Adjust the p values of one family, such as all ablations of a method, after Holm."""
    adjusted = holm([each.p for each in found.values()])
    return {name: replace(each, adjusted=float(p)) for (name, each), p in zip(found.items(), adjusted, strict=True)}


def clear_best(
    rows: Sequence[ClassSums], generator: Generator, *, resamples: int = RESAMPLES, drawn: Resamples | None = None
) -> int | None:
    """The row to print in bold: the one with the highest mean, if it is clearly above every other row, else None.

    The second best alone is not enough: a lower row can have a wider interval. ``drawn`` are resamples to reuse.
    """
    if len(rows) < 2:
        return None
    best, *others = sorted(range(len(rows)), key=lambda row: -float(rows[row].means.mean()))
    pairs = (_difference(rows[best], rows[other]) for other in others)
    clear = (interval_of(*pair, generator, resamples=resamples, drawn=drawn).low > 0 for pair in pairs)
    return best if all(clear) else None


def sign_flip_p(
    parts: Doubles, generator: Generator, seeds: SeedSpread | None = None, *, resamples: int = RESAMPLES
) -> float:
    """Two-sided p of a mean difference that is the sum of ``parts`` float64 [classes].

    Paired permutation test clustered by class: if the methods are equal, the sign of each class is random. p is the
    fraction of sign choices whose sum is at least as far from 0 as the observed sum. All choices are counted with up
    to 16 differing classes, else (b + 1) / (m + 1) of m random ones.

    ``seeds``: a lucky training moves all classes together, which sign flips do not cover. So each sum gets an error
    with the distribution of ``seeds``, in closed form. p is never smaller than without ``seeds``.
    """
    spread = seeds or SeedSpread()
    observed = abs(float(parts.sum()))
    differing = parts[parts != 0]
    exact = len(differing) <= EXACT_UP_TO
    if exact:
        sums = _flip_all(differing)
    else:
        flips = generator.integers(0, 2, size=(resamples, len(differing)), dtype=np.int8)
        sums = differing.sum() - 2 * (flips @ differing)
    # Sums that differ only by rounding are equal.
    beyond = (np.abs(sums) >= observed - 1e-12 * np.abs(parts).sum()).astype(np.float64)
    if spread.error > 0:
        from scipy.special import stdtr  # takes half a second

        above = stdtr(spread.freedom, (sums - observed) / spread.error)
        below = stdtr(spread.freedom, (-sums - observed) / spread.error)
        beyond = np.maximum(beyond, above + below)
    return float(beyond.mean()) if exact else float((beyond.sum() + 1) / (len(sums) + 1))


def _flip_all(parts: Doubles) -> Doubles:
    """Sums for half of all sign choices, float64 [2 ** (classes - 1)]; the other half has the opposite signs."""
    sums = parts[:1] if len(parts) else np.zeros(1)
    for part in parts[1:]:
        sums = np.concatenate([sums + part, sums - part])
    return sums


def holm(p: npt.ArrayLike) -> Doubles:
    """Adjust p values [tests] so that the family-wise error rate is that of one test (Holm 1979).

    The smallest is multiplied by the number of tests, the next by one less, and so on, without decreasing; at most 1.
    """
    each = np.asarray(p, dtype=np.float64)
    order = np.argsort(each, kind="stable")
    raised = np.maximum.accumulate(each[order] * np.arange(len(each), 0, -1))
    adjusted = np.empty_like(each)
    adjusted[order] = np.minimum(raised, 1.0)
    return adjusted
