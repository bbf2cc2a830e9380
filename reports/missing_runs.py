"""Missing runs of a table: methods and seeds that other tables or rows have, and runs that did not finish."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bench.reports.footer import ranges
from bench.reports.stored_runs import Group, Row, Source, table_of
from bench.results.models import RunRecord
from bench.settings.request import Request
from bench.settings.run_settings import given


def absent_methods(source: Source, group: Group) -> tuple[str, ...]:
    """Methods in full that some other table has and this one has not, neither finished nor on the way.

    None where epochs were selected on the test: a report does not suggest that.
    """
    if group.first.selection == "oracle":
        return ()
    here = {run.title for run in group.runs} | {run.title for run in unfinished(source, group)}
    return tuple(sorted(source.methods.get(group.first.per_class_limit, set()) - here))


def unfinished(source: Source, group: Group) -> list[RunRecord]:
    """Runs that belong into this table and failed, were interrupted or are being computed."""
    return [run for run in source.unfinished if table_of(run) == table_of(group.first)]


def unfinished_notes(source: Source) -> tuple[str, ...]:
    """A sentence for each run that did not finish, in its order."""
    return tuple(
        f"Run {run.id} ({run.title} on {run.split}, seed {run.seed}) is {run.status}{': ' * bool(run.failure)}"
        f"{run.failure.rstrip('.')}."
        for run in source.unfinished
    )


def states(runs: list[RunRecord]) -> Mapping[str, list[RunRecord]]:
    """Unfinished runs by the title of their row."""
    found: dict[str, list[RunRecord]] = {}
    for run in runs:
        found.setdefault(run.title, []).append(run)
    return found


def in_words(runs: list[RunRecord]) -> str:
    """``seed 3 failed``, ``seeds 1-2 interrupted``."""
    parts = []
    for status in sorted({run.status for run in runs}):
        seeds = sorted({run.seed for run in runs if run.status == status})
        parts.append(f"seed{'s' * (len(seeds) > 1)} {ranges(seeds)} {status}")
    return ", ".join(parts)


def missing_seeds(row: Row, group: Group) -> tuple[int, ...]:
    """Seeds that another row of the table has and this one has not."""
    every = {run.seed for run in group.runs}
    return tuple(sorted(every - {run.seed for run in row.runs}))


def command(group: Group, method: str, seeds: Sequence[int], like: RunRecord | None = None) -> str:
    """The command that computes missing runs; PATH, FILE and RUN in it are for the reader to replace.

    ``like`` is a run of the same row, repeated with other seeds. Without it the method runs with its defaults on the
    images of the table.
    """
    if like is not None:
        return Request.from_json(like.request).command(seeds)
    first = Request.from_json(group.first.request)
    others = {name for part in ("run", "method", "post") for name in group.first.configuration.get(part, {})}
    images = tuple(each for each in first.assignments if not given([each]).keys() & others)
    plain = Request(method, first.dataset, first.split, assignments=images, gallery=first.gallery)
    return replace(plain, per_class_limit=first.per_class_limit, on_bad_image=first.on_bad_image).command(seeds)
