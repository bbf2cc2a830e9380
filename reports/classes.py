"""Kind ``per-class``: scores of each class, and the most confused pairs of classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.errors import IncompleteError
from bench.reports.base import KINDS, Options, Table, number
from bench.reports.cells import select_rows
from bench.reports.rows import Group, Row, Source
from bench.results import details
from bench.types import Doubles

METHODS_SHOWN = 6
CONFUSIONS = 15  # pairs of classes in the table


@dataclass(frozen=True)
class ClassScores:
    """Scores of one row by class: ``means`` float64 [classes], ``half`` the half-widths of their 95 % intervals.

    The interval of a class covers other sketches of it: Student's t over its queries, each the mean over seeds. It is
    NaN for a class with one query.
    """

    classes: tuple[str, ...]
    queries: tuple[int, ...]
    means: Doubles
    half: Doubles


def score_classes(source: Source, row: Row) -> ClassScores | None:
    """Scores of a row by class, over queries with a relevant photo; None if values of queries are not stored."""
    from scipy.special import stdtrit

    each_seed, per_query = source.values(row, row.metric), source.per_query(row.runs[0].id)
    if each_seed is None or per_query is None:
        return None
    values = each_seed.mean(axis=0)
    names, counts, means, half = [], [], [], []
    for label in np.unique(per_query.labels[~np.isnan(values)]):
        own = values[(per_query.labels == label) & ~np.isnan(values)].astype(np.float64)
        names.append(per_query.classes[label])
        counts.append(len(own))
        means.append(float(own.mean()))
        error = float(own.std(ddof=1)) / len(own) ** 0.5 if len(own) > 1 else float("nan")
        half.append(float(stdtrit(len(own) - 1, 0.975)) * error if len(own) > 1 else float("nan"))
    return ClassScores(tuple(names), tuple(counts), np.array(means), np.array(half))


def find_best_rows(source: Source, group: Group) -> list[tuple[Row, ClassScores]]:
    """The best rows with scores by class on the same classes, best first."""
    complete = [row for row in group.rows if source.sums(row, row.metric) is not None]
    rows = [
        (row, each) for row in select_rows(complete, METHODS_SHOWN) if (each := score_classes(source, row)) is not None
    ]
    return [(row, each) for row, each in rows if each.classes == rows[0][1].classes]


@KINDS.register("per-class")
def class_tables(source: Source, options: Options) -> list[Table]:
    """Two tables per dataset, split and gallery: scores by class, and the classes that the best row confuses most.

    Raises IncompleteError if no run has stored values of queries.
    """
    tables = []
    for group in source.groups:
        rows = find_best_rows(source, group)
        if rows:
            tables.append(_score_table(group, rows, options.digits))
            tables += _confusion_tables(source, group, rows[0][0])
    if not tables:
        raise IncompleteError("No run is stored with the values of its queries: run it again with --force.")
    return tables


def _score_table(group: Group, rows: Sequence[tuple[Row, ClassScores]], digits: int) -> Table:
    first = rows[0][1]
    order = np.argsort(-first.means, kind="stable")
    cells = [
        (first.classes[n], number(first.queries[n]), *(number(float(each.means[n]), digits) for _, each in rows))
        for n in order
    ]
    metric = group.metrics[0]
    notes = (f"{metric}, mean over the queries of a class and over seeds; classes in the order of the first column.",)
    columns = ("class", "queries", *(row.name for row, _ in rows))
    return Table(f"By class: {group.title}", columns, tuple(cells), notes, facts=group.facts())


def compute_confusion(source: Source, row: Row) -> tuple[tuple[str, ...], Doubles] | None:
    """Names of classes, and the share of each photo class among the best photos of each query class.

    Shares are float64 [query classes, photo classes], over all runs of the row. None if best photos are not stored.
    """
    contents = [source.detail(run, details.TOP) for run in row.runs]
    tops = [details.top(content) for content in contents if content is not None]
    if not tops or any(each.positions.shape[1] == 0 for each in tops):
        return None
    classes = len(tops[0].classes)
    counts = np.zeros((classes, classes))
    for each in tops:
        queries = np.broadcast_to(each.query_labels[:, None], each.labels.shape)
        known = each.labels >= 0
        np.add.at(counts, (queries[known], each.labels[known]), 1)
    used = np.flatnonzero((counts.sum(axis=0) > 0) | (counts.sum(axis=1) > 0))
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)[np.ix_(used, used)]
    return tuple(tops[0].classes[label] for label in used), shares


def _confusion_tables(source: Source, group: Group, row: Row) -> list[Table]:
    confusion = compute_confusion(source, row)
    if confusion is None:
        return []
    classes, shares = confusion
    off = shares.copy()
    np.fill_diagonal(off, 0)
    pairs = np.argsort(-off, axis=None, kind="stable")[:CONFUSIONS]
    rows = [
        (classes[query], classes[photo], number(float(off[query, photo]), 2), number(float(shares[query, query]), 2))
        for query, photo in (divmod(int(pair), len(classes)) for pair in pairs)
        if off[query, photo] > 0
    ]
    notes = ("Shares of the best photos that were stored for each query, by default ten, over all seeds.",)
    columns = ("sketches of", "are answered with", "share", "share of the right class")
    title = f"Most confused classes of {row.name}: {group.title}"
    return [Table(title, columns, tuple(rows), notes, facts=group.facts())]
