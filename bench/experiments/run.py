"""One experiment claimed, carried out and stored, whatever happens on the way."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from bench import provenance
from bench.datasets.base import DATASETS
from bench.datasets.checks.content_hash import hash_of_sizes
from bench.datasets.published.split_lists import hash_of_classes
from bench.devices import be_deterministic, choose_device, out_of_memory
from bench.distributed.failure import LostProcessError
from bench.errors import DatabaseError, MemoryExhaustedError, StorageError
from bench.evaluation.metrics.base import METRICS_VERSION
from bench.experiments.execute import Outcome, embedded, execute
from bench.experiments.experiment import Experiment, Resources
from bench.experiments.progress import Heartbeat, Observer
from bench.methods.base import METHODS
from bench.results.models import RunRecord
from bench.results.outcomes import outcome_folder, write_outcome
from bench.results.store import Store, now

log = logging.getLogger("bench.experiments.run")


def run_and_store(
    experiment: Experiment,
    store: Store,
    resources: Resources,
    observer: Observer,
    *,
    force: bool = False,
    begin: Callable[[], None] = lambda: None,
    job: Mapping[str, str] | None = None,
) -> tuple[RunRecord, bool] | None:
    """The stored run of an experiment and whether it was stored before; None while another process computes it.

    ``begin`` is called before it is computed: the other processes of the run then ``follow``. ``job`` is the name and
    log of the job that this process is. An error is stored as a failed or interrupted run and raised again. Raises
    MemoryExhaustedError, UnstoredError when the finished run is in a file and not in the database, StorageError when it
    could not be kept at all.
    """
    environment = {**_environment(experiment, resources), **(job or {})}
    claim = store.claim({**experiment.identity, "environment": environment}, force=force)
    if claim.answer == "busy":
        return None
    if claim.answer == "done":
        return store.runs(id=claim.run)[0], True
    run = claim.run
    try:
        entered = store.runs(id=run)[0]
        with Heartbeat(store, run, observer) as beating, resources.processes.watch():
            begin()
            outcome = execute(experiment, resources, beating, reuse=not force)
        return _store(store, _finished(entered, outcome), outcome, resources), False
    except KeyboardInterrupt:
        _note(store, run, "interrupted", "stopped by a signal")
        raise
    except LostProcessError as error:
        _note(store, run, "interrupted", str(error))
        raise
    except Exception as error:
        if out_of_memory(error):
            _note(store, run, "failed", "out of memory")
            raise _memory_exhausted(error) from error
        _note(store, run, "failed", f"{type(error).__name__}: {error}")
        raise


def run_without_store(
    experiment: Experiment,
    where: str,
    resources: Resources,
    observer: Observer,
    *,
    force: bool = False,
    begin: Callable[[], None] = lambda: None,
) -> RunRecord:
    """Run an experiment while the store ``where`` is out of reach: its outcome waits in a file, and has the number 0.

    Raises MemoryExhaustedError, and StorageError when the file cannot be written.
    """
    facts: dict[str, Any] = {**experiment.identity, "environment": _environment(experiment, resources)}
    entered = RunRecord(id=0, **facts, seconds={}, status="running", failure="", started=now(), ended="")
    try:
        with resources.processes.watch():
            begin()
            outcome = execute(experiment, resources, observer, reuse=not force)
    except Exception as error:
        if not out_of_memory(error):
            raise
        raise _memory_exhausted(error) from error
    run = _finished(entered, outcome)
    write_outcome(outcome_folder(where, resources.cache_dir), run, outcome.details)
    return run


def follow(experiment: Experiment, resources: Resources, *, force: bool = False) -> None:
    """Do this process's part of a run that the leader claimed; raises as ``run_and_store`` does, and stores nothing."""
    be_deterministic(choose_device(resources.device))
    try:
        embedded(experiment, resources, Unheard(), reuse=not force)
    except Exception as error:
        if not out_of_memory(error):
            raise
        raise _memory_exhausted(error) from error


