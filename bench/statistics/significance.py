"""Is one method better than another on the same queries? Paired differences, their intervals and tests.

Both methods meet the same easy and hard classes, so the difference of every query says more than two separate means.
Differences are in points: hundredths of a score.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from bench.statistics.intervals import (
    RESAMPLES,
    ClassSums,
    Interval,
    SeedSpread,
    class_sums,
    either_spread,
    interval_of,
    seed_interval,
    seed_spread,
)
from bench.statistics.resampling import Resamples
from bench.types import Average, Doubles, Labels

POINTS = 100.0
EXACT_UP_TO = 16  # classes: 65,536 ways to choose their signs


@dataclass(frozen=True)
class Results:
    """One method's values of one metric: ``values`` [seeds, queries], NaN without relevant photo; ``seeds`` ascending.

    Raises ValueError when there is not one row for each seed, or seeds are not in ascending order.
    """

    values: npt.NDArray[np.floating]
    seeds: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or len(self.values) != len(self.seeds) or not self.seeds:
            raise ValueError(f"values of shape {self.values.shape} are not one row for each of the seeds {self.seeds}")
        if list(self.seeds) != sorted(set(self.seeds)):
            raise ValueError(f"seeds {self.seeds} are not in ascending order, each once")


@dataclass(frozen=True)
class SeededSums:
    """One method's values of one metric, added up by class: a row of ``sums`` for each of ``seeds``, ascending."""

    sums: ClassSums
    seeds: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A difference in points and what is known of it.

    ``low`` and ``high`` bound it for other classes and, with several seeds, other trainings. ``seeds_low`` and
    ``seeds_high`` bound it for other trainings on these very classes; NaN unless both have the same seeds, two or more.
    ``p`` is that of the sign-flip test, ``adjusted`` the same after Holm within its family.
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
        """Whether the difference lies beyond its interval, that is, whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def compare(
    ours: Results,
    other: Results,
    labels: Labels,
    average: Average,
    generator: np.random.Generator,
    *,
    resamples: int = RESAMPLES,
) -> Comparison:
    """``ours`` minus ``other``, on the same queries of classes ``labels`` int64 [queries].

    Methods with the same seeds are compared seed by seed. Other seeds count as unrelated. A side with one seed adds
    nothing for training anew: what is said then holds for that one trained network. ``adjusted`` equals ``p``.
    Raises ValueError when the two leave out different queries.
    """
    if not np.array_equal(np.isnan(ours.values[0]), np.isnan(other.values[0])):
        raise ValueError("the two methods leave out different queries")
    mine = SeededSums(class_sums(ours.values, labels, average), ours.seeds)
    its = SeededSums(class_sums(other.values, labels, average), other.seeds)
    return compare_sums(mine, its, generator, resamples=resamples)


def compare_sums(
    ours: SeededSums,
    other: SeededSums,
    generator: np.random.Generator,
    *,
    resamples: int = RESAMPLES,
    drawn: Resamples | None = None,
) -> Comparison:
    """What ``compare`` says, of values that were added up before; ``drawn`` as ``interval_of`` takes it."""
    over_seeds = Interval(math.nan, math.nan, math.nan)
    if ours.seeds == other.seeds:
        over_seeds = seed_interval(ours.sums.minus(other.sums).means)
    difference, spread = _difference(ours, other)
    found = interval_of(difference, spread, generator, resamples=resamples, drawn=drawn)
    p = sign_flip_p(contributions(difference), generator, spread, resamples=resamples)
    return Comparison(
        points=POINTS * found.mean,
        low=POINTS * found.low,
        high=POINTS * found.high,
        seeds_low=POINTS * over_seeds.low,
        seeds_high=POINTS * over_seeds.high,
        p=p,
        adjusted=p,
    )


def _difference(ours: SeededSums, other: SeededSums) -> tuple[ClassSums, SeedSpread]:
    """The difference of the means over seeds, and what trainings add to its error."""
    if ours.seeds == other.seeds:
        spread = seed_spread(ours.sums.minus(other.sums))
    else:
        spread = either_spread(seed_spread(ours.sums), seed_spread(other.sums))
    return ours.sums.over_seeds.minus(other.sums.over_seeds), spread


def within_family(found: Mapping[str, Comparison]) -> dict[str, Comparison]:
    """The comparisons, such as each ablation's with the full method, with p adjusted after Holm as one family."""
    adjusted = holm([each.p for each in found.values()])
    return {name: replace(each, adjusted=float(p)) for (name, each), p in zip(found.items(), adjusted, strict=True)}


