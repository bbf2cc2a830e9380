"""Scores from papers (``published.csv``), shown beside measured ones with their sources.

Papers often leave out the split and the formula. These rows are therefore marked and never compared automatically.
``docs/protocols.md`` lists what the public code of each paper computes.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from bench.evaluation.metrics.base import parse_metric
from bench.reports.base import Cell, Table
from bench.results.models import RunRecord

NAMES = ("mAP@all", "mAP@200", "P@100", "P@200")  # as papers name them
UNKNOWN = "protocol unknown"
MARKS = ("read by eye", "secondary")  # of a source, in brackets: from a picture; not from the paper itself


@dataclass(frozen=True)
class PublishedFigure:
    """One score from a paper, a fraction. ``split`` is empty if the paper does not name the unseen classes.

    ``setting``: zero-shot, generalized, fine-grained or cross-dataset.
    """

    method: str
    year: str
    backbone: str
    dataset: str
    split: str
    printed_split: str
    setting: str
    metric: str
    value: str
    protocol: str
    remark: str
    source: str


@dataclass(frozen=True)
class PublishedRow:
    """The scores of one method in one source: one per column, or ``-``."""

    name: str
    figures: tuple[str, ...]
    definition: str


@cache
def read_figures() -> tuple[PublishedFigure, ...]:
    """All rows of ``published.csv``, in order."""
    text = (resources.files("bench.reports") / "published.csv").read_text(encoding="utf-8")
    return tuple(PublishedFigure(**row) for row in csv.DictReader(io.StringIO(text)))


def select_published_rows(run: RunRecord, metrics: Sequence[str]) -> list[PublishedRow]:
    """Rows for the table of ``run``, best first; none for a smoke run."""
    names = [parse_metric(metric).id.partition(":")[0] for metric in metrics]
    return _rows(_select_figures(run), names)


def make_notes(run: RunRecord) -> list[str]:
    """Notes below a table with published rows."""
    found = _select_figures(run)
    return [
        "(reported): from a paper, under the metric name before the colon. Its definition, in the last column, may "
        "differ from that of the column; images and classes are those that the paper states.",
        *find_contradictions(found),
        *_sources(found),
    ]


def _select_figures(run: RunRecord) -> list[PublishedFigure]:
    """Figures of the split of ``run``, in its setting: generalized or not."""
    if run.per_class_limit is not None:
        return []
    return [
        each
        for each in read_figures()
        if (each.dataset, each.split) == (run.dataset, run.split)
        and (each.setting == "generalized") == (run.gallery != "unseen")
    ]


def make_tables_without_split(datasets: Sequence[str]) -> list[Table]:
    """One table per dataset for scores whose paper does not state the split."""
    tables = []
    for dataset in datasets:
        found = [each for each in read_figures() if each.dataset == dataset and not each.split]
        if not found:
            continue
        rows = [(f"{row.name} (reported)", *row.figures, row.definition) for row in _rows(found, NAMES)]
        title = f"{dataset}: published figures whose classes are not stated"
        tables.append(
            Table(
                title,
                ("method", *NAMES, "definition"),
                tuple(rows),
                (*find_contradictions(found), *_sources(found)),
                facts={"dataset": dataset},
            )
        )
    return tables


def find_contradictions(found: Sequence[PublishedFigure]) -> list[str]:
    """Notes on scores that contradict the usual definition: mAP@200 above P@200.

    If R is at least 200, as in every class of the published lists, the sum of precisions over the first 200 hits
    divided by min(200, R) is at most P@200.
    """
    return [
        f"{metrics['mAP@200'].method} (reported): mAP@200 {metrics['mAP@200'].value} above P@200 "
        f"{metrics['P@200'].value} cannot be under mAP@200:min, whose value is at most P@200 where every class has 200 "
        "photos; another definition was used."
        for metrics in _group_figures(found).values()
        if _contradicts(metrics)
    ]


def _group_figures(found: Sequence[PublishedFigure]) -> dict[tuple[str, ...], dict[str, PublishedFigure]]:
    """Figures of each method, backbone, source and printed split, by metric."""
    grouped: dict[tuple[str, ...], dict[str, PublishedFigure]] = {}
    for each in found:
        grouped.setdefault((each.method, each.backbone, each.source, each.printed_split), {})[each.metric] = each
    return grouped


def _rows(found: Sequence[PublishedFigure], names: Sequence[str]) -> list[PublishedRow]:
    """One row per method, backbone and source, best first by the first metric; rows without a score are left out."""
    grouped = _group_figures(found)
    several: dict[str, int] = {}
    for method, *_ in grouped:
        several[method] = several.get(method, 0) + 1
    numbers = {source: number for number, source in enumerate(dict.fromkeys(each.source for each in found), start=1)}
    rows = []
    for (method, backbone, source, _), metrics in grouped.items():
        printed = [metrics[name].value if name in metrics else "-" for name in names]
        values = tuple(each if each == "-" else Cell(each, value=float(each)) for each in printed)
        if any(value != "-" for value in values):
            first = next(iter(metrics.values()))
            marks = dict.fromkeys(each.remark for each in metrics.values() if each.remark)
            marks |= dict.fromkeys(mark for mark in MARKS if f"({mark}" in source)
            marks |= {"not mAP@200:min": None} if _contradicts(metrics) else {}
            definition = f"{'; '.join((first.protocol or UNKNOWN, *marks))} [{numbers[source]}]"
            name = f"{method}, {backbone}" if several[method] > 1 and backbone else method
            rows.append(PublishedRow(f"{name}{', ' * bool(first.year)}{first.year}", values, definition))
    return sorted(rows, key=lambda row: [-float(each) if each != "-" else 1.0 for each in row.figures])


def _contradicts(metrics: Mapping[str, PublishedFigure]) -> bool:
    """Whether mAP@200 is above P@200 in the figures of a row, by metric."""
    high, low = metrics.get("mAP@200"), metrics.get("P@200")
    return high is not None and low is not None and float(high.value) > float(low.value)


def _sources(found: Sequence[PublishedFigure]) -> list[str]:
    sources = dict.fromkeys(each.source for each in found)
    return [f"[{number}] {source}." for number, source in enumerate(sources, start=1)]
