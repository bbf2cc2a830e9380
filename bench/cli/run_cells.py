"""Carrying out a list of cells for ``bench run`` and ``bench ablate``: done ones shown, others computed, none twice."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer

from bench.cli.command_line import places_of, words_of
from bench.cli.dry_run import show_plan, title
from bench.cli.options import RunOptions
from bench.cli.output import OutputFormat, cache_dir, global_option, print_json, print_table, stderr
from bench.cli.progress import Bars
from bench.cli.run_local_jobs import JobsHere
from bench.cli.run_serial import Cells, follow_all
from bench.cli.run_slurm_jobs import hand_in, scheduler_of
from bench.cli.run_table import scores_of
from bench.distributed.process_group import Processes, joined
from bench.errors import DataError, IncompleteError, UsageError
from bench.evaluation.metrics.base import MAIN_METRICS
from bench.experiments.preflight import agree
from bench.experiments.request import Experiment, Request, Resources
from bench.experiments.resolve import Splits, resolve, with_weights_at_hand
from bench.experiments.stored import find_run
from bench.results.database import plain
from bench.results.fallback import spool_of, take_up
from bench.results.models import RunRecord
from bench.results.queueing import settle
from bench.results.store import Store, existing
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
    with joined(options.device) as processes:
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
    scheduler = processes.together(lambda: scheduler_of(options, resources))
    with Bars("checking images", quiet=quiet or all(each.on_bad_image == "error" for each in requests)) as bars:
        bars.phase("decoding")
        splits = Splits(lambda done, total: bars.progress(done, total, {}), keep=not dry_run and processes.leads)
        experiments, kept = processes.together(
            lambda: _resolved(requests, resources, splits, "" if force or dry_run else where)
        )
    for each in experiments if processes.size > 1 else ():
        if each.method.terms and each.trained is None and not each.run.frozen_batchnorm:
            error = UsageError(
                "Several processes cannot train batch normalisation, which would see a part of each batch only: "
                "leave out --set frozen_batchnorm=false, or use one process."
            )
            processes.fail(error)
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
    places, words = places_of(ctx), [words_of(each, options) for each in experiments]
    if dry_run:
        show_plan(experiments, [[*places, *each] for each in words], where, force, format)
        return
    store = Store(where)
    if (merged := take_up(store, spool_of(where, resources.cache_dir))) is not None and merged.new:
        typer.echo(
            f"{merged.new} runs that were kept in a file while the database was out of reach are in it now.", err=True
        )
    settle(store)
    if scheduler is not None and scheduler.executor == "slurm":
        try:
            calls = [[*places, *each] for each in words]
            done = hand_in(experiments, calls, scheduler, store, places[1], options)
            shown([*((record, True) for record in kept), *done], format, store)
        finally:
            store.close()
        return
    how = {"force": force, "keep_going": options.keep_going, "quiet": quiet}
    cells = Cells(experiments, resources, store, **how)
    if scheduler is not None:
        cells = JobsHere(experiments, resources, store, **how, scheduler=scheduler, places=places, words=words)
    try:
        cells.run()
    finally:
        shown([*((record, True) for record in kept), *cells.done], format, cells.store)
        cells.store.close()
        store.close()
    processes.told(None)  # nothing more to follow
    if cells.lost:
        cells.return_to(where)
    if cells.failures:
        raise IncompleteError(f"{len(cells.failures)} of {len(experiments)} runs failed, the others are stored.")


def _resolved(
    requests: list[Request], resources: Resources, splits: Splits, where: str
) -> tuple[list[Experiment], list[RunRecord]]:
    """The experiment of every request; the stored run of those whose data is missing, where ``where`` (if given) has
    one.
    """
    experiments: list[Experiment] = []
    kept: list[RunRecord] = []
    chosen = [with_weights_at_hand(request) for request in requests]
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


def show(done: list[tuple[RunRecord, bool]], format: OutputFormat, store: Store) -> None:
    """Results on stdout: a table, or JSON (an object for one run, a list for several)."""
    if not done:
        return
    if format is OutputFormat.json:
        rows = [as_json(record, already) for record, already in done]
        print_json(rows[0] if len(rows) == 1 else rows)
        return
    columns = ["run", "method", "split", "seed", *(name.removesuffix(":k") for name in MAIN_METRICS), "seconds"]
    cells = []
    for record, _ in done:
        figures = ["-" if (value := record.value(metric)) != value else f"{value:.3f}" for metric in MAIN_METRICS]
        seconds = f"{sum(record.seconds.values()):.0f}"
        cells.append([str(record.id), record.title, record.split, str(record.seed), *figures, seconds])
    print_table(columns, cells)
    if sys.stderr.isatty():
        skipped = max((score.skipped for record, _ in done for score in record.scores), default=0)
        if skipped:
            stderr().print(f"{skipped} queries have no relevant photo and are left out of the means.")


def as_json(record: RunRecord, already_done: bool) -> dict[str, Any]:
    """A run as CLI.md's contract has it."""
    return {
        "run": record.id,
        "method": record.method,
        "ablation": record.ablation,
        "dataset": record.dataset,
        "split": record.split,
        "seed": record.seed,
        "selection": record.selection,
        "gallery": record.gallery,
        "post": record.configuration.get("post", {}),
        **({"checkpoint": kept} if (kept := record.configuration.get("checkpoint")) else {}),
        "fingerprint": record.fingerprint,
        "seconds": round(sum(record.seconds.values()), 2),
        "already_done": already_done,
        "scores": scores_of(record),
    }
