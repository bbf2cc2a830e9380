"""Figures in print, to stand beside measured ones: ``published.csv`` with the source of each.

They were computed by others on splits and by formulas that tables often do not tell, so they are marked and never
compared by a machine. What the public code of a source computes is named where it was read (``docs/protocols.md``).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from bench.evaluation.metrics.base import parse_metric
from bench.reports.base import Table
from bench.results.models import RunRecord

NAMES = ("mAP@all", "mAP@200", "P@100", "P@200")  # what tables in print call them
UNKNOWN = "protocol unknown"


@dataclass(frozen=True)
class Published:
    """One figure in print, a fraction. ``split`` is empty where the source does not say which classes are unseen."""

    method: str
    year: str
    backbone: str
    dataset: str
    split: str
    printed_split: str
    metric: str
    value: str
    protocol: str
    remark: str
    source: str


@dataclass(frozen=True)
class Row:
    """The figures of one method in one source, one for each metric that was asked for (``-`` without)."""

    name: str
    figures: tuple[str, ...]
    definition: str


@cache
def figures() -> tuple[Published, ...]:
    """All of them, in the order of the file."""
    text = (resources.files("bench.reports") / "published.csv").read_text(encoding="utf-8")
    return tuple(Published(**row) for row in csv.DictReader(io.StringIO(text)))


def rows_for(run: RunRecord, metrics: Sequence[str]) -> list[Row]:
    """Published rows for the table of ``run``: of its dataset and split, on unseen classes and all images."""
    if run.gallery != "unseen" or run.per_class_limit is not None:
        return []
    names = [parse_metric(metric).id.partition(":")[0] for metric in metrics]
    return _rows([each for each in figures() if (each.dataset, each.split) == (run.dataset, run.split)], names)


def notes(run: RunRecord) -> list[str]:
    """What a reader of a table with published rows must know."""
    found = [each for each in figures() if (each.dataset, each.split) == (run.dataset, run.split)]
    return [
        "(reported): in print under the name before the colon, by the definition in the last column, which need not be "
        "that of the column; computed by others, on images and classes as far as their tables tell.",
        *impossible(found),
        *_sources(found),
    ]


def homeless(datasets: Sequence[str]) -> list[Table]:
    """A table for each dataset with figures in print whose split is not stated, so that they belong beside nothing."""
    tables = []
    for dataset in datasets:
        found = [each for each in figures() if each.dataset == dataset and not each.split]
        if not found:
            continue
        rows = [(f"{row.name} (reported)", *row.figures, row.definition) for row in _rows(found, NAMES)]
        title = f"{dataset}: published figures whose classes are not stated"
        tables.append(
            Table(title, ("method", *NAMES, "definition"), tuple(rows), (*impossible(found), *_sources(found)))
        )
    return tables


def impossible(found: Sequence[Published]) -> list[str]:
    """Sentences about pairs that contradict the usual definition: mAP@200 above P@200.

    A sum of precisions over the hits among the first 200, divided by min(200, R), is at most hits / 200 where R is 200
    or more, as it is for every class of the published lists.
    """
    values = {(each.method, each.backbone, each.printed_split, each.source, each.metric): each for each in found}
    sentences = []
    for (*row, metric), high in values.items():
        low = values.get((*row, "P@200"))  # type: ignore[arg-type]
        if metric == "mAP@200" and low is not None and float(high.value) > float(low.value):
            sentences.append(
                f"{high.method} (reported): mAP@200 {high.value} above P@200 {low.value} cannot be under mAP@200:min, "
                "whose value is at most P@200 where every class has 200 photos; another definition was used."
            )
    return sentences


def _rows(found: Sequence[Published], names: Sequence[str]) -> list[Row]:
    """One row a method, backbone and source, in the order of the file; those without any asked figure are left out."""
    grouped: dict[tuple[str, ...], dict[str, Published]] = {}
    for each in found:
        grouped.setdefault((each.method, each.backbone, each.source, each.printed_split), {})[each.metric] = each
    several: dict[str, int] = {}
    for method, *_ in grouped:
        several[method] = several.get(method, 0) + 1
    numbers = {source: number for number, source in enumerate(dict.fromkeys(each.source for each in found), start=1)}
    rows = []
    for (method, backbone, source, _), metrics in grouped.items():
        values = tuple(metrics[name].value if name in metrics else "-" for name in names)
        if any(value != "-" for value in values):
            first = next(iter(metrics.values()))
            told = f"{first.protocol or UNKNOWN}{'; ' * bool(first.remark)}{first.remark} [{numbers[source]}]"
            name = f"{method}, {backbone}" if several[method] > 1 and backbone else method
            rows.append(Row(f"{name}{', ' * bool(first.year)}{first.year}", values, told))
    return rows


def _sources(found: Sequence[Published]) -> list[str]:
    sources = dict.fromkeys(each.source for each in found)
    return [f"[{number}] {source}." for number, source in enumerate(sources, start=1)]
