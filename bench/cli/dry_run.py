"""``--dry-run``: what would run, what is stored, the time and memory it takes, and the command of each run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from statistics import fmean

import typer

from bench.cli.options import RunOptions
from bench.cli.output import cache_dir, global_option, print_rows
from bench.datasets.images.loader import CACHE_BYTES
from bench.experiments.experiment import Experiment
from bench.results.database import database_file, plain
from bench.results.models import RunRecord
from bench.results.reading import existing

DEFAULT = RunOptions()
FLAGS = {"--force": "force", "--no-resume": "resume", "--compile": "compile"}


def show_plan(ctx: typer.Context, experiments: list[Experiment], options: RunOptions) -> None:
    """Print the state of each experiment with estimates from similar stored runs; write nothing.

    JSON has the command of each, for any scheduler, without a password.
    """
    where = str(global_option(ctx, "store"))
    done, running = list[RunRecord](), dict[str, int]()
    if (store := existing(where)) is not None:
        with closing(store):
            done = store.runs(metrics=(), status="done")
            running = {run.key: run.id for run in store.runs(metrics=(), id=list(store.doing()))}
    stored = {} if options.force else {run.key: run.id for run in done}
    rows = []
    for experiment in experiments:
        key = experiment.key
        seconds, needed = estimate(experiment, done)
        rows.append(
            {
                "experiment": experiment.title,
                "state": "done" if key in stored else "running" if key in running else "to run",
                "run": stored.get(key, running.get(key)),
                "seconds": 0 if key in stored else seconds,
                "megabytes": round(needed / 1e6),
                "key": key[:16],
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
    return ["--store", where if file is None else str(file.resolve())]


def estimate(experiment: Experiment, done: Sequence[RunRecord]) -> tuple[int | None, int]:
    """Seconds and bytes of a run, from finished runs of the same method, split and limit.

    Those with the same network and image size count, or all if there are none. Seconds are their mean, with training
    scaled to the epochs of this run; None without runs. Bytes are at least those of training images in memory and of
    test embeddings. The lowest peak counts, because that of a process includes its earlier runs.
    """
    split, run = experiment.split, experiment.run
    wanted = (experiment.method.name, split.name, experiment.per_class_limit)
    alike = [each for each in done if (each.method, each.split, each.per_class_limit) == wanted]
    costly = {"backbone": run.backbone, "image_size": run.image_size}.items()
    alike = [each for each in alike if costly <= each.configuration.get("run", {}).items()] or alike
    times = []
    for each in alike:
        seconds, epochs = dict(each.seconds), each.configuration.get("run", {}).get("epochs")
        training = seconds.pop("training", 0.0) * (run.epochs / epochs if epochs else 1.0)
        times.append(training + sum(seconds.values()))
    width = getattr(experiment.own, "dim", 0) or 2048  # the widest common backbone
    decoded = len(split.train) * 3 * run.image_size**2 if experiment.trains else 0
    needed = (decoded if decoded <= CACHE_BYTES else 0) + 4 * width * (len(split.queries) + len(split.gallery))
    peaks = [int(each.cost["peak_memory"]) for each in alike if "peak_memory" in each.cost]
    return round(fmean(times)) if times else None, max(needed, min(peaks, default=0))
