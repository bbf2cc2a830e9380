"""Builds a report from stored runs."""

from __future__ import annotations

from collections.abc import Sequence

from bench.errors import IncompleteError
from bench.reports.base import KINDS, PICTURES, Options, Report, Section
from bench.reports.footer import make_footer
from bench.reports.missing_runs import unfinished_notes
from bench.reports.rows import Source

ORDER = (
    "main",
    "fine-grained",
    "protocols",
    "ablation",
    "per-class",
    "gallery",
    "cost",
)  # of ``all``; other kinds follow


def build(source: Source, kinds: Sequence[str], options: Options, *, pictures: bool = False) -> Report:
    """One section per kind; ``all`` means every kind that loads and has data.

    Raises UsageError for an unknown kind, LoadingError if the plug-in of a kind cannot be loaded, and IncompleteError
    if a named kind has no data.
    """
    sections: list[Section] = []
    if "all" in kinds:
        draw = dict(PICTURES.items() if pictures else ())
        loaded = dict(KINDS.items())
        names = [*(name for name in ORDER if name in loaded), *sorted(loaded.keys() - set(ORDER))]
    else:
        draw = {name: PICTURES.get(name) for name in PICTURES.names() if name in kinds} if pictures else {}
        names = list(kinds)
    for kind in names:
        try:
            tables = KINDS.get(kind)(source, options)
        except IncompleteError as error:
            if "all" in kinds:
                continue
            if source.left_out:
                raise IncompleteError(f"{error} {source.left_out}") from error
            raise
        drawings = draw[kind](source, options) if kind in draw else []
        sections.append(Section(kind, tuple(tables), tuple(drawings)))
    return Report(tuple(sections), (*make_footer(source.runs), *unfinished_notes(source)))
