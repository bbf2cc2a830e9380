"""What a report is made of: the stored runs that were asked for, and what belongs to each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np

from bench.errors import IncompleteError
from bench.results import details
from bench.results.models import RunRecord
from bench.results.store import Store
from bench.settings.post_processing import PostProcessing
from bench.settings.request import in_text
from bench.statistics.intervals import RESAMPLES, ClassSums, Resamples, class_draws
from bench.statistics.significance import Results, SeededSums
from bench.types import Average

SEED = 0  # of the resamples, so that a report has the same bytes each time


@dataclass(frozen=True)
class Row:
    """Runs of one method under the same settings, one a seed: one row of a table.

    ``name`` is unique in the table; ``told`` are the settings that it names to be so.
    """

    name: str
    runs: tuple[RunRecord, ...]
    told: tuple[tuple[str, object], ...] = ()

    @property
    def seeds(self) -> str:
        """Its seeds in words: ``0-4``, or ``0, 7``."""
        seeds = [run.seed for run in self.runs]
        if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1)):
            return f"{seeds[0]}-{seeds[-1]}"
        return ", ".join(str(seed) for seed in seeds)

    def values(self, metric: str) -> list[float]:
        """The mean over queries of each run that has one."""
        found = [run.value(metric) for run in self.runs]
        return [value for value in found if value == value]


@dataclass(frozen=True)
class Group:
    """Runs that may stand in one table: of one dataset, split, gallery, fingerprint and limit; never merged."""

    rows: tuple[Row, ...]

    @property
    def first(self) -> RunRecord:
        """Any run: what they have in common is in each."""
        return self.rows[0].runs[0]

    @property
    def runs(self) -> list[RunRecord]:
        """All runs of all rows."""
        return [run for row in self.rows for run in row.runs]

    @property
    def title(self) -> str:
        """What the table is called."""
        first = self.first
        title = f"{first.dataset}, split {first.split}, gallery: {first.gallery} classes"
        if first.configuration.get("gallery_name", "full") != "full":
            title += f" ({first.configuration['gallery_name']} photos)"
        if first.selection == "oracle":
            title += ", epochs selected on the test (oracle)"
        return title if first.per_class_limit is None else f"{title} (smoke: {first.per_class_limit} images a class)"


class Source:
    """Finished runs of a store, and their details as they are asked for; ``data_root`` is where datasets lie.

    Raises IncompleteError when none is left.
    """

    def __init__(
        self,
        store: Store,
        runs: Sequence[RunRecord],
        *,
        include_smoke: bool = False,
        include_oracle: bool = False,
        data_root: Path = Path("./data"),
    ) -> None:
        done = [run for run in runs if run.status == "done"]
        finished = [
            run for run in done if (include_smoke or not run.smoke) and (include_oracle or run.selection != "oracle")
        ]
        if not finished:
            if done:
                raise IncompleteError(
                    "Only smoke or oracle runs fit this report: add --include-smoke or --include-oracle to see them."
                )
            raise IncompleteError("No finished run fits this report: run something first, such as `bench run -m ours`.")
        self.runs = finished
        over = {run.key for run in done}
        newest = {
            run.key: run
            for run in runs
            if run.status in ("failed", "interrupted", "running", "queued")
            and (include_smoke or not run.smoke)
            and (include_oracle or run.selection != "oracle")
        }
        self.unfinished = [run for run in newest.values() if run.key not in over]
        self.data_root = data_root
        self._store = store
        self.per_query = cache(self._per_query)
        self.draws = cache(self._draws)

    @cached_property
    def groups(self) -> list[Group]:
        """Runs by table, in the order of dataset, split and gallery."""
        tables: dict[tuple[object, ...], list[RunRecord]] = {}
        for run in self.runs:
            tables.setdefault(table_of(run), []).append(run)
        return [Group(tuple(rows_of(tables[key]))) for key in sorted(tables)]

    def _per_query(self, run: int) -> details.PerQuery | None:
        content = self._store.detail(run, details.PER_QUERY)
        return None if content is None else details.per_query(content)

    @cached_property
    def methods(self) -> dict[int | None, set[str]]:
        """Methods that ran in full, with nothing left out or put behind them, by the limit of images a class."""
        found: dict[int | None, set[str]] = {}
        for run in self.runs:
            if not run.ablation and run.title == run.method:
                found.setdefault(run.per_class_limit, set()).add(run.method)
        return found

    def detail(self, run: RunRecord, name: str) -> bytes | None:
        """What is stored under a name of ``bench.results.details``."""
        return self._store.detail(run.id, name)

    @cached_property
    def _sums(self) -> dict[int, details.Sums]:
        """Values added up by class, of every run that has them."""
        ids = [run.id for run in self.runs]
        found = {run: details.sums(content) for run, content in self._store.details(details.SUMS, ids).items()}
        older = self._store.details(details.PER_QUERY, [run for run in ids if run not in found])
        return found | {run: details.sums_of(details.per_query(content)) for run, content in older.items()}

    def _draws(self, classes: int) -> Resamples:
        """Resamples that all rows with so many classes share."""
        return class_draws(classes, np.random.default_rng(SEED), RESAMPLES)

    def sums(self, row: Row, metric: str, average: Average = "queries") -> SeededSums | None:
        """Values of a row added up by class; None when a run of it has none of the metric, or of other queries."""
        found = [self._sums.get(run.id) for run in row.runs]
        kept = [each for each in found if each is not None and metric in each.metrics]
        if len(kept) < len(found) or any(not np.array_equal(each.counts, kept[0].counts) for each in kept):
            return None
        counts = kept[0].counts
        values = np.stack([each.sums[each.metrics.index(metric)] for each in kept])
        if average == "classes":
            values, counts = values / counts, np.ones_like(counts)
        return SeededSums(ClassSums(values, counts), tuple(run.seed for run in row.runs))

    def results(self, row: Row, metric: str) -> Results | None:
        """Values of every query and seed of a row; None when a run of it was stored without them."""
        found = [(run.seed, self.per_query(run.id)) for run in row.runs]
        kept = [(seed, each.of(metric)) for seed, each in found if each is not None and metric in each.metrics]
        if len(kept) < len(found):
            return None
        return Results(np.stack([values for _, values in kept]), tuple(seed for seed, _ in kept))


def table_of(run: RunRecord) -> tuple[object, ...]:
    """What runs must share to stand in one table."""
    oracle = run.selection == "oracle"  # never beside runs that did not look at the test
    return (run.dataset, run.split, run.gallery, run.fingerprint, run.per_class_limit or 0, oracle)


NOT_STORED = object()


def rows_of(runs: Sequence[RunRecord]) -> list[Row]:
    """Rows of one table, by name; where settings tell rows of one name apart, the name says how they differ."""
    same: dict[str, dict[str, list[RunRecord]]] = {}
    for run in sorted(runs, key=lambda run: (run.seed, run.id)):
        same.setdefault(run.title, {}).setdefault(str(settings_of(run)), []).append(run)
    found = []
    for title, by_settings in sorted(same.items()):
        every = [settings_of(each[0]) for each in by_settings.values()]
        for own, each in zip(every, by_settings.values(), strict=True):
            # A setting that older runs have not tells them from newer ones, too: no two rows have one name.
            told = tuple((k, v) for k, v in own if any(dict(other).get(k, NOT_STORED) != v for other in every))
            words = ", ".join(f"{key} {in_text(value)}" for key, value in told)
            newest = {run.seed: run for run in each}  # a seed that was stored twice is shown as it is now
            found.append(Row(f"{title} ({words})" if told else title, tuple(newest.values()), told))
    return found


def settings_of(run: RunRecord) -> list[tuple[str, object]]:
    """Settings of the run, of its method, of the dataset and of what follows the embedding, by name; then how it was
    computed, as far as that can change a figure."""
    asked = run.configuration
    parts = (asked["run"], asked["method"], asked.get("dataset", {}), {**_no_post(), **asked.get("post", {})})
    settings = [each for part in parts for each in sorted(part.items())]
    return [
        *settings,
        ("precision", asked.get("precision", "fp32")),
        ("method_version", asked.get("method_version", 1)),
    ]


@cache
def _no_post() -> Mapping[str, object]:
    """The settings of a run that nothing follows: ``asdict`` for each of a thousand runs would be felt."""
    return asdict(PostProcessing())