def sizes_of(experiment: Experiment) -> str:
    """What stands for the sizes of all images that a run reads; empty where a hash pins what they hold."""
    return hash_of_sizes(experiment.dataset, experiment.split, trains=experiment.trains)


def other_images(experiment: Experiment, run: RunRecord) -> str:
    """One sentence where the images at hand have the names of a stored run's, but not their sizes; empty otherwise."""
    before = run.environment.get("sizes")
    if before is None or sizes_of(experiment) in ("", before):
        return ""
    return (
        f"Run {run.id} is of other images than those at hand, whose names are the same and whose sizes are not: "
        "--force runs it on these."
    )


class UnstoredError(DatabaseError):
    """A finished run, ``run``, is in a file, since the database is out of reach."""

    def __init__(self, message: str, run: RunRecord) -> None:
        super().__init__(message)
        self.run = run


class Unheard:
    """An observer that tells nobody: the leader shows the progress of all."""

    def phase(self, name: str) -> None:
        """A part of the run begins."""

    def progress(self, done: int, total: int, terms: Mapping[str, float]) -> None:
        """So much of the current part is done."""


def _plugins(experiment: Experiment) -> dict[str, str]:
    """Which packages the method and the dataset are of, where that is not this project."""
    sources = (METHODS.source(experiment.method.name), DATASETS.source(experiment.dataset.name))
    found = ", ".join(dict.fromkeys(filter(None, sources)))
    return {"plug-ins": found} if found else {}


def _memory_exhausted(error: BaseException) -> MemoryExhaustedError:
    said = str(error).splitlines()[0] if str(error) else "host memory"
    return MemoryExhaustedError(
        f"Memory did not suffice ({said}): lower --batch-size or --image-size, or take a smaller --backbone."
    )


def _note(store: Store, run: int, status: str, failure: str) -> None:
    # What went wrong is being raised: a database that cannot be written either must not hide it.
    with suppress(StorageError):
        store.fail(run, status, failure)


def _environment(experiment: Experiment, resources: Resources) -> dict[str, str]:
    """Where and by what a run is computed; makes torch deterministic."""
    device = choose_device(resources.device)
    be_deterministic(device)
    return {
        **provenance.collect(str(device)),
        "metrics": str(METRICS_VERSION),
        "classes": hash_of_classes(experiment.split.unseen)[:16],
        **_plugins(experiment),
        **({"sizes": sizes} if (sizes := sizes_of(experiment)) else {}),
        **({"processes": str(resources.processes.size)} if resources.processes.size > 1 else {}),
        **({"compiled": "by torch.compile"} if resources.compiled else {}),
    }


def _finished(entered: RunRecord, outcome: Outcome) -> RunRecord:
    return replace(
        entered,
        scores=tuple(outcome.scores),
        seconds=outcome.seconds,
        cost=outcome.cost,
        environment={**entered.environment, **outcome.environment},
        status="done",
        ended=now(),
    )


def _store(store: Store, run: RunRecord, outcome: Outcome, resources: Resources) -> RunRecord:
    """Write a finished run to a file, enter it into the database, delete the file; the run as it is stored."""
    file = None
    try:
        file = write_outcome(outcome_folder(store.where, resources.cache_dir), run, outcome.details)
    except StorageError as error:
        log.info("%s", error)  # only the database counts, unless it fails too
    try:
        store.finish(
            run.id, run.scores, run.seconds, cost=run.cost, details=outcome.details, environment=run.environment
        )
    except StorageError as error:
        if file is None:
            raise StorageError(f"{error} The finished run could not be kept in a file either.") from error
        raise UnstoredError(
            f"{error} The finished run is kept in {file}: the next run that uses the database enters it, or "
            f"'bench store merge {file}' does.",
            run,
        ) from error
    if file is not None:
        with suppress(OSError):  # the next process that opens the database finds the run done, and deletes the file
            file.unlink(missing_ok=True)
    return store.runs(id=run.id)[0]
