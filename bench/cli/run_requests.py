"""Run the requests of ``bench run`` and ``bench ablate``: resolve all, run them here or as jobs, show the results."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import cache, partial

import typer

from bench.cli.dry_run import show_plan
from bench.cli.jobs import choose_executor, run_jobs
from bench.cli.options import RunOptions
from bench.cli.output import global_option, make_resources
from bench.cli.run_table import show_runs
from bench.cli.sweep import Sweep
from bench.cli.test_on import find_missing, test_on
from bench.devices import choose_device
from bench.distributed.failure import LostProcessError
from bench.distributed.process_group import join_processes
from bench.errors import DataError, IncompleteError, StorageError, UsageError
from bench.experiments.experiment import Experiment, Resources
from bench.experiments.preflight import agree
from bench.experiments.progress_bars import Bars
from bench.experiments.resolve import Splits, choose_weights, resolve
from bench.experiments.run import follow
from bench.experiments.stored_run import find_run
from bench.loggers.base import make_logger
from bench.methods.backbone.fetch_weights import why_not_fetched
from bench.results.models import RunRecord
from bench.results.outcomes import open_store
from bench.results.store import Store
from bench.settings.request import Request


def run_requests(
    ctx: typer.Context,
    requests: list[Request],
    options: RunOptions,
    show_more: Callable[[list[RunRecord], Store], None] = lambda runs, store: None,
    test_datasets: Sequence[str] = (),
) -> None:
    """Resolve all requests, so that a mistake in the last is found before the first is computed; then run them.

    Each network is then scored on ``test_datasets``, too. ``show_more`` prints a table about the runs, after the table
    of them. Raises IncompleteError if some failed; the others are stored and shown.
    """
    where = str(global_option(ctx, "store"))
    with join_processes(options.device) as processes:
        choose_device(options.device)  # raises for an unknown one, also in a dry run
        resources = make_resources(ctx, device=processes.device(options.device), processes=processes)
        quiet = bool(global_option(ctx, "quiet")) or not processes.leads
        if not processes.leads:
            logging.getLogger("bench").setLevel(logging.ERROR)  # rank 0 logs
        # Raises now what would be a warning later.
        processes.all_succeed(lambda: [make_logger(text) for text in options.log or ()])
        executor = processes.all_succeed(lambda: choose_executor(options, resources))
        if test_datasets and (executor is not None or processes.size > 1):
            raise UsageError("--test-on needs one process: leave out --executor and torchrun, or test by --checkpoint.")
        missing = find_missing(test_datasets, requests, resources.data_root)
        experiments, kept = _resolve_all(requests, resources, options, where, quiet)
        agree(processes, experiments)
        if not processes.leads:
            if not options.dry_run:
                _follow_all(experiments, resources, options)
            return
        for reason in dict.fromkeys(reason for each in experiments for reason in each.dropped.values()):
            typer.echo(f"dropped: {reason}", err=True)
        if options.dry_run:
            show_plan(ctx, experiments, options)
            return
        store, merged = open_store(where, resources.cache_dir)
        if merged.new:
            typer.echo(
                f"{merged.new} runs that were kept in files while the database was away are in it now.", err=True
            )
        for line in merged.conflicts:
            typer.echo(line, err=True)
        sweep = Sweep(experiments, resources, store, options, quiet, failures=[*missing.values()])
        lost: StorageError | None = None
        try:
            if executor is None:
                sweep.run()
                if test_datasets and not sweep.lost:
                    test_on(sweep, [each for each in test_datasets if each not in missing])
            else:
                run_jobs(sweep, executor)
        finally:
            lost = sweep.return_to_store() if sweep.lost else None
            done = [*((run, True) for run in kept), *sweep.done]
            show_runs(done, options.format, sweep.jobs)
            if done and options.format == "table" and not (lost or sweep.jobs):
                show_more([run for run, _ in done], sweep.store)
            sweep.store.close()
        processes.broadcast(None)  # ends ``_follow_all``
        if lost:
            raise lost
        if sweep.failures:
            number = len(sweep.failures) + len(sweep.done) if test_datasets else len(experiments)
            raise IncompleteError(f"{len(sweep.failures)} of {number} runs failed, the others are stored.")


def _resolve_all(
    requests: list[Request], resources: Resources, options: RunOptions, where: str, quiet: bool
) -> tuple[list[Experiment], list[RunRecord]]:
    """The experiment of each request; if its data is missing, the stored run of the same settings."""
    processes, reuse = resources.processes, not (options.force or options.dry_run)
    experiments, kept = list[Experiment](), list[RunRecord]()

    def resolve_each() -> None:
        fetch = cache(partial(why_not_fetched, progress=not quiet))  # a server out of reach is waited for once
        chosen = [choose_weights(request, fetch, dry_run=options.dry_run) for request in requests]
        for request, _ in chosen:
            try:
                experiments.append(resolve(request, resources, splits))
            except DataError as error:
                found = find_run(request, where) if reuse and processes.size == 1 else None
                if found is None:
                    raise
                kept.append(found)
                typer.echo(f"{error} Showing stored run {found.id} ({found.ended}): same settings.", err=True)
        for warning in dict.fromkeys([warning for _, warning in chosen] + [each.warning for each in experiments]):
            if warning and processes.leads:
                typer.echo(f"WARNING: {warning}", err=True)

    with Bars("checking images", quiet=quiet or options.on_bad_image == "error") as bars:
        bars.phase("decoding")
        splits = Splits(bars.progress)
        processes.all_succeed(resolve_each)
    if processes.size > 1 and any(each.trains and not each.run.frozen_batchnorm for each in experiments):
        raise UsageError(
            "Several processes cannot train batch normalisation, since each sees a part of the batch: leave out "
            "--set frozen_batchnorm=false, or use one process."
        )
    return experiments, kept


def _follow_all(experiments: list[Experiment], resources: Resources, options: RunOptions) -> None:
    """On every rank but 0: do this rank's part of each run that rank 0 begins, until it ends the sweep."""
    while (number := resources.processes.broadcast(-1)) is not None:
        try:
            follow(experiments[number], resources, force=options.force)
        except LostProcessError:
            raise
        except IncompleteError:  # the same on every rank: rank 0 prints it, and may go on
            continue
