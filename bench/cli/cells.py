"""Cells computed one after the other in this process (or group of processes), or as jobs of this machine.

A database that is lost on the way ends nothing: results stay in files until it is back.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

import typer

from bench.cli.dry_run import title
from bench.cli.output import stderr
from bench.cli.progress import Bars
from bench.cluster.launch import Executor, Job, gpus_here
from bench.distributed.failure import LostProcessError
from bench.errors import BenchError, DatabaseError, IncompleteError, StorageError
from bench.experiments.experiment import Experiment, Resources
from bench.experiments.run import UnstoredError, follow, other_images, run_and_store, run_without_store
from bench.results.merge import open_store
from bench.results.models import RunRecord
from bench.results.outcomes import find_outcome, outcome_folder
from bench.results.store import ELSEWHERE, Store

POLL_SECONDS = 2.0  # between two looks at a cell that another process computes
NOT_YET = {"job": "not handed in yet"}  # of a run that is queued before its job has a name


def follow_all(experiments: list[Experiment], resources: Resources, *, force: bool) -> None:
    """What every process but the leader does: its part of each cell that the leader begins, until there is none."""
    while (number := resources.processes.broadcast(-1)) is not None:
        try:
            follow(experiments[number], resources, force=force)
        except LostProcessError:
            raise
        except IncompleteError:  # the same on every process: the leader prints it, and may go on with the next cell
            continue


class Cells:
    """Computes experiments; ``done`` are records, each with whether it had been stored before.

    When the database is lost on the way, ``lost`` is the reason.
    """

    def __init__(
        self,
        experiments: list[Experiment],
        resources: Resources,
        store: Store,
        *,
        force: bool,
        keep_going: bool,
        quiet: bool,
    ) -> None:
        self.experiments, self.resources, self.store = experiments, resources, store
        self.force, self.keep_going, self.quiet = force, keep_going, quiet
        self.folder = outcome_folder(store.where, resources.cache_dir)
        self.done: list[tuple[RunRecord, bool]] = []
        self.failures: list[str] = []
        self.lost = ""

    def run(self) -> None:
        """All of them in this process; those that another process computes are waited for at the end."""
        busy = [n for n, each in enumerate(self.experiments, start=1) if not self._one(n, each)]
        for number in busy:
            experiment = self.experiments[number - 1]
            stderr().print(f"{title(experiment)}: another process computes it, waiting", markup=False)
            while not self._one(number, experiment):
                time.sleep(POLL_SECONDS)

    def run_jobs(self, executor: Executor, jobs: Mapping[int, Job]) -> None:
        """Those in ``jobs``, by position, as processes of this machine, as many at once as the executor allows.

        Where it is not to keep going, the first job that fails ends the others with a checkpoint.
        """
        import torch

        from bench.evaluation.ranking import available_processors

        where, numbers = self.store.where, list(jobs)
        gpus = gpus_here(torch.cuda.device_count()) if self.resources.device in ("auto", "cuda") else []
        runs = [self.store.queue(self.experiments[number].identity, NOT_YET) for number in numbers]

        def begun(position: int, facts: dict[str, str]) -> None:
            experiment = self.experiments[numbers[position]]
            try:
                self.store.name_job(runs[position], facts)
            except DatabaseError as error:
                self._lose(error)
            line = f"[{position + 1}/{len(jobs)}] {title(experiment)}: {facts['job']}, log {facts['log']}"
            stderr().print(line, markup=False, soft_wrap=True)

        def ended(position: int, code: int | None) -> None:
            self._job_ended(self.experiments[numbers[position]], code)

        ending = ("interrupted", "its sweep was stopped before it began")
        try:
            executor.run_here(list(jobs.values()), where, gpus, available_processors(), begun, ended)
            ending = ("failed", "its job ended before the run began")
        finally:
            finished = {record.key for record, _ in self.done}
            for key in (self.experiments[number].key for number in numbers):
                with suppress(StorageError):  # entering an outcome ends what is queued too
                    self.store.unqueue(key, *(("interrupted", ELSEWHERE) if key in finished else ending))

    def _job_ended(self, experiment: Experiment, code: int | None) -> None:
        if code in (0, StorageError.exit_code) and (record := self._result_of_job(experiment.key, code)) is not None:
            self.done.append((record, False))
            return
        how = "was killed, or had no time left for a checkpoint" if code is None else f"ended with exit code {code}"
        failure = f"{title(experiment)}: its job {how}; 'bench list runs' names its log."
        ending = StorageError if code == StorageError.exit_code else IncompleteError
        if not self.keep_going or ending is StorageError:  # where one result cannot be kept, no other can
            raise ending(f"{failure} No other job begins, those that run were stopped.")
        self._fail(failure)

    def _result_of_job(self, key: str, code: int | None) -> RunRecord | None:
        left = find_outcome(self.folder, key)
        if code and left is not None:
            self._lose(DatabaseError("The results database was out of reach for a job."))
        try:
            return left or (None if code and self.force else self.store.find(key))
        except DatabaseError as error:
            self._lose(error)
            return None

    def _one(self, number: int, experiment: Experiment) -> bool:
        """Compute one cell; False when another process computes it."""
        name = f"[{number}/{len(self.experiments)}] {title(experiment)}"
        try:
            found = self._find_or_compute(name, number - 1, experiment)
        except UnstoredError as error:
            self._lose(error)
            found = (error.run, False)
        except DatabaseError as error:
            if self.lost or not (self.keep_going and self.done):
                raise
            self._lose(error)
            return self._one(number, experiment)
        except BenchError as error:
            # No other cell can be computed without a process, or without a place to write to; nor when other processes
            # wait in the middle of what failed here alone.
            ends = isinstance(error, StorageError | LostProcessError)
            shared = self.resources.processes.size == 1 or isinstance(error, IncompleteError)
            if not self.keep_going or len(self.experiments) == 1 or ends or not shared:
                raise
            self._fail(f"{title(experiment)}: {error}")
            return True
        if found is None:
            return False
        if found[1]:
            show_stored(name, experiment, found[0])
        self.done.append(found)
        return True

    def _find_or_compute(self, name: str, position: int, experiment: Experiment) -> tuple[RunRecord, bool] | None:
        if not self.lost and not self.force and (stored := self.store.find(experiment.key)) is not None:
            return stored, True

        def begin() -> None:
            self.resources.processes.broadcast(position)  # to the other processes of the run, in ``follow_all``

        with Bars(name, quiet=self.quiet) as observer:
            if self.lost:
                where = self.store.where
                run = run_without_store(experiment, where, self.resources, observer, force=self.force, begin=begin)
                return run, False
            return run_and_store(experiment, self.store, self.resources, observer, force=self.force, begin=begin)

    def _fail(self, failure: str) -> None:
        self.failures.append(failure)
        typer.echo(f"error: {failure}", err=True)

    def _lose(self, error: DatabaseError) -> None:
        if not self.lost and len(self.experiments) > 1:
            typer.echo(f"warning: {error} Until the end results are kept in {self.folder}.", err=True)
        self.lost = self.lost or str(error)

    def return_to_store(self) -> StorageError | None:
        """Enter the outcomes that are in files, once the database is back; the error when it is not."""
        self.store.close()  # SQLite empties its log when the last connection closes
        try:
            store, merged = open_store(self.store.where, self.resources.cache_dir)
            self.done = [(store.find(record.key) or record, before) for record, before in self.done]
        except StorageError as error:
            return StorageError(
                f"{error} What was computed meanwhile is kept in {self.folder}: the next run that uses the database "
                f"enters it, or 'bench store merge {self.folder}' does."
            )
        self.store = store
        typer.echo(f"The database is back; runs that were put into it: {merged.new}.", err=True)
        return None


def show_stored(name: str, experiment: Experiment, run: RunRecord) -> None:
    """Print that a cell is stored, and a warning where its images have changed since."""
    stderr().print(f"{name}: already done, run {run.id} of {run.ended}", markup=False, soft_wrap=True)
    if changed := other_images(experiment, run):
        typer.echo(f"WARNING: {changed}", err=True)


def stored_cells(
    experiments: Sequence[Experiment], store: Store, *, force: bool
) -> tuple[list[tuple[RunRecord, bool]], list[int]]:
    """What is stored, each marked as done before, and the positions of the others; all with ``force``."""
    done, missing = [], []
    for number, experiment in enumerate(experiments):
        stored = None if force else store.find(experiment.key)
        if stored is None:
            missing.append(number)
        else:
            done.append((stored, True))
            show_stored(title(experiment), experiment, stored)
    return done, missing
