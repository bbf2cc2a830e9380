"""Cells carried out one after the other in this process (or team of processes), whatever happens to the database."""

from __future__ import annotations

import time

import typer

from bench.cli.dry_run import title
from bench.cli.output import stderr
from bench.cli.progress import Bars
from bench.distributed.failure import LostProcessError
from bench.errors import BenchError, DatabaseError, IncompleteError, StorageError
from bench.experiments.request import Experiment, Resources
from bench.experiments.run import SpooledError, follow, other_images, run_and_store
from bench.results.fallback import Spool, spool_of, take_up
from bench.results.models import RunRecord
from bench.results.store import Store

POLL_SECONDS = 2.0  # how often a cell that another process computes is asked for


def follow_all(experiments: list[Experiment], resources: Resources, *, force: bool) -> None:
    """What every process but the leader does: its part of each cell that the leader begins, until there is none."""
    while (number := resources.processes.told(-1)) is not None:
        try:
            follow(experiments[number], resources, force=force)
        except LostProcessError:
            raise
        except IncompleteError:  # the same on every process: the leader says it, and may go on with the next cell
            continue


def say_done(cell: str, experiment: Experiment, run: RunRecord) -> None:
    """That a cell is stored; a warning where the images at hand are others than those of the stored run."""
    stderr().print(f"{cell}: already done, run {run.id} of {run.ended}", markup=False, soft_wrap=True)
    if said := other_images(experiment, run):
        typer.echo(f"WARNING: {said}", err=True)


class Cells:
    """Runs experiments one after the other; ``done`` are records, each with whether it had been stored before.

    When the database is lost on the way, ``lost`` says how, and what follows goes to a file that takes its place.
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
        self.done: list[tuple[RunRecord, bool]] = []
        self.failures: list[str] = []
        self.lost = ""

    def run(self) -> None:
        """All of them; those that another process computes are waited for at the end."""
        busy = [n for n, each in enumerate(self.experiments, start=1) if not self._one(n, each)]
        for number in busy:
            experiment = self.experiments[number - 1]
            stderr().print(f"{title(experiment)}: another process computes it, waiting", markup=False)
            while self.store.is_busy(experiment.key) or not self._one(number, experiment):
                time.sleep(POLL_SECONDS)

    def _one(self, number: int, experiment: Experiment) -> bool:
        """Run one cell; False when another process computes it."""
        counter = f"[{number}/{len(self.experiments)}] "
        try:
            stored = None if self.force else self.store.find(experiment.key)
            if stored is not None:
                found: tuple[RunRecord, bool] | None = (stored, True)
            else:
                with Bars(f"{counter}{title(experiment)}", quiet=self.quiet) as observer:
                    found = run_and_store(
                        experiment,
                        self.store,
                        self.resources,
                        observer,
                        force=self.force,
                        begin=lambda: self._begin(number - 1),
                    )
        except DatabaseError as error:
            if not self._go_to_spool(error):
                raise
            if isinstance(error, SpooledError) and (kept := self.store.find(experiment.key)) is not None:
                self.done.append((kept, False))
                return True
            return self._one(number, experiment)
        except BenchError as error:
            # There is nothing to go on for when a process is gone, or when other processes wait in the middle of what
            # failed here alone; nor where nothing can be written.
            ends = isinstance(error, StorageError | LostProcessError)
            shared = self.resources.processes.size == 1 or isinstance(error, IncompleteError)
            if not self.keep_going or len(self.experiments) == 1 or ends or not shared:
                raise
            self.failures.append(f"{title(experiment)}: {error}")
            typer.echo(f"error: {self.failures[-1]}", err=True)
            return True
        if found is None:
            return False
        if found[1]:
            say_done(f"{counter}{title(experiment)}", experiment, found[0])
        self.done.append(found)
        return True

    def _go_to_spool(self, error: DatabaseError) -> bool:
        """Let a file take the database's place; False where it does already or cannot, or nothing is done yet."""
        if self.lost or not (isinstance(error, SpooledError) or (self.keep_going and self.done)):
            return False
        path = spool_of(self.store.where, self.resources.cache_dir)
        try:
            spool = Spool(path)
        except StorageError:
            return False
        self.lost, self.store = str(error), spool
        if len(self.experiments) > 1:
            typer.echo(f"warning: {error} Until the end results are kept in {path}.", err=True)
        return True

    def return_to(self, where: str) -> None:
        """Put what the file keeps into the database again; raises StorageError when it is still out of reach."""
        path = spool_of(where, self.resources.cache_dir)
        try:
            store = Store(where)
            try:
                merged = take_up(store, path)
            finally:
                store.close()
        except StorageError as error:
            raise StorageError(
                f"{error} What was computed meanwhile is kept in {path}: the next run that uses the database puts it "
                f"there, or 'bench store merge {path}' does."
            ) from error
        typer.echo(f"The database is back; runs that were put into it: {merged.new if merged else 0}.", err=True)

    def _begin(self, position: int) -> None:
        """Tell the other processes of the run, which wait in ``follow_all``, which cell is computed."""
        self.resources.processes.told(position)
