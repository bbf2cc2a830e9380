"""``--dry-run``: what would run, what is stored, the time and memory it takes, and the command of each run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from statistics import fmean

import typer
from sqlalchemy import make_url

from bench.cli.options import RunOptions
from bench.cli.output import cache_dir, global_option, print_rows
from bench.datasets.images.loader import CACHE_BYTES
from bench.experiments.experiment import Experiment
from bench.results.database import database_file, plain
from bench.results.models import RunRecord
from bench.results.reading import existing
from bench.results.store import Store

DEFAULT = RunOptions()
FLAGS = {"--force": "force", "--no-resume": "resume", "--compile": "compile"}


def show_plan(ctx: typer.Context, experiments: list[Experiment], options: RunOptions) -> None:
    """Print the state of each experiment with estimates from similar stored runs; write nothing.

    JSON has the command of each, for any scheduler, without a password.
    """
    where = str(global_option(ctx, "store"))
    store = existing(where)
    rows = []
    with closing(store) if store else nullcontext():
        running = {run.key: run.id for run in store.runs(id=list(store.doing()))} if store else {}
        for experiment in experiments:
            stored = store.find(experiment.key) if store and not options.force else None
            alike = find_alike(store, experiment) if store else []
            state = "done" if stored else "running" if experiment.key in running else "to run"
            rows.append(
                {
                    "experiment": experiment.title,
                    "state": state,
                    "run": stored.id if stored else running.get(experiment.key),
                    "seconds": 0 if stored else seconds_like(experiment, alike),
                    "megabytes": round(memory_like(experiment, alike) / 1e6),
                    "key": experiment.key[:16],
                    "fingerprint": experiment.split.fingerprint[:16],
                    "command": make_command(ctx, experiment, options),
                }
            )
    print_rows("runs", rows, options.format, columns=[*rows[0]][:-1])
    if options.format == "json" and plain(where) != where:
        note = "The commands leave out --store, whose URL may hold a password: set BENCH_STORE for them."
        typer.echo(note, err=True)
    elif options.format == "table" and any(row["seconds"] is None for row in rows):
        typer.echo(
            "Seconds and megabytes come from stored runs of the same method and split. Without such a run seconds are "
            "unknown, and megabytes count images and embeddings only.",
            err=True,
        )


def make_command(ctx: typer.Context, experiment: Experiment, options: RunOptions) -> list[str]:
    """The words of a command that runs this experiment alone, from any folder; it reads no configuration file."""
    words = ["bench", *store_option(str(global_option(ctx, "store")))]
    words += ["--data-root", str(Path(global_option(ctx, "data_root")).resolve())]
    words += ["--cache-dir", str(cache_dir(ctx).resolve()), "--config", os.devnull, *experiment.request.words()]
    for name in ("device", "workers", "save_topk"):
        if (value := getattr(options, name)) != getattr(DEFAULT, name):
            words += [f"--{name.replace('_', '-')}", str(value)]
    return words + [flag for flag, name in FLAGS.items() if getattr(options, name) != getattr(DEFAULT, name)]


def store_option(where: str) -> list[str]:
    """``--store`` with an absolute path; left out if the URL may hold a password."""
    if plain(where) != where:
        return []
    file = database_file(where)
    if file is None:
        return ["--store", where]
    path = str(file.resolve())
    url = make_url(where).set(database=path).render_as_string(hide_password=False) if "://" in where else path
    return ["--store", url]


def find_alike(store: Store, experiment: Experiment) -> list[RunRecord]:
    """Stored runs of the same method, split and limit."""
    method, split, limit = experiment.method.name, experiment.split.name, experiment.per_class_limit
    return store.runs(metrics=(), method=method, split=split, per_class_limit=limit, status="done")


def nearest_of(experiment: Experiment, alike: Sequence[RunRecord]) -> list[RunRecord]:
    """The runs with the same network and image size; all if there are none."""
    costly = {name: getattr(experiment.run, name) for name in ("backbone", "image_size")}
    return [run for run in alike if costly.items() <= run.configuration.get("run", {}).items()] or list(alike)


def seconds_like(experiment: Experiment, alike: Sequence[RunRecord]) -> int | None:
    """The mean time of similar runs, with training scaled to the epochs of this one; None without runs."""
    times = []
    for run in nearest_of(experiment, alike):
        seconds, epochs = dict(run.seconds), run.configuration.get("run", {}).get("epochs")
        training = seconds.pop("training", 0.0) * (experiment.run.epochs / epochs if epochs else 1.0)
        times.append(training + sum(seconds.values()))
    return round(fmean(times)) if times else None


def memory_like(experiment: Experiment, alike: Sequence[RunRecord]) -> int:
    """Bytes at the peak of similar runs, at least those of training images in memory and of test embeddings.

    The lowest peak counts, because that of a process includes its earlier runs.
    """
    split, width = experiment.split, getattr(experiment.own, "dim", 0) or 2048  # the widest common backbone
    decoded = len(split.train) * 3 * experiment.run.image_size**2 if experiment.trains else 0
    needed = (decoded if decoded <= CACHE_BYTES else 0) + 4 * width * (len(split.queries) + len(split.gallery))
    peaks = [int(run.cost["peak_memory"]) for run in nearest_of(experiment, alike) if "peak_memory" in run.cost]
    return max(needed, min(peaks, default=0))
