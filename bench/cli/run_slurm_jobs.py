"""``--executor``: which scheduler runs the cells of a call, which are to run, and how they are left to a cluster.

Jobs of this machine are waited for: ``side_by_side.py``.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.cli.dry_run import title
from bench.cli.options import RunOptions
from bench.cli.output import OutputFormat, print_json, print_table
from bench.cli.run_serial import say_done
from bench.cluster.job import CellJob
from bench.cluster.scheduler import EXECUTORS, Scheduler, Submitted
from bench.errors import UsageError, nearest
from bench.experiments.request import Experiment, Resources
from bench.results.models import RunRecord
from bench.results.store import NOT_YET, Store


def scheduler_of(options: RunOptions, resources: Resources) -> Scheduler | None:
    """What runs the cells; None for this process. Raises UsageError for what cannot be."""
    if options.executor is None:
        if options.jobs is not None or options.job:
            raise UsageError("--jobs and --job are for jobs: name an --executor, local or slurm.")
        return None
    if options.executor not in EXECUTORS:
        raise UsageError(f"There is no executor {options.executor!r}. {nearest(options.executor, EXECUTORS)}")
    if options.executor == "slurm" and not options.keep_going:
        raise UsageError(
            "--fail-fast cannot stop the jobs of a cluster, of which none knows of the others: leave it out."
        )
    if resources.processes.size > 1:
        raise UsageError("--executor hands cells to other processes: use it without torchrun.")
    parameters = {}
    for each in options.job or ():
        name, equals, value = each.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"--job takes KEY=VALUE, not {each!r}.")
        parameters[name.strip()] = value.strip()
    found = Scheduler(options.executor, resources.cache_dir.resolve() / "jobs", options.jobs, parameters)
    if not options.dry_run:
        found.check()
    return found


def hand_in(
    experiments: Sequence[Experiment],
    calls: Sequence[Sequence[str]],
    scheduler: Scheduler,
    store: Store,
    where: str,
    options: RunOptions,
) -> list[tuple[RunRecord, bool]]:
    """Hand every cell that is not stored to a cluster, queue and show it; those that are stored.

    ``calls`` are the words of each cell, ``where`` is the store as jobs find it.
    """
    done, todo = still_to_do(experiments, store, force=options.force)
    jobs = [CellJob(calls[number], where, experiments[number].key) for number in todo]
    if not jobs:
        return done
    rows = []
    asked = [experiments[number].identity for number in todo]
    for identity in asked:  # before they are handed in: a job may begin at once
        store.queue(identity, {"job": NOT_YET})
    try:
        submitted = scheduler.submit(jobs)
    except BaseException:
        for identity in asked:
            store.unqueue(identity["key"], "interrupted", "its job was not handed in")
        raise
    for number, job in zip(todo, submitted, strict=True):
        run = store.queue(experiments[number].identity, facts_of(job))
        rows.append((title(experiments[number]), run, job))
    _show(rows, options.format)
    return done


def still_to_do(
    experiments: Sequence[Experiment], store: Store, *, force: bool
) -> tuple[list[tuple[RunRecord, bool]], list[int]]:
    """What is stored, each marked as done before, and the positions of the others; all with ``force``."""
    done: list[tuple[RunRecord, bool]] = []
    todo: list[int] = []
    for number, experiment in enumerate(experiments):
        stored = None if force else store.find(experiment.key)
        if stored is None:
            todo.append(number)
            continue
        done.append((stored, True))
        say_done(title(experiment), experiment, stored)
    return done, todo


def facts_of(job: Submitted) -> dict[str, str]:
    """What a queued run says of its job."""
    return {"job": job.name, "log": str(job.log)}


def _show(rows: Sequence[tuple[str, int, Submitted]], format: OutputFormat) -> None:
    if format is OutputFormat.json:
        print_json([{"run": run, "cell": cell, "job": job.name, "log": str(job.log)} for cell, run, job in rows])
    else:
        cells = [[str(run), cell, job.name, str(job.log)] for cell, run, job in rows]
        print_table(["run", "cell", "job", "log"], cells)
