"""The ablation table: what each part of a method is worth, on the same seeds, with intervals and adjusted p."""

from __future__ import annotations

import numpy as np

from bench.errors import IncompleteError
from bench.reports.base import KINDS, Options, Table
from bench.reports.cells import mean, spread
from bench.reports.stored_runs import SEED, Group, Row, Source, settings_of
from bench.reports.tables import labels_of
from bench.results.models import RunRecord
from bench.statistics.intervals import ClassSums
from bench.statistics.significance import POINTS, Comparison, Results, SeededSums, compare, compare_sums, within_family

METRIC = "mAP@all:plain"


@KINDS.register("ablation")
def ablation_tables(source: Source, options: Options) -> list[Table]:
    """For each method with ablations, one table a dataset, split and gallery.

    Raises IncompleteError without any.
    """
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
    """Whether ``row`` is the full method with a part left out or done otherwise, and nothing else changed."""
    one, other = row.runs[0], full.runs[0]
    if not one.ablation or other.ablation or one.method != other.method or one.selection != other.selection:
        return False
    changed = _changed_by(one, other)
    mine, its = ([(name, value) for name, value in settings_of(run) if name not in changed] for run in (one, other))
    return mine == its and one.trained_on == other.trained_on


def _changed_by(one: RunRecord, full: RunRecord) -> set[str]:
    """The settings that an ablation changes. A run of before they were noted says which loss terms it leaves out, and
    where more differs the difference counts as its structural ablation's.
    """
    noted = one.configuration.get("ablated")
    if noted is not None:
        return set(noted)
    parts = one.ablation.split(" and ")
    if all(part.startswith("without ") for part in parts):
        return {f"weight_{part.removeprefix('without ')}" for part in parts}
    own, its = one.configuration["method"], full.configuration["method"]
    return {name for name, value in own.items() if its.get(name) != value}


def _table(source: Source, group: Group, full: Row, changed: list[Row], digits: int) -> Table:
    reference = source.results(full, METRIC)
    found: dict[str, Results] = {}
    for row in changed:
        results = source.results(row, METRIC)
        if results is not None and reference is not None:
            found[row.name] = results
    compared: dict[str, Comparison] = {}
    several = 0  # rows that share more than one seed with the full method
    if reference is not None and found:
        labels = labels_of(source, full)
        shared = {name: _paired(each, reference) for name, each in found.items()}
        # Each row against the full method on the seeds that both have, with draws that do not hang on the other rows;
        # all rows are one family of tests.
        compared = within_family(
            {
                name: compare(mine, its, labels, "queries", np.random.default_rng(SEED))
                for name, (mine, its) in shared.items()
            }
        )
        several = sum(min(len(mine.seeds), len(its.seeds)) > 1 for mine, its in shared.values())
    rows = [(full.name, full.seeds, spread(full.values(METRIC), digits), "", "", "")]
    for row in sorted(changed, key=lambda row: (-mean(row.values(METRIC)), row.name)):
        rows.append((row.name, row.seeds, spread(row.values(METRIC), digits), *_cells(compared.get(row.name))))
    notes = [
        f"{METRIC}, means over queries, ± standard deviation over seeds. Differences to the full method in points "
        f"(hundredths), paired by query and seed, with the 95 % interval over {_over(several, len(compared))}.",
        f"p: sign flips clustered by class, adjusted after Holm for the {len(compared)} rows.",
    ]
    if any(row.runs and len(row.runs) != len(full.runs) for row in changed):
        notes.append("Seeds differ between rows: each difference is taken on the seeds that both rows have.")
    if group.first.configuration.get("caution"):
        notes.append(str(group.first.configuration["caution"]))
    columns = ("method", "seeds", METRIC, "difference", "95 % interval", "adjusted p")
    return Table(f"Ablation of {full.name}: {group.title}", columns, tuple(rows), tuple(notes))


def _over(several: int, rows: int) -> str:
    """What interval and p cover, where ``several`` of the ``rows`` share more than one seed with the full method."""
    if not several:
        return "classes alone: one seed says nothing of other trainings, nor does p"
    rest = "" if several == rows else " (where one seed is shared, over classes alone, and so is p)"
    return f"classes and trainings{rest}"


def compared(source: Source, row: Row, full: Row) -> tuple[Comparison | None, list[float]]:
    """A row against the full method on the seeds that both have, and the difference of each seed in points."""
    one, other = source.sums(row, METRIC), source.sums(full, METRIC)
    if one is None or other is None or len(one.sums.counts) != len(other.sums.counts):
        return None, []
    shared = [seed for seed in one.seeds if seed in other.seeds]
    differences = [row_value(row, seed) - row_value(full, seed) for seed in shared]
    found = compare_sums(_kept(one, shared), _kept(other, shared), np.random.default_rng(SEED))
    return found, [POINTS * each for each in differences]


def row_value(row: Row, seed: int) -> float:
    """The figure of one seed."""
    return next(run.value(METRIC) for run in row.runs if run.seed == seed)


def _kept(each: SeededSums, seeds: list[int]) -> SeededSums:
    """The rows of some seeds; all of them for none."""
    if not seeds:
        return each
    rows = [each.seeds.index(seed) for seed in seeds]
    return SeededSums(ClassSums(each.sums.sums[rows], each.sums.counts), tuple(seeds))


def _paired(one: Results, other: Results) -> tuple[Results, Results]:
    """Both on the seeds that they share; as they are where they share none."""
    shared = tuple(seed for seed in one.seeds if seed in other.seeds)
    if not shared:
        return one, other
    return tuple(Results(each.values[[each.seeds.index(s) for s in shared]], shared) for each in (one, other))  # type: ignore[return-value]


def _cells(found: Comparison | None) -> tuple[str, str, str]:
    if found is None:
        return "-", "-", "-"
    p = "< 0.001" if found.adjusted < 0.001 else f"{found.adjusted:.3f}"
    return f"{found.points:+.1f}", f"{found.low:+.1f} to {found.high:+.1f}", p
