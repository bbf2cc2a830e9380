"""A cell as the words of a call of ``bench run``, so that another process or scheduler can run it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import typer
from sqlalchemy import make_url

from bench.cli.options import RunOptions
from bench.cli.output import cache_dir, global_option
from bench.experiments.request import Request
from bench.methods.base import METHODS
from bench.results.database import database_file

# Options of a call whose values go into a cell's words by name; those of a request stand below.
CARRIED = ("device", "precision", "workers", "save_topk")


def words_of(request: Request, options: RunOptions) -> list[str]:
    """``run ...`` that asks for this cell and no other, every option that has not its default spelt out."""
    words = ["run", "-d", request.dataset]
    if request.checkpoint:
        words += ["--checkpoint", str(Path(request.checkpoint).resolve())]
    else:
        words += ["-m", request.method, "--seed", str(request.seed)]
    if request.split is not None:
        words += ["--split", request.split]
    for term in request.without:
        words += ["--without", term]
    changes = METHODS.get(request.method).structural[request.structural] if request.structural else {}
    files = METHODS.get(request.method).files if request.method else ()
    spelt = [from_anywhere(each, files) for each in request.assignments]
    for assignment in (*spelt, *(f"{name}={value}" for name, value in changes.items())):
        words += ["--set", assignment]
    default = {each.name: each.default for each in fields(RunOptions)}
    asked = {
        "select": request.selection,
        "gallery": request.gallery,
        "on_bad_image": request.on_bad_image,
        "limit": request.per_class_limit,
        **{name: getattr(options, name) for name in CARRIED},
    }
    for name, value in asked.items():
        if value != default[name]:
            words += [f"--{name.replace('_', '-')}", str(value)]
    flags = {"--force": options.force, "--no-resume": not options.resume, "--compile": options.compile}
    return words + [flag for flag, given in flags.items() if given]


def from_anywhere(assignment: str, files: Sequence[str] = ()) -> str:
    """``key=value`` with a path in it as it is found from whatever folder; ``files`` are other settings that are paths.

    A link is not followed: weights are known by the hash in their file's name.

    >>> from_anywhere("weights=none"), from_anywhere("lr=0.1"), from_anywhere("root=/pictures")
    ('weights=none', 'lr=0.1', 'root=/pictures')
    """
    key, equals, text = assignment.partition("=")
    name, value = key.strip().replace("-", "_"), text.strip()
    mark = "@" if name == "unseen" and value.startswith("@") else ""
    is_path = mark or name in ("root", *files) or (name == "weights" and value != "none")
    if not is_path or not value.removeprefix(mark):
        return assignment
    return f"{key}{equals}{mark}{Path(value.removeprefix(mark)).expanduser().absolute()}"


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
