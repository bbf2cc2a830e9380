"""Trials of a study: Optuna proposes settings, they are run on a tuning split, and one figure judges them."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution, distribution_to_json
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from bench.errors import IncompleteError, MemoryExhaustedError, UsageError
from bench.experiments.experiment import Resources
from bench.experiments.progress import Observer, PrunedError
from bench.experiments.resolve import Splits, resolve
from bench.experiments.run import run_or_await
from bench.io import digest_of_json
from bench.results.database import database_file, open_engine
from bench.results.store import STALE_SECONDS, Store
from bench.settings.request import Request
from bench.tuning.space import Space, as_assignments

log = logging.getLogger("bench.tuning.study")

KEY, FAILURE = "key", "failure"  # attributes of a trial


@dataclass(frozen=True)
class Tuning:
    """A search for the settings ``space`` of a request, which names the tuning variant of a split.

    The figure of a trial is the mean of ``metric`` over ``seeds``. Several processes may work on the same study.
    """

    request: Request
    metric: str
    seeds: Sequence[int]
    space: Space
    resources: Resources
    store: Store
    observe: Callable[[str, Mapping[str, Any]], AbstractContextManager[Observer]]  # of a title and a run's columns
    splits: Splits = field(default_factory=Splits)

    def open_study(self) -> optuna.Study:
        """The study of this request and space, new or begun by an earlier call; its first trial has the defaults."""
        base = resolve(self.request, self.resources, self.splits)
        spaces = {name: distribution_to_json(each) for name, each in sorted(self.space.items())}
        digest = digest_of_json([base.key, list(self.seeds), spaces])[:12]
        study = optuna.create_study(
            storage=open_storage(self.store.where),
            study_name=f"{self.request.method} on {self.request.split} {digest}",
            pruner=optuna.pruners.MedianPruner(),
            direction="maximize",
            load_if_exists=True,
        )
        own = {**vars(base.post), **vars(base.own), **vars(base.run)}
        defaults = {name: own[name] for name in self.space}
        if all(holds(each, defaults[name]) for name, each in self.space.items()):
            study.enqueue_trial(defaults, skip_if_exists=True)
        return study

    def search(self, study: optuna.Study, trials: int, timeout: float | None) -> None:
        """Run trials until the study has so many, or ``timeout`` seconds are over; a trial that runs is finished.

        A trial whose process was killed or interrupted is run again with the same settings.
        """
        begin = time.monotonic()
        while len(ended_trials(study)) < trials and (timeout is None or time.monotonic() - begin < timeout):
            for lost in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                if not self._is_running(lost):
                    study._storage.set_trial_state_values(lost._trial_id, TrialState.WAITING)
            # A seed for each trial: the search can be repeated, and two processes draw different settings.
            study.sampler = optuna.samplers.TPESampler(seed=len(study.get_trials(deepcopy=False)))
            trial = study.ask(self.space)
            try:
                value = self._evaluate(trial)
            except PrunedError as error:
                study.tell(trial, state=TrialState.PRUNED)
                log.info("Trial %d: %s", trial.number, error)
            except (IncompleteError, MemoryExhaustedError, UsageError) as error:
                trial.set_user_attr(FAILURE, str(error))
                study.tell(trial, state=TrialState.FAIL)
                log.warning("Trial %d failed: %s", trial.number, error)
            except BaseException:
                study._storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)
                raise
            else:
                study.tell(trial, value)
                log.info("Trial %d: %s %.4f; best %.4f.", trial.number, self.metric, value, study.best_value)

    def _evaluate(self, trial: optuna.Trial) -> float:
        """The mean figure over the seeds; the first seed alone may be pruned."""
        assignments = (*self.request.assignments, *as_assignments(trial.params))
        values = list[float]()
        for seed in self.seeds:
            request = replace(self.request, seed=seed, assignments=assignments)
            experiment = resolve(request, self.resources, self.splits)
            trial.set_user_attr(KEY, experiment.key)
            title = f"trial {trial.number}: {' '.join(as_assignments(trial.params))}, seed {seed}"
            with self.observe(title, experiment.identity) as observer:
                watched = observer if values else Pruner(observer, trial)
                run = run_or_await(experiment, self.store, self.resources, watched)
            values.append(run.value(self.metric))
        return statistics.fmean(values)

    def _is_running(self, trial: FrozenTrial) -> bool:
        """Whether a process works on a trial: it has just begun, or the lease of its run is alive."""
        begun = trial.datetime_start
        if begun is not None and (datetime.now() - begun).total_seconds() < STALE_SECONDS:
            return True
        runs = {run.id for run in self.store.runs(key=trial.user_attrs.get(KEY, ""), metrics=())}
        return any(run in runs and silent < STALE_SECONDS for run, (silent, _) in self.store.doing().items())


class Pruner(Observer):
    """Reports the figure of each epoch to a trial, and ends the run where other trials were better by then."""

    def __init__(self, inner: Observer, trial: optuna.Trial) -> None:
        self.inner, self._trial = inner, trial
        self._steps = 0  # of the training

    def progress(self, done: int, total: int, terms: Mapping[str, float]) -> None:
        """As ``Observer.progress``."""
        super().progress(done, total, terms)
        if terms:
            self._steps = total

    def measure(self, step: int, values: Mapping[str, float]) -> None:
        """As ``Observer.measure``; raises PrunedError, except after the last epoch."""
        super().measure(step, values)
        figures = [value for name, value in values.items() if name.startswith(("validation/", "test/"))]
        if not figures:
            return
        epoch = int(values["epoch"])
        self._trial.report(figures[0], epoch)
        if step < self._steps and self._trial.should_prune():
            raise PrunedError(f"pruned after epoch {epoch}: {figures[0]:.4f} is below the median of other trials")


def open_storage(where: str) -> BaseStorage:
    """Where the studies of a results database are: its server, or a file beside it with the ending ``.tune``."""
    file = database_file(where)
    if file is not None:
        return JournalStorage(JournalFileBackend(f"{file}.tune"))
    url = open_engine(where).url.render_as_string(hide_password=False)
    return RDBStorage(url.replace("{", "{{").replace("}", "}}"))  # a template for Optuna


def ended_trials(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that count: complete, pruned or failed."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL))


def best_trial(study: optuna.Study) -> FrozenTrial:
    """The best trial; raises IncompleteError if none is complete."""
    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        reasons = [str(trial.user_attrs[FAILURE]) for trial in study.trials if FAILURE in trial.user_attrs]
        raise IncompleteError(f"No trial of {study.study_name!r} is complete. {reasons[0] if reasons else ''}".strip())
    return study.best_trial


def holds(values: optuna.distributions.BaseDistribution, value: Any) -> bool:
    """Whether a default is among the values to try."""
    if isinstance(values, CategoricalDistribution):
        return value in values.choices
    return bool(values.low <= value <= values.high)  # type: ignore[attr-defined]
