"""One experiment claimed, carried out and stored, whatever happens on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
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
from bench.experiments.progress import Heartbeat, Observer
from bench.experiments.request import Experiment, Resources
from bench.methods.base import METHODS
from bench.results.fallback import keep, spool_of
from bench.results.models import RunRecord
from bench.results.store import Store


def run_and_store(
    experiment: Experiment,
    store: Store,
    resources: Resources,
    observer: Observer,
    *,
    force: bool = False,
    begin: Callable[[], None] = lambda: None,
) -> tuple[RunRecord, bool] | None:
    """The stored run of an experiment and whether it had been there before; None while another process computes it.

    ``begin`` is called when it is about to be computed: the other processes of the run then ``follow``. What goes wrong
    is stored as a failed or interrupted run and raised again. Raises MemoryExhaustedError when memory
    does not suffice, StorageError when the finished scores cannot be stored; they are then in a file that the message
    names.
    """
    device = choose_device(resources.device)
    be_deterministic(device)
    environment = {
        **provenance.collect(str(device)),
        "metrics": str(METRICS_VERSION),
        "classes": hash_of_classes(experiment.split.unseen)[:16],
        **_plugins(experiment),
        **({"sizes": sizes} if (sizes := sizes_of(experiment)) else {}),
        **({"processes": str(resources.processes.size)} if resources.processes.size > 1 else {}),
        **({"compiled": "by torch.compile"} if resources.compiled else {}),
    }
    entered = {**experiment.identity, "environment": environment}
    claim = store.claim(entered, force=force)
    if claim.answer == "busy":
        return None
    if claim.answer == "done":
        return store.runs(id=claim.run)[0], True
    run = claim.run
    try:
        with Heartbeat(store, run, observer) as beating, resources.processes.company():
            begin()
            outcome = execute(experiment, resources, beating, reuse=not force)
        _keep(store, run, outcome, entered, resources)
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
    return store.runs(id=run)[0], False


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


class SpooledError(DatabaseError):
    """A finished run is not in the database but in the file that keeps runs while it is out of reach."""


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


def _keep(store: Store, run: int, outcome: Outcome, entered: Mapping[str, Any], resources: Resources) -> None:
    """Store what a run gave; where the database does not take it, in a file that is merged later.

    ``entered`` are the columns that the run was claimed with. Raises SpooledError when it is in that file, StorageError
    when it could not be kept at all.
    """
    try:
        _finish(store, run, outcome)
    except StorageError as error:
        path = spool_of(store.where, resources.cache_dir)
        try:
            keep(path, lambda spool: _finish(spool, entered, outcome))
        except StorageError as second:
            raise StorageError(f"{error} The finished run could not be kept in a file either.") from second
        raise SpooledError(
            f"{error} The finished run is kept in {path}: the next run that uses the database puts it there, or "
            f"'bench store merge {path}' does."
        ) from error


def _finish(store: Store, run: int | Mapping[str, Any], outcome: Outcome) -> None:
    store.finish(
        run,
        outcome.scores,
        outcome.seconds,
        cost=outcome.cost,
        details=outcome.details,
        environment=outcome.environment,
    )
