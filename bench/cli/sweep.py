"""Run the experiments of ``bench run`` and ``bench ablate``: show stored ones, compute and store the others."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import typer

from bench.cli.dry_run import show_plan
from bench.cli.jobs import choose_executor, make_job, run_here, submit
from bench.cli.options import RunOptions
from bench.cli.output import OutputFormat, global_option, make_resources, stderr
from bench.cli.progress import Bars
from bench.cli.run_table import Done, name_experiment, show_runs
from bench.cluster.launch import Executor
from bench.distributed.failure import LostProcessError
from bench.distributed.process_group import join_processes
from bench.errors import BenchError, DatabaseError, DataError, IncompleteError, StorageError, UsageError
from bench.experiments.experiment import Experiment, Resources
from bench.experiments.preflight import agree
from bench.experiments.resolve import Splits, choose_weights, resolve
from bench.experiments.run import UnstoredError, follow, other_images, run_and_store, run_without_store
from bench.experiments.stored import find_run
from bench.results.merge import open_store
from bench.results.models import RunRecord
from bench.results.outcomes import find_outcome, outcome_folder
from bench.results.store import Store
from bench.settings.request import Request

POLL_SECONDS = 2.0  # between two looks at a run that another process computes
Show = Callable[[list[Done], OutputFormat, Store], None]


def run_requests(ctx: typer.Context, requests: list[Request], options: RunOptions, show: Show = show_runs) -> None:
    """Resolve all requests, so that a mistake in the last is found before the first is computed; then run them.

    ``show`` prints the runs. Raises IncompleteError if some failed; the others are stored and shown.
    """
    where = str(global_option(ctx, "store"))
    with join_processes(options.device) as processes:
        resources = make_resources(
            ctx,
            device=processes.device(options.device),
            workers=options.workers,
            resume=options.resume,
            top=options.save_topk,
            compiled=options.compile,
            processes=processes,
        )
        quiet = bool(global_option(ctx, "quiet")) or not processes.leads
        if not processes.leads:
            logging.getLogger("bench").setLevel(logging.ERROR)  # rank 0 logs
        executor = processes.all_succeed(lambda: choose_executor(options, resources))
        experiments, kept = _resolve_all(requests, resources, options, where, quiet)
        agree(processes, experiments)
        if not processes.leads:
            if not options.dry_run:
                _follow_all(experiments, resources, options)
            return
        _warn(experiments)
        if options.dry_run:
            show_plan(ctx, experiments, options)
            return
        store, merged = open_store(where, resources.cache_dir)
        if merged.new:
            note = "runs that were kept in a file while the database was out of reach are in it now."
            typer.echo(f"{merged.new} {note}", err=True)
        for line in merged.conflicts:
            typer.echo(line, err=True)
        sweep = Sweep(experiments, resources, store, options, quiet)
        lost: StorageError | None = None
        try:
            if executor is None:
                sweep.run()
            else:
                sweep.run_jobs(executor)
        finally:
            lost = sweep.return_to_store() if sweep.lost else None
            # without the database only the runs themselves can be shown
            (show_runs if lost else show)([*((run, True) for run in kept), *sweep.done], options.format, sweep.store)
            sweep.store.close()
        processes.broadcast(None)  # ends ``_follow_all``
        if lost:
            raise lost
        if sweep.failures:
            raise IncompleteError(f"{len(sweep.failures)} of {len(experiments)} runs failed, the others are stored.")


def _resolve_all(
    requests: list[Request], resources: Resources, options: RunOptions, where: str, quiet: bool
) -> tuple[list[Experiment], list[RunRecord]]:
    """The experiment of each request; if its data is missing, the stored run of the same settings."""
    processes, reuse = resources.processes, not (options.force or options.dry_run)

    def resolve_each() -> tuple[list[Experiment], list[RunRecord]]:
        experiments, kept = list[Experiment](), list[RunRecord]()
        chosen = [choose_weights(request) for request in requests]
        for request, _ in chosen:
            try:
                experiments.append(resolve(request, resources, splits))
            except DataError as error:
                found = find_run(request, where) if reuse and processes.size == 1 else None
                if found is None:
                    raise
                kept.append(found)
                typer.echo(f"{error} Showing stored run {found.id} ({found.ended}): same settings.", err=True)
        for warning in dict.fromkeys(warning for _, warning in chosen if warning and processes.leads):
            typer.echo(f"WARNING: {warning}", err=True)
        return experiments, kept

    with Bars("checking images", quiet=quiet or options.on_bad_image == "error") as bars:
        bars.phase("decoding")
        splits = Splits(bars.progress, write_cache=not options.dry_run and processes.leads)
        experiments, kept = processes.all_succeed(resolve_each)
    if processes.size > 1 and any(each.trains and not each.run.frozen_batchnorm for each in experiments):
        raise UsageError(
            "Several processes cannot train batch normalisation, since each sees a part of the batch: leave out "
            "--set frozen_batchnorm=false, or use one process."
        )
    return experiments, kept


def _warn(experiments: list[Experiment]) -> None:
    """Print warnings for test classes that a network saw in training, and the images that were dropped."""
    for each in experiments:
        if each.trained and (saw := each.trained.identity(each.split.unseen)["saw"]):
            names = f"{', '.join(saw[:5])}{', ...' * (len(saw) > 5)}"
            typer.echo(
                f"WARNING: {name_experiment(each)}: the network saw {len(saw)} of {len(each.split.unseen)} test "
                f"classes in training ({names}): for these the run is not zero-shot, and every table marks it.",
                err=True,
            )
    for reason in dict.fromkeys(reason for each in experiments for reason in each.dropped.values()):
        typer.echo(f"dropped: {reason}", err=True)


def _follow_all(experiments: list[Experiment], resources: Resources, options: RunOptions) -> None:
    """On every rank but 0: do this rank's part of each run that rank 0 begins, until it ends the sweep."""
    while (number := resources.processes.broadcast(-1)) is not None:
        try:
            follow(experiments[number], resources, force=options.force)
        except LostProcessError:
            raise
        except IncompleteError:  # the same on every rank: rank 0 prints it, and may go on
            continue


