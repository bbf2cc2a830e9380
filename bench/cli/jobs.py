"""Experiments as jobs: processes of this machine, or jobs of a cluster."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import torch
import typer

from bench.cli.options import RunOptions
from bench.cli.sweep import Sweep
from bench.cluster.launch import EXECUTORS, Executor, Job, gpus_here
from bench.errors import DatabaseError, IncompleteError, StorageError, UsageError, check_known
from bench.experiments.experiment import Resources
from bench.loggers.base import observe
from bench.provenance import available_processors
from bench.results.models import RunRecord
from bench.results.outcomes import find_outcome
from bench.results.store import ELSEWHERE
from bench.settings.run_settings import given

NOT_YET = {"job": "not submitted yet"}  # of a queued run whose job has no name yet


def choose_executor(options: RunOptions, resources: Resources) -> Executor | None:
    """The executor of ``--executor``; None without it. Raises UsageError for options that do not fit."""
    if options.executor is None:
        if options.jobs is not None or options.job:
            raise UsageError("--jobs and --job are for jobs: name an --executor, local or slurm.")
        return None
    check_known("There is no executor", options.executor, EXECUTORS)
    if options.executor == "slurm" and not options.keep_going:
        raise UsageError("--fail-fast cannot stop the jobs of a cluster: leave it out.")
    if resources.processes.size > 1:
        raise UsageError("--executor starts other processes: use it without torchrun.")
    for each in options.job or ():
        if not each.partition("=")[0].strip() or "=" not in each:
            raise UsageError(f"--job takes KEY=VALUE, not {each!r}.")
    parameters = given(options.job or ())
    executor = Executor(options.executor, resources.cache_dir.resolve() / "jobs", options.jobs, parameters)
    if not options.dry_run:
        executor.create(1)  # raises if no job can be submitted
    return executor


def run_jobs(sweep: Sweep, executor: Executor) -> None:
    """Run what is not stored as jobs: wait for those of this machine, submit those of a cluster."""
    jobs, force, store, logs = list[Job](), sweep.options.force, sweep.store, sweep.options.log or ()
    for experiment in sweep.experiments:
        if (stored := None if force else store.find(experiment.key)) is not None:
            sweep.add_stored(experiment.title, experiment, stored)
            continue
        observer = partial(observe, experiment.title, experiment.identity, logs, quiet=False)  # in the job's log
        jobs.append(Job(experiment, sweep.resources, store.where, force=force, observer=observer))
    if executor.name == "local":
        _run_local(sweep, executor, jobs)
    elif jobs:
        _submit(sweep, executor, jobs)


def _submit(sweep: Sweep, executor: Executor, jobs: list[Job]) -> None:
    """Submit jobs to a cluster, as queued runs."""
    store = sweep.store
    runs = [store.queue(job.identity, NOT_YET) for job in jobs]  # a job may start at once
    try:
        submitted = executor.submit(jobs, store.where)
    except BaseException:
        for job in jobs:
            store.unqueue(job.identity["key"], "interrupted", "its job was not submitted")
        raise
    for run, job, facts in zip(runs, jobs, submitted, strict=True):
        store.name_job(run, facts)
        sweep.jobs.append({"run": run, "experiment": job.title, **facts})


def _run_local(sweep: Sweep, executor: Executor, jobs: list[Job]) -> None:
    """Run jobs as processes of this machine; raises IncompleteError if one fails and the sweep is to stop."""
    store, device = sweep.store, sweep.resources.device
    gpus = gpus_here(torch.cuda.device_count()) if device in ("auto", "cuda") else []
    runs, keys = [store.queue(job.identity, NOT_YET) for job in jobs], [job.identity["key"] for job in jobs]

    def begun(position: int, facts: dict[str, str]) -> None:
        try:
            store.name_job(runs[position], facts)
        except DatabaseError as error:
            sweep.lose(error)
        line = f"[{position + 1}/{len(jobs)}] {jobs[position].title}: {facts['job']}, log {facts['log']}"
        typer.echo(line, err=True)

    def ended(position: int, code: int | None) -> None:
        unstored = code == StorageError.exit_code
        if code is not None and (code == 0 or unstored) and (run := _find_result(sweep, keys[position], code)):
            sweep.done.append((run, False))
            return
        how = "was killed, or had no time left for a checkpoint" if code is None else f"ended with exit code {code}"
        failure = f"{jobs[position].title}: its job {how}; 'bench list runs' names its log."
        if not sweep.options.keep_going or unstored:  # if one result cannot be kept, no other can
            error = StorageError if unstored else IncompleteError
            raise error(f"{failure} No other job begins, running jobs were stopped.")
        sweep.fail(failure)

    ending = ("interrupted", "its sweep was stopped before it began")
    try:
        executor.run_here(jobs, store.where, gpus, available_processors(), begun, ended)
        ending = ("failed", "its job ended before the run began")
    finally:
        finished = {run.key for run, _ in sweep.done}
        for key in keys:
            with suppress(StorageError):  # entering an outcome unqueues its run too
                store.unqueue(key, *(("interrupted", ELSEWHERE) if key in finished else ending))


def _find_result(sweep: Sweep, key: str, code: int) -> RunRecord | None:
    left = find_outcome(sweep.folder, key)
    if code and left is not None:
        sweep.lose(DatabaseError("The results database was out of reach for a job."))
    try:
        return left or (None if code and sweep.options.force else sweep.store.find(key))
    except DatabaseError as error:
        sweep.lose(error)
        return None
