"""Kind ``main``: methods by score, one table per dataset, split, gallery and protocol."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.errors import IncompleteError, UsageError, nearest
from bench.evaluation.metrics.base import FINE_GRAINED_METRICS, MAIN_METRICS, parse_metric
from bench.evaluation.protocols.base import Protocol, name_over, protocol_of
from bench.reports import missing_runs as missing
from bench.reports import published
from bench.reports.base import KINDS, Cell, Options, Table
from bench.reports.cells import UNTRAINED_BASELINE, format_seeds, format_spread, mean
from bench.reports.collapse import make_collapse_notes
from bench.reports.protocol_values import has_same_ranking, row_values
from bench.reports.rows import Group, Row, Source
from bench.reports.trials import make_trial_notes
from bench.results.models import RunRecord
from bench.statistics.intervals import SEED, ClassSums, interval, shared_draws
from bench.statistics.significance import clear_best, compare


@dataclass(frozen=True)
class View:
    """The metrics of a table, under a protocol or by the definitions of this project."""

    metrics: tuple[str, ...]
    protocol: Protocol | None
    gallery: str | None = None  # of the shown runs; None: any

    def name(self, group: Group) -> str:
        """The name of the protocol for the gallery of a table."""
        default = "fine-grained" if group.first.relevance == "instance" else "standard"
        return name_over(self.protocol.name if self.protocol else default, group.first.gallery)

    def values(self, row: Row, metric: str) -> list[float]:
        """The scores of a row, one per run that has the metric."""
        if self.protocol is None:
            return row.values(metric)
        return row_values(row, self.protocol, metric) if has_same_ranking(row.runs[0], self.protocol) else []

    def sums(self, source: Source, row: Row) -> ClassSums | None:
        """Sums by class of the first metric; None if they or the scores are not stored."""
        metric = parse_metric(self.metrics[0])
        return source.sums(row, metric.id, metric.average or "queries") if self.values(row, self.metrics[0]) else None


@KINDS.register("main")
def main_tables(source: Source, options: Options) -> list[Table]:
    """A row per method and ablation: means over seeds, and the 95 % interval of the first metric.

    Raises UsageError for an unknown protocol or a baseline without runs, and IncompleteError if no run has the gallery
    of a named protocol.
    """
    groups = source.of("class")
    if not groups:
        raise IncompleteError("Only fine-grained runs match: use --kind fine-grained.")
    tables = make_tables(source, groups, options)
    if options.published:
        tables += published.make_tables_without_split(sorted({group.first.dataset for group in groups}))
    return tables


def make_tables(source: Source, groups: Sequence[Group], options: Options) -> list[Table]:
    """A table per group and protocol; raises as ``main_tables``."""
    if options.baseline and not any(find_baseline(group, options.baseline) for group in groups):
        known = {row.name for group in groups for row in group.rows}
        raise UsageError(f"No run of {options.baseline!r} is stored. {nearest(options.baseline, known)}")
    relevance = groups[0].first.relevance
    shown = MAIN_METRICS if relevance == "class" else FINE_GRAINED_METRICS
    named = [protocol_of(name) for name in options.protocols]
    for protocol, _ in named:
        if protocol.relevance != relevance:
            splits = "fine-grained splits" if relevance == "class" else "splits by class"
            raise UsageError(f"Protocol {protocol.name} is for {splits}, and split {groups[0].first.split} is not one.")
    views = [View(each.metrics, each, gallery) for each, gallery in named] or [View(shown, None)]
    tables = [
        _table(source, group, view, options)
        for group in groups
        for view in views
        if view.gallery in (None, group.first.gallery)
    ]
    if not tables:
        raise IncompleteError("No run has a gallery of all classes: use `bench run --gallery all`.")
    return tables


def _table(source: Source, group: Group, view: View, options: Options) -> Table:
    digits, first = options.digits, view.metrics[0]
    rows = sorted(group.rows, key=lambda row: (-mean(view.values(row, first)), row.name))
    sums = [view.sums(source, row) for row in rows]
    bold = find_clear_best(sums)
    unfinished = missing.group_by_title(missing.find_unfinished(source, group))
    baseline = find_baseline(group, options.baseline) if options.baseline else None
    tested = bool(group.first.configuration.get("seen_tested"))
    cells: list[list[str]] = []
    for position, row in enumerate(rows):
        figures = [format_spread(view.values(row, metric), digits) for metric in view.metrics]
        best = position == bold
        figures[0] = Cell(f"**{figures[0]}**" if best else figures[0], **figures[0].values, clear_best=best)
        seeds = format_seeds(row, missing.describe_runs(unfinished[row.name]) if row.name in unfinished else "")
        cells.append([row.name, seeds, figures[0], format_interval(sums[position], digits), *figures[1:]])
        if tested:
            cells[-1] += _format_sides(source.seen_and_unseen(row, parse_metric(first).id), digits)
        if options.baseline:
            other = None if baseline is None else view.sums(source, baseline)
            cells[-1].append(_format_difference(sums[position], other) if row is not baseline else "")
    titles = {row.name for row in rows}
    alone = {title: runs for title, runs in unfinished.items() if title not in titles}
    columns = ["method", "seeds", _heading(first), "95 % interval", *(_heading(metric) for metric in view.metrics[1:])]
    columns += [f"{_heading(first)} {side}" for side in ("seen", "unseen", "harmonic mean")] * tested
    if options.baseline:
        columns.append(f"difference to {options.baseline}")
    for title, runs in sorted(alone.items()):
        seeds = Cell(missing.describe_runs(runs), value=[], unfinished=sorted({run.seed for run in runs}))
        cells.append([title, seeds, Cell(runs[-1].status, value=None), *["-"] * (len(columns) - 3)])
    absent = missing.find_missing_methods(source, group)
    cells += [[name, *["-"] * (len(columns) - 1)] for name in absent]
    notes = _notes(source, group, view, bold is not None, any(each is not None for each in sums), options, absent)
    notes += make_collapse_notes(group)
    notes += make_trial_notes(source, group)
    if options.published and (reported := published.select_published_rows(group.first, view.metrics)):
        columns.append("definition")
        cells = [[*row, view.name(group)] for row in cells]
        blank = [""] * (3 * tested + bool(options.baseline))
        cells += [
            [f"{each.name} (reported)", "", each.figures[0], "-", *each.figures[1:], *blank, each.definition]
            for each in reported
        ]
        notes += published.make_notes(group.first)
    return Table(
        f"{group.title}, protocol {view.name(group)}",
        tuple(columns),
        tuple(tuple(row) for row in cells),
        tuple(notes),
        tuple(_commands(group, rows, alone, absent)),
        group.facts(view.name(group)),
    )


def _commands(group: Group, rows: Sequence[Row], alone: dict[str, list[RunRecord]], absent: Sequence[str]) -> list[str]:
    seeds = tuple(sorted({run.seed for run in group.runs}))
    commands = [missing.make_command(group, name, seeds) for name in absent]
    for runs in alone.values():
        if any(run.status not in ("running", "queued") for run in runs):
            commands.append(missing.make_command(group, runs[0].method, tuple(sorted({r.seed for r in runs})), runs[0]))
    for row in rows:
        missing_seeds = missing.find_missing_seeds(row, group)
        trained = bool(row.runs[0].seconds.get("training"))  # others score the same for every seed
        if missing_seeds and trained and not row.runs[0].origin:
            commands.append(missing.make_command(group, row.runs[0].method, missing_seeds, row.runs[0]))
    return commands


def _format_sides(values: Sequence[tuple[float, float]], digits: int) -> list[Cell]:
    """The means over queries of seen and of unseen classes, and their harmonic mean."""
    harmonic = [2 * seen * unseen / (seen + unseen) if seen + unseen else 0.0 for seen, unseen in values]
    columns = ([seen for seen, _ in values], [unseen for _, unseen in values], harmonic)
    return [format_spread(each, digits) for each in columns]


def _heading(metric: str) -> str:
    return metric.removesuffix("@queries")


EMPTY_POLICIES = {
    "skip": "are left out",
    "zero": "count 0",
    "nan": "make means NaN",
    "refuse": "are refused by that code",
}


def _notes(
    source: Source, group: Group, view: View, bold: bool, intervals: bool, options: Options, absent: Sequence[str]
) -> list[str]:
    runs, first = group.runs, group.first
    queries = max((score.queries for run in runs for score in run.scores), default=0)
    several = any(len(row.runs) > 1 for row in group.rows)
    over = "; means over queries" if view.protocol is None else f"; {view.protocol.summary[0].lower()}"
    rest = "" if view.protocol is None else view.protocol.summary[1:].rstrip(".")
    notes = [f"{queries} queries{over}{rest}{', ± standard deviation over seeds' if several else ''}."]
    if intervals:
        notes.append(_interval_note(sum(len(row.runs) > 1 for row in group.rows), len(group.rows)))
    else:
        notes.append(f"No interval: these runs were stored without the {_heading(view.metrics[0])} of every query.")
    if bold:
        notes.append("Bold: better than every other row by more than the 95 % interval of the difference.")
    if options.baseline:
        notes.append(
            f"Differences to {options.baseline} in points (hundredths) of {_heading(view.metrics[0])}, paired by "
            "query, with their 95 % interval. Where it excludes 0, the difference is significant at 5 %."
        )
    skipped = max((score.skipped for run in runs for score in run.scores), default=0)
    if skipped:
        policy = EMPTY_POLICIES[view.protocol.empty if view.protocol is not None else "skip"]
        notes.append(f"{skipped} queries have no relevant photo and {policy}.")
    if view.protocol is not None and view.protocol.version > 1:
        notes.append(
            f"Runs are ranked as in version 1 of this protocol; `bench score` computes version {view.protocol.version}."
        )
    dropped = {path for run in runs for path in run.configuration.get("dropped", {})}
    if dropped:
        notes.append(f"{len(dropped)} broken pictures were dropped, first {min(dropped)}.")
    lacks = source.every_method and UNTRAINED_BASELINE not in {run.method for run in runs} | set(absent)
    if lacks and first.selection != "oracle":
        command = missing.make_command(group, UNTRAINED_BASELINE, ())
        notes.append(f"This table lacks the untrained baseline: `{command}` adds it.")
    notes += fine_grained_notes(first)
    notes += group.cautions
    notes.append(f"Fingerprint of the images: {first.fingerprint[:16]}.")
    return notes


def fine_grained_notes(run: RunRecord) -> list[str]:
    """What a reader of fine-grained figures must know: the chance level, and whether classes were trained on."""
    if run.relevance != "instance":
        return []
    chance = "" if math.isnan(run.chance) else f"; by chance acc@1 is {run.chance:.3f}"
    notes = [f"Relevant is the one photo that a sketch was drawn from{chance}."]
    if not run.configuration.get("zero_shot", True):
        notes.append("Fine-grained, not zero-shot: classes of the test are trained on, with other instances.")
    return notes


def find_baseline(group: Group, name: str) -> Row | None:
    """The row ``name``, else the first full row of that method; None without either."""
    full = [row for row in group.rows if row.runs[0].method == name and not row.runs[0].ablation]
    return next((row for row in group.rows if row.name == name), full[0] if full else None)


def find_clear_best(sums: Sequence[ClassSums | None]) -> int | None:
    """The row to print in bold: better than every other beyond the interval of the difference; None if no row is.

    Rows without stored values of queries are ignored.
    """
    known = [(n, each) for n, each in enumerate(sums) if each is not None]
    if len(known) < 2 or len({len(each.counts) for _, each in known}) > 1:
        return None
    drawn = shared_draws(len(known[0][1].counts))
    best = clear_best([each for _, each in known], np.random.default_rng(SEED), drawn=drawn)
    return None if best is None else known[best][0]


def _format_difference(ours: ClassSums | None, other: ClassSums | None) -> Cell:
    if ours is None or other is None or len(ours.counts) != len(other.counts):
        return Cell("-", value=None)
    found = compare(ours, other, np.random.default_rng(SEED), drawn=shared_draws(len(ours.counts)))
    text = f"{found.points:+.1f} ({found.low:+.1f} to {found.high:+.1f})"
    return Cell(text, value=found.points, low=found.low, high=found.high, significant=found.clear)


def format_interval(sums: ClassSums | None, digits: int) -> Cell:
    """``0.512 to 0.580``; ``-`` without stored values of queries."""
    if sums is None:
        return Cell("-", low=None, high=None)
    around = interval(sums)
    text = "-" if math.isnan(around.low) else f"{around.low:.{digits}f} to {around.high:.{digits}f}"
    return Cell(text, low=around.low, high=around.high)


def _interval_note(several: int, rows: int) -> str:
    """What the interval covers; ``several`` of the ``rows`` have more than one seed."""
    if not several:
        return "The interval covers other classes, not other trainings, because there is one seed."
    rest = "" if several == rows else "; in a row of one seed other classes only"
    return f"The interval covers other classes and other trainings{rest}."
