"""Run experiments in this process: show stored ones, compute and store the others."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer

from bench.cli.options import RunOptions
from bench.cli.run_table import Done
from bench.distributed.failure import LostProcessError
from bench.errors import BenchError, DatabaseError, IncompleteError, StorageError
from bench.experiments.experiment import Experiment, Resources
from bench.experiments.run import POLL_SECONDS, other_images, run_and_store, run_without_store
from bench.loggers.base import observe
from bench.results.models import RunRecord
from bench.results.outcomes import UnstoredError, open_store, outcome_folder
from bench.results.store import Store


@dataclass
class Sweep:
    """Experiments to run in this process. If the database is ``lost``, results stay in files."""

    experiments: list[Experiment]
    resources: Resources
    store: Store
    options: RunOptions
    quiet: bool
    done: list[Done] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    jobs: list[dict[str, Any]] = field(default_factory=list)  # that a cluster has queued
    lost: bool = False

    @property
    def folder(self) -> Path:
        """Where finished runs are kept until the database has them."""
        return outcome_folder(self.store.where, self.resources.cache_dir)

    def run(self) -> None:
        """Run all; those that another process computes are awaited at the end."""
        busy = [number for number in range(len(self.experiments)) if not self._run_one(number)]
        for number in busy:
            name = self.experiments[number].title
            typer.echo(f"{name}: another process computes it, waiting", err=True)
            while not self._run_one(number):
                time.sleep(POLL_SECONDS)

    def _run_one(self, number: int) -> bool:
        """Run one experiment; False if another process computes it."""
        experiment = self.experiments[number]
        name = f"[{number + 1}/{len(self.experiments)}] {experiment.title}"
        try:
            found = self._find_or_compute(name, number)
        except UnstoredError as error:
            self.lose(error)
            found = (error.run, False)
        except DatabaseError as error:
            if self.lost or not (self.options.keep_going and self.done):
                raise
            self.lose(error)
            return self._run_one(number)
        except BenchError as error:
            # A lost rank or full disk ends all runs, as does an error of one rank while the others wait.
            ends = isinstance(error, StorageError | LostProcessError)
            shared = self.resources.processes.size == 1 or isinstance(error, IncompleteError)
            if not self.options.keep_going or len(self.experiments) == 1 or ends or not shared:
                raise
            self.fail(f"{experiment.title}: {error}")
            return True
        if found is None:
            return False
        if found[1]:
            self.add_stored(name, experiment, found[0])
        else:
            self.done.append(found)
        return True

    def _find_or_compute(self, name: str, number: int) -> Done | None:
        experiment, force = self.experiments[number], self.options.force
        if not self.lost and not force and (stored := self.store.find(experiment.key)) is not None:
            return stored, True

        with observe(name, experiment.identity, self.options.log or (), quiet=self.quiet) as observer:
            if self.lost:
                where = self.store.where
                return run_without_store(experiment, where, self.resources, observer, force=force, number=number), False
            return run_and_store(experiment, self.store, self.resources, observer, force=force, number=number)

    def add_stored(self, name: str, experiment: Experiment, run: RunRecord) -> None:
        """Show a run that was stored before."""
        self.done.append((run, True))
        typer.echo(f"{name}: already done, run {run.id} of {run.ended}", err=True)
        if changed := other_images(experiment, run):
            typer.echo(f"WARNING: {changed}", err=True)

    def fail(self, failure: str) -> None:
        """Print and count a failed run."""
        self.failures.append(failure)
        typer.echo(f"error: {failure}", err=True)

    def lose(self, error: DatabaseError) -> None:
        """Go on without the database."""
        if not self.lost and len(self.experiments) > 1:
            typer.echo(f"warning: {error} Until the end results are kept in {self.folder}.", err=True)
        self.lost = True

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
