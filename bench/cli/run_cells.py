"""Carrying out a list of cells for ``bench run`` and ``bench ablate``: done ones shown, others computed, none twice."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import typer

from bench.cli.cells import NOT_YET, Cells, follow_all, stored_cells
from bench.cli.command_line import places_of, words_of
from bench.cli.dry_run import show_plan, title
from bench.cli.options import RunOptions
from bench.cli.output import OutputFormat, cache_dir, global_option, print_json, print_table
from bench.cli.progress import Bars
from bench.cli.run_table import show
from bench.cluster.launch import EXECUTORS, Executor, Job
from bench.distributed.process_group import Processes, join_processes
from bench.errors import DataError, IncompleteError, UsageError, nearest
from bench.experiments.experiment import Experiment, Resources
from bench.experiments.preflight import agree
from bench.experiments.resolve import Splits, choose_weights, resolve
from bench.experiments.stored import find_run
from bench.results.database import plain
from bench.results.merge import open_store
from bench.results.models import RunRecord
from bench.results.reading import existing
from bench.results.store import Store
from bench.settings.request import Request
from bench.training.pretrained import file_of

# Prints runs, each with whether it was done already, that a store holds.
Shown = Callable[[list[tuple[RunRecord, bool]], OutputFormat, Store], None]


def chosen_seeds(options: RunOptions) -> list[int]:
    """The seeds of ``--seed`` or of ``--seeds``; raises UsageError when both were given."""
    if options.seed and options.seeds:
        raise UsageError("Give either --seed or --seeds, not both.")
    return list(range(options.seeds)) if options.seeds else list(dict.fromkeys(options.seed or [0]))


def request(
    options: RunOptions,
    method: str,
    dataset: str,
    seed: int,
    *,
    without: tuple[str, ...] = (),
    structural: str = "",
) -> Request:
    """One cell as it was asked for; options that stand for settings come before those of ``--set``."""
    named = ("backbone", "weights", "image_size", "epochs", "batch_size", "lr")
    given = [f"{name}={value}" for name in named if (value := getattr(options, name)) is not None]
    return Request(
        method=method,
        dataset=dataset,
        split=options.split,
        seed=seed,
        without=without,
        structural=structural,
        assignments=(*given, *(options.assignments or ())),
        selection=options.select,
        gallery=options.gallery,
        per_class_limit=options.limit,
        on_bad_image=options.on_bad_image,
        precision=options.precision.value,
    )


def run_checkpoints(
    ctx: typer.Context, checkpoints: list[str], methods: list[str], without: list[str], options: RunOptions
) -> None:
    """Score trained networks, files or those of stored runs, on each dataset."""
    if len(methods) > 1 or options.seed or options.seeds or options.compile:
        raise UsageError(
            "--checkpoint scores a network as it was trained: leave out --seed, --compile and a second -m."
        )
    files = [_network_file(each, str(global_option(ctx, "store")), cache_dir(ctx)) for each in checkpoints]
    method = methods[0] if methods else ""
    asked = [
        replace(request(options, method, dataset, 0, without=tuple(without)), checkpoint=str(file))
        for dataset in options.dataset
        for file in files
    ]
    run_all(ctx, asked, options)


def _network_file(checkpoint: str, where: str, cache: Path) -> Path:
    """The file of a trained network: that of a run where a number was given, otherwise the path itself."""
    if not checkpoint.isdecimal():
        return Path(checkpoint)
    store = existing(where)
    if store is None:
        raise IncompleteError(f"There is no run {checkpoint}, since there is no results database {plain(where)}.")
    try:
        return file_of(store.run(int(checkpoint), finished=True), cache)
    finally:
        store.close()


def run_all(ctx: typer.Context, requests: list[Request], options: RunOptions, shown: Shown | None = None) -> None:
    """Resolve every cell first, so that a mistake in the last is found before the first is computed; then run them.

    A cell whose data is not at hand is shown as it is stored. ``shown`` prints what is done, instead of ``show``.
    Raises IncompleteError when some failed; the others are stored and shown.
    """
    with join_processes(options.device) as processes:
        _run_together(ctx, requests, options, processes, shown or show)


def _run_together(
    ctx: typer.Context, requests: list[Request], options: RunOptions, processes: Processes, shown: Shown
) -> None:
    force, dry_run, format = options.force, options.dry_run, options.format
    resources = Resources(
        data_root=global_option(ctx, "data_root"),
        cache_dir=cache_dir(ctx),
        device=processes.device(options.device),
        workers=options.workers,
        resume=options.resume,
        top=options.save_topk,
        compiled=options.compile,
        processes=processes,
    )
    where, quiet = str(global_option(ctx, "store")), bool(global_option(ctx, "quiet")) or not processes.leads
    if not processes.leads:
        logging.getLogger("bench").setLevel(logging.ERROR)  # what goes on is said once
    executor = processes.all_succeed(lambda: _executor(options, resources))
    with Bars("checking images", quiet=quiet or all(each.on_bad_image == "error" for each in requests)) as bars:
        bars.phase("decoding")
        splits = Splits(lambda done, total: bars.progress(done, total, {}), write_cache=not dry_run and processes.leads)
        experiments, kept = processes.all_succeed(
            lambda: _resolved(requests, resources, splits, "" if force or dry_run else where)
        )
    for each in experiments if processes.size > 1 else ():
        if each.method.terms and each.trained is None and not each.run.frozen_batchnorm:
            raise UsageError(
                "Several processes cannot train batch normalisation, which would see a part of each batch only: "
                "leave out --set frozen_batchnorm=false, or use one process."
            )
    agree(processes, experiments)
    if not processes.leads:
        if not dry_run:
            follow_all(experiments, resources, force=force)
        return
    for each in experiments:
        saw = each.trained.identity(each.split.unseen)["saw"] if each.trained else []
        if saw:
            typer.echo(
                f"WARNING: {title(each)}: the network saw {len(saw)} of {len(each.split.unseen)} test classes in "
                f"training, by their names ({', '.join(saw[:5])}{', ...' if len(saw) > 5 else ''}): for these the run "
                "is not zero-shot, and every table says so.",
                err=True,
            )
    for reason in dict.fromkeys(reason for each in experiments for reason in each.dropped.values()):
        typer.echo(f"dropped: {reason}", err=True)
    if dry_run:
        calls = [[*places_of(ctx), *words_of(each, options)] for each in experiments]
        show_plan(experiments, calls, where, force, format)
        return
    store, merged = open_store(where, resources.cache_dir)
    if merged.new:
        typer.echo(
            f"{merged.new} runs that were kept in a file while the database was out of reach are in it now.", err=True
        )
    for line in merged.conflicts:
        typer.echo(line, err=True)
    cells = Cells(experiments, resources, store, force=force, keep_going=options.keep_going, quiet=quiet)
    try:
        if executor is None:
            cells.run()
        else:
            cells.done, numbers = stored_cells(experiments, store, force=force)
            jobs = {number: _job(experiments[number], resources, where, options) for number in numbers}
            if executor.name == "local":
                cells.run_jobs(executor, jobs)
            else:
                _hand_in(executor, jobs, experiments, store, format)
    finally:
        lost = cells.return_to_store() if cells.lost else None
        print_runs = show if lost else shown  # without the database there is nothing but the runs
        print_runs([*((record, True) for record in kept), *cells.done], format, cells.store)
        cells.store.close()
    processes.broadcast(None)  # nothing more to follow
    if lost:
        raise lost
    if cells.failures:
        raise IncompleteError(f"{len(cells.failures)} of {len(experiments)} runs failed, the others are stored.")


def _executor(options: RunOptions, resources: Resources) -> Executor | None:
    """What runs the cells as jobs; None for this process."""
    if options.executor is None:
        if options.jobs is not None or options.job:
            raise UsageError("--jobs and --job are for jobs: name an --executor, local or slurm.")
        return None
    if options.executor not in EXECUTORS:
        raise UsageError(f"There is no executor {options.executor!r}. {nearest(options.executor, EXECUTORS)}")
    if options.executor == "slurm" and not options.keep_going:
        raise UsageError("--fail-fast cannot stop the jobs of a cluster: leave it out.")
    if resources.processes.size > 1:
        raise UsageError("--executor hands cells to other processes: use it without torchrun.")
    parameters = {}
    for each in options.job or ():
        name, equals, value = each.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"--job takes KEY=VALUE, not {each!r}.")
        parameters[name.strip()] = value.strip()
    executor = Executor(options.executor, resources.cache_dir.resolve() / "jobs", options.jobs, parameters)
    if not options.dry_run:
        executor.check()
    return executor


def _job(experiment: Experiment, resources: Resources, where: str, options: RunOptions) -> Job:
    observer = functools.partial(Bars, title(experiment), quiet=False)
    return Job(experiment.request, resources, where, experiment.identity, force=options.force, observer=observer)


def _hand_in(
    executor: Executor, jobs: Mapping[int, Job], experiments: list[Experiment], store: Store, format: OutputFormat
) -> None:
    """Hand jobs to a cluster, and print their queued runs."""
    runs = [store.queue(experiments[number].identity, NOT_YET) for number in jobs]  # a job may begin at once
    try:
        submitted = executor.submit(list(jobs.values()), store.where) if jobs else []
    except BaseException:
        for job in jobs.values():
            store.unqueue(job.identity["key"], "interrupted", "its job was not handed in")
        raise
    rows = []
    for run, number, facts in zip(runs, jobs, submitted, strict=True):
        store.name_job(run, facts)
        rows.append({"run": run, "cell": title(experiments[number]), **facts})
    if format is OutputFormat.json and rows:
        print_json(rows)
    elif rows:
        print_table(list(rows[0]), [[str(cell) for cell in row.values()] for row in rows])


def _resolved(
    requests: list[Request], resources: Resources, splits: Splits, where: str
) -> tuple[list[Experiment], list[RunRecord]]:
    """The experiment of every request; the stored run of those whose data is missing, where ``where`` (if given) has
    one.
    """
    experiments: list[Experiment] = []
    kept: list[RunRecord] = []
    chosen = [choose_weights(request) for request in requests]
    for request, _ in chosen:
        try:
            experiments.append(resolve(request, resources, splits))
        except DataError as error:
            alone = resources.processes.size == 1
            found = find_run(request, where) if where and alone else None
            if found is None:
                raise
            kept.append(found)
            typer.echo(f"{error} Showing stored run {found.id} ({found.ended}): same settings.", err=True)
    for said in dict.fromkeys(said for _, said in chosen if said and resources.processes.leads):
        typer.echo(f"WARNING: {said}", err=True)
    return experiments, kept
