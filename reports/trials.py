"""How many settings were tried on the tuning split before those of a row were chosen."""

from __future__ import annotations

from bench.reports.rows import Group, Source, collect_settings

ENDED = ("done", "superseded", "pruned", "failed")


def make_trial_notes(source: Source, group: Group) -> list[str]:
    """A sentence for each row whose settings are among several that the store has on the tuning split."""
    split = f"{group.first.split}:tuning"
    tried: dict[str, set[str]] = {}
    for run in source.stored(dataset=group.first.dataset, split=split, status=ENDED):
        if run.per_class_limit == group.first.per_class_limit:
            tried.setdefault(run.method, set()).add(str(collect_settings(run)))
    notes = []
    for row in group.rows:
        known = tried.get(row.runs[0].method, set())
        if len(known) > 1 and str(collect_settings(row.runs[0])) in known:
            notes.append(f"{row.name}: its settings are among {len(known)} that were tried on {split}.")
    return notes
