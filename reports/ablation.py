"""The ablation table: what each part of a method contributes, with intervals and adjusted p-values."""

from __future__ import annotations

import numpy as np

from bench.errors import IncompleteError
from bench.reports.base import KINDS, Cell, Options, Table
from bench.reports.cells import format_seeds, format_spread, mean
from bench.reports.rows import Group, Row, Source, collect_settings
from bench.results.models import RunRecord, trained_on
from bench.statistics.intervals import SEED, ClassSums
from bench.statistics.significance import POINTS, Comparison, compare, within_family


@KINDS.register("ablation")
def ablation_tables(source: Source, options: Options) -> list[Table]:
    """One table per method with ablations, dataset, split and gallery; raises IncompleteError if there are none."""
    tables = []
    for group in source.groups:
        for full in group.rows:
            changed = [row for row in group.rows if is_ablation_of(row, full)]
            if changed:
                tables.append(_table(source, group, full, changed, options.digits))
    if not tables:
        raise IncompleteError("No ablation is stored together with its full method: run `bench ablate` first.")
    return tables


def is_ablation_of(row: Row, full: Row) -> bool:
    """Whether ``row`` is an ablation of ``full`` and no other setting differs."""
    one, other = row.runs[0], full.runs[0]
    if not one.ablation or other.ablation or one.method != other.method or one.selection != other.selection:
        return False
    changed = _find_changed_settings(one, other)
    mine, its = (
        [(name, value) for name, value in collect_settings(run) if name not in changed] for run in (one, other)
    )
    return mine == its and trained_on(one.configuration) == trained_on(other.configuration)


def _find_changed_settings(one: RunRecord, full: RunRecord) -> set[str]:
    """The settings that an ablation changes.

    Older runs do not store them: the name of the ablation gives the loss terms. For a structural ablation, every
    difference counts.
    """
    stored = one.configuration.get("ablated")
    if stored is not None:
        return set(stored)
    parts = one.ablation.split(" and ")
    if all(part.startswith("without ") for part in parts):
        return {f"weight_{part.removeprefix('without ')}" for part in parts}
    own, its = one.configuration["method"], full.configuration["method"]
    return {name for name, value in own.items() if its.get(name) != value}


def _table(source: Source, group: Group, full: Row, changed: list[Row], digits: int) -> Table:
    shared = {row.name: pair for row in changed if (pair := _pair_seeds(source, row, full)) is not None}
    # Each row uses the seeds that it shares with the full method, and its own random draws.
    # All rows form one family of tests.
    comparisons = within_family(
        {name: compare(mine, its, np.random.default_rng(SEED)) for name, (mine, its) in shared.items()}
    )
    several = sum(min(len(mine.seeds), len(its.seeds)) > 1 for mine, its in shared.values())
    rows = [(full.name, format_seeds(full), format_spread(full.values(full.metric), digits), "", "", "")]
    for row in sorted(changed, key=lambda row: (-mean(row.values(row.metric)), row.name)):
        rows.append(
            (
                row.name,
                format_seeds(row),
                format_spread(row.values(row.metric), digits),
                *format_comparison(comparisons.get(row.name)),
            )
        )
    notes = [
        f"{full.metric}, means over queries, ± standard deviation over seeds. Differences to the full method in points "
        "(hundredths), paired by query and seed, with the 95 % interval over "
        f"{_describe_interval(several, len(comparisons))}.",
        f"p: sign flips clustered by class, adjusted after Holm for the {len(comparisons)} rows.",
    ]
    if any(row.runs and len(row.runs) != len(full.runs) for row in changed):
        notes.append("Seeds differ between rows: each difference is taken on the seeds that both rows have.")
    notes += group.cautions
    columns = ("method", "seeds", full.metric, "difference", "95 % interval", "adjusted p")
    title = f"Ablation of {full.name}: {group.title}"
    return Table(title, columns, tuple(rows), tuple(notes), facts=group.facts())


def _describe_interval(several: int, rows: int) -> str:
    """What interval and p cover; ``several`` of the ``rows`` share more than one seed with the full method."""
    if not several:
        return "classes only, not trainings, because there is one seed; p likewise"
    rest = "" if several == rows else " (rows with one shared seed: classes only; p likewise)"
    return f"classes and trainings{rest}"


def compare_seeds(source: Source, row: Row, full: Row) -> tuple[Comparison | None, list[float]]:
    """Compare a row with the full method on their shared seeds; also the difference of each seed in points."""
    pair = _pair_seeds(source, row, full)
    if pair is None:
        return None, []
    shared = [seed for seed in pair[0].seeds if seed in pair[1].seeds]
    differences = [value_of_seed(row, seed) - value_of_seed(full, seed) for seed in shared]
    return compare(*pair, np.random.default_rng(SEED)), [POINTS * each for each in differences]


def value_of_seed(row: Row, seed: int) -> float:
    """The score of one seed."""
    return next(run.value(row.metric) for run in row.runs if run.seed == seed)


def _pair_seeds(source: Source, row: Row, full: Row) -> tuple[ClassSums, ClassSums] | None:
    """Sums of a row and of the full method on their shared seeds, or on all if they share none; None without them."""
    one, other = source.sums(row, row.metric), source.sums(full, full.metric)
    if one is None or other is None or len(one.counts) != len(other.counts):
        return None
    shared = tuple(seed for seed in one.seeds if seed in other.seeds)
    if not shared:
        return one, other
    mine, its = (each.sums[[each.seeds.index(seed) for seed in shared]] for each in (one, other))
    return ClassSums(mine, one.counts, shared), ClassSums(its, other.counts, shared)


def format_comparison(comparison: Comparison | None) -> tuple[str, str, str]:
    """Difference, 95 % interval and adjusted p as text; ``-`` without a comparison."""
    if comparison is None:
        return "-", "-", "-"
    points, low, high, p = comparison.points, comparison.low, comparison.high, comparison.adjusted
    return (
        Cell(f"{points:+.1f}", value=points),
        Cell(f"{low:+.1f} to {high:+.1f}", low=low, high=high),
        Cell("< 0.001" if p < 0.001 else f"{p:.3f}", value=p),
    )
