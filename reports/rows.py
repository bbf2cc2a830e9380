"""The stored runs of a report, by table and row."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import IncompleteError
from bench.evaluation.metrics.base import main_metrics
from bench.results import details
from bench.results.models import RunRecord
from bench.results.store import Store
from bench.settings.post_processing import PostProcessing
from bench.settings.request import in_text
from bench.statistics.intervals import ClassSums
from bench.types import Average, Floats, Relevance

HASH, SHORT = re.compile(r"sha256:([0-9a-f]{12})[0-9a-f]+"), r"\1"


@dataclass(frozen=True)
class Row:
    """One row of a table: runs of one method with the same settings, one per seed.

    ``name`` is unique in the table; it includes the settings that differ from other rows of the method.
    """

    name: str
    runs: tuple[RunRecord, ...]

    @property
    def metric(self) -> str:
        """The first metric of its tables."""
        return main_metrics(self.runs[0].relevance)[0]

    def values(self, metric: str) -> list[float]:
        """The mean over queries of each run that has the metric."""
        values = [run.value(metric) for run in self.runs]
        return [value for value in values if value == value]


@dataclass(frozen=True)
class Group:
    """The runs of one table: same dataset, split, gallery, fingerprint and limit."""

    rows: tuple[Row, ...]

    @property
    def first(self) -> RunRecord:
        """The first run, for the values that all runs share."""
        return self.rows[0].runs[0]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics of its table."""
        return main_metrics(self.first.relevance)

    @property
    def runs(self) -> list[RunRecord]:
        """All runs of all rows."""
        return [run for row in self.rows for run in row.runs]

    @property
    def cautions(self) -> list[str]:
        """What a reader of any figure must know: of the dataset, and of default backbones that were replaced."""
        sentences = [str(self.first.configuration.get("caution", "")), *(run.warning for run in self.runs)]
        return [*dict.fromkeys(filter(None, sentences))]

    def facts(self, protocol: str = "standard") -> dict[str, object]:
        """What identifies the table for programs."""
        first = self.first
        return {
            "dataset": first.dataset,
            "split": first.split,
            "gallery": first.gallery,
            "gallery_name": first.configuration.get("gallery_name", "full"),
            "protocol": protocol,
            "oracle": first.selection == "oracle",
            "limit": first.per_class_limit,
            "fingerprint": first.fingerprint,
        }

    @property
    def title(self) -> str:
        """The title of the table."""
        first = self.first
        gallery = f"{first.gallery} classes" if first.gallery in ("unseen", "all") else f"{first.gallery} (generalized)"
        title = f"{first.dataset}, split {first.split}, gallery: {gallery}"
        if first.configuration.get("gallery_name", "full") != "full":
            title += f" ({first.configuration['gallery_name']} photos)"
        if first.selection == "oracle":
            title += ", epochs selected on the test (oracle)"
        return title if first.per_class_limit is None else f"{title} (smoke: {first.per_class_limit} images a class)"


