"""From a store to a report: the kinds that were asked for, one after the other, and the footer."""

from __future__ import annotations

from collections.abc import Sequence

from bench.errors import IncompleteError
from reports.base import KINDS, Options, Report, Table
from reports.source import Source, footer


def build(source: Source, kinds: Sequence[str], options: Options) -> Report:
    """Tables of each kind in turn; ``all`` stands for every kind, where one without anything to show is left out.

    Raises UsageError for an unknown kind, IncompleteError when a kind that was named has nothing to show.
    """
    tables: list[Table] = []
    everything = sorted(KINDS.names(), key=lambda name: (name != "main", name))
    for kind in everything if "all" in kinds else kinds:
        try:
            tables += KINDS.get(kind)(source, options)
        except IncompleteError:
            if "all" not in kinds:
                raise
    return Report(tuple(tables), footer(source.runs))
