"""``bench.run``, ``bench.ablate`` and ``bench.runs``: what the commands of these names compute and store."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api.arguments import cache_folder, check_whole, data_folder, store_url
from bench.api.result import Result
from bench.errors import DataError, UsageError, check_known
from bench.results import details
from bench.results.models import RunRecord
from bench.results.reading import open_existing
from bench.settings.request import Request, in_text
from bench.types import Score

if TYPE_CHECKING:
    from bench.experiments.experiment import Resources

_log = logging.getLogger("bench.api.runs")


@dataclass(frozen=True, repr=False)
class Run(Result):
    """A stored run: see ``Result``. ``record`` has everything that is stored of it, ``store`` is its database."""

    record: RunRecord
    store: str

    @property
    def number(self) -> int:
        """Its number, as commands take it."""
        return self.record.id

    @property
    def seed(self) -> int:
        """Its seed."""
        return self.record.seed

    @property
    def title(self) -> str:
        """Its name in tables: the method, and what differs from it."""
        return self.record.title

    def to_dict(self) -> dict[str, Any]:
        """The run as one row of a data frame: identity, state and every score."""
        columns = ("method", "ablation", "dataset", "split", "seed", "selection", "gallery", "fingerprint", "status")
        return {
            "run": self.number,
            **{name: getattr(self.record, name) for name in columns},
            "warning": self.record.warning,
            "limit": self.record.per_class_limit,
            "ended": self.record.ended,
            "seconds": round(sum(self.record.seconds.values()), 2),
            **{metric: None if value != value else value for metric, value in self.scores.items()},
        }

    def __repr__(self) -> str:
        return f"Run({self.number}: {self.title} on {self.record.split}, seed {self.seed}, {self.record.status})"

    @property
    def _figures(self) -> Sequence[Score]:
        return self.record.scores

    @property
    def _shown(self) -> list[str]:
        return [metric for metric in self.scores if metric in self._values.metrics]

    @cached_property
    def _values(self) -> details.PerQuery:
        with closing(open_existing(self.store)) as store:
            content = store.detail(self.number, details.PER_QUERY)
        if content is None:
            raise UsageError(f"Run {self.number} has no values of single queries: only its means are stored.")
        return details.per_query(content)


def run(
    method: str = "",
    dataset: str = "emoji",
    *,
    seed: int = 0,
    split: str | None = None,
    without: str | Sequence[str] = (),
    recipe: str = "",
    checkpoint: Run | int | str | Path | None = None,
    select: str = "last",
    gallery: str = "unseen",
    limit: int | None = None,
    precision: str = "fp32",
    on_bad_image: str = "error",
    device: str = "auto",
    workers: int = 0,
    force: bool = False,
    resume: bool = True,
    quiet: bool = False,
    log: str | Sequence[str] = (),
    store: str | Path | None = None,
    data_root: str | Path | None = None,
    cache_dir: str | Path | None = None,
    **settings: Any,
) -> Run:
    """Train (if needed), embed, rank, score and store, as ``bench run``: the stored run, or the one stored before.

    Arguments are the options of the command; ``settings`` are those of ``bench list settings``, such as ``epochs``,
    ``backbone`` or ``margin``, and win over those of the method's ``recipe``. ``checkpoint`` scores a trained network:
    a run, its number or a file. Progress goes to stderr unless ``quiet``, and to the loggers of ``log``
    (``tensorboard``, ``mlflow:URI``). An interrupted run resumes at the next call.

    Raises BenchError for what the command would refuse, and for a run that fails.
    """
    if not method and checkpoint is None:
        raise UsageError("Argument 'method' is missing: 'bench list methods' shows the methods.")
    check_whole("seed", seed, 0)
    check_whole("workers", workers, 0)
    if limit is not None:
        check_whole("limit", limit, 1)
    from bench.devices import PRECISIONS  # imports torch, which takes seconds
    from bench.experiments.experiment import Resources
    from bench.experiments.recipes import with_recipe_named
    from bench.loggers.base import make_logger

    check_known("Argument 'precision' is", precision, PRECISIONS)
    loggers = (log,) if isinstance(log, str) else tuple(log)
    for each in loggers:
        make_logger(each)  # raises before anything is computed
    where = store_url(store)
    resources = Resources(
        data_folder(data_root), cache_folder(cache_dir), device=device, workers=workers, resume=resume
    )
    assignments = tuple(f"{key}={in_text(value)}" for key, value in settings.items())
    request = Request(
        method,
        dataset,
        split,
        int(seed),
        without=(without,) if isinstance(without, str) else tuple(without),
        assignments=with_recipe_named(method, recipe, assignments) if recipe else assignments,
        selection=select,
        gallery=gallery,
        per_class_limit=limit,
        on_bad_image=on_bad_image,
        precision=precision,
        checkpoint=_file(checkpoint, where, resources.cache_dir),
    )
    return Run(_find_or_compute(request, resources, where, force, quiet, loggers), where)


def ablate(
    method: str = "ours",
    dataset: str = "emoji",
    *,
    seeds: int = 1,
    without: str | Sequence[str] = (),
    all_subsets: bool = False,
    structural: bool = False,
    **options: Any,
) -> list[Run]:
    """Run a method in full and with parts left out, each on seeds 0 to ``seeds - 1``, as ``bench ablate``.

    ``options`` are those of ``run``. All runs of one seed come first, the full method before its ablations.
    """
    from bench.experiments.ablations import ablations
    from bench.methods.base import METHODS

    check_whole("seeds", seeds, 1)
    without = [without] if isinstance(without, str) else without
    rows = ablations(method, without=without, all_subsets=all_subsets, structural=structural)
    changes = METHODS.get(method).structural
    return [
        run(method, dataset, seed=seed, without=row.without, **{**options, **changes.get(row.structural, {})})
        for seed in range(seeds)
        for row in rows
    ]


def runs(
    *,
    store: str | Path | None = None,
    method: str | Sequence[str] | None = None,
    dataset: str | Sequence[str] | None = None,
    split: str | Sequence[str] | None = None,
    seed: int | Sequence[int] | None = None,
    status: str | None = "done",
) -> list[Run]:
    """Stored runs, oldest first; by default all that are finished. ``status=None`` takes all.

    ``pandas.DataFrame(run.to_dict() for run in bench.runs())`` has one row for each. Raises BenchError if there is no
    results database.
    """
    where = store_url(store)
    wanted: dict[str, Any] = {"method": method, "dataset": dataset, "split": split, "seed": seed, "status": status}
    with closing(open_existing(where)) as opened:
        found = opened.runs(**{column: value for column, value in wanted.items() if value is not None})
    return [Run(each, where) for each in found]


def _file(checkpoint: Run | int | str | Path | None, where: str, cache_dir: Path) -> str:
    """The file of a trained network; empty without one."""
    if checkpoint is None:
        return ""
    if isinstance(checkpoint, str | Path):
        return str(checkpoint)
    from bench.training.trained_networks import find_network

    return str(find_network(stored_run(checkpoint, where), cache_dir))


def stored_run(run: Run | int, where: str) -> RunRecord:
    """The record of a finished run, given itself or by its number."""
    if isinstance(run, Run):
        return run.record
    with closing(open_existing(where)) as store:
        return store.run(run, finished=True)


def _find_or_compute(
    request: Request, resources: Resources, where: str, force: bool, quiet: bool, loggers: Sequence[str]
) -> RunRecord:
    """The stored run of a request, also if its data is missing; one that another process computes is awaited."""
    from bench.experiments.resolve import choose_weights, resolve
    from bench.experiments.run import other_images, run_or_await
    from bench.experiments.stored_run import find_run
    from bench.loggers.base import observe
    from bench.methods.backbone.fetch_weights import why_not_fetched
    from bench.results.outcomes import open_store

    request, warning = choose_weights(request, partial(why_not_fetched, progress=not quiet))
    try:
        experiment = resolve(request, resources)
    except DataError as error:
        if force or (found := find_run(request, where)) is None:
            raise
        _log.warning("%s This is stored run %d (%s): same settings.", error, found.id, found.ended)
        return found
    for text in filter(None, (warning, experiment.warning, *dict.fromkeys(experiment.dropped.values()))):
        _log.warning("%s", text)
    store, _ = open_store(where, resources.cache_dir)
    with closing(store):
        if not force and (stored := store.find(experiment.key)) is not None:
            if changed := other_images(experiment, stored):
                _log.warning("%s", changed)
            return stored
        with observe(experiment.title, experiment.identity, loggers, quiet=quiet) as observer:
            return run_or_await(experiment, store, resources, observer, force=force)
