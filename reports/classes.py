"""The scores of every class, and which classes are taken for which: kind ``per-class``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.errors import IncompleteError
from bench.evaluation.metrics.base import MAIN_METRICS
from bench.reports.base import KINDS, Options, Table
from bench.reports.cells import shown_rows
from bench.reports.stored_runs import Group, Row, Source
from bench.results import details
from bench.types import Doubles

METRIC = MAIN_METRICS[0]
SHOWN = 6  # methods beside each other
CONFUSIONS = 15  # pairs of classes in the table


@dataclass(frozen=True)
class ByClass:
    """One row's scores by class: ``means`` float64 [classes], ``half`` the half-widths of their 95 % intervals.

    A class's interval says what other sketches of it would have given: Student's t over its queries, each the mean
    over seeds. NaN for a class with one query.
    """

    classes: tuple[str, ...]
    queries: tuple[int, ...]
    means: Doubles
    half: Doubles


def by_class(source: Source, row: Row, metric: str = METRIC) -> ByClass | None:
    """A row's scores by class, of queries that have a relevant photo; None without values of every query."""
    from scipy.special import stdtrit

    results, kept = source.results(row, metric), source.per_query(row.runs[0].id)
    if results is None or kept is None:
        return None
    values = results.values.mean(axis=0)
    names, counts, means, half = [], [], [], []
    for label in np.unique(kept.labels[~np.isnan(values)]):
        own = values[(kept.labels == label) & ~np.isnan(values)].astype(np.float64)
        names.append(kept.classes[label])
        counts.append(len(own))
        means.append(float(own.mean()))
        error = float(own.std(ddof=1)) / len(own) ** 0.5 if len(own) > 1 else float("nan")
        half.append(float(stdtrit(len(own) - 1, 0.975)) * error if len(own) > 1 else float("nan"))
    return ByClass(tuple(names), tuple(counts), np.array(means), np.array(half))


def best_rows(source: Source, group: Group) -> list[tuple[Row, ByClass]]:
    """The best rows of a table that have scores by class, of the same queries, best first."""
    whole = [row for row in group.rows if source.sums(row, METRIC) is not None]
    found = [(row, each) for row in shown_rows(whole, SHOWN) if (each := by_class(source, row)) is not None]
    return [(row, each) for row, each in found if each.classes == found[0][1].classes]


@KINDS.register("per-class")
def class_tables(source: Source, options: Options) -> list[Table]:
    """Two tables a dataset, split and gallery: scores by class, and pairs of classes that the best row confuses.

    Raises IncompleteError when no run was stored with the values of its queries.
    """
    tables = []
    for group in source.groups:
        rows = best_rows(source, group)
        if rows:
            tables.append(_scores(group, rows, options.digits))
            tables += _confusions(source, group, rows[0][0])
    if not tables:
        raise IncompleteError("No run is stored with the values of its queries: run it again with --force.")
    return tables


def _scores(group: Group, rows: Sequence[tuple[Row, ByClass]], digits: int) -> Table:
    first = rows[0][1]
    order = np.argsort(-first.means, kind="stable")
    cells = [
        (first.classes[n], str(first.queries[n]), *(f"{each.means[n]:.{digits}f}" for _, each in rows)) for n in order
    ]
    notes = (f"{METRIC}, mean over the queries of a class and over seeds; classes in the order of the first column.",)
    columns = ("class", "queries", *(row.name for row, _ in rows))
    return Table(f"By class: {group.title}", columns, tuple(cells), notes)


def confusion(source: Source, row: Row) -> tuple[tuple[str, ...], Doubles] | None:
    """Shares of photo classes among the best photos of each query class, float64 [classes, classes], and their names.

    Over all runs of the row; None when their best photos were not stored.
    """
    contents = [source.detail(run, details.TOP) for run in row.runs]
    tops = [details.top(content) for content in contents if content is not None]
    if not tops or any(each.positions.shape[1] == 0 for each in tops):
        return None
    classes = len(tops[0].classes)
    counts = np.zeros((classes, classes))
    for each in tops:
        asked = np.broadcast_to(each.query_labels[:, None], each.labels.shape)
        known = each.labels >= 0
        np.add.at(counts, (asked[known], each.labels[known]), 1)
    asked_of = np.flatnonzero(counts.sum(axis=1) > 0)
    found = np.flatnonzero((counts.sum(axis=0) > 0) | (counts.sum(axis=1) > 0))
    kept = np.union1d(asked_of, found)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)[np.ix_(kept, kept)]
    return tuple(tops[0].classes[label] for label in kept), shares


def _confusions(source: Source, group: Group, row: Row) -> list[Table]:
    found = confusion(source, row)
    if found is None:
        return []
    classes, shares = found
    off = shares.copy()
    np.fill_diagonal(off, 0)
    pairs = np.argsort(-off, axis=None, kind="stable")[:CONFUSIONS]
    rows = [
        (classes[asked], classes[given], f"{off[asked, given]:.2f}", f"{shares[asked, asked]:.2f}")
        for asked, given in (divmod(int(pair), len(classes)) for pair in pairs)
        if off[asked, given] > 0
    ]
    notes = ("Shares of the best photos that were stored for each query, by default ten, over all seeds.",)
    columns = ("sketches of", "are answered with", "share", "share of the right class")
    return [Table(f"Most confused classes of {row.name}: {group.title}", columns, tuple(rows), notes)]