def clear_best(
    rows: Sequence[Results],
    labels: Labels,
    average: Average,
    generator: np.random.Generator,
    *,
    resamples: int = RESAMPLES,
) -> int | None:
    """The row to print in bold: that of the highest mean, if its difference to every other row is clear, else None.

    Every other row and not the next one alone, since a row with a lower mean can have the wider interval.
    """
    every = [SeededSums(class_sums(row.values, labels, average), row.seeds) for row in rows]
    return clear_best_of(every, generator, resamples=resamples)


def clear_best_of(
    rows: Sequence[SeededSums],
    generator: np.random.Generator,
    *,
    resamples: int = RESAMPLES,
    drawn: Resamples | None = None,
) -> int | None:
    """What ``clear_best`` says, of values that were added up before; ``drawn`` as ``interval_of`` takes it."""
    if len(rows) < 2:
        return None
    best, *others = sorted(range(len(rows)), key=lambda row: -float(rows[row].sums.means.mean()))
    for other in others:
        difference, spread = _difference(rows[best], rows[other])
        found = interval_of(difference, spread, generator, resamples=resamples, drawn=drawn)
        if not found.low > 0:
            return None
    return best


def contributions(difference: ClassSums) -> Doubles:
    """What each class adds to the mean difference (``difference`` with one row): float64 [classes]."""
    parts: Doubles = difference.sums[0] / difference.counts.sum()
    return parts


def sign_flip_p(
    parts: Doubles,
    generator: np.random.Generator,
    seeds: SeedSpread | None = None,
    *,
    resamples: int = RESAMPLES,
) -> float:
    """Two-sided p of a mean difference whose classes add ``parts`` float64 [classes] to it.

    Paired permutation test clustered by class: were the two methods alike, each class could as well have come out with
    the other sign, all its queries together. p is the part of such sign choices whose sum is as far from 0 as the one
    seen: all of them with up to 16 classes that differ, else (b + 1) / (m + 1) of m random ones.

    ``seeds``: flipping signs of classes does not tell a better method from a luckier training, which moves all classes
    together. So a draw of ``seeds`` is added to each sum, not by chance but by its distribution, in closed form. A sum
    that reaches as far without it counts in full, hence p is never smaller than without ``seeds``.
    """
    spread = seeds or SeedSpread()
    seen = abs(float(parts.sum()))
    differing = parts[parts != 0]
    exact = len(differing) <= EXACT_UP_TO
    sums = _every_flip(differing) if exact else _some_flips(differing, generator, resamples)
    # A sum that differs from the one seen by rounding alone is the same sum.
    beyond = (np.abs(sums) >= seen - 1e-12 * np.abs(parts).sum()).astype(np.float64)
    if spread.error > 0:
        from scipy.special import stdtr  # half a second, which most reports can do without

        above = stdtr(spread.freedom, (sums - seen) / spread.error)
        below = stdtr(spread.freedom, (-sums - seen) / spread.error)
        beyond = np.maximum(beyond, above + below)
    return float(beyond.mean()) if exact else float((beyond.sum() + 1) / (len(sums) + 1))


def _every_flip(parts: Doubles) -> Doubles:
    """Sums under all sign choices, float64 [2 ** (classes - 1)]: the other half is their mirror image."""
    sums = parts[:1] if len(parts) else np.zeros(1)
    for part in parts[1:]:
        sums = np.concatenate([sums + part, sums - part])
    return sums


def _some_flips(parts: Doubles, generator: np.random.Generator, count: int) -> Doubles:
    """Sums under random sign choices, float64 [count]."""
    flipped = generator.integers(0, 2, size=(count, len(parts)), dtype=np.int8)
    sums: Doubles = parts.sum() - 2 * (flipped @ parts)
    return sums


def holm(p: npt.ArrayLike) -> Doubles:
    """p values [tests] of one family, adjusted so that one false claim in the whole family is as rare as in one test.

    Holm 1979: the smallest is multiplied by the number of tests, the next by one less, and so on; none falls below the
    one before it, none exceeds 1.
    """
    each = np.asarray(p, dtype=np.float64)
    order = np.argsort(each, kind="stable")
    raised = np.maximum.accumulate(each[order] * np.arange(len(each), 0, -1))
    adjusted = np.empty_like(each)
    adjusted[order] = np.minimum(raised, 1.0)
    return adjusted
