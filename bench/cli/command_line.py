"""An experiment as the words of a call of ``bench``, so that another process or scheduler can run it."""

from __future__ import annotations

import os
from pathlib import Path

import typer
from sqlalchemy import make_url

from bench.cli.options import RunOptions
from bench.cli.output import cache_dir, global_option
from bench.experiments.experiment import Experiment
from bench.results.database import database_file

DEFAULT = RunOptions()


def words_of(experiment: Experiment, options: RunOptions) -> list[str]:
    """``run ...`` that asks for this experiment and no other, every option that has not its default spelt out."""
    words = experiment.request.words()
    for name in ("device", "workers", "save_topk"):
        if (value := getattr(options, name)) != getattr(DEFAULT, name):
            words += [f"--{name.replace('_', '-')}", str(value)]
    flags = {"--force": options.force, "--no-resume": not options.resume, "--compile": options.compile}
    return words + [flag for flag, given in flags.items() if given]


def places_of(ctx: typer.Context) -> list[str]:
    """The global options that say where store (the first), data and cache are, from whatever folder they are read.

    No configuration file is looked at, since every value that it gave is spelt out.
    """
    found = {
        "--store": _store_from_anywhere(str(global_option(ctx, "store"))),
        "--data-root": str(Path(global_option(ctx, "data_root")).resolve()),
        "--cache-dir": str(cache_dir(ctx).resolve()),
        "--config": os.devnull,
    }
    return [word for pair in found.items() for word in pair]


def _store_from_anywhere(store: str) -> str:
    file = database_file(store)
    if file is None:
        return store
    if "://" not in store:
        return str(file.resolve())
    return make_url(store).set(database=str(file.resolve())).render_as_string(hide_password=False)