class Source:
    """Finished runs of a store; their details are read when needed. ``data_root`` is the folder of datasets.

    ``every_method``: whether ``runs`` has all methods, so that one that is not there is not stored.
    Raises IncompleteError if no run is left.
    """

    def __init__(
        self,
        store: Store,
        runs: Sequence[RunRecord],
        *,
        include_smoke: bool = False,
        include_oracle: bool = False,
        data_root: Path = Path("./data"),
        every_method: bool = True,
    ) -> None:
        self.every_method = every_method
        done = [run for run in runs if run.status == "done"]
        finished = [
            run for run in done if (include_smoke or not run.smoke) and (include_oracle or run.selection != "oracle")
        ]
        if not finished:
            if done:
                raise IncompleteError(
                    "Only smoke or oracle runs match this report: add --include-smoke or --include-oracle."
                )
            raise IncompleteError("No finished run matches this report: run one first, such as `bench run -m ours`.")
        self.runs = finished
        #: A sentence where runs are left out, otherwise empty.
        self.left_out = "Smoke or oracle runs need --include-smoke or --include-oracle." if finished != done else ""
        done_keys = {run.key for run in done}
        newest = {
            run.key: run
            for run in runs
            if run.status in ("failed", "interrupted", "running", "queued")
            and (include_smoke or not run.smoke)
            and (include_oracle or run.selection != "oracle")
        }
        self.unfinished = [run for run in newest.values() if run.key not in done_keys]
        self.data_root = data_root
        self._store = store
        self.per_query = cache(self._per_query)

    @cached_property
    def groups(self) -> list[Group]:
        """Runs by table, sorted by dataset, split and gallery."""
        tables: dict[tuple[object, ...], list[RunRecord]] = {}
        for run in self.runs:
            tables.setdefault(table_key(run), []).append(run)
        return [Group(tuple(group_rows(tables[key]))) for key in sorted(tables)]

    def of(self, relevance: Relevance) -> list[Group]:
        """The tables of retrieval by class, or of fine-grained retrieval."""
        return [group for group in self.groups if group.first.relevance == relevance]

    def _per_query(self, run: int) -> details.PerQuery | None:
        content = self._store.detail(run, details.PER_QUERY)
        return None if content is None else details.per_query(content)

    @cached_property
    def methods(self) -> dict[int | None, set[str]]:
        """Full methods without post-processing, by the limit of images per class."""
        found: dict[int | None, set[str]] = {}
        for run in self.runs:
            if not run.ablation and run.title == run.method:
                found.setdefault(run.per_class_limit, set()).add(run.method)
        return found

    def stored(self, **equal: Any) -> list[RunRecord]:
        """Other runs of the store whose columns equal these values, without scores."""
        return self._store.runs(metrics=(), **equal)

    def detail(self, run: RunRecord, name: str) -> bytes | None:
        """A stored detail of a run; names are in ``bench.results.details``."""
        return self._store.detail(run.id, name)

    @cached_property
    def _sums(self) -> dict[int, details.Sums]:
        """Sums of values by class, for each run that stores them."""
        ids = [run.id for run in self.runs]
        found = {run: details.sums(content) for run, content in self._store.details(details.SUMS, ids).items()}
        older = self._store.details(details.PER_QUERY, [run for run in ids if run not in found])
        return found | {run: details.sums_of(details.per_query(content)) for run, content in older.items()}

    def sums(self, row: Row, metric: str, average: Average = "queries") -> ClassSums | None:
        """Sums of values by class; None if a run lacks the metric or has other queries."""
        found = [self._sums.get(run.id) for run in row.runs]
        kept = [each for each in found if each is not None and metric in each.metrics]
        if len(kept) < len(found) or any(not np.array_equal(each.counts, kept[0].counts) for each in kept):
            return None
        counts = kept[0].counts
        values = np.stack([each.sums[each.metrics.index(metric)] for each in kept])
        if average == "classes":
            values, counts = values / counts, np.ones_like(counts)
        return ClassSums(values, counts, tuple(run.seed for run in row.runs))

    def seen_and_unseen(self, row: Row, metric: str) -> list[tuple[float, float]]:
        """The mean over the queries of seen classes and over those of unseen ones, for each run that stores both."""
        found = []
        for run in row.runs:
            each, tested = self._sums.get(run.id), set(run.configuration.get("seen_tested", ()))
            if each is not None and metric in each.metrics:
                seen = np.array([name in tested for name in each.classes])
                sums = each.sums[each.metrics.index(metric)]
                if seen.any() and not seen.all():
                    found.append(tuple(float(sums[m].sum() / each.counts[m].sum()) for m in (seen, ~seen)))
        return found  # type: ignore[return-value]

    def values(self, row: Row, metric: str) -> Floats | None:
        """Values of each seed and query, float32 [seeds, queries]; None if a run of the row lacks them."""
        found = [self.per_query(run.id) for run in row.runs]
        kept = [each.of(metric) for each in found if each is not None and metric in each.metrics]
        return np.stack(kept) if len(kept) == len(found) else None


def table_key(run: RunRecord) -> tuple[object, ...]:
    """The values that runs of one table share."""
    oracle = run.selection == "oracle"  # in tables of their own
    return (run.dataset, run.split, run.gallery, run.fingerprint, run.per_class_limit or 0, oracle)


MISSING = object()


def group_rows(runs: Sequence[RunRecord]) -> list[Row]:
    """Rows of one table, by name; names include the settings by which rows of one method differ."""
    same: dict[str, dict[str, list[RunRecord]]] = {}
    for run in sorted(runs, key=lambda run: (run.seed, run.id)):
        same.setdefault(run.title, {}).setdefault(str(collect_settings(run)), []).append(run)
    found = []
    for title, by_settings in sorted(same.items()):
        every = [collect_settings(each[0]) for each in by_settings.values()]
        for own, each in zip(every, by_settings.values(), strict=True):
            # A setting that older runs lack counts as a difference: names stay unique.
            distinct = {k: v for k, v in own if any(dict(other).get(k, MISSING) != v for other in every)}
            words = _in_words(distinct, [dict(other) for other in every])
            newest = {run.seed: run for run in each}  # the newest run of each seed
            found.append(Row(f"{title} ({words})" if distinct else title, tuple(newest.values())))
    return found


def _in_words(distinct: Mapping[str, object], every: Sequence[Mapping[str, object]]) -> str:
    """Settings as a name has them: hashes are cut, and weights that go with the backbone are left out."""
    networks = {(each.get("backbone"), each.get("weights")) for each in every}
    told = "backbone" in distinct and len({backbone for backbone, _ in networks}) == len(networks)
    shown = {key: HASH.sub(SHORT, in_text(value)) for key, value in distinct.items() if key != "weights" or not told}
    return ", ".join(f"{key} {value or 'default'}" for key, value in shown.items())


def collect_settings(run: RunRecord) -> list[tuple[str, object]]:
    """Settings by name: run, method, dataset, post-processing; then precision and version, which affect scores."""
    stored = run.configuration
    parts = (stored["run"], stored["method"], stored.get("dataset", {}), {**_no_post(), **stored.get("post", {})})
    settings = [each for part in parts for each in sorted(part.items())]
    return [
        *settings,
        ("precision", stored.get("precision", "fp32")),
        ("method_version", stored.get("method_version", 1)),
    ]


@cache
def _no_post() -> Mapping[str, object]:
    """The settings without post-processing; cached, because ``asdict`` per run slows large reports."""
    return asdict(PostProcessing())
