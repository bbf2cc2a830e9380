"""Experiments as jobs: processes of this machine, or jobs of a cluster."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import suppress

import torch

from bench.cli.options import RunOptions
from bench.cli.output import OutputFormat, print_rows, stderr
from bench.cli.progress import Bars
from bench.cli.run_table import Done
from bench.cluster.launch import EXECUTORS, Executor, Job, gpus_here
from bench.errors import DatabaseError, StorageError, UsageError, nearest
from bench.evaluation.ranking import available_processors
from bench.experiments.experiment import Experiment, Resources
from bench.results.store import ELSEWHERE, Store

NOT_YET = {"job": "not submitted yet"}  # of a queued run whose job has no name yet


def choose_executor(options: RunOptions, resources: Resources) -> Executor | None:
    """The executor of ``--executor``; None without it. Raises UsageError for options that do not fit."""
    if options.executor is None:
        if options.jobs is not None or options.job:
            raise UsageError("--jobs and --job are for jobs: name an --executor, local or slurm.")
        return None
    if options.executor not in EXECUTORS:
        raise UsageError(f"There is no executor {options.executor!r}. {nearest(options.executor, EXECUTORS)}")
    if options.executor == "slurm" and not options.keep_going:
        raise UsageError("--fail-fast cannot stop the jobs of a cluster: leave it out.")
    if resources.processes.size > 1:
        raise UsageError("--executor starts other processes: use it without torchrun.")
    parameters = {}
    for each in options.job or ():
        name, _, value = (part.strip() for part in each.partition("="))
        if "=" not in each or not name:
            raise UsageError(f"--job takes KEY=VALUE, not {each!r}.")
        parameters[name] = value
    executor = Executor(options.executor, resources.cache_dir.resolve() / "jobs", options.jobs, parameters)
    if not options.dry_run:
        executor.check()
    return executor


Named = Sequence[tuple[str, Job]]


def make_job(name: str, experiment: Experiment, resources: Resources, where: str, force: bool) -> Job:
    """An experiment as a job, whose log shows progress."""
    observer = functools.partial(Bars, name, quiet=False)
    return Job(experiment.request, resources, where, experiment.identity, force=force, observer=observer)


def submit(jobs: Named, executor: Executor, store: Store, format: OutputFormat) -> None:
    """Submit jobs to a cluster, and print their queued runs."""
    runs = [store.queue(job.identity, NOT_YET) for _, job in jobs]  # a job may start at once
    try:
        submitted = executor.submit([job for _, job in jobs], store.where)
    except BaseException:
        for _, job in jobs:
            store.unqueue(job.identity["key"], "interrupted", "its job was not submitted")
        raise
    for run, facts in zip(runs, submitted, strict=True):
        store.name_job(run, facts)
    rows = [{"run": n, "experiment": name, **f} for n, (name, _), f in zip(runs, jobs, submitted, strict=True)]
    print_rows(rows, format)


def run_here(
    jobs: Named,
    executor: Executor,
    store: Store,
    device: str,
    done: list[Done],
    lose: Callable[[DatabaseError], None],
    end: Callable[[str, str, int | None], None],
) -> None:
    """Run jobs as processes of this machine. ``end`` gets the name, the key and the exit code of each.

    ``done`` are the runs that ``end`` has found; ``lose`` is called if the database is out of reach.
    """
    gpus = gpus_here(torch.cuda.device_count()) if device in ("auto", "cuda") else []
    runs, keys = [store.queue(job.identity, NOT_YET) for _, job in jobs], [job.identity["key"] for _, job in jobs]

    def begun(position: int, facts: dict[str, str]) -> None:
        try:
            store.name_job(runs[position], facts)
        except DatabaseError as error:
            lose(error)
        line = f"[{position + 1}/{len(jobs)}] {jobs[position][0]}: {facts['job']}, log {facts['log']}"
        stderr().print(line, markup=False, soft_wrap=True)

    def ended(position: int, code: int | None) -> None:
        end(jobs[position][0], keys[position], code)

    ending = ("interrupted", "its sweep was stopped before it began")
    try:
        executor.run_here([job for _, job in jobs], store.where, gpus, available_processors(), begun, ended)
        ending = ("failed", "its job ended before the run began")
    finally:
        finished = {run.key for run, _ in done}
        for key in keys:
            with suppress(StorageError):  # entering an outcome unqueues its run too
                store.unqueue(key, *(("interrupted", ELSEWHERE) if key in finished else ending))
