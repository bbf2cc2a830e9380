"""Cells as jobs of this machine, side by side, whatever happens to the database."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import typer

from bench.cli.dry_run import title
from bench.cli.output import stderr
from bench.cli.run_serial import Cells
from bench.cli.run_slurm_jobs import facts_of, still_to_do
from bench.cluster.job import CellJob
from bench.cluster.scheduler import Scheduler, Submitted, gpus_here
from bench.errors import DatabaseError, IncompleteError, StorageError
from bench.experiments.request import Experiment, Resources
from bench.experiments.run import SpooledError
from bench.results.fallback import spool_of, take_up
from bench.results.models import RunRecord
from bench.results.queueing import ELSEWHERE
from bench.results.store import NOT_YET, Store


class JobsHere(Cells):
    """Runs each experiment that is not stored as a job of this machine, waits for all, and ends as ``Cells`` does.

    Where it is not to keep going, the first job that fails ends the others with a checkpoint.

    ``places`` are the global words of a cell's call, of which the second is its store, ``words`` the others by cell. A
    job that began before the database was lost keeps its result in the file that takes its place; those that begin
    later have this file for their store.
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
        scheduler: Scheduler,
        places: Sequence[str],
        words: Sequence[Sequence[str]],
    ) -> None:
        super().__init__(experiments, resources, store, force=force, keep_going=keep_going, quiet=quiet)
        self._scheduler, self._places, self._words, self._database = scheduler, places, words, store
        self._todo: list[int] = []
        self._jobs: list[CellJob] = []
        self._found: dict[int, RunRecord] = {}
        self._again: set[int] = set()  # cells whose job was run once more since it could not store what it found

    def run(self) -> None:
        """All of them, as many at once as the scheduler says. Raises StorageError when nothing can be kept anywhere."""
        import torch

        from bench.evaluation.ranking import available_processors

        stored, self._todo = still_to_do(self.experiments, self.store, force=self.force)
        self.done += stored
        self._jobs = [self._job(number, self._places[1]) for number in self._todo]
        gpus = gpus_here(torch.cuda.device_count()) if self.resources.device in ("auto", "cuda") else []
        for number in self._todo:  # seen by others before they begin
            self.store.queue(self.experiments[number].identity, {"job": NOT_YET})
        status, why = "interrupted", "its sweep was stopped before it began"
        try:
            self._scheduler.run_here(self._jobs, gpus, available_processors(), self._begun, self._ended)
            status, why = "failed", "its job ended before the run began"
        finally:
            self.done += [(self._found[number], False) for number in self._todo if number in self._found]
            self._unqueue(status, why)

    def _job(self, number: int, where: str) -> CellJob:
        call = ["--store", where, *self._places[2:], *self._words[number]]
        return CellJob(call, where, self.experiments[number].key)

    def _begun(self, position: int, job: Submitted) -> None:
        experiment = self.experiments[self._todo[position]]
        try:
            self.store.queue(experiment.identity, facts_of(job))
        except DatabaseError as error:
            self._lose(error)
        line = f"[{position + 1}/{len(self._todo)}] {title(experiment)}: {job.name}, log {job.log}"
        stderr().print(line, markup=False, soft_wrap=True)

    def _ended(self, position: int, code: int | None) -> bool:
        """Note how a job ended; whether it is to run once more, since it could not store what it found."""
        number = self._todo[position]
        record = self._result(number, code) if code in (0, StorageError.exit_code) else None
        if record is not None:
            self._found[number] = record
        elif code == StorageError.exit_code and number not in self._again:
            self._again.add(number)
            return True
        elif code != 0:
            how = f"ended with exit code {code}"
            if code is None:
                how = "was killed, or had no time left for a checkpoint"
            failure = f"{title(self.experiments[number])}: its job {how}; 'bench list runs' names its log."
            if not self.keep_going:
                raise IncompleteError(f"{failure} No other job begins, those that run were stopped.")
            self.failures.append(failure)
            typer.echo(f"error: {self.failures[-1]}", err=True)
        return False

    def _result(self, number: int, code: int | None) -> RunRecord | None:
        """The run that a job stored, wherever it could; a database that cannot be read is lost."""
        key = self.experiments[number].key
        try:
            if code and not self.lost:  # its database was out of reach, and is back
                kept = take_up(self.store, spool_of(self.store.where, self.resources.cache_dir))
                if kept is None and self.force:  # an older run would be found
                    return None
            found = self.store.find(key)
        except DatabaseError as error:
            self._lose(error)
            found = None
        for each in (self.store, self._database) if found is None and self.lost else ():
            with suppress(StorageError):
                found = found or each.find(key)
        return found

    def _lose(self, error: DatabaseError) -> None:
        """Let jobs that begin from now on store in the file that takes the database's place."""
        if self.lost:
            return
        if not self._go_to_spool(SpooledError(str(error))):
            raise error
        where = str(spool_of(self._database.where, self.resources.cache_dir).resolve())
        self._jobs[:] = [self._job(number, where) for number in self._todo]

    def _unqueue(self, status: str, why: str) -> None:
        """Let no run wait any more: where its cell was computed after all, as by another one."""
        for number in self._todo:
            said = ("interrupted", ELSEWHERE) if number in self._found else (status, why)
            for each in dict.fromkeys((self.store, self._database)):
                with suppress(StorageError):  # a later sweep settles what waits in a database that is out of reach
                    each.unqueue(self.experiments[number].key, *said)
