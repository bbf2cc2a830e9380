"""``--executor``: the cells of a call as jobs, queued in the store; waited for on this machine, left to a cluster."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from bench.cli.common import OutputFormat, print_json, print_table, stderr
from bench.cli.options import RunOptions
from bench.cli.plan import title
from bench.errors import UsageError, nearest
from bench.experiment import Experiment, Resources
from bench.jobs import EXECUTORS, CellJob, Scheduler, Submitted
from bench.models import RunRecord
from bench.store import Store


def scheduler_of(options: RunOptions, resources: Resources) -> Scheduler | None:
    """What runs the cells; None for this process. Raises UsageError for what cannot be."""
    if options.executor is None:
        if options.jobs is not None or options.job:
            raise UsageError("--jobs and --job are for jobs: name an --executor, local or slurm.")
        return None
    if options.executor not in EXECUTORS:
        raise UsageError(f"There is no executor {options.executor!r}. {nearest(options.executor, EXECUTORS)}")
    if resources.processes.size > 1:
        raise UsageError("--executor hands cells to other processes: use it without torchrun.")
    parameters = {}
    for each in options.job or ():
        name, equals, value = each.partition("=")
        if not equals:
            raise UsageError(f"--job takes KEY=VALUE, not {each!r}.")
        parameters[name.strip()] = value.strip()
    found = Scheduler(options.executor, resources.cache_dir.resolve() / "jobs", options.jobs, parameters)
    if not options.dry_run:
        found.check()
    return found


def run_as_jobs(
    experiments: Sequence[Experiment],
    calls: Sequence[Sequence[str]],
    scheduler: Scheduler,
    store: Store,
    where: str,
    options: RunOptions,
) -> tuple[list[tuple[RunRecord, bool]], int]:
    """Submit every cell that is not stored; what is done, each with whether it had been stored before; how many failed.

    ``calls`` are the words of each cell, ``where`` is the store as jobs find it. On this machine it waits for the jobs.
    """
    done: list[tuple[RunRecord, bool]] = []
    todo: list[int] = []
    for number, experiment in enumerate(experiments):
        stored = None if options.force else store.find(experiment.key)
        if stored is not None:
            done.append((stored, True))
            stderr().print(
                f"{title(experiment)}: already done, run {stored.id} of {stored.ended}", markup=False, soft_wrap=True
            )
        else:
            todo.append(number)
    jobs = [CellJob(calls[number], where, experiments[number].key) for number in todo]
    if not jobs:
        return done, 0

    def queued(position: int, job: Submitted) -> int:
        identity = experiments[todo[position]].identity
        return store.queue(identity, {"job": job.name, "log": str(job.log)})

    if scheduler.executor == "slurm":
        _show(
            [
                (title(experiments[number]), queued(position, job), job)
                for position, (number, job) in enumerate(zip(todo, scheduler.submit(jobs), strict=True))
            ],
            options.format,
        )
        return done, 0
    import torch

    from bench.ranking import available_processors

    gpus = torch.cuda.device_count() if options.device in ("auto", "cuda") else 0
    for number in todo:  # seen by others before they begin
        store.queue(experiments[number].identity, {"job": "local, not started"})

    def begun(position: int, job: Submitted) -> None:
        queued(position, job)
        line = f"[{position + 1}/{len(jobs)}] {title(experiments[todo[position]])}: {job.name}, log {job.log}"
        stderr().print(line, markup=False, soft_wrap=True)

    status, why = "interrupted", "its sweep was stopped before it began"
    try:
        codes = scheduler.run_here(jobs, gpus, available_processors(), begun)
        status, why = "failed", "its job ended before the run began"
    finally:
        for number in todo:
            store.unqueue(experiments[number].key, status, why)
    failed = [(number, code) for number, code in zip(todo, codes, strict=True) if code != 0]
    for number, code in failed:
        how = "was killed" if code is None else f"ended with exit code {code}"
        typer.echo(f"error: {title(experiments[number])}: its job {how}; 'bench list runs' names its log.", err=True)
    found = [store.find(experiments[number].key) for number, code in zip(todo, codes, strict=True) if code == 0]
    done += [(record, False) for record in found if record is not None]
    return done, len(failed)


def _show(rows: Sequence[tuple[str, int, Submitted]], format: OutputFormat) -> None:
    if format is OutputFormat.json:
        print_json([{"run": run, "cell": cell, "job": job.name, "log": str(job.log)} for cell, run, job in rows])
    else:
        cells = [[str(run), cell, job.name, str(job.log)] for cell, run, job in rows]
        print_table(["run", "cell", "job", "log"], cells)
