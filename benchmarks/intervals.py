"""Coverage of the intervals and error rates of the tests in bench.statistics, by simulation.

Run: python benchmarks/intervals.py [--trials N] [--only TABLE...] [--write docs/statistics.md]

Values of queries are simulated, so that the true mean is known. The logit of a value is a centre plus random effects
of its class, its training, both together, and its query. Each trial draws new classes, trainings and queries and checks
whether the interval contains the mean over all classes and trainings. Tables are printed as Markdown; --write puts
them between the marks of a page.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from scipy import stats

from bench.statistics.intervals import ClassSums, Interval, SeedSpread, class_sums, interval, interval_of
from bench.statistics.significance import clear_best, compare, sign_flip_p
from bench.types import Average, Doubles, Labels

RESAMPLES = 1_999
BEGIN, END = "<!-- benchmarks/intervals.py: begin -->", "<!-- benchmarks/intervals.py: end -->"


@dataclass(frozen=True)
class Shape:
    """A simulated dataset: ``sizes`` are the fewest and most queries of a class; spreads are in logits.

    Values are rounded to ``steps`` equal steps if given, like those of P@5.
    """

    name: str
    classes: int
    sizes: tuple[int, int]
    centre: float
    between: float = 1.2
    within: float = 1.1
    between_seeds: float = 0.0
    class_and_seed: float = 0.0
    steps: int = 0

    def draw(self, random: np.random.Generator, seeds: int = 1) -> tuple[Doubles, Labels]:
        """Values float64 [seeds, queries] and labels int64 [queries]."""
        labels = np.repeat(np.arange(self.classes), random.integers(*self.sizes, self.classes, endpoint=True))
        logits = self.centre + self.between * random.standard_normal(self.classes)[labels]
        logits = logits + self.within * random.standard_normal(len(labels))
        own = self.class_and_seed * random.standard_normal((seeds, self.classes))[:, labels]
        return self.values(logits + own + self.between_seeds * random.standard_normal((seeds, 1))), labels

    def values(self, logits: Doubles) -> Doubles:
        """Logits as values 0..1."""
        values: Doubles = 1 / (1 + np.exp(-logits))
        return np.round(values * self.steps) / self.steps if self.steps else values

    @cache  # noqa: B019 - the few shapes exist until the script ends
    def truth(self) -> float:
        """The mean over all classes and trainings; both averages agree, because sizes do not depend on values."""
        random = np.random.default_rng(0)
        spread = np.sqrt(self.between**2 + self.within**2 + self.class_and_seed**2 + self.between_seeds**2)
        return float(self.values(self.centre + spread * random.standard_normal(4_000_000)).mean())


# With these spreads, 0.54 of the variance is between classes, as for frozen ImageNet features on the unseen classes of
# `emoji` (mAP@all:plain, 431 queries in 93 classes).
SHAPES = (
    Shape("emoji", 93, (3, 6), -1.7, between=1.3),
    Shape("Sketchy-25", 25, (500, 700), 0.2),
    Shape("Sketchy-25, high scores", 25, (500, 700), 2.2),
    Shape("Sketchy-21", 21, (500, 700), 0.2),
    Shape("TU-Berlin-30", 30, (80, 80), 0.2),
    Shape("TU-Berlin-30, classes alike", 30, (80, 80), 0.2, between=0.5, within=1.5),
    Shape("TU-Berlin-30, P@5 mostly 1", 30, (80, 80), 4.0, between=2.0, within=0.5, steps=5),
    Shape("TU-Berlin-30, P@5 nearly all 1", 30, (80, 80), 5.0, between=2.0, within=0.3, steps=5),
    Shape("QuickDraw-30, low scores", 30, (3076, 3077), -2.3),
    Shape("10 classes of 10-90", 10, (10, 90), 0.2),
    Shape("5 classes of 10-90", 5, (10, 90), 0.2),
)


def by_queries(values: Doubles) -> Interval:
    """The limit of a bootstrap over many queries: mean +- 1.96 standard errors."""
    half = 1.96 * values.std(ddof=1) / np.sqrt(values.size)
    return Interval(values.mean(), values.mean() - half, values.mean() + half)


def by_t(sums: ClassSums) -> Interval:
    """Student's t on the classes."""
    own, classes = sums.deviations[0], len(sums.counts)
    half = stats.t.ppf(0.975, classes - 1) * np.sqrt(classes / (classes - 1) * (own**2).sum())
    return Interval(sums.means[0], sums.means[0] - half, sums.means[0] + half)


