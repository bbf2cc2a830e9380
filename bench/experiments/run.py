"""Claim one experiment, carry it out and store it, also when it fails."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from bench import provenance
from bench.datasets.base import DATASETS
from bench.datasets.checks.content_hash import hash_of_sizes
from bench.datasets.published.class_splits import hash_of_classes
from bench.devices import be_deterministic, choose_device, out_of_memory
from bench.distributed.failure import LostProcessError
from bench.errors import MemoryExhaustedError, StorageError
from bench.evaluation.metrics.base import METRICS_VERSION
from bench.experiments.execute import Execution, execute
from bench.experiments.experiment import Experiment, Resources
from bench.experiments.progress import Heartbeat, Observer, PrunedError
from bench.methods.base import METHODS
from bench.results.models import RunRecord
from bench.results.outcomes import outcome_folder, store_outcome, write_outcome
from bench.results.store import Store, now

POLL_SECONDS = 2.0  # between two looks at a run that another process computes


def run_and_store(
    experiment: Experiment,
    store: Store,
    resources: Resources,
    observer: Observer,
    *,
    force: bool = False,
    number: int = 0,
    job: Mapping[str, str] | None = None,
) -> tuple[RunRecord, bool] | None:
    """The stored run of an experiment, and whether it was stored before; None if another process computes it.

    The other ranks receive ``number`` before the computation, for them to ``follow``. ``job`` has the name and log of
    this process's job. An error is stored as a failed or interrupted run and raised again. Raises MemoryExhaustedError,
    UnstoredError when the finished run is only in a file, StorageError when it is lost.
    """
    environment = {**_environment(experiment, resources), **(job or {})}
    claim = store.claim({**experiment.identity, "environment": environment}, force=force)
    if claim.answer == "busy":
        return None
    if claim.answer == "done":
        return store.runs(id=claim.run)[0], True
    try:
        run = store.runs(id=claim.run)[0]
        with Heartbeat(store, claim.run, observer) as heartbeat:
            done, details = _execute(experiment, run, resources, heartbeat, force, number)
        return store_outcome(store, done, details, resources.cache_dir), False
    except (Exception, KeyboardInterrupt) as error:
        status, reason = "failed", f"{type(error).__name__}: {error}"
        if isinstance(error, KeyboardInterrupt):
            status, reason = "interrupted", "stopped by a signal"
        elif isinstance(error, LostProcessError | PrunedError):
            status, reason = "interrupted" if isinstance(error, LostProcessError) else "pruned", str(error)
        elif isinstance(error, MemoryExhaustedError):
            reason = "out of memory"
        with suppress(StorageError):  # it must not hide the error that is raised
            store.fail(claim.run, status, reason)
        raise


def run_or_await(
    experiment: Experiment, store: Store, resources: Resources, observer: Observer, **options: Any
) -> RunRecord:
    """The stored run of an experiment, as ``run_and_store``; one that another process computes is awaited."""
    while (found := run_and_store(experiment, store, resources, observer, **options)) is None:
        time.sleep(POLL_SECONDS)
    return found[0]


def run_without_store(
    experiment: Experiment,
    where: str,
    resources: Resources,
    observer: Observer,
    *,
    force: bool = False,
    number: int = 0,
) -> RunRecord:
    """Run an experiment while the store ``where`` is out of reach: its outcome is a file, its number 0.

    Raises MemoryExhaustedError, and StorageError when the file cannot be written.
    """
    facts = {**experiment.identity, "environment": _environment(experiment, resources)}
    run = RunRecord(id=0, **facts, seconds={}, status="running", failure="", started=now(), ended="")
    done, details = _execute(experiment, run, resources, observer, force, number)
    write_outcome(outcome_folder(where, resources.cache_dir), done, details)
    return done


def _execute(
    experiment: Experiment, run: RunRecord, resources: Resources, observer: Observer, force: bool, number: int
) -> tuple[RunRecord, dict[str, bytes]]:
    with _memory_errors(), resources.processes.watch():
        resources.processes.broadcast(number)
        return execute(experiment, run, resources, observer, reuse=not force)


def follow(experiment: Experiment, resources: Resources, *, force: bool = False) -> None:
    """Do this rank's part of a run that rank 0 claimed; raises as ``run_and_store`` does, and stores nothing."""
    be_deterministic(choose_device(resources.device))
    with _memory_errors():
        execution = Execution(experiment, resources, Observer(), reuse=not force)
        execution.train()
        execution.embed()


def other_images(experiment: Experiment, run: RunRecord) -> str:
    """A warning if the sizes of the images differ from those of a stored run; empty otherwise."""
    before = run.environment.get("sizes")
    after = hash_of_sizes(experiment.dataset, experiment.split, trains=experiment.trains)
    if before is None or after in ("", before):
        return ""
    return f"Run {run.id} used other images: the names are the same, the sizes differ. --force runs it on these."


@contextmanager
def _memory_errors() -> Iterator[None]:
    """Raise MemoryExhaustedError for any error that means that memory did not suffice."""
    try:
        yield
    except Exception as error:
        if not out_of_memory(error):
            raise
        reason = str(error).splitlines()[0] if str(error) else "host memory"
        raise MemoryExhaustedError(
            f"Memory did not suffice ({reason}): lower --batch-size or --image-size, or take a smaller --backbone."
        ) from error


def _environment(experiment: Experiment, resources: Resources) -> dict[str, str]:
    """The provenance of a run, without empty values; makes torch deterministic."""
    device = choose_device(resources.device)
    be_deterministic(device)
    plugins = (METHODS.source(experiment.method.name), DATASETS.source(experiment.dataset.name))
    size = resources.processes.size
    facts = {
        **provenance.collect(str(device)),
        "metrics": str(METRICS_VERSION),
        "classes": hash_of_classes(experiment.split.unseen)[:16],
        "plug-ins": ", ".join(dict.fromkeys(filter(None, plugins))),
        "sizes": hash_of_sizes(experiment.dataset, experiment.split, trains=experiment.trains),
        "processes": str(size) if size > 1 else "",
        "compiled": "by torch.compile" if resources.compile else "",
    }
    if resources.given:
        facts["command"] += f" # and by file or environment: {provenance.command(['', *resources.given]).strip()}"
    return {name: value for name, value in facts.items() if value}