@dataclass
class Sweep:
    """Experiments to run in this process. If the database is lost, results stay in files, and ``lost`` is why."""

    experiments: list[Experiment]
    resources: Resources
    store: Store
    options: RunOptions
    quiet: bool
    done: list[Done] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    lost: str = ""

    @property
    def folder(self) -> Path:
        """Where finished runs are kept until the database has them."""
        return outcome_folder(self.store.where, self.resources.cache_dir)

    def run(self) -> None:
        """Run all; those that another process computes are awaited at the end."""
        busy = [number for number in range(len(self.experiments)) if not self._run_one(number)]
        for number in busy:
            name = name_experiment(self.experiments[number])
            stderr().print(f"{name}: another process computes it, waiting", markup=False)
            while not self._run_one(number):
                time.sleep(POLL_SECONDS)

    def _run_one(self, number: int) -> bool:
        """Run one experiment; False if another process computes it."""
        experiment = self.experiments[number]
        name = f"[{number + 1}/{len(self.experiments)}] {name_experiment(experiment)}"
        try:
            found = self._find_or_compute(name, number)
        except UnstoredError as error:
            self._lose(error)
            found = (error.run, False)
        except DatabaseError as error:
            if self.lost or not (self.options.keep_going and self.done):
                raise
            self._lose(error)
            return self._run_one(number)
        except BenchError as error:
            # A lost rank or full disk ends all runs, as does an error of one rank while the others wait.
            ends = isinstance(error, StorageError | LostProcessError)
            shared = self.resources.processes.size == 1 or isinstance(error, IncompleteError)
            if not self.options.keep_going or len(self.experiments) == 1 or ends or not shared:
                raise
            self._fail(f"{name_experiment(experiment)}: {error}")
            return True
        if found is None:
            return False
        if found[1]:
            self._add_stored(name, experiment, found[0])
        else:
            self.done.append(found)
        return True

    def _find_or_compute(self, name: str, number: int) -> Done | None:
        experiment, force = self.experiments[number], self.options.force
        if not self.lost and not force and (stored := self.store.find(experiment.key)) is not None:
            return stored, True

        def begin() -> None:
            self.resources.processes.broadcast(number)  # to ``_follow_all`` of the other ranks

        with Bars(name, quiet=self.quiet) as observer:
            if self.lost:
                where = self.store.where
                return run_without_store(experiment, where, self.resources, observer, force=force, begin=begin), False
            return run_and_store(experiment, self.store, self.resources, observer, force=force, begin=begin)

    def run_jobs(self, executor: Executor) -> None:
        """Run what is not stored as jobs: wait for those of this machine, submit those of a cluster."""
        jobs, force, where = [], self.options.force, self.store.where
        for experiment in self.experiments:
            name = name_experiment(experiment)
            if (stored := None if force else self.store.find(experiment.key)) is not None:
                self._add_stored(name, experiment, stored)
            else:
                jobs.append((name, make_job(name, experiment, self.resources, where, force)))
        if executor.name == "local":
            run_here(jobs, executor, self.store, self.resources.device, self.done, self._lose, self._end_job)
        elif jobs:
            submit(jobs, executor, self.store, self.options.format)

    def _end_job(self, name: str, key: str, code: int | None) -> None:
        unstored = code == StorageError.exit_code
        if (code == 0 or unstored) and (run := self._find_result(key, code)) is not None:
            self.done.append((run, False))
            return
        how = "was killed, or had no time left for a checkpoint" if code is None else f"ended with exit code {code}"
        failure = f"{name}: its job {how}; 'bench list runs' names its log."
        if not self.options.keep_going or unstored:  # if one result cannot be kept, no other can
            error = StorageError if unstored else IncompleteError
            raise error(f"{failure} No other job begins, running jobs were stopped.")
        self._fail(failure)

    def _find_result(self, key: str, code: int | None) -> RunRecord | None:
        left = find_outcome(self.folder, key)
        if code and left is not None:
            self._lose(DatabaseError("The results database was out of reach for a job."))
        try:
            return left or (None if code and self.options.force else self.store.find(key))
        except DatabaseError as error:
            self._lose(error)
            return None

    def _add_stored(self, name: str, experiment: Experiment, run: RunRecord) -> None:
        self.done.append((run, True))
        stderr().print(f"{name}: already done, run {run.id} of {run.ended}", markup=False, soft_wrap=True)
        if changed := other_images(experiment, run):
            typer.echo(f"WARNING: {changed}", err=True)

    def _fail(self, failure: str) -> None:
        self.failures.append(failure)
        typer.echo(f"error: {failure}", err=True)

    def _lose(self, error: DatabaseError) -> None:
        if not self.lost and len(self.experiments) > 1:
            typer.echo(f"warning: {error} Until the end results are kept in {self.folder}.", err=True)
        self.lost = self.lost or str(error)

    def return_to_store(self) -> StorageError | None:
        """Enter the results in files if the database is back; otherwise the error to raise."""
        folder = self.folder
        self.store.close()  # SQLite empties its log when the last connection closes
        try:
            store, merged = open_store(self.store.where, self.resources.cache_dir)
            self.done = [(store.find(run.key) or run, before) for run, before in self.done]
        except StorageError as error:
            return StorageError(
                f"{error} Results since then are kept in {folder}: the next run that uses the database enters them, or "
                f"'bench store merge {folder}' does."
            )
        self.store = store
        typer.echo(f"The database is back; runs that were put into it: {merged.new}.", err=True)
        return None