def by_scipy(sums: ClassSums, random: np.random.Generator) -> tuple[Interval, Interval]:
    """Percentile and BCa bootstrap of scipy over classes."""

    def ratio(part: Doubles, count: Doubles, axis: int) -> Doubles:
        found: Doubles = part.sum(axis=axis) / count.sum(axis=axis)
        return found

    found, intervals = None, []
    for method in ("percentile", "BCa"):
        found = stats.bootstrap(
            (sums.sums[0], sums.counts),
            ratio,
            paired=True,
            vectorized=True,
            n_resamples=0 if found else RESAMPLES,
            bootstrap_result=found,
            method=method,
            rng=random,
        )
        intervals.append(Interval(sums.means[0], *found.confidence_interval))
    return intervals[0], intervals[1]


def one_seed(trials: int) -> Iterator[tuple[str, ...]]:
    """Coverage of each kind of interval for one training."""
    yield (
        "classes and queries of each",
        "mean over",
        "bootstrap over queries",
        "percentile",
        "BCa",
        "t",
        "studentised (used)",
        "of it too high, too low",
        "error if by queries",
    )
    averages: tuple[Average, ...] = ("queries", "classes")
    for shape in SHAPES:
        random, truth = np.random.default_rng(1), shape.truth()
        held, ends = np.zeros((2, 5)), np.zeros((2, 2))
        means, errors = np.zeros((2, trials)), np.zeros(trials)
        for trial in range(trials):
            values, labels = shape.draw(random)
            plain = by_queries(values)
            errors[trial] = (plain.high - plain.mean) / 1.96
            for row, average in enumerate(averages):
                sums = class_sums(values, labels, average)
                used = interval_of(sums, SeedSpread(), random, limits=(0.0, 1.0), resamples=RESAMPLES)
                each = (plain, *by_scipy(sums, random), by_t(sums), used)
                held[row] += [end.low <= truth <= end.high for end in each]
                ends[row] += [used.low > truth, used.high < truth]
                means[row, trial] = used.mean
        for row, average in enumerate(averages):
            cells = [percent(each) for each in held[row] / trials]
            cells[0] = cells[0] if average == "queries" else "-"
            factor = f"{means[row].std() / errors.mean():.1f} times too small" if average == "queries" else "-"
            yield (shape.name, average, *cells, ", ".join(percent(each) for each in ends[row] / trials), factor)


def several_seeds(trials: int) -> Iterator[tuple[str, ...]]:
    """Coverage with several trainings; their spread is a multiple of the error over classes."""
    yield ("seeds", "spread of trainings", "t over seeds", "classes alone", "classes and seeds (used)")
    for seeds in (1, 2, 3, 5):
        for part in (0.0, 0.5, 1.0):
            # In logits; the error that 30 classes leave is between / sqrt(30).
            shape = replace(SHAPES[4], sizes=(20, 20), class_and_seed=0.3)
            shape = replace(shape, between_seeds=part * np.sqrt(seeds) * shape.between / np.sqrt(shape.classes))
            random, truth, held = np.random.default_rng(2), shape.truth(), np.zeros(3)
            for _ in range(trials):
                values, labels = shape.draw(random, seeds)
                means = values.mean(axis=1)
                half = stats.t.ppf(0.975, seeds - 1) * means.std(ddof=1) / np.sqrt(seeds) if seeds > 1 else np.nan
                each = (
                    Interval(means.mean(), means.mean() - half, means.mean() + half),
                    interval(class_sums(values.mean(axis=0), labels, "queries"), random, resamples=RESAMPLES),
                    interval(class_sums(values, labels, "queries"), random, resamples=RESAMPLES),
                )
                held += [end.low <= truth <= end.high for end in each]
            cells = [percent(each) for each in held / trials]
            yield (str(seeds), f"{part:g} x classes", cells[0] if seeds > 1 else "-", *cells[1:])


