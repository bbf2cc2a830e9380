"""From a store to a report: the kinds that were asked for, one after the other, and the footer."""

from __future__ import annotations

from collections.abc import Sequence

from bench.errors import IncompleteError
from bench.reports.base import KINDS, PICTURES, Options, Report, Section
from bench.reports.footer import footer
from bench.reports.missing_runs import unfinished_notes
from bench.reports.stored_runs import Source

ORDER = ("main", "protocols", "ablation", "per-class", "gallery", "cost")  # of ``all``; what is new comes behind


def build(source: Source, kinds: Sequence[str], options: Options, *, pictures: bool = False) -> Report:
    """Sections of each kind in turn; ``all`` stands for every kind that can be loaded and has something to show.

    Raises UsageError for an unknown kind, LoadingError for one of a plug-in that cannot be loaded, IncompleteError
    when a kind that was named has nothing to show.
    """
    sections: list[Section] = []
    place = {name: position for position, name in enumerate(ORDER)}
    if "all" in kinds:
        drawn = dict(PICTURES.items() if pictures else ())
        chosen = sorted(dict(KINDS.items()), key=lambda name: (place.get(name, len(ORDER)), name))
    else:
        drawn = {name: PICTURES.get(name) for name in PICTURES.names() if name in kinds} if pictures else {}
        chosen = list(kinds)
    for kind in chosen:
        try:
            tables = KINDS.get(kind)(source, options)
        except IncompleteError:
            if "all" not in kinds:
                raise
            continue
        shown = drawn[kind](source, options) if kind in drawn else []
        sections.append(Section(kind, tuple(tables), tuple(shown)))
    return Report(tuple(sections), (*footer(source.runs), *unfinished_notes(source)))
