"""Notes on runs whose loss ended at its margin."""

from __future__ import annotations

from bench.reports.cells import format_seeds
from bench.reports.rows import Group, Row


def make_collapse_notes(group: Group) -> list[str]:
    """One note for each row with such runs: the figures show what other losses or the pooled feature kept."""
    notes = []
    for row in group.rows:
        terms = {run.environment["at margin"] for run in row.runs if run.environment.get("at margin")}
        if terms:
            seeds = Row(row.name, tuple(run for run in row.runs if run.environment.get("at margin")))
            notes.append(
                f"{row.name}, seed{'s' * (len(seeds.runs) > 1)} {format_seeds(seeds)}: the training ended with "
                f"{', '.join(sorted(terms))} at its margin, so the embedding that it compares has collapsed."
            )
    return notes