def two_methods(
    random: np.random.Generator, classes: int, seeds: int, *, better: float, luck: float, methods: int = 2
) -> tuple[list[Doubles], Labels]:
    """Values [seeds, queries] of methods that differ only by random effects.

    Effects of class (0.4), training (``luck``) and query (0.5) are in logits. The first method is ``better`` by this
    amount. All share classes and queries.
    """
    labels = np.repeat(np.arange(classes), random.integers(4, 30, classes))
    common = 1.2 * random.standard_normal(classes)[labels] + 0.8 * random.standard_normal(len(labels))
    found = []
    for method in range(methods):
        own = 0.4 * random.standard_normal(classes)[labels] + luck * random.standard_normal((seeds, 1))
        logits = common + own + 0.5 * random.standard_normal((seeds, len(labels))) + better * (method == 0)
        found.append(1 / (1 + np.exp(-logits)))
    return found, labels


def differences(trials: int) -> Iterator[tuple[str, ...]]:
    """Two methods: how often a test reports a difference when there is none, and when there is one."""
    yield (
        "classes, seeds",
        "luck of training",
        "flips of queries",
        "flips of classes",
        "with seeds (used)",
        "interval leaves out 0 (used)",
        "found when 0.3 logits better: test",
        "interval",
    )
    for classes, seeds, luck in ((10, 1, 0), (30, 1, 0), (93, 1, 0), (30, 1, 0.1), (30, 3, 0.1), (30, 5, 0.1)):
        random, claims = np.random.default_rng(3), np.zeros((2, 4))
        for _ in range(trials):
            for row, better in enumerate((0.0, 0.3)):
                (first, second), labels = two_methods(random, classes, seeds, better=better, luck=luck)
                pair = (class_sums(values, labels, "queries") for values in (first, second))
                found = compare(*pair, random, resamples=RESAMPLES)
                gap = (first - second).mean(axis=0)
                parts = class_sums(gap, labels, "queries").parts
                plain = by_queries(gap)  # the limit of sign flips of many queries
                flips = (sign_flip_p(parts, random, resamples=RESAMPLES), found.p)
                claims[row] += [plain.low > 0 or plain.high < 0, *(p <= 0.05 for p in flips), found.clear]
        none, some = claims / trials
        cells = (*(percent(each) for each in none), percent(some[2]), percent(some[3]))
        yield (f"{classes}, {seeds}", f"{luck:g} logits" if luck else "none", *cells)


def bold(trials: int) -> Iterator[tuple[str, ...]]:
    """How often the best row of a table is printed in bold."""
    yield (
        "methods",
        "seeds",
        "bold though all are alike",
        "bold when one is 0.3 logits better",
        "and then a wrong one",
    )
    for methods, seeds in ((2, 1), (5, 1), (2, 3), (5, 3)):
        random, alike, best, wrong = np.random.default_rng(4), 0, 0, 0
        for _ in range(trials):
            for better in (0.0, 0.3):
                luck = 0.1 if seeds > 1 else 0.0
                rows, labels = two_methods(random, 30, seeds, better=better, luck=luck, methods=methods)
                sums = [class_sums(values, labels, "queries") for values in rows]
                winner = clear_best(sums, random, resamples=RESAMPLES)
                alike += better == 0 and winner is not None
                best += better > 0 and winner is not None
                wrong += better > 0 and winner not in (None, 0)
        yield (str(methods), str(seeds), *(percent(count / trials) for count in (alike, best, wrong)))


def percent(part: float) -> str:
    """``95.0 %``."""
    return f"{100 * part:.1f} %"


TABLES: Mapping[str, Callable[[int], Iterator[tuple[str, ...]]]] = {
    "one-seed": one_seed,
    "seeds": several_seeds,
    "differences": differences,
    "bold": bold,
}


def markdown(name: str, rows: list[tuple[str, ...]]) -> str:
    """One table, columns padded."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return f"**Table `{name}`**\n\n" + "\n".join(lines) + "\n"


def main() -> None:
    """Simulate, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--only", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    if options.write and options.only != list(TABLES):
        parser.error("--write takes all tables: leave out --only")
    parts = []
    for name in options.only:
        parts.append(markdown(name, list(TABLES[name](options.trials))))
        print(parts[-1], flush=True)
    if options.write:
        page = options.write.read_text(encoding="utf-8")
        before, after = page.split(BEGIN)[0], page.split(END)[1]
        made = "\n".join([BEGIN, "", f"{options.trials:,} trials a row.", "", *parts, END])
        options.write.write_text(before + made + after, encoding="utf-8")


if __name__ == "__main__":
    main()
