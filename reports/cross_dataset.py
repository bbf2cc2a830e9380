"""Kind ``cross-dataset``: networks of one training on the test sets of several datasets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.errors import IncompleteError
from bench.reports import published
from bench.reports.base import KINDS, Options, Table
from bench.reports.cells import UNTRAINED_BASELINE, format_seeds, format_spread, mean
from bench.reports.rows import Group, Row, Source
from bench.results.models import RunRecord, trained_on

METRICS = ("mAP@all:plain", "P@100:k")


@dataclass(frozen=True)
class TestSet:
    """A test set of a table: its group of runs, and the row of each method in it."""

    group: Group
    rows: Mapping[str, Row]

    @property
    def title(self) -> str:
        """The dataset and split, and the gallery if it is not of unseen classes."""
        first = self.group.first
        return f"{first.dataset} {first.split}{f', gallery {first.gallery}' * (first.gallery != 'unseen')}"

    @property
    def for_networks(self) -> bool:
        """Whether the split is for networks of another dataset."""
        return "-unseen-by-" in self.group.first.split

    def values(self, name: str) -> list[float]:
        """The first metric of a method here."""
        return self.rows[name].values(METRICS[0]) if name in self.rows else []


@KINDS.register("cross-dataset")
def cross_dataset_tables(source: Source, options: Options) -> list[Table]:
    """A table for each split that networks were trained on: a row per method, two columns per test set.

    Untrained methods stand beside them. Raises IncompleteError unless a network was tested on another split.
    """
    groups = source.of("class")
    trainings = {(c["dataset"], c["split"]) for group in groups for run in group.runs if (c := _checkpoint(run))}
    tables = [_table(groups, training, options) for training in sorted(trainings)]
    if not tables:
        raise IncompleteError(
            "No network was tested on another dataset: use `bench run --test-on DATASET`, or --checkpoint RUN."
        )
    return tables


def _table(groups: Sequence[Group], training: tuple[str, str], options: Options) -> Table:
    sets = [found for group in groups if (found := _find_test_set(group, training))]
    sets.sort(key=lambda each: ((each.group.first.dataset, each.group.first.split) != training, each.title))
    names = list(dict.fromkeys(name for each in sets for name in each.rows))
    names.sort(key=lambda name: (-mean([v for each in sets for v in each.values(name)]), name))
    rows: list[tuple[str, ...]] = []
    for name in names:
        own = [each.rows.get(name) for each in sets]
        seeds = next(format_seeds(row) for row in own if row is not None)
        cells = [format_spread(row.values(metric) if row else [], options.digits) for row in own for metric in METRICS]
        rows.append((name, seeds, *cells))
    columns = ["method", "seeds", *(f"{each.title}: {metric}" for each in sets for metric in METRICS)]
    notes = [f"Trained on {training[1]} of {training[0]}; means over queries of each test set."]
    for each in sets:
        saw = sorted({name for row in each.rows.values() for run in row.runs for name in _saw(run)})
        if saw:
            notes.append(f"{each.title}: {len(saw)} test classes were seen in training, first {saw[0]}: not zero-shot.")
    if options.published:
        reported = _reported(sets)
        if reported:
            columns.append("definition")
            rows = [(*row, "standard") for row in rows] + reported
            notes += dict.fromkeys(
                note for each in sets if each.for_networks for note in published.make_notes(each.group.first)
            )
    return Table(f"Trained on {training[1]}", tuple(columns), tuple(rows), tuple(notes))


def _find_test_set(group: Group, training: tuple[str, str]) -> TestSet | None:
    """The rows of a group for networks of a training, by method; None without one. Untrained methods are added."""
    own, untrained = {}, {}
    here = (group.first.dataset, group.first.split) == training
    for row in group.rows:
        run, checkpoint = row.runs[0], _checkpoint(row.runs[0])
        if checkpoint and (checkpoint["dataset"], checkpoint["split"]) == training:
            own[row.name.replace(f" {trained_on(run.configuration)}", "")] = row
        elif not checkpoint and here:
            own[row.name] = row
        elif not checkpoint and (run.method == UNTRAINED_BASELINE or not run.seconds.get("training")):
            untrained[row.name] = row
    return TestSet(group, own | untrained) if own else None


def _reported(sets: Sequence[TestSet]) -> list[tuple[str, ...]]:
    """Rows of papers, by method, with the cells of each test set."""
    found: dict[str, dict[int, published.PublishedRow]] = {}
    for number, each in enumerate(sets):
        for row in published.select_published_rows(each.group.first, METRICS):
            found.setdefault(row.name, {})[number] = row
    blank = ("-",) * len(METRICS)
    return [
        (
            f"{name} (reported)",
            "",
            *(cell for number in range(len(sets)) for cell in (own[number].figures if number in own else blank)),
            "; ".join(dict.fromkeys(row.definition for row in own.values())),
        )
        for name, own in found.items()
        if any(sets[number].for_networks for number in own)
    ]


def _checkpoint(run: RunRecord) -> Mapping[str, str] | None:
    return run.configuration.get("checkpoint")


def _saw(run: RunRecord) -> Sequence[str]:
    saw: Sequence[str] = (run.configuration.get("checkpoint") or {}).get("saw", ())
    return saw
