"""Runs that a table lacks: methods of other tables, seeds of other rows, and unfinished runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bench.reports.footer import format_ranges
from bench.reports.rows import Group, Row, Source, table_key
from bench.results.models import RunRecord
from bench.settings.request import Request
from bench.settings.run_settings import given


def find_missing_methods(source: Source, group: Group) -> tuple[str, ...]:
    """Full methods that another table has and this one lacks, also among unfinished runs.

    Empty for oracle runs, because a report does not suggest selecting epochs on the test.
    """
    if group.first.selection == "oracle":
        return ()
    here = {run.title for run in group.runs} | {run.title for run in find_unfinished(source, group)}
    return tuple(sorted(source.methods.get(group.first.per_class_limit, set()) - here))


def find_unfinished(source: Source, group: Group) -> list[RunRecord]:
    """Runs of this table that failed, were interrupted, or are queued or running."""
    return [run for run in source.unfinished if table_key(run) == table_key(group.first)]


def unfinished_notes(source: Source) -> tuple[str, ...]:
    """One sentence per unfinished run."""
    return tuple(
        f"Run {run.id} ({run.title} on {run.split}, seed {run.seed}) is {run.status}{': ' * bool(run.failure)}"
        f"{run.failure.rstrip('.')}."
        for run in source.unfinished
    )


def group_by_title(runs: list[RunRecord]) -> Mapping[str, list[RunRecord]]:
    """Runs by the title of their row."""
    groups: dict[str, list[RunRecord]] = {}
    for run in runs:
        groups.setdefault(run.title, []).append(run)
    return groups


def describe_runs(runs: list[RunRecord]) -> str:
    """``seed 3 failed``, ``seeds 1-2 interrupted``."""
    parts = []
    for status in sorted({run.status for run in runs}):
        seeds = sorted({run.seed for run in runs if run.status == status})
        parts.append(f"seed{'s' * (len(seeds) > 1)} {format_ranges(seeds)} {status}")
    return ", ".join(parts)


def find_missing_seeds(row: Row, group: Group) -> tuple[int, ...]:
    """Seeds that another row of the table has and this row lacks."""
    seeds = {run.seed for run in group.runs}
    return tuple(sorted(seeds - {run.seed for run in row.runs}))


def make_command(group: Group, method: str, seeds: Sequence[int], like: RunRecord | None = None) -> str:
    """The command that computes missing runs; the reader replaces PATH, FILE and RUN in it.

    ``like`` is a run of the same row, to repeat with other seeds. Without it the method runs with its defaults on the
    images of the table.
    """
    if like is not None:
        return Request.from_json(like.request).command(seeds)
    first = Request.from_json(group.first.request)
    others = {name for part in ("run", "method", "post") for name in group.first.configuration.get(part, {})}
    images = tuple(each for each in first.assignments if not given([each]).keys() & others)
    plain = Request(method, first.dataset, first.split, assignments=images, gallery=first.gallery)
    return replace(plain, per_class_limit=first.per_class_limit, on_bad_image=first.on_bad_image).command(seeds)
